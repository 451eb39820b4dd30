"""The pipeline of `evaluate`: index labelled images, score all pairs of them, measure."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import numpy as np

from facededup.calibration import STORED_AS, Calibration, store_calibration
from facededup.errors import PathNotFoundError, SettingMismatchError, UsageError
from facededup.evaluation.accuracy import THRESHOLDS, Accuracy, measure, measure_pairs
from facededup.evaluation.curves import ScoreCurve
from facededup.evaluation.folds import pair_scores
from facededup.evaluation.labels import LabelledPairs, group_members, person_of, read_groups, read_pairs
from facededup.evaluation.making import make_calibration
from facededup.evaluation.sample import Sample, load_sample
from facededup.indexing import index_images
from facededup.metrics import Metrics
from facededup.progress import Progress
from facededup.settings import Settings
from facededup.store.base import Fingerprint, Snapshot
from facededup.store.opener import open_store


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluateResult:
    """How accurate a model is on labelled faces.

    Attributes:
        source: The folder of people, or the file of pairs.
        fingerprint: What made the embeddings.
        operating_cosine: The cosine that similarity 0.40 stands for.
        operating_cosine_source: `calibration`, `store` or `catalogue`.
        overall: On all images.
        groups: On the images of each group, by its name; their rates at similarity 0.40 and at the overall
            cut of a false match rate of 1e-4 (`operating`) are at the same cuts for all groups.
        calibration: What `find --calibration` can use.
        metrics: Timing.
    """

    source: str
    fingerprint: Fingerprint
    operating_cosine: float
    operating_cosine_source: str
    overall: Accuracy
    groups: Mapping[str, Accuracy] = field(default_factory=dict)
    calibration: Calibration
    metrics: Metrics


def evaluate_folder(
    folder: str,
    settings: Settings,
    metrics: Metrics,
    progress: Progress,
    *,
    store: str | None = None,
    groups: str | None = None,
    thresholds: Sequence[float] = THRESHOLDS,
) -> EvaluateResult:
    """Measures accuracy on a folder with one sub-folder a person.

    Args:
        folder: The folder.
        settings: Of the run.
        metrics: Receives the timing.
        progress: Receives the advance.
        store: Where embeddings are kept; None for a temporary store.
        groups: A CSV file with the group of each person or image.
        thresholds: Of the cluster sweep, rising.

    Raises:
        PathNotFoundError: The folder or the file is not there.
        UsageError: There are fewer than two people, or the file of groups cannot be used.
    """
    if not os.path.isdir(folder):
        raise PathNotFoundError(f"there is no folder {folder!r}")
    folder = os.path.abspath(folder)
    named = None if groups is None else read_groups(groups)
    with _indexed([folder], settings, metrics, progress, store) as snapshot:
        people = {
            path: person
            for path in map(os.fsdecode, snapshot.images.path)
            if path.startswith(folder + os.sep) and (person := person_of(path, folder))
        }
        if len(set(people.values())) < 2:
            raise UsageError(
                f"{folder!r} has images of {len(set(people.values()))} people: `evaluate` needs a sub-folder "
                f"for each of two or more"
            )
        sample, scale = load_sample(snapshot, people), store_calibration(settings, snapshot)
        fingerprint = snapshot.fingerprint
    with metrics.timed("search", len(sample.seen)):
        overall, curve = measure(
            sample, scale.operating_cosine, progress, thresholds=thresholds, max_pairs=settings.max_pairs
        )
        by_group: dict[str, Accuracy] = {}
        if named is not None:
            by_group = _by_group(sample, overall, scale, named, progress, max_pairs=settings.max_pairs)
    return _result(folder, fingerprint, scale, overall, curve, metrics=metrics, groups=by_group)


def evaluate_pairs(
    path: str, settings: Settings, metrics: Metrics, progress: Progress, *, store: str | None = None
) -> EvaluateResult:
    """Measures accuracy on a file of labelled pairs.

    Args:
        path: A CSV file with the columns path_a, path_b and same.
        settings: Of the run.
        metrics: Receives the timing.
        progress: Receives the advance.
        store: Where embeddings are kept; None for a temporary store.

    Raises:
        PathNotFoundError: The file, or an image it names, is not there.
        UsageError: It is no such file.
    """
    pairs = read_pairs(path)
    images = sorted({*pairs.a, *pairs.b})
    with _indexed(images, settings, metrics, progress, store) as snapshot:
        sample, scale = (
            load_sample(snapshot, dict.fromkeys(images, "")),
            store_calibration(settings, snapshot),
        )
        fingerprint = snapshot.fingerprint
    with metrics.timed("search", len(sample.seen)):
        scores = pair_scores(sample, _places(sample, pairs))
        seen = (len(sample.seen), len(images))
        overall, curve = measure_pairs(scores, pairs, seen, scale.operating_cosine)
    return _result(path, fingerprint, scale, overall, curve, metrics=metrics)


def keep_calibration(result: EvaluateResult, location: str, key_file: str | None = None) -> None:
    """Writes a calibration into a store, where `find` takes it from.

    Args:
        result: Of an evaluation.
        location: Of the store.
        key_file: Holds the key of an encrypted store.

    Raises:
        SettingMismatchError: Something else made the embeddings of the store.
        StoreNotFoundError: There is no store.
        StoreLockedError: Another process is writing to it.
    """
    store = open_store(location, key_file)
    with store.writer() as writer:
        own = writer.snapshot.fingerprint
        if replace(own, faces="") != replace(result.fingerprint, faces=""):
            raise SettingMismatchError(
                f"the embeddings of {store.location!r} were made otherwise than those that were evaluated: "
                f"evaluate with the same --model, --detector, --align, --flip and --crops"
            )
        writer.record({STORED_AS: result.calibration.to_dict(own)})


@contextmanager
def _indexed(
    paths: list[str], settings: Settings, metrics: Metrics, progress: Progress, store: str | None
) -> Iterator[Snapshot]:
    """A snapshot with the faces under some paths."""
    with tempfile.TemporaryDirectory(prefix="facededup-") as scratch:
        location = store or os.path.join(scratch, "faces.h5")
        new = not open_store(location, settings.key_file).exists()
        faces = settings.faces or ("center" if new else None)
        # What is gone in a moment needs no encryption, whether there is a key or not.
        encrypt = settings.encrypt if store else False
        chosen = replace(settings, store=location, faces=faces, reset=False, encrypt=encrypt)
        index_images(paths, chosen, metrics, progress)
        with open_store(location, settings.key_file).snapshot() as snapshot:
            yield snapshot


def _places(sample: Sample, pairs: LabelledPairs) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
    place = {path: number for number, path in enumerate(sample.paths)}
    return np.array([[place[a], place[b]] for a, b in zip(pairs.a, pairs.b, strict=True)], np.int64)


def _by_group(
    sample: Sample,
    overall: Accuracy,
    scale: Calibration,
    named: Mapping[str, str],
    progress: Progress,
    *,
    max_pairs: int,
) -> dict[str, Accuracy]:
    """Each group among itself: impostor pairs are of two people of one group, the hardest case."""
    people = [sample.people[number] for number in sample.person.tolist()]
    common = (0.4, *(point.similarity for point in overall.points if point.asked == 1e-4))
    return {
        group: measure(
            sample.restricted(images),
            scale.operating_cosine,
            progress,
            common=common,
            max_pairs=max_pairs,
        )[0]
        for group, images in group_members(named, people, sample.paths).items()
    }


def _result(
    source: str,
    fingerprint: Fingerprint,
    scale: Calibration,
    overall: Accuracy,
    curve: ScoreCurve,
    *,
    metrics: Metrics,
    groups: Mapping[str, Accuracy] | None = None,
) -> EvaluateResult:
    return EvaluateResult(
        source=source,
        fingerprint=fingerprint,
        operating_cosine=scale.operating_cosine,
        operating_cosine_source=scale.source,
        overall=overall,
        groups=groups or {},
        calibration=make_calibration(overall, curve, scale.operating_cosine),
        metrics=metrics,
    )
