"""The calibrated similarity scale, and what a measured curve says of a cut.

`similarity` 1 is identical and 0.40 is the model's own one-to-one operating point, whatever the model.
Searching compares cosines with `cosine_cut(threshold)`; similarities are only computed for output. A pair
exactly at the cut is kept, even where rounding prints its similarity one unit in the last place lower.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

_OPERATING_DISTANCE = 0.6  # 1 - similarity at the operating point


@overload
def similarity(cosine: float, operating_cosine: float) -> float: ...
@overload
def similarity(cosine: NDArray[Any], operating_cosine: float) -> NDArray[np.float64]: ...
def similarity(cosine: float | NDArray[Any], operating_cosine: float) -> float | NDArray[np.float64]:
    """Cosines on the calibrated scale.

    Args:
        cosine: Inner products of L2-normalised embeddings, a number or an array of any shape.
        operating_cosine: The cosine that similarity 0.40 stands for, below 1.

    Returns:
        The same shape, float64.
    """
    return 1 - _OPERATING_DISTANCE * (1 - _float64(cosine)) / (1 - operating_cosine)


@overload
def cosine_cut(threshold: float, operating_cosine: float) -> float: ...
@overload
def cosine_cut(threshold: NDArray[Any], operating_cosine: float) -> NDArray[np.float64]: ...
def cosine_cut(threshold: float | NDArray[Any], operating_cosine: float) -> float | NDArray[np.float64]:
    """The cosine that a similarity stands for: the inverse of `similarity`.

    Args:
        threshold: Similarities, a number or an array of any shape.
        operating_cosine: The cosine that similarity 0.40 stands for, below 1.

    Returns:
        The same shape, float64.
    """
    return 1 - (1 - _float64(threshold)) * (1 - operating_cosine) / _OPERATING_DISTANCE


def expected_false_match_rate(cosine: float, impostors: Sequence[tuple[float, float]]) -> float | None:
    """The share of pairs of different people whose cosine is at least `cosine`.

    The logarithm of the rate is interpolated linearly between the measured points and continued at both ends
    with the slope of the outermost two, as the tail of the impostor distribution falls about exponentially.

    Args:
        cosine: The cut.
        impostors: Two or more measured (cosine, rate) points by rising cosine, or none.

    Returns:
        The rate, at most 1; None where the model has no measured curve.
    """
    if not impostors:
        return None
    cosines = [point[0] for point in impostors]
    (left, left_rate), slope = _segment(impostors, int(np.searchsorted(cosines, cosine)))
    return math.exp(min(0.0, math.log(left_rate) + slope * (cosine - left)))


def cosine_at_rate(rate: float, impostors: Sequence[tuple[float, float]]) -> float:
    """The cut with a given false match rate: the inverse of `expected_false_match_rate`.

    Args:
        rate: Share of the pairs of different people that may reach the cut, above 0.
        impostors: Two or more measured (cosine, rate) points by rising cosine.

    Returns:
        A cosine; above 1 where no cut is so strict.
    """
    falling = [-point[1] for point in impostors]
    (left, left_rate), slope = _segment(impostors, int(np.searchsorted(falling, -rate)))
    return left + (math.log(rate) - math.log(left_rate)) / slope


def true_match_rate(cosine: float, genuine: Sequence[tuple[float, float]]) -> float | None:
    """The share of pairs of one person whose cosine is at least `cosine`.

    Interpolated linearly between the measured points, held before the first, and falling to 0 at cosine 1.

    Args:
        cosine: The cut.
        genuine: Measured (cosine, share) points by rising cosine, or none.

    Returns:
        The share, None where the model has no measured curve.
    """
    if not genuine:
        return None
    cosines, shares = zip(*genuine, (1.0, 0.0), strict=True)
    return float(np.interp(cosine, cosines, shares))


def _segment(curve: Sequence[tuple[float, float]], place: int) -> tuple[tuple[float, float], float]:
    """The point before `place` (clipped to the curve) and the slope of the logarithm from it to the next."""
    place = min(max(place, 1), len(curve) - 1)
    (left, left_rate), (right, right_rate) = curve[place - 1], curve[place]
    return (left, left_rate), (math.log(right_rate) - math.log(left_rate)) / (right - left)


def _float64(values: float | NDArray[Any]) -> float | NDArray[np.float64]:
    return values.astype(np.float64) if isinstance(values, np.ndarray) else float(values)
