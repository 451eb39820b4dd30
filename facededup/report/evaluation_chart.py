"""What `evaluate` measured, as a picture: ROC, DET and cluster quality."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from facededup.errors import JobError, PackageMissingError
from facededup.report.files import check_writable

if TYPE_CHECKING:
    from facededup.evaluation.accuracy import Accuracy
    from facededup.evaluation.pipeline import EvaluateResult


def write_chart(result: EvaluateResult, path: str) -> None:
    """Draws the curves of all images and of each group.

    Args:
        result: What was measured.
        path: A PNG file.

    Raises:
        PackageMissingError: matplotlib is not installed.
        JobError: The file cannot be written.
    """
    check_writable(path)
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as exc:
        raise PackageMissingError(
            "--png needs matplotlib: install it with `pip install 'facededup[evaluate]'`"
        ) from exc
    figure = Figure(figsize=(15, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    roc, det, clusters = figure.subplots(1, 3)
    for name, accuracy in {"all": result.overall, **result.groups}.items():
        _draw_curves(roc, det, name, accuracy)
    roc.set(title="ROC", xlabel="false match rate", ylabel="true match rate")
    det.set(title="DET", xlabel="false match rate", ylabel="false non-match rate")
    _draw_clusters(clusters, result.overall)
    for axes in (roc, det, clusters):
        axes.grid(alpha=0.3)
        if axes.lines:
            axes.legend()
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=100)
    try:
        with open(path, "wb") as file:
            file.write(picture.getvalue())
    except OSError as exc:
        raise JobError(f"cannot write {path!r}: {exc.strerror}") from exc


def _draw_curves(roc: Any, det: Any, name: str, accuracy: Accuracy) -> None:
    # A logarithmic scale has no place for a rate of 0, which is all that small sets may show.
    shown = [(fmr, fnmr) for _, fmr, fnmr in accuracy.curve if fmr > 0]
    wrong = [(fmr, fnmr) for fmr, fnmr in shown if fnmr > 0]
    if shown:
        roc.semilogx(*zip(*((fmr, 1 - fnmr) for fmr, fnmr in shown), strict=True), label=name)
    if wrong:
        det.loglog(*zip(*wrong, strict=True), label=name)
    for point in (*accuracy.operating[:1], *accuracy.points):
        fmr, fnmr, low, high = point.fmr.value, point.fnmr.value, point.fnmr.low, point.fnmr.high
        if fmr and fnmr and low is not None and high is not None:
            bars = [[max(0.0, fnmr - low)], [max(0.0, high - fnmr)]]
            det.errorbar(fmr, fnmr, yerr=bars, color="grey", capsize=2, lw=0.8)


def _draw_clusters(axes: Any, accuracy: Accuracy) -> None:
    thresholds = [quality.threshold for quality in accuracy.clusters]
    for name in ("precision", "recall", "f"):
        pairwise = [getattr(quality.pairwise, name) for quality in accuracy.clusters]
        b_cubed = [getattr(quality.b_cubed, name) for quality in accuracy.clusters]
        line = axes.plot(thresholds, pairwise, label=f"pairwise {name}")[0]
        axes.plot(thresholds, b_cubed, "--", color=line.get_color(), label=f"B-cubed {name}")
    axes.set(title="Clusters", xlabel="threshold", ylabel="share")
