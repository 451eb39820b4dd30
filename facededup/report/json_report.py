"""Results as JSON documents. Each names its schema; docs/findings.md explains the fields.

Similarities and cosines keep all their digits. The writer escapes everything beyond ASCII, so a path that is
not UTF-8 survives as surrogate escapes.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict
from typing import Any, TextIO

from facededup.faces.weights import missing_module, missing_weights
from facededup.models.catalog import DetectorDescription, ModelDescription
from facededup.models.fetch import sources
from facededup.models.weights import model_status
from facededup.report.files import writing
from facededup.results import (
    CopyResult,
    Diagnosis,
    FindResult,
    ForgetResult,
    ImageCounts,
    SearchResult,
    StoreStatus,
    VerifyResult,
)
from facededup.types import Box, Cluster, FaceRef, Pair, Unencoded


def findings_document(result: FindResult) -> dict[str, Any]:
    """The document of `find --json`, schema facededup/findings/1."""
    return _findings(result, list)


def write_findings(result: FindResult, path: str) -> None:
    """Writes the document of `find --json` pair by pair, so that it is never in memory as a whole.

    Args:
        result: What was found.
        path: A file, replaced in one step, or `-` for standard output.

    Raises:
        JobError: The file cannot be written.
    """
    write_json(_findings(result, iter), path)


def _findings(result: FindResult, listed: Callable[[Iterable[dict[str, Any]]], Any]) -> dict[str, Any]:
    return {
        "schema": "facededup/findings/1",
        "store": result.store,
        "model": result.fingerprint.model,
        "detector": result.fingerprint.detector,
        "threshold": result.threshold,
        "operating_cosine": result.operating_cosine,
        "operating_cosine_source": result.operating_cosine_source,
        "complete": result.complete,
        "search": dict(result.search),
        "images": counts_document(result.images),
        "faces": result.faces,
        "expected_false_pairs": result.expected_false_pairs,
        "true_pairs_kept": result.true_pairs_kept,
        "suppressed": {
            reason: result.suppressed.get(reason, 0) for reason in ("different", "group", "quality")
        },
        "decisions": dict(result.decisions),
        "clusters_total": result.clusters_total,
        "clusters": listed(map(_cluster, result.clusters)),
        "pairs_total": result.pairs_total,
        "pairs": listed(map(_pair, result.pairs)),
        "unencoded": listed(map(_unencoded, result.unencoded)),
        "group_by": result.group_by,
        "analytics": dict(result.analytics),
        "confirmation": None if result.confirmation is None else asdict(result.confirmation),
        "metrics": result.metrics.to_dict(),
    }


def search_document(result: SearchResult) -> dict[str, Any]:
    """The document of `search --json`, schema facededup/search/1."""
    return {
        "schema": "facededup/search/1",
        "image": result.image,
        "store": result.store,
        "threshold": result.threshold,
        "operating_cosine": result.operating_cosine,
        "complete": result.complete,
        "search": {"engine": result.engine},
        "faces": [
            {"face": number, "box": _box(face.box), "confidence": float(face.confidence)}
            for number, face in enumerate(result.faces)
        ],
        "matches": [
            {
                "probe": match.probe,
                **_face(match.face),
                "box": _box(match.box),
                "similarity": match.similarity,
                "cosine": match.cosine,
            }
            for match in result.matches
        ],
        "metrics": result.metrics.to_dict(),
    }


def status_document(status: StoreStatus) -> dict[str, Any]:
    """The document of `status --json`, schema facededup/status/1."""
    return {
        "schema": "facededup/status/1",
        "store": status.store,
        "fingerprint": status.fingerprint.to_dict(),
        "images": counts_document(status.images),
        "faces": status.faces,
        "embeddings": status.embeddings,
        "disk_bytes": status.disk_bytes,
        "last_run": _plain(status.last_run),
        "findings": _plain(status.findings),
        "place": dict(status.place),
    }


def verify_document(result: VerifyResult) -> dict[str, Any]:
    """The document of `verify --json`, schema facededup/verify/1."""
    repair = result.repair
    return {
        "schema": "facededup/verify/1",
        "store": result.store,
        "sound": not result.problems,
        "problems": list(result.problems),
        "checked_bytes": result.checked_bytes,
        "seconds": result.seconds,
        "repair": None
        if repair is None
        else {**asdict(repair), "lost": [os.fsdecode(path) for path in repair.lost]},
    }


def forget_document(result: ForgetResult) -> dict[str, Any]:
    """The document of `forget --json`, schema facededup/forget/1."""
    return {"schema": "facededup/forget/1", **asdict(result)}


def copy_document(result: CopyResult) -> dict[str, Any]:
    """The document of `store copy --json`, schema facededup/copy/1."""
    return {"schema": "facededup/copy/1", **asdict(result)}


def models_document(
    models: Iterable[ModelDescription], detectors: Iterable[DetectorDescription]
) -> dict[str, Any]:
    """The document of `models --json`, schema facededup/models/1."""
    return {
        "schema": "facededup/models/1",
        "models": [
            {
                "name": model.name,
                "dimension": model.dimension,
                "input_size": list(model.input_size),
                "operating_cosine": model.operating_cosine,
                "operating_cosine_source": model.operating_cosine_source,
                "licence": model.licence,
                "commercial_use": model.commercial_use,
                "weights": model.weights,
                "weights_file": model.weights_file,
                "weights_bytes": model.weights_bytes,
                "align": model.align,
                "weights_here": [
                    {**asdict(status), "sources": list(sources(status.file_name))}
                    for status in model_status(model.name)
                ],
            }
            for model in models
        ],
        "detectors": [
            {
                "name": detector.name,
                "package": detector.package,
                "missing_module": missing_module(detector),
                "landmarks": detector.landmarks,
                "licence": detector.licence,
                "weights_files": dict(detector.weights_files),
                "missing": list(missing_weights(detector)),
            }
            for detector in detectors
        ],
    }


def diagnosis_document(diagnosis: Diagnosis) -> dict[str, Any]:
    """The document of `doctor --json`, schema facededup/diagnosis/1."""
    return {
        "schema": "facededup/diagnosis/1",
        "works": not diagnosis.problems,
        "checks": [asdict(check) for check in diagnosis.checks],
    }


def write_json(document: Mapping[str, Any], path: str) -> None:
    """Writes a document, one line a top-level field and one line an item of its lists.

    Args:
        document: Plain values; at its top level an iterator counts as a list.
        path: A file, replaced in one step, or `-` for standard output.

    Raises:
        JobError: The file cannot be written.
    """
    with writing(path) as file:
        _dump(document, file)


def _dump(document: Mapping[str, Any], file: TextIO) -> None:
    # json's C encoder does not indent and json.dump does not use it: each item is encoded on its own.
    separator = "{\n"
    for key, value in document.items():
        file.write(f"{separator}{_encode(key)}: ")
        if isinstance(value, list | Iterator):
            between = "[\n"
            for item in value:
                file.write(f"{between}{_encode(item)}")
                between = ",\n"
            file.write("[]" if between == "[\n" else "\n]")
        else:
            file.write(_encode(value))
        separator = ",\n"
    file.write("\n}\n")


def _encode(value: Any) -> str:
    return json.dumps(value, ensure_ascii=True, allow_nan=False)


def _plain(values: Mapping[str, Any] | None) -> dict[str, Any] | None:
    return None if values is None else dict(values)


def counts_document(counts: ImageCounts) -> dict[str, int]:
    """Images by outcome, as every document has them."""
    return {
        "total": counts.total,
        "ok": counts.ok,
        "no_face": counts.no_face,
        "multiple_faces": counts.multiple_faces,
        "failed": counts.failed,
    }


def _box(box: Box) -> list[int]:
    return [box.x, box.y, box.w, box.h]


def _face(face: FaceRef) -> dict[str, Any]:
    return {"path": face.path, "face": face.face, **_tags(face.tags)}


def _tags(tags: Mapping[str, str]) -> dict[str, Any]:
    """A field of its own where a manifest said something of the image."""
    return {"tags": dict(tags)} if tags else {}


def _pair(pair: Pair) -> dict[str, Any]:
    return {
        "a": _face(pair.a),
        "b": _face(pair.b),
        "similarity": pair.similarity,
        "cosine": pair.cosine,
        "new": pair.new,
        "decision": pair.decision,
        "same_photo": pair.same_photo,
        "normalized": pair.normalized,
        "second_similarity": pair.second_similarity,
    }


def _cluster(cluster: Cluster) -> dict[str, Any]:
    return {
        "id": cluster.id,
        "size": cluster.size,
        "min_similarity": cluster.min_similarity,
        "new": cluster.new,
        "faces": [
            {"path": member.path, "face": member.face, "box": _box(member.box), **_tags(member.tags)}
            for member in cluster.faces
        ],
        "mean_similarity": cluster.mean_similarity,
        "medoid": None if cluster.medoid is None else _face(cluster.medoid),
        "bridges": [_face(bridge) for bridge in cluster.bridges],
        "decided": cluster.decided,
    }


def _unencoded(image: Unencoded) -> dict[str, Any]:
    return {
        "path": image.path,
        "outcome": image.outcome.name,
        "reason": image.reason,
        **_tags(image.tags),
    }
