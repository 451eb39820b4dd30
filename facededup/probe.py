"""Answers one question of `doctor` in a process of its own: a framework that crashes takes only that down.

`python -m facededup.probe library NAME` tells version and GPUs of a library; `python -m facededup.probe
selftest '{"model": ..., "engine": ..., "gpu": ...}'` embeds known faces. The answer is one line of JSON.
"""

from __future__ import annotations

import importlib.resources
import json
import os
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from facededup.errors import FacededupError, JobError, PackageMissingError
from facededup.faces.align import build_aligner, choose_alignment
from facededup.faces.detect import build_detector
from facededup.images.picture import Picture
from facededup.models.catalog import DEFAULT_DETECTOR, DEFAULT_MODEL, describe_detector, describe_model
from facededup.models.encoder import Encoder
from facededup.models.engine import open_engine
from facededup.models.scores import similarity
from facededup.pictures import PEOPLE, open_picture
from facededup.types import Floats, Pixels

_LEAST_COSINE = 0.9999
"""Of an embedding and the same by dlib itself; engines differ from it by 1e-6."""
_SAME_PERSON = 0.4


def _onnx() -> dict[str, Any]:
    import onnxruntime

    providers = onnxruntime.get_available_providers()
    return {
        "version": onnxruntime.__version__,
        "gpus": int("CUDAExecutionProvider" in providers),
        "providers": providers,
    }


def _pytorch() -> dict[str, Any]:
    import torch

    return {"version": torch.__version__, "gpus": torch.cuda.device_count()}


def _tensorflow() -> dict[str, Any]:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tensorflow as tf

    return {"version": tf.__version__, "gpus": len(tf.config.list_physical_devices("GPU"))}


def _faiss() -> dict[str, Any]:
    import faiss

    return {
        "version": faiss.__version__,
        "gpus": faiss.get_num_gpus() if hasattr(faiss, "get_num_gpus") else 0,
    }


LIBRARIES: dict[str, Callable[[], dict[str, Any]]] = {
    "onnx": _onnx,
    "pytorch": _pytorch,
    "tensorflow": _tensorflow,
    "faiss": _faiss,
}


def run_selftest(model: str, engine: str, *, gpu: bool | None) -> dict[str, Any]:
    """Embeds faces whose scores are known.

    For the default model, a made-up face must have the embedding that dlib gives it. Where the pictures of
    two people are installed, a mirrored face must be the same person, the other face another one.

    Args:
        model: Name of the model.
        engine: Name of the engine, or `auto`.
        gpu: True demands a GPU.

    Returns:
        Engine, device and the scores.

    Raises:
        FacededupError: The model cannot be opened, or a score is not what it must be.
    """
    description = describe_model(model)
    encoder = Encoder(open_engine(description, engine=engine, gpu=gpu, threads=os.cpu_count()))
    answer: dict[str, Any] = {"engine": encoder.engine.name, "device": encoder.engine.device}
    if description.name == DEFAULT_MODEL:
        text = importlib.resources.files("facededup").joinpath("selftest.json").read_text("utf-8")
        expected = np.array(json.loads(text)["descriptor"])
        (embedding,) = encoder.encode(_pattern()[None])
        answer["cosine_with_dlib"] = float(embedding @ expected / np.linalg.norm(expected))
        if answer["cosine_with_dlib"] < _LEAST_COSINE:
            raise JobError(
                f"{encoder.engine.name} gives other embeddings than dlib (cosine"
                f" {answer['cosine_with_dlib']:.5f}): try another --engine"
            )
    try:
        same, other = _similarities(encoder)
    except PackageMissingError:
        answer["pictures"] = "not installed: pip install 'facededup[demo]' for a test on two people"
        return answer
    answer |= {"same_person": same, "two_people": other}
    if not other < _SAME_PERSON <= same:
        raise JobError(
            f"{description.name} on {encoder.engine.name} does not tell two known people apart: similarity"
            f" {same:.3f} for the same one, {other:.3f} for the two; the limit is {_SAME_PERSON}"
        )
    return answer


def _similarities(encoder: Encoder) -> tuple[float, float]:
    """Of a face with its mirror, and with the face of another person."""
    model, detector = encoder.engine.model, describe_detector(DEFAULT_DETECTOR)
    align = choose_alignment(None, model, detector)
    find, cut = build_detector(detector.name, align), build_aligner(align, detector.name, model.name)

    def embed(image: Pixels) -> Floats:
        faces = find.detect(Picture.of(image))
        if not faces:
            raise JobError(f"the detector {detector.name} finds no face in a picture that has one")
        embedding: Floats = encoder.encode(cut(image, faces[:1]))[0]
        return embedding

    collins, hopper = (np.asarray(open_picture(PEOPLE[name])) for name in ("collins", "hopper"))
    face = embed(hopper)
    mirrored, stranger = embed(np.ascontiguousarray(hopper[:, ::-1])), embed(collins)
    scale = model.operating_cosine
    return similarity(float(face @ mirrored), scale), similarity(float(face @ stranger), scale)


def _pattern() -> Pixels:
    """uint8 (150, 150, 3): the made-up face, the same on every machine."""
    rows, columns, channels = np.indices((150, 150, 3))
    values = rows * columns + 37 * rows + 11 * columns * channels + 85 * channels
    pattern: Pixels = (values % 256).astype(np.uint8)
    return pattern


def main(question: str, argument: str) -> None:
    """Prints the answer; whatever goes wrong is an answer too."""
    try:
        if question == "library":
            answer = LIBRARIES[argument]()
        else:
            asked = json.loads(argument)
            answer = run_selftest(asked["model"], asked["engine"], gpu=asked["gpu"])
    except FacededupError as exc:
        answer = {"error": str(exc)}
    except Exception as exc:  # a broken installation may raise anything
        answer = {"error": f"{type(exc).__name__}: {next(iter(str(exc).splitlines()), '')}"}
    print(f"\n{json.dumps(answer)}")  # noqa: T201 - after whatever the framework printed


if __name__ == "__main__":
    main(*sys.argv[1:])
