"""Laws of quadratic test statistics: sums of independent exponentials with weights. Equations (44)-(46) of docs/sensing.md.

The energy ||U^H y||^2 of a complex Gaussian vector is sum_i w_i E_i, w the eigenvalues of its covariance and E_i standard
exponentials. Equal weights give chi-square laws; others are found by inverting the Laplace transform prod_i 1 / (1 + w_i s).
Tensors or numpy arrays.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from array_api_compat import device
from jaxtyping import Float, Int

from isac_torch.tensors import Array, at_least, constant, counting, namespace

_TERMS, _EULER = 40, 12
"""Terms of the alternating series, and of them those that Euler's averaging smooths: about 1e-9 in the probabilities."""
_SHIFT = 2.0 * math.log(10.0) * 9.0 / 2.0
"""Sets the error of replacing the inversion integral by a sum: exp(-_SHIFT) = 1e-9."""
_FACTORS = 6
"""Of the Laplace transform, multiplied before a division: weights up to 1e50 of the level do not overflow."""
_HALVINGS, _SECANTS = 5, 9
"""Steps of the search for a threshold: they meet the false-alarm rate within a thousandth of it."""
_BISECTIONS = 80


def chi_square_threshold(freedom: Int[Array, "*shape"], false_alarm: float) -> Float[Array, "*shape"]:
    """Threshold of a statistic whose double is chi-square with 2 `freedom` degrees, eq. (44); inf for no degree at all.

    In double precision. Args: freedom, sum of the ranks; false_alarm, probability of exceeding the threshold.
    """
    xp = namespace(freedom)
    known, index = xp.unique_inverse(freedom)
    return xp.asarray([_threshold(int(count), false_alarm) for count in known], dtype=xp.float64, device=device(freedom))[index]


@lru_cache(maxsize=4096)
def _threshold(count: int, false_alarm: float) -> float:
    """Threshold that the sum of `count` standard exponentials exceeds with probability `false_alarm`; inf for none of them."""
    if count <= 0:
        return math.inf
    low, high = 0.0, count - 4.0 * math.log(false_alarm) + 4.0 * math.sqrt(-count * math.log(false_alarm))
    order = np.arange(count)
    log_factorial = np.array([math.lgamma(k + 1.0) for k in order])
    for _ in range(_BISECTIONS):
        middle = 0.5 * (low + high)
        above = np.exp(order * math.log(middle) - middle - log_factorial).sum() > false_alarm
        low, high = (middle, high) if above else (low, middle)
    return 0.5 * (low + high)


def weighted_exceedance(weight: Float[Array, "*shape n"], threshold: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """P(sum_i w_i E_i > threshold), eq. (45), to about 1e-8. Args: weight, 0 where absent; threshold, not negative.

    Abate and Whitt's Euler algorithm: the series of the Laplace transform (1 - prod_i 1 / (1 + w_i s)) / s on a vertical line,
    its tail averaged.
    """
    xp = namespace(weight)
    safe = xp.where((threshold > 0) & xp.isfinite(threshold), threshold, 1.0)
    count = counting(_TERMS + _EULER + 1, weight)
    index = xp.astype(count, weight.dtype)
    laplace = 0.5 * (_SHIFT + 2j * math.pi * index) / safe[..., None]
    product = _transform(weight, laplace)
    sign = xp.where(count % 2 == 0, 1.0, -1.0) * xp.where(count == 0, 0.5, 1.0)
    term = xp.real((1.0 - product) / laplace) * xp.astype(sign, weight.dtype)
    partial = xp.cumulative_sum(term, axis=-1)[..., _TERMS:]
    binomial = constant([math.comb(_EULER, k) / 2.0**_EULER for k in range(_EULER + 1)], weight)
    value = (partial * binomial).sum(-1) * math.exp(_SHIFT / 2.0) / safe
    value = xp.clip(value, 0.0, 1.0)
    present = xp.max(weight, axis=-1) > 0
    value = xp.where(xp.isinf(threshold) | ~present, 0.0, value)
    return xp.where((threshold <= 0) & present, 1.0, value)


def _transform(weight: Float[Array, "*shape n"], laplace: Array) -> Array:
    """prod_i 1 / (1 + w_i s) at every s of `laplace` [*shape, s]; a few factors at a time, which double precision holds."""
    product = namespace(weight).ones_like(laplace)
    for start in range(0, weight.shape[-1], _FACTORS):
        part = 1.0 + weight[..., start, None] * laplace
        for index in range(start + 1, min(start + _FACTORS, weight.shape[-1])):
            part = part * (1.0 + weight[..., index, None] * laplace)
        product = product / part
    return product


def weighted_threshold(weight: Float[Array, "*shape n"], false_alarm: float) -> Float[Array, "*shape"]:
    """Threshold that sum_i w_i E_i exceeds with probability `false_alarm`, eq. (46); inf where all weights are 0.

    No weights together exceed their number times the largest of them: chi-square bounds bracket the search.
    """
    xp = namespace(weight)
    largest = xp.max(weight, axis=-1)
    bound = xp.astype(chi_square_threshold((weight > 0).sum(-1), false_alarm), weight.dtype)
    high = largest * xp.where(xp.isfinite(bound), bound, 1.0)
    low, low_miss = xp.zeros_like(high), xp.full_like(high, -math.log(false_alarm))
    high_miss = _log_excess(weight, high, false_alarm)
    for step in range(_HALVINGS + _SECANTS):
        middle = 0.5 * (low + high)
        if step >= _HALVINGS:
            apart = low_miss > high_miss
            span = xp.where(apart, high_miss - low_miss, 1.0)
            middle = xp.where(apart, high - high_miss * (high - low) / span, middle)
        miss = _log_excess(weight, middle, false_alarm)
        above = miss > 0
        # Illinois: the end that stays counts half, so that both ends come in.
        low_miss, high_miss = xp.where(above, miss, 0.5 * low_miss), xp.where(above, 0.5 * high_miss, miss)
        low, high = xp.where(above, middle, low), xp.where(above, high, middle)
    return xp.where(largest > 0, middle, math.inf)


def _log_excess(
    weight: Float[Array, "*shape n"], threshold: Float[Array, "*shape"], false_alarm: float
) -> Float[Array, "*shape"]:
    """Logarithm of the exceedance over the false-alarm rate: nearly straight in the tail."""
    xp = namespace(weight)
    return xp.log(at_least(weighted_exceedance(weight, threshold), 1e-12) / false_alarm)
