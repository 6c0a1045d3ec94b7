"""What a benchmark row means: pure functions on tensors, from SINR, SIR and violations to the numbers of summary.json.

Which drops count: a drop is *infeasible* when no powers meet its sensing rows (proven), and in *outage* when the certified
bound on its minimum SINR lies below -30 dB. Both kinds are left out of ratios and rates and are counted apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from isac_torch.allocation import FEASIBILITY_TOLERANCE
from isac_torch.evaluation.optimum import Optimum
from isac_torch.tensors import to_db

SIR_MARGIN = 10.0 ** (-0.1 / 10.0)
"""A target's SIR counts as missed below this share (-0.1 dB) of the required one, linear."""

TAIL = 0.05
"""Quantile reported as the p5 of ratios and rates."""

SICNR_FLOOR_DB = -40.0
"""An SICNR below this counts as this where differences in dB are averaged: a target without any echo has none in dB."""

_SENSED_BESIDE = (
    "sicnr_minus_upc_db_mean",
    "sicnr_minus_upc_db_median",
    "sicnr_minus_upc_db_p10",
    "miss_probability_minus_upc",
    "position_error_minus_upc_m",
)


@dataclass(frozen=True)
class Sensed:
    """What true echoes make of an allocator's powers, on the first drops of the set, averaged over drawn blocks.

    Attributes:
        sicnr: of each target, linear.
        miss: probability of missing each target.
        information: sensing mutual information of each target, bit/s; no columns with fewer than two targets.
        position_error: error bound of each target's horizontal position after one look, m, eq. (67) of docs/sensing.md.
    """

    sicnr: Float[Tensor, "drop target"]
    miss: Float[Tensor, "drop target"]
    information: Float[Tensor, "drop constraint"]
    position_error: Float[Tensor, "drop target"]


@dataclass(frozen=True)
class Outcome:
    """What one allocator did on the first drops of the set, as judged by the problem.

    Attributes:
        name: the allocator, as in the table.
        power: W, of each link.
        rate: bit/s, of each UE.
        sinr_min: smallest SINR of each drop, linear.
        sir: SIR of each target, linear; no columns with fewer than two targets.
        sir_min: required SIR of each target, linear.
        budget_violation: worst relative overload of an AP, per drop.
        violation: worst relative violation of any constraint, per drop.
        status: `Status` value of each drop.
        seconds: wall time of allocate() for all these drops, s.
        sensed: by true echoes; None without targets.
        optimum: the certified optimum under what this allocator was asked; None: that of the setting.
    """

    name: str
    power: Float[Tensor, "drop link"]
    rate: Float[Tensor, "drop ue"]
    sinr_min: Float[Tensor, " drop"]
    sir: Float[Tensor, "drop constraint"]
    sir_min: Float[Tensor, "drop constraint"]
    budget_violation: Float[Tensor, " drop"]
    violation: Float[Tensor, " drop"]
    status: Tensor
    seconds: float
    sensed: Sensed | None = None
    optimum: Optimum | None = None

    @property
    def num_drops(self) -> int:
        """Drops that the allocator answered."""
        return self.rate.shape[0]

    @property
    def valid(self) -> Bool[Tensor, " drop"]:
        """Drops without violation of a sensing row or a budget."""
        return self.violation <= FEASIBILITY_TOLERANCE


def rate_ratio(sinr: Float[Tensor, " drop"], optimal_sinr: Float[Tensor, " drop"]) -> Float[Tensor, " drop"]:
    """Minimum rate over the optimum's; bandwidth and overhead cancel. Both arguments linear SINR."""
    return torch.log1p(sinr) / torch.log1p(optimal_sinr)


def capped_ratio(ratio: Float[Tensor, " drop"], valid: Bool[Tensor, " drop"]) -> Float[Tensor, " drop"]:
    """Ratios that give no credit for breaking rules: at most 1 where the allocator violates a constraint."""
    return torch.where(valid, ratio, ratio.clamp_max(1.0))


