"""What the cosines of a store mean: their scale, and how many false pairs a cut lets through.

A calibration comes from a file (`--calibration`), else from the store, else from the catalogue.
`facededup evaluate` makes one from labelled faces.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facededup.errors import SettingMismatchError, UsageError
from facededup.models.catalog import describe_model
from facededup.models.curves import CurvePoints, measured_curves
from facededup.models.scores import (
    cosine_at_rate,
    cosine_cut,
    expected_false_match_rate,
    similarity,
    true_match_rate,
)
from facededup.settings import Settings, read_toml
from facededup.store.base import Fingerprint, Snapshot

SCHEMA = "facededup/calibration/1"
STORED_AS = "calibration"
"""The key of a store's `info`."""

_MADE_WITH = ("model", "weights", "detector", "align", "flip", "crops")
_UNSAID = {"crops": 1}
"""What calibrations from before there was a choice were made with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """What the cosines of one way to make embeddings mean.

    Attributes:
        operating_cosine: The cosine that similarity 0.40 stands for, below 1.
        source: `calibration` (a file), `store` or `catalogue`.
        impostors: (cosine, false match rate) points by rising cosine; two or more, or none.
        genuine: (cosine, true match rate) points by rising cosine; two or more, or none.
        facts: Plain values on its making: when, from how many images, people and pairs.
    """

    operating_cosine: float
    source: str
    impostors: CurvePoints = ()
    genuine: CurvePoints = ()
    facts: Mapping[str, Any] = field(default_factory=dict)

    def false_match_rate(self, cosine: float) -> float | None:
        """Share of the pairs of two people at or above a cosine, None where nobody measured it."""
        return expected_false_match_rate(cosine, self.impostors)

    def true_match_rate(self, cosine: float) -> float | None:
        """Share of the pairs of one person at or above a cosine, None where nobody measured it."""
        return true_match_rate(cosine, self.genuine)

    def to_dict(self, fingerprint: Fingerprint) -> dict[str, Any]:
        """As plain values; `fingerprint` says what it holds for."""
        made_with = {name: getattr(fingerprint, name) for name in _MADE_WITH}
        return {
            "schema": SCHEMA,
            **made_with,
            "operating_cosine": self.operating_cosine,
            "facts": dict(self.facts),
            "impostors": [list(point) for point in self.impostors],
            "genuine": [list(point) for point in self.genuine],
        }


def choose_calibration(settings: Settings, fingerprint: Fingerprint, info: Mapping[str, Any]) -> Calibration:
    """The calibration of a run: that of the file given, else the store's, else the catalogue's.

    Args:
        settings: Of the run.
        fingerprint: What made the embeddings.
        info: Of the store; empty without one.

    Raises:
        PathNotFoundError: The file is not there.
        UsageError: It is no calibration.
        SettingMismatchError: It was made for other embeddings.
    """
    if settings.calibration is not None:
        return read_calibration(settings.calibration, fingerprint)
    stored = info.get(STORED_AS)
    if stored is not None:
        return replace(_parsed(stored, fingerprint, "the store's calibration"), source="store")
    curves = measured_curves(
        fingerprint.model,
        fingerprint.detector,
        fingerprint.align,
        flip=fingerprint.flip,
        crops=fingerprint.crops,
    )
    own = curves.operating_cosine if curves else None
    return Calibration(
        operating_cosine=describe_model(fingerprint.model).operating_cosine if own is None else own,
        source="catalogue",
        impostors=curves.impostors if curves else (),
        genuine=curves.genuine if curves else (),
    )


def store_calibration(settings: Settings, snapshot: Snapshot) -> Calibration:
    """`choose_calibration` for an open store."""
    return choose_calibration(settings, snapshot.fingerprint, snapshot.info)


def read_calibration(path: str, fingerprint: Fingerprint) -> Calibration:
    """Reads a file that `evaluate --write-calibration` wrote.

    Args:
        path: Of the file.
        fingerprint: What made the embeddings it is to be used for.

    Raises:
        PathNotFoundError: The file is not there.
        UsageError: It is no calibration.
        SettingMismatchError: It was made for other embeddings.
    """
    return _parsed(read_toml(path, "calibration"), fingerprint, f"the calibration {path!r}")


def calibration_text(calibration: Calibration, fingerprint: Fingerprint) -> str:
    """A calibration as the TOML text that `read_calibration` takes."""
    lines = ["# Made by `facededup evaluate`; for `facededup find --calibration FILE`."]
    document = calibration.to_dict(fingerprint)
    facts = document.pop("facts")
    for name, value in document.items():
        if isinstance(value, list):
            lines += [f"{name} = [", *(f"    {json.dumps(point)}," for point in value), "]"]
        else:
            # Strings, numbers and truth values are written alike in JSON and TOML.
            lines.append(f"{name} = {json.dumps(value)}")
    lines += ["", "[facts]", *(f"{name} = {json.dumps(value)}" for name, value in facts.items())]
    return "\n".join(lines) + "\n"


def _parsed(table: Mapping[str, Any], fingerprint: Fingerprint, what: str) -> Calibration:
    if table.get("schema") != SCHEMA:
        raise UsageError(f"{what} is none: it does not begin with schema {SCHEMA!r}")
    for name in _MADE_WITH:
        own, other = getattr(fingerprint, name), table.get(name, _UNSAID.get(name))
        if own != other:
            raise SettingMismatchError(
                f"{what} holds for {name} {other!r}, and the embeddings were made with {own!r}: "
                f"make one with `facededup evaluate`, or leave it out"
            )
    try:
        calibration = Calibration(
            operating_cosine=float(table["operating_cosine"]),
            source="calibration",
            impostors=_curve(table["impostors"]),
            genuine=_curve(table["genuine"]),
            facts=dict(table.get("facts", {})),
        )
    except (KeyError, TypeError, ValueError) as exc:
        raise UsageError(f"{what} cannot be used: {type(exc).__name__}: {exc}") from exc
    if not -1 < calibration.operating_cosine < 1:
        raise UsageError(f"{what} cannot be used: its operating cosine is not between -1 and 1")
    return calibration


def _curve(points: Any) -> CurvePoints:
    curve = tuple((float(cosine), float(share)) for cosine, share in points)
    cosines, shares = [point[0] for point in curve], [point[1] for point in curve]
    if len(curve) == 1 or cosines != sorted(set(cosines)) or shares != sorted(set(shares), reverse=True):
        raise ValueError("a curve needs two or more points of rising cosine and falling share")
    if not all(0 < share <= 1 for share in shares):
        raise ValueError("the shares of a curve lie above 0 and up to 1")
    return curve


@dataclass(frozen=True, slots=True)
class Cut:
    """Where a search draws the line.

    Attributes:
        threshold: As a similarity.
        cosine: The same as a cosine.
        expected_false_pairs: Pairs of two people to expect, None where no curve was measured.
        true_pairs_kept: Share of the pairs of one person at or above it, likewise.
        extrapolated: The false match rate there is lower than any that was measured.
    """

    threshold: float
    cosine: float
    expected_false_pairs: float | None
    true_pairs_kept: float | None
    extrapolated: bool

    def to_dict(self) -> dict[str, Any]:
        """The expectations, as plain values for the findings."""
        plain = asdict(self)
        return {name: plain[name] for name in ("expected_false_pairs", "true_pairs_kept", "extrapolated")}


def choose_cut(settings: Settings, calibration: Calibration, compared: int) -> Cut:
    """The cut of a search: by its threshold, or by the false pairs it may let through.

    The false match rate times the number of pairs compared, taking all of them for pairs of two people,
    which nearly all of them are in any set large enough for the question to matter.

    Args:
        settings: Of the run.
        calibration: Of the store.
        compared: Number of pairs of faces that are compared.

    Raises:
        UsageError: A budget was given and no impostor curve was measured, or no cut keeps to it.
    """
    rate = _rate_allowed(settings, compared)
    if rate is None:
        threshold = settings.threshold
        cosine = cosine_cut(threshold, calibration.operating_cosine)
    else:
        cosine = _cosine_for(rate, calibration)
        threshold = similarity(cosine, calibration.operating_cosine)
    expected = calibration.false_match_rate(cosine)
    return Cut(
        threshold=threshold,
        cosine=cosine,
        expected_false_pairs=None if expected is None else expected * compared,
        true_pairs_kept=calibration.true_match_rate(cosine),
        extrapolated=bool(calibration.impostors) and cosine > calibration.impostors[-1][0],
    )


def _rate_allowed(settings: Settings, compared: int) -> float | None:
    if settings.fmr is not None:
        return settings.fmr
    if settings.max_false_pairs is not None:
        return min(1.0, settings.max_false_pairs / max(1, compared))
    return None


def _cosine_for(rate: float, calibration: Calibration) -> float:
    if not calibration.impostors:
        raise UsageError(
            "no false match rates were measured for this model, detector and alignment: give --threshold, or "
            "measure them with `facededup evaluate FOLDER --write-calibration store`"
        )
    cosine = cosine_at_rate(rate, calibration.impostors)
    if cosine >= 1:
        raise UsageError(
            f"no threshold keeps the false match rate at {rate:.1e}: even identical faces would be left out; "
            f"allow more false pairs"
        )
    # A rate of 1 is met by any cut; the lowest possible one takes every pair.
    return max(cosine, -1.0) if math.isfinite(cosine) else -1.0


def compared_pairs(image: NDArray[np.int64]) -> int:
    """Number of pairs of faces that are not of one image.

    Args:
        image: int64 (n,), the image of each face.
    """
    faces, in_one_image = len(image), np.bincount(image)
    return faces * (faces - 1) // 2 - int((in_one_image * (in_one_image - 1) // 2).sum())
