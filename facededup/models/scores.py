"""The calibrated similarity scale and the false match rate to expect.

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
    segment = min(max(int(np.searchsorted(cosines, cosine)), 1), len(impostors) - 1)
    (left, left_rate), (right, right_rate) = impostors[segment - 1], impostors[segment]
    slope = (math.log(right_rate) - math.log(left_rate)) / (right - left)
    return math.exp(min(0.0, math.log(left_rate) + slope * (cosine - left)))


def _float64(values: float | NDArray[Any]) -> float | NDArray[np.float64]:
    return values.astype(np.float64) if isinstance(values, np.ndarray) else float(values)
