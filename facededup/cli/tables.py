"""Results as tables and sentences for a terminal. File names appear escaped, as text and never as markup."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from facededup.cli.text import counted, shown, size
from facededup.faces.weights import missing_module, missing_weights
from facededup.metrics import Metrics
from facededup.models.weights import model_status
from facededup.results import (
    CompareResult,
    Confirmation,
    Diagnosis,
    FindResult,
    ImageCounts,
    IndexResult,
    ManifestCounts,
    SearchResult,
    StoreStatus,
)
from facededup.store.base import Fingerprint
from facededup.types import Cluster, Face, Outcome

if TYPE_CHECKING:
    from facededup.models.catalog import DetectorDescription, ModelDescription

_TOP_CLUSTERS = 20
_FACES_OF_CLUSTER = 4
_PROBLEMS = 5


def print_index(out: Console, result: IndexResult, *, verbose: bool = False) -> None:
    """What `index` did, and the first problems (with `verbose` all that the result lists)."""
    metrics = result.metrics.to_dict()
    summary = _grid()
    if result.found == 0:
        summary.add_row("images found", "0: there is no image file under the given paths")
    else:
        summary.add_row("images found", f"{result.found:,}")
    for label, amount, remark in (
        ("unchanged", result.unchanged, "not read again"),
        ("moved", result.moved, "known images at a new path"),
        ("copies", result.copies, "same bytes as another image, embedded once"),
        ("unresolved", result.unresolved, "same bytes as an image whose folder cannot be reached now"),
    ):
        if amount:
            summary.add_row(f"  {label}", f"{amount:,} ({remark})")
    summary.add_row("  read", f"{result.read:,}{_rate(metrics) if result.read else ''}")
    if result.manifest is not None:
        summary.add_row("manifest", _manifest(result.manifest))
    if result.links_skipped:
        summary.add_row("links skipped", f"{result.links_skipped:,} (--follow-symlinks follows them)")
    if result.read:
        outcomes = _outcomes(result.ok, result.no_face, result.multiple_faces, result.failed)
        summary.add_row("outcomes", outcomes)
        summary.add_row("faces embedded", f"{result.embedded:,}")
    if result.metrics.devices:
        summary.add_row("devices", _devices(result.metrics))
    summary.add_row("store", _store(result.store))
    summary.add_row("  images", _image_counts(result.counts))
    summary.add_row("  faces", f"{result.faces:,} ({_maker(result.fingerprint)})")
    summary.add_row("time", _seconds(metrics))
    out.print(summary)
    _print_problems(out, result, None if verbose else _PROBLEMS)


def _print_problems(out: Console, result: IndexResult, most: int | None) -> None:
    looked_at = {path for path, _ in result.unreadable}
    unknown = result.manifest.unknown_paths if result.manifest else ()
    for path in [path for path in unknown if path not in looked_at][:most]:
        out.print(Text(f"in the manifest, and no image here: {shown(path)}"), soft_wrap=True)
    for path, reason in result.unreadable[:most]:
        out.print(Text(f"not read: {shown(path)}: {shown(reason)}"), soft_wrap=True)
    if most is not None and len(result.unreadable) > most:
        out.print(Text(f"and {len(result.unreadable) - most:,} more not read; --verbose lists all"))
    problems = result.problems[:most]
    if not problems:
        return
    folder = _common_folder(image.path for image in problems)
    _print_heading(out, "Without an embedding", folder)
    table = _table("outcome", "image", "reason")
    for image in problems:
        table.add_row(image.outcome.name, _name(image.path, folder), shown(image.reason))
    out.print(table)
    rest = result.no_face + result.multiple_faces + result.failed - len(problems)
    if rest > 0:
        out.print(Text(f"and {rest:,} more; `facededup find --json FILE` lists all"))


def _manifest(counts: ManifestCounts) -> str:
    changed = f", {counts.changed:,} of the store's updated" if counts.changed else ""
    unknown = f", {counts.unknown:,} not among the images" if counts.unknown else ""
    return f"{counted(counts.images, 'image')} named{changed}{unknown}"


def print_findings(out: Console, notes: Console, result: FindResult) -> None:
    """The summary, the largest clusters, and on `notes` what the user should know before trusting them."""
    if not result.faces:
        sentence = "there is no face to compare: the store has none; `facededup index PATH` adds images"
        out.print(Text(sentence), soft_wrap=True)
        return
    out.print(
        Text(
            f"{counted(result.faces, 'face')} compared at threshold {result.threshold:.4g} = cosine "
            f"{result.cosine_cut:.4f}: {counted(result.pairs_total, 'pair')} in "
            f"{counted(result.clusters_total, 'cluster')}{_expected(result)} "
            f"({_seconds(result.metrics.to_dict())})"
        ),
        soft_wrap=not out.is_terminal,
    )
    if result.clusters:
        _print_clusters(out, result)
    if result.confirmation is not None:
        out.print(Text(_confirmation(result.confirmation, result.threshold)), soft_wrap=not out.is_terminal)
    _note_expectation(notes, result)
    if not result.complete:
        _note(notes, _approximation(result.search))
    if result.suppressed.get("different"):
        _note(notes, f"{counted(result.suppressed['different'], 'pair')} left out: decided to be different")
    if result.decisions.get("contradictions"):
        _note(
            notes,
            f"{counted(result.decisions['contradictions'], '`same` decision')} left out of the clusters: a "
            f"chain of them joins faces decided to be different, and that wins; see `decisions list`",
        )


def note_limit(notes: Console, result: FindResult) -> None:
    """Says where the files that were written do not list everything."""
    if len(result.pairs) < result.pairs_total:
        _note(notes, f"files list {len(result.pairs):,} of {result.pairs_total:,} pairs; --limit 0 lists all")


def _expected(result: FindResult) -> str:
    if result.expected_false_pairs is None:
        return ""
    kept = "" if result.true_pairs_kept is None else f", about {result.true_pairs_kept:.0%} of the true kept"
    return f", about {_amount(result.expected_false_pairs)} false pairs to expect{kept}"


def _confirmation(said: Confirmation, threshold: float) -> str:
    near = f"near the threshold (similarity {threshold:.4g} to {threshold + said.band:.4g})"
    if not said.near:
        return f"second model {said.model}: no pair is {near}"
    unread = f"; {said.unread:,} not looked at again: a photo is gone or changed" if said.unread else ""
    confirmed = f"{said.confirmed:,} of {counted(said.near, 'pair')}"
    return f"second model {said.model} confirms {confirmed} {near}{unread}"


def _note_expectation(notes: Console, result: FindResult) -> None:
    expected = result.expected_false_pairs
    if expected is None:
        return
    if expected > result.pairs_total > 0:
        _note(
            notes,
            f"about {_amount(expected)} false pairs are to be expected at this threshold, more than the "
            f"{result.pairs_total:,} that were found: do not take these for duplicates; --max-false-pairs "
            f"sets a threshold that fits",
        )
    elif expected > result.pairs_total / 2 > 0:
        _note(
            notes,
            "more than half of these pairs may be false at this threshold; --threshold raises it, "
            "--max-false-pairs chooses it",
        )
    if result.extrapolated and result.pairs_total:
        _note(notes, "the false pairs to expect are extrapolated: so low a rate was not measured")


def _approximation(search: Mapping[str, Any]) -> str:
    low, high = search["recall_interval"]
    return (
        f"the search was approximate and found {search['recall']:.2%} of the pairs of "
        f"{search['recall_queries']:,} random faces (95% interval {low:.2%} to {high:.2%}); "
        f"--exact finds all, in about {_duration(search['exact_seconds_expected'])}"
    )


def _print_clusters(out: Console, result: FindResult) -> None:
    top = result.clusters[:_TOP_CLUSTERS]
    folder = _common_folder(member.path for cluster in top for member in cluster.faces)
    _print_heading(out, "Clusters, largest first", folder)
    table = _table("cluster", ">faces", ">min\nsimilarity", "", "images")
    for cluster in top:
        table.add_row(
            cluster.id,
            f"{cluster.size:,}",
            f"{cluster.min_similarity:.3f}",
            Text("new", style="bold green") if cluster.new else "",
            _members(cluster, folder),
        )
    out.print(table)
    if len(top) < result.clusters_total:
        out.print(Text(f"showing {len(top):,} of {result.clusters_total:,} clusters"))


def _members(cluster: Cluster, folder: str) -> Text:
    # The line "+1 more" would take the place of the one face it hides.
    listed = cluster.size if cluster.size <= _FACES_OF_CLUSTER + 1 else _FACES_OF_CLUSTER
    lines = [_face_name(member.path, member.face, folder) for member in cluster.faces[:listed]]
    if cluster.size > listed:
        lines.append(Text(f"+{cluster.size - listed:,} more", style="dim"))
    return Text("\n").join(lines)


def print_search(out: Console, result: SearchResult) -> None:
    """The faces of the image and who in the store looks like each."""
    folder = _common_folder(match.face.path for match in result.matches)
    for number, face in enumerate(result.faces):
        where = _where(number, face)
        matches = [match for match in result.matches if match.probe == number]
        if not matches:
            out.print(Text(f"{where}: nobody in the store looks like it"))
            continue
        _print_heading(out, where, folder)
        table = _table(">similarity", ">cosine", "image")
        for match in matches:
            table.add_row(
                f"{match.similarity:.3f}",
                f"{match.cosine:.4f}",
                _face_name(match.face.path, match.face.face, folder),
            )
        out.print(table)
    if not result.complete:
        out.print("found by the vector index of the database, which may miss some; cosines are exact")
    out.print(
        Text(f"similarity 0.4 is cosine {result.operating_cosine:.4f}: the model's limit for one person"),
        soft_wrap=not out.is_terminal,
    )


def print_comparison(out: Console, result: CompareResult) -> None:
    """Two images, their faces, and how alike these are."""
    for letter, image in (("A", result.a), ("B", result.b)):
        reason = f" ({shown(image.reason)})" if image.reason else ""
        out.print(Text(f"{letter}: {shown(image.path)}: {image.outcome.name}{reason}"), soft_wrap=True)
        for number, face in enumerate(image.faces):
            out.print(Text(f"   {_where(number, face)}, confidence {face.confidence:.2f}"), soft_wrap=True)
    if result.pairs:
        table = _table("face of A", "face of B", ">similarity", ">cosine", "verdict")
        for pair in result.pairs:
            verdict = Text("match", style="bold green") if pair.matches else Text("no match")
            table.add_row(str(pair.a), str(pair.b), f"{pair.similarity:.3f}", f"{pair.cosine:.4f}", verdict)
        out.print()
        out.print(table)
    out.print(
        Text(
            f"threshold {result.threshold:g} is cosine {result.cosine_cut:.4f} ({_maker(result.fingerprint)})"
        ),
        soft_wrap=not out.is_terminal,
    )


def print_status(out: Console, status: StoreStatus) -> None:
    """What is in the store."""
    summary = _grid()
    summary.add_row("store", f"{shown(status.store)} ({size(status.disk_bytes)})")
    summary.add_row("made by", _maker(status.fingerprint))
    summary.add_row("images", _image_counts(status.images))
    summary.add_row("faces", f"{status.faces:,} ({counted(status.embeddings, 'embedding')})")
    summary.add_row("last run", _last_run(status.last_run))
    summary.add_row("findings", _last_findings(status))
    for name, value in status.place.items():
        summary.add_row(name, shown(value))
    out.print(summary)


def note_unsearched(notes: Console, status: StoreStatus) -> None:
    """Warns of findings that know nothing of the faces indexed since."""
    if status.findings is not None and status.findings["unsearched"]:
        late = counted(status.findings["unsearched"], "face")
        _note(notes, f"this leaves out {late} indexed since the last `find`: run `facededup find` again")


def print_diagnosis(out: Console, diagnosis: Diagnosis) -> None:
    """What was looked at, area by area; what is needed and does not work stands out."""
    styles = {"ok": "green", "absent": "dim", "failed": "red"}
    area = ""
    table = _table("", "", "state", "")
    for check in diagnosis.checks:
        style = "bold red" if check in diagnosis.problems else styles[check.state]
        table.add_row(
            check.area if check.area != area else "",
            check.name,
            Text(check.state, style),
            shown(check.detail),
        )
        area = check.area
    out.print(table)


def print_models(out: Console, models: Iterable[ModelDescription]) -> None:
    """The recognition models."""
    table = _table(
        "model",
        ">dim",
        ">input",
        ">cosine\nat 0.4",
        "weights here",
        "commercial\nuse",
        "licence of the weights",
    )
    for model in models:
        here = [
            f"{'/'.join(status.engines)} {size(status.bytes)}"
            for status in model_status(model.name)
            if status.bytes is not None
        ]
        table.add_row(
            model.name,
            f"{model.dimension:,}",
            "x".join(map(str, model.input_size)),
            f"{model.operating_cosine:.2f}",
            ", ".join(here) or "no",
            {True: "yes", False: "no", None: "not stated"}[model.commercial_use],
            model.licence,
        )
    out.print(table)


def print_detectors(out: Console, detectors: Iterable[DetectorDescription]) -> None:
    """The face detectors."""
    out.print()
    table = _table("detector", "landmarks", "package", "installed", "weights here", "licence")
    for detector in detectors:
        missing = missing_weights(detector)
        here = "in the package" if not detector.weights_files else "no" if missing else "yes"
        installed = "yes" if missing_module(detector) is None else "no"
        table.add_row(detector.name, detector.landmarks, detector.package, installed, here, detector.licence)
    out.print(table)


def _grid() -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    return grid


def _table(*headings: str) -> Table:
    """A table; a heading that begins with > is of a column of numbers."""
    # Two blanks between columns and no more: file names are long, and terminals narrow.
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for heading in headings:
        numbers = heading.startswith(">")
        table.add_column(
            heading.removeprefix(">"),
            justify="right" if numbers else "left",
            no_wrap=heading == "cluster",
            overflow="fold",
        )
    return table


def _note(notes: Console, sentence: str) -> None:
    notes.print(Text(f"note: {sentence}"), soft_wrap=True)


def _common_folder(paths: Iterable[str]) -> str:
    """The deepest folder that holds all of the paths; "" where there is none worth naming."""
    folders = {os.path.dirname(path) for path in paths}
    try:
        common = os.path.commonpath(folders) if folders else ""
    except ValueError:  # on Windows: different drives
        return ""
    return "" if os.path.dirname(common) == common else common


def _print_heading(out: Console, title: str, folder: str) -> None:
    under = f" (under {shown(folder)})" if folder else ""
    out.print(Text(f"\n{title}{under}", style="bold"), soft_wrap=True)


def _name(path: str, folder: str) -> Text:
    return Text(shown(os.path.relpath(path, folder) if folder else path))


def _face_name(path: str, face: int, folder: str) -> Text:
    name = _name(path, folder)
    return name.append(f" (face {face})", style="dim") if face else name


def _amount(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def _seconds(metrics: Mapping[str, Any]) -> str:
    return f"{metrics['seconds']:,.1f} s"


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{max(1, minutes)} min"


def _rate(metrics: Mapping[str, Any]) -> str:
    return f" ({metrics['images_per_second']:,.1f} images/s)"


def _outcomes(ok: int, no_face: int, multiple_faces: int, failed: int) -> str:
    amounts = {
        Outcome.OK: ok,
        Outcome.NO_FACE_DETECTED: no_face,
        Outcome.MULTIPLE_FACES_DETECTED: multiple_faces,
        Outcome.FILE_ERROR: failed,
    }
    return ", ".join(f"{outcome.name} {amount:,}" for outcome, amount in amounts.items() if amount) or "none"


def _image_counts(counts: ImageCounts) -> str:
    outcomes = _outcomes(counts.ok, counts.no_face, counts.multiple_faces, counts.failed)
    return f"{counts.total:,} ({outcomes})"


def _devices(metrics: Metrics) -> str:
    stages: dict[str, list[str]] = {}
    for stage, device in metrics.devices.items():
        engine = f" ({metrics.engine})" if stage == "embed" and metrics.engine else ""
        stages.setdefault(device, []).append(f"{stage}{engine}")
    return "; ".join(f"{device}: {', '.join(names)}" for device, names in stages.items())


def _store(location: str) -> str:
    on_disk = f" ({size(os.path.getsize(location))})" if os.path.isfile(location) else ""
    return f"{shown(location)}{on_disk}"


def _where(number: int, face: Face) -> str:
    return f"face {number} at x {face.box.x}, y {face.box.y}, {face.box.w} x {face.box.h} pixels"


def _maker(fingerprint: Fingerprint) -> str:
    crops = f", {fingerprint.crops} cuts" if fingerprint.crops > 1 else ""
    flip = ", with mirrors" if fingerprint.flip else ""
    return (
        f"model {fingerprint.model}, detector {fingerprint.detector}, {fingerprint.align} alignment"
        f"{crops}{flip}, {fingerprint.faces} faces"
    )


def _last_run(run: Mapping[str, Any] | None) -> str:
    if run is None:
        return "none"
    stopped = ", interrupted" if run["interrupted"] else ""
    return (
        f"{run['finished']}: {counted(run['images'], 'image')} read, {counted(run['faces'], 'face')} "
        f"embedded in {run['seconds']:,.1f} s{stopped}"
    )


def _last_findings(status: StoreStatus) -> str:
    findings = status.findings
    if findings is None:
        return "none"
    pairs = counted(findings["pairs"], "pair")
    if status.faces > status.embeddings:  # `find` lists those of the copies, too: another number
        pairs += " without those of copies"
    clusters = counted(findings["clusters"], "cluster")
    late = f", {counted(findings['unsearched'], 'face')} since not searched" if findings["unsearched"] else ""
    return f"{findings['created']}: {pairs}, {clusters} at threshold {findings['threshold']:g}{late}"
