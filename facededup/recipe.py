"""What makes the embeddings of a store.

Settings and catalogue give its fingerprint; the fingerprint gives the workers' settings and the encoder.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from facededup.devices import choose_gpus, list_gpus
from facededup.errors import NoGpuError, SettingMismatchError, UsageError
from facededup.faces.align import build_aligner, choose_alignment
from facededup.faces.deepface_client import GPU_LIBRARIES, check_detector
from facededup.models.batching import BatchSizes, batch_key, find_batch_size
from facededup.models.catalog import (
    DEFAULT_DETECTOR,
    DEFAULT_MODEL,
    ModelDescription,
    describe_detector,
    describe_model,
)
from facededup.models.contract import CPU_DEVICE, Engine, Placement
from facededup.models.encoder import Encoder
from facededup.models.engine import open_engine
from facededup.settings import Settings
from facededup.store.base import Fingerprint
from facededup.workers.detection import DetectionProcess
from facededup.workers.embedders import EmbedderProcesses
from facededup.workers.steps import AnalysisSettings

_NO_DIGESTS = np.empty(0, np.uint64)


def choose_fingerprint(settings: Settings, existing: Fingerprint | None, store: str) -> Fingerprint:
    """The fingerprint of a run: the store's own, or that of a store to be made.

    Args:
        settings: Values given by the user; None stands for "not given".
        existing: The store's, None for a new (or emptied) store.
        store: The store's location, for the message.

    Raises:
        SettingMismatchError: A given value differs from the store's.
        UsageError: A model, detector or alignment of that name does not exist, or they do not go together.
    """
    model = describe_model(settings.model or (existing.model if existing else DEFAULT_MODEL))
    detector = describe_detector(settings.detector or (existing.detector if existing else DEFAULT_DETECTOR))
    given = {
        "model": settings.model and model.name,
        "detector": settings.detector and detector.name,
        "align": settings.align,
        "flip": settings.flip,
        "faces": settings.faces,
        "crops": settings.crops,
    }
    if existing is not None:
        for name, value in given.items():
            own = getattr(existing, name)
            if value is not None and value != own:
                raise SettingMismatchError(
                    f"the store {store!r} was made with {name} {_word(own)}, not {_word(value)}: leave the "
                    f"option out, use another --store, or start over with `facededup index --reset`"
                )
        return existing
    return Fingerprint(
        model=model.name,
        weights=model.weights,
        dimension=model.dimension,
        detector=detector.name,
        align=choose_alignment(settings.align, model, detector),
        flip=bool(settings.flip),
        faces=settings.faces or "all",
        crops=settings.crops or 1,
    )


def _word(value: object) -> str:
    return {True: "on", False: "off"}.get(value, repr(value)) if isinstance(value, bool) else repr(value)


def analysis_settings(
    fingerprint: Fingerprint,
    settings: Settings,
    *,
    known: NDArray[np.uint64] = _NO_DIGESTS,
    faces: str | None = None,
) -> AnalysisSettings:
    """What a worker must know to decode, detect and align.

    Args:
        fingerprint: Of the store.
        settings: Of the run.
        known: Sorted digest prefixes of contents that need no second look.
        faces: Which faces, where not those of the fingerprint.
    """
    return AnalysisSettings(
        detector=fingerprint.detector,
        align=fingerprint.align,
        model=fingerprint.model,
        faces=faces or fingerprint.faces,
        max_pixels=settings.max_pixels,
        known=known,
    )


def check_analysis(fingerprint: Fingerprint) -> None:
    """Makes sure that what the workers need is on this machine, without loading it.

    Raises:
        PackageMissingError: A package of the detector is not installed.
        WeightsMissingError: Weights of the detector are not on this machine, or the cascades that find the
            eyes it does not give.
    """
    check_detector(describe_detector(fingerprint.detector))
    build_aligner(fingerprint.align, fingerprint.detector, fingerprint.model)


def runs_on_gpus(detector: str) -> bool:
    """Whether the library of that detector takes a GPU where it finds one."""
    return not GPU_LIBRARIES.keys().isdisjoint(describe_detector(detector).modules)


def open_detection(fingerprint: Fingerprint, settings: Settings) -> DetectionProcess | None:
    """The detector on a GPU, where that is wanted; None where the workers find faces.

    Its GPU is the last of those the run may use, as the first is where embedding begins.

    Raises:
        UsageError: The detector runs on CPUs only.
        NoGpuError: There is no GPU, or the detector's library sees none.
        PackageMissingError: See `check_analysis`.
        WeightsMissingError: Likewise.
        JobError: DeepFace could not open the detector.
    """
    if not settings.detect_gpu:
        return None
    if not runs_on_gpus(fingerprint.detector):
        raise UsageError(f"the detector {fingerprint.detector} runs on CPUs only: leave out --detect-gpu")
    gpus = choose_gpus(settings.gpu, settings.devices)
    if not gpus:
        raise NoGpuError("faces were to be found on a GPU, and there is none: leave out --detect-gpu")
    return DetectionProcess(fingerprint.detector, gpus[-1])


def open_encoder(fingerprint: Fingerprint, settings: Settings, *, threads: int, few: bool = False) -> Encoder:
    """Opens the engine and the recognition model.

    Args:
        fingerprint: Of the store.
        settings: Of the run.
        threads: CPU threads the engine may use.
        few: Only some faces come: one GPU will do, and no batch size is searched for.

    Raises:
        NoGpuError: A GPU was demanded and the engine sees none.
        JobError: The network does not run as it should on its device.
        WeightsMissingError: The weights are not on this machine.
        UsageError: There is no such engine, or it does not run this model.
    """
    model, half = describe_model(fingerprint.model), settings.precision == "float16"
    gpus = choose_gpus(settings.gpu, settings.devices)[: 1 if few else None]
    placement = Placement(
        gpu=True if settings.devices else settings.gpu,
        device=gpus[0] if gpus else 0,
        threads=threads,
        memory_limit=settings.gpu_memory_limit,
        half=half,
    )
    engine = _open_engine(model, settings, placement, gpus)
    if engine.device == CPU_DEVICE:
        if half:
            raise UsageError("float16 is for GPUs, and the network runs on the CPU: leave --precision out")
        return Encoder(engine, batch_size=settings.batch_size, crops=fingerprint.crops, flip=fingerprint.flip)
    name = next((gpu.name for gpu in list_gpus() if gpu.number == placement.device), "")
    sizes = BatchSizes(batch_key(engine, name, half=half, memory_limit=settings.gpu_memory_limit))
    size = settings.batch_size or sizes.get()
    if size is None and not few:
        size = find_batch_size(engine.run, model.input_size)
        sizes.put(size)
    return Encoder(
        engine, batch_size=size, crops=fingerprint.crops, flip=fingerprint.flip, remember=sizes.put
    )


def _open_engine(
    model: ModelDescription, settings: Settings, placement: Placement, gpus: Sequence[int]
) -> Engine:
    """In this process, or in one for each of several GPUs."""
    if len(gpus) > 1:
        try:
            return EmbedderProcesses(
                model, settings.engine, [replace(placement, gpu=True, device=number) for number in gpus]
            )
        except NoGpuError:
            if placement.gpu:
                raise
    return open_engine(model, engine=settings.engine, placement=placement)
