"""What `evaluate` measured, as a JSON document and as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from facededup.evaluation.accuracy import Accuracy, OperatingPoint
from facededup.evaluation.intervals import Rate
from facededup.evaluation.pipeline import EvaluateResult
from facededup.report.files import writing

Table = tuple[str, tuple[str, ...], list[tuple[str, ...]]]
"""A title, headings, rows of cells."""


def evaluation_document(result: EvaluateResult) -> dict[str, Any]:
    """The document of `evaluate --json`, schema facededup/evaluation/1."""
    return {
        "schema": "facededup/evaluation/1",
        "source": result.source,
        "fingerprint": result.fingerprint.to_dict(),
        "operating_cosine": result.operating_cosine,
        "operating_cosine_source": result.operating_cosine_source,
        "overall": _accuracy(result.overall),
        "groups": {name: _accuracy(accuracy) for name, accuracy in result.groups.items()},
        "calibration": result.calibration.to_dict(result.fingerprint),
        "metrics": result.metrics.to_dict(),
    }


def write_markdown(result: EvaluateResult, path: str) -> None:
    """Writes the tables as Markdown.

    Args:
        result: What was measured.
        path: A file, replaced in one step, or `-` for standard output.

    Raises:
        JobError: The file cannot be written.
    """
    with writing(path) as file:
        file.write(f"# Accuracy on {_escaped(result.source)}\n")
        for title, headings, rows in evaluation_tables(result):
            file.write(f"\n## {_escaped(title)}\n\n")
            for row in (headings, ("---",) * len(headings), *rows):
                file.write(f"| {' | '.join(map(_escaped, row))} |\n")


def evaluation_tables(result: EvaluateResult) -> list[Table]:
    """The tables that the terminal and the Markdown file show."""
    overall = result.overall
    made = result.fingerprint
    folds = overall.folds
    facts: list[tuple[str, ...]] = [
        ("made by", f"model {made.model}, detector {made.detector}, {made.align} alignment"),
        ("images", f"{overall.images:,}"),
        ("people", f"{overall.people:,}" if overall.people else "not told"),
        ("images with a face", _percent(overall.detection)),
        ("pairs of one person", f"{overall.genuine_pairs:,}"),
        ("pairs of two people", f"{overall.impostor_pairs:,}"),
        (
            "10-fold accuracy, mean (lowest to highest of 10 draws)",
            "too few pairs"
            if folds is None
            else f"{folds.mean:.4f} ({folds.lowest:.4f} to {folds.highest:.4f})",
        ),
        (
            "equal error rate",
            "none" if overall.equal_error_rate is None else f"{overall.equal_error_rate:.4f}",
        ),
    ]
    tables: list[Table] = [
        ("Summary", ("", ""), facts),
        (
            "Error rates (95% interval)",
            ("", "cosine", "similarity", "false match rate", "true match rate"),
            [_point(point) for point in (*overall.operating, *overall.points)],
        ),
    ]
    if overall.clusters:
        tables.append(("Clusters", _CLUSTER_HEADINGS, _clusters(overall)))
    if overall.poor:
        title = f"What the poorest faces carry, at cosine {overall.poor[0].cosine:.4f}"
        tables.append((title, _POOR_HEADINGS, _poor(overall)))
    if result.groups:
        tables.append(
            (
                "Groups, at the same cut for all",
                (
                    "group",
                    "images",
                    "people",
                    "with a face",
                    "threshold",
                    "false match rate",
                    "true match rate",
                ),
                [row for name, accuracy in result.groups.items() for row in _group(name, accuracy)],
            )
        )
    return tables


_NO_PAIRS = "no pairs"

_CLUSTER_HEADINGS = (
    "threshold",
    "clusters",
    "pairwise precision",
    "recall",
    "F",
    "B-cubed precision",
    "recall",
    "F",
)


_POOR_HEADINGS = (
    "worst faces",
    "quality below",
    "of pairs of one person",
    "of those missed",
    "of pairs of two people",
    "of false matches",
    "true match rate without",
    "false match rate without",
)


def _poor(accuracy: Accuracy) -> list[tuple[str, ...]]:
    return [
        (
            f"{part.share:.0%}",
            f"{part.quality:.3f}",
            f"{part.genuine_pairs:.1%}",
            f"{part.false_non_matches:.1%}",
            f"{part.impostor_pairs:.1%}",
            f"{part.false_matches:.1%}",
            f"{1 - part.fnmr_without:.4f}",
            f"{part.fmr_without:.2e}",
        )
        for part in accuracy.poor
    ]


def _clusters(accuracy: Accuracy) -> list[tuple[str, ...]]:
    return [
        (
            f"{quality.threshold:g}",
            f"{quality.clusters:,}",
            *(
                f"{share:.3f}"
                for agreement in (quality.pairwise, quality.b_cubed)
                for share in (agreement.precision, agreement.recall, agreement.f)
            ),
        )
        for quality in accuracy.clusters
    ]


def _point(point: OperatingPoint) -> tuple[str, ...]:
    name = f"threshold {point.similarity:.2g}" if point.asked is None else f"FMR {point.asked:g}"
    return (name, f"{point.cosine:.4f}", f"{point.similarity:.3f}", _small(point.fmr), _kept(point.fnmr))


def _group(name: str, accuracy: Accuracy) -> Sequence[tuple[str, ...]]:
    return [
        (
            name,
            f"{accuracy.images:,}",
            f"{accuracy.people:,}",
            _percent(accuracy.detection),
            f"{point.similarity:.3f}",
            _small(point.fmr),
            _kept(point.fnmr),
        )
        for point in accuracy.operating
    ]


def _small(rate: Rate) -> str:
    if rate.value is None:
        return _NO_PAIRS
    if rate.value == 0:
        return "none seen"
    return f"{rate.value:.2e}" + (f" ({rate.low:.1e} to {rate.high:.1e})" if rate.low is not None else "")


def _percent(rate: Rate) -> str:
    return f"{rate.value:.2%}" + (f" ({rate.low:.2%} to {rate.high:.2%})" if rate.low is not None else "")


def _kept(rate: Rate) -> str:
    """A false non-match rate as the share that is kept."""
    if rate.value is None:
        return _NO_PAIRS
    if rate.low is None or rate.high is None:
        return f"{1 - rate.value:.4f}"
    return f"{1 - rate.value:.4f} ({1 - rate.high:.4f} to {1 - rate.low:.4f})"


def _accuracy(accuracy: Accuracy) -> dict[str, Any]:
    plain = asdict(accuracy)
    plain["curve"] = [{"cosine": cosine, "fmr": fmr, "fnmr": fnmr} for cosine, fmr, fnmr in accuracy.curve]
    return plain


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