def sir_violation_rate(sir: Float[Tensor, "drop constraint"], sir_min: Float[Tensor, "drop constraint"]) -> float | None:
    """Share of (drop, target) pairs whose SIR is more than 0.1 dB below the required one; None without pairs."""
    return _mean((sir < SIR_MARGIN * sir_min).double())


BASELINE = "fpc_0_1"
"""Fractional power control that `rate_vs_fpc_0_1` compares with."""


def score(
    outcome: Outcome, optimum: Optimum, baseline: Outcome | None = None, uniform: Outcome | None = None
) -> dict[str, float | int | None]:
    """The row of summary.json of one allocator; an entry is None where no drop (or no target) is there to count.

    Ratios, rates and valid_drop_share run over the counted drops (see `Optimum.counted`), sir_violation_rate over the
    feasible ones, budget_violation_max over all: budgets can be kept on any drop.

    Args:
        outcome: the allocator's answers on the first drops of the set.
        optimum: the certified optimum of at least those drops.
        baseline: fractional power control on at least those drops, to compare minimum rates with.
        uniform: uniform power on at least those drops, to compare rates and sensing with.
    """
    known = optimum.first(outcome.num_drops)
    counted, feasible = known.counted, ~known.infeasible
    valid, rate = outcome.valid[counted], outcome.rate[counted] / 1e6
    ratio = rate_ratio(outcome.sinr_min[counted], known.value[counted])
    capped = capped_ratio(ratio, valid)
    bound = known.upper_bound[counted]
    to_bound = capped_ratio(rate_ratio(outcome.sinr_min[counted], bound), valid)
    base = None if baseline is None else _mean(baseline.rate[: outcome.num_drops][counted].amin(-1) / 1e6)
    least = _mean(rate.amin(-1))
    return {
        "num_drops": outcome.num_drops,
        "min_rate_ratio_mean": _mean(capped),
        "min_rate_ratio_p5": float(capped.quantile(TAIL)) if capped.numel() else None,
        "min_rate_ratio_worst": float(capped.min()) if capped.numel() else None,
        "min_rate_ratio_max": float(ratio[valid].max()) if bool(valid.any()) else None,
        "min_rate_ratio_valid_mean": _mean(torch.where(valid, ratio, torch.zeros_like(ratio))),
        "valid_drop_share": _mean(valid.double()),
        "min_rate_mbps_mean": least,
        "mean_rate_mbps": _mean(rate),
        "sir_violation_rate": sir_violation_rate(outcome.sir[feasible], outcome.sir_min[feasible]),
        "budget_violation_max": float(outcome.budget_violation.max()),
        "ms_per_drop": 1e3 * outcome.seconds / outcome.num_drops,
        "ratio_to_bound_mean": _mean(to_bound) if bool(bound.isfinite().all()) else None,
        "rate_vs_fpc_0_1": least / base if base and least is not None else None,
        "best_effort_sir_mean": best_effort_sir(outcome, known),
        **sensing_score(outcome.sensed),
        "rate_mbps_p5": float(rate.quantile(TAIL)) if rate.numel() else None,
        "power_w_mean": _mean(outcome.power.sum(-1)[counted]),
        "infeasible": int(known.infeasible.sum()),
        "gap_p99": float((1.0 - outcome.sinr_min[counted] / bound).clamp_min(0.0).quantile(0.99)) if bound.numel() else None,
        **beside_uniform(outcome, uniform, counted),
    }


