"""Laws of quadratic test statistics: sums of independent exponentials with weights. Equations (44)-(46) of docs/sensing.md.

The energy ||U^H y||^2 of a complex Gaussian vector is sum_i w_i E_i, w the eigenvalues of its covariance and E_i standard
exponentials. Equal weights give chi-square laws; others are found by inverting the Laplace transform prod_i 1 / (1 + w_i s).
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

_TERMS, _EULER = 40, 12
"""Terms of the alternating series, and of them those that Euler's averaging smooths: about 1e-9 in the probabilities."""
_SHIFT = 2.0 * math.log(10.0) * 9.0 / 2.0
"""Sets the error of replacing the inversion integral by a sum: exp(-_SHIFT) = 1e-9."""
_HALVINGS, _SECANTS = 5, 9
"""Steps of the search for a threshold: they meet the false-alarm rate within a thousandth of it."""


def chi_square_threshold(freedom: Int[Tensor, "*shape"], false_alarm: float) -> Float[Tensor, "*shape"]:
    """Threshold of a statistic whose double is chi-square with 2 `freedom` degrees, eq. (44); inf for no degree at all.

    Args: freedom, sum of the ranks; false_alarm, probability of exceeding the threshold.
    """
    known, index = freedom.unique(return_inverse=True)
    shape = known.clamp_min(1).double()
    low, high = torch.zeros_like(shape), shape - 4.0 * math.log(false_alarm) + 4.0 * (-shape * math.log(false_alarm)).sqrt()
    for _ in range(80):
        middle = 0.5 * (low + high)
        above = torch.special.gammaincc(shape, middle) > false_alarm
        low, high = torch.where(above, middle, low), torch.where(above, high, middle)
    return torch.where(known > 0, 0.5 * (low + high), torch.inf)[index]


def weighted_exceedance(weight: Float[Tensor, "*shape n"], level: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """P(sum_i w_i E_i > level), eq. (45), to about 1e-8. Args: weight, 0 where absent; level, not negative.

    Abate and Whitt's Euler algorithm: the series of the Laplace transform (1 - prod_i 1 / (1 + w_i s)) / s on a vertical line,
    its tail averaged.
    """
    safe = torch.where((level > 0) & level.isfinite(), level, 1.0)
    index = torch.arange(_TERMS + _EULER + 1, dtype=weight.dtype, device=weight.device)
    point = torch.complex(torch.full_like(index, _SHIFT), 2.0 * math.pi * index) / 2.0
    laplace = point / safe.unsqueeze(-1)
    product = (1.0 + weight.unsqueeze(-2) * laplace.unsqueeze(-1)).log().sum(-1).neg().exp()
    term = ((1.0 - product) / laplace).real * torch.where(index % 2 == 0, 1.0, -1.0)
    term = torch.cat([0.5 * term[..., :1], term[..., 1:]], dim=-1)
    partial = term.cumsum(-1)[..., _TERMS:]
    binomial = [math.comb(_EULER, k) / 2.0**_EULER for k in range(_EULER + 1)]
    value = (partial * weight.new_tensor(binomial)).sum(-1) * math.exp(_SHIFT / 2.0) / safe
    value = value.clamp(0.0, 1.0)
    present = weight.amax(-1) > 0
    value = torch.where(level.isinf() | ~present, 0.0, value)
    return torch.where((level <= 0) & present, 1.0, value)


def weighted_threshold(weight: Float[Tensor, "*shape n"], false_alarm: float) -> Float[Tensor, "*shape"]:
    """Level that sum_i w_i E_i exceeds with probability `false_alarm`, eq. (46); inf where all weights are 0.

    No weights together exceed their number times the largest of them: chi-square bounds bracket the search.
    """
    largest = weight.amax(-1)
    count = (weight > 0).sum(-1)
    high = largest * chi_square_threshold(count, false_alarm).to(weight).nan_to_num(posinf=1.0)
    low, low_miss = torch.zeros_like(high), torch.full_like(high, -math.log(false_alarm))
    high_miss = _log_excess(weight, high, false_alarm)
    for step in range(_HALVINGS + _SECANTS):
        middle = 0.5 * (low + high)
        if step >= _HALVINGS:
            middle = torch.where(low_miss > high_miss, high - high_miss * (high - low) / (high_miss - low_miss), middle)
        miss = _log_excess(weight, middle, false_alarm)
        above = miss > 0
        # Illinois: the end that stays counts half, so that both ends come in.
        low_miss, high_miss = torch.where(above, miss, 0.5 * low_miss), torch.where(above, 0.5 * high_miss, miss)
        low, high = torch.where(above, middle, low), torch.where(above, high, middle)
    return torch.where(largest > 0, middle, torch.inf)


def _log_excess(weight: Tensor, level: Tensor, false_alarm: float) -> Tensor:
    """Logarithm of the exceedance over the false-alarm rate: nearly straight in the tail."""
    return (weighted_exceedance(weight, level).clamp_min(1e-12) / false_alarm).log()