def beside_uniform(outcome: Outcome, uniform: Outcome | None, counted: Bool[Tensor, " drop"]) -> dict[str, float | None]:
    """Rates over those of uniform power, and how much better or worse the radar senses than with uniform power.

    Rates are compared on the counted drops of the allocator: mean over mean of the smallest rates, the smallest ratio of any
    drop, mean over mean of all rates. Sensing is compared on the drops whose true echoes are judged: the mean over targets of
    the difference of SICNR in dB, differences of its median and 10th percentile, of the miss probability, and of the root
    mean square of the position error bound.

    Args:
        outcome: an allocator's answers.
        uniform: those of uniform power; None leaves all entries None.
        counted: drops on which rates are compared.
    """
    names = ("rate_over_upc", "rate_over_upc_worst", "mean_rate_over_upc", *_SENSED_BESIDE)
    row: dict[str, float | None] = dict.fromkeys(names)
    if uniform is None:
        return row
    own, other = outcome.rate[counted], uniform.rate[: outcome.num_drops][counted]
    if own.numel():
        ratio = own.amin(-1) / other.amin(-1)
        row |= {"rate_over_upc": float(own.amin(-1).mean() / other.amin(-1).mean()), "rate_over_upc_worst": float(ratio.min())}
        row["mean_rate_over_upc"] = float(own.mean() / other.mean())
    if outcome.sensed is None or uniform.sensed is None:
        return row
    count = len(outcome.sensed.sicnr)
    mine, theirs = (to_db(sensed.sicnr[:count]).clamp_min(SICNR_FLOOR_DB) for sensed in (outcome.sensed, uniform.sensed))
    miss, error = uniform.sensed.miss[:count], uniform.sensed.position_error[:count]
    values = (
        (mine - theirs).mean(),
        mine.quantile(0.5) - theirs.quantile(0.5),
        mine.quantile(0.1) - theirs.quantile(0.1),
        (outcome.sensed.miss - miss).mean(),
        _root_mean_square(outcome.sensed.position_error) - _root_mean_square(error),
    )
    return row | {name: float(value) for name, value in zip(_SENSED_BESIDE, values, strict=True)}


def best_effort_sir(outcome: Outcome, optimum: Optimum) -> float | None:
    """Mean, over the infeasible drops, of the worst target's SIR over the largest that any powers reach; None without any."""
    known = optimum.infeasible & ~optimum.best_quality.isnan()
    if outcome.sir.shape[1] == 0:
        return None
    return _mean(outcome.sir[known].amin(-1) / optimum.best_quality[known])


def sensing_score(sensed: Sensed | None) -> dict[str, float | None]:
    """SICNR, miss probability and mutual information over all (drop, target) pairs; None without targets (or without SIR)."""
    ratio, miss, information = (None, None, None) if sensed is None else (sensed.sicnr, sensed.miss, sensed.information)
    return {
        "sicnr_db_median": None if ratio is None else _decibel(ratio.quantile(0.5)),
        "sicnr_db_p10": None if ratio is None else _decibel(ratio.quantile(0.1)),
        "miss_probability": None if miss is None else _mean(miss),
        "mutual_information_mbps": None if information is None else _mean(information / 1e6),
        "position_error_m": None if sensed is None else float(_root_mean_square(sensed.position_error)),
    }


def summarise(outcomes: Sequence[Outcome], optimum: Optimum, uniform: Outcome | None = None) -> dict[str, Any]:
    """The content of summary.json: what was left out, and a row per allocator, beside `uniform` power where that is given."""
    baseline = next((outcome for outcome in outcomes if outcome.name == BASELINE), None)
    return {
        "num_drops": optimum.value.shape[0],
        "infeasible": int(optimum.infeasible.sum()),
        "outage": int(optimum.outage.sum()),
        "allocators": {one.name: score(one, one.optimum or optimum, baseline, uniform) for one in outcomes},
    }


def _decibel(ratio: Tensor) -> float | None:
    """In dB; None where nothing is received."""
    return float(to_db(ratio)) if bool(ratio > 0) else None


def _root_mean_square(values: Tensor) -> Tensor:
    return values.square().mean().sqrt()


def _mean(values: Tensor) -> float | None:
    return float(values.mean()) if values.numel() else None
