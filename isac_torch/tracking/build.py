"""From a drop to its canonical power problem."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jaxtyping import Float

from isac_torch.propagation.geometry import distance
from isac_torch.propagation.path_loss import umi_los_gain
from isac_torch.tensors import Array, at_columns, namespace
from isac_torch.tracking.channel import by_link, channel_statistics
from isac_torch.tracking.communication import coherent_amplitude, leakage_gain, signal_amplitude
from isac_torch.tracking.problem import MaxMinSinrProblem
from isac_torch.tracking.requirements import require
from isac_torch.tracking.sensing import echo_coefficients
from isac_torch.units import db_to_linear

if TYPE_CHECKING:
    from isac_torch.tracking.channel import LinkStatistics
    from isac_torch.tracking.drop import TrackingDrop
    from isac_torch.tracking.physics import Physics
    from isac_torch.tracking.requirements import Standard
    from isac_torch.tracking.scenario import TrackingScenario


def power_problem(
    drop: TrackingDrop[Array],
    scenario: TrackingScenario,
    sir_min_db: float | None = None,
    *,
    standard: Standard[Array] | None = None,
    budget: Float[Array, "drop ap"] | None = None,
) -> MaxMinSinrProblem[Array]:
    """The max-min SINR problem of every drop under the scenario's sensing requirement.

    Args:
        drop: networks.
        scenario: theirs.
        sir_min_db: replaces the scenario's SIR0, dB.
        standard: what the requirement `dominate` compares with (`tracking.requirements`); default uniform power in these drops.
        budget: of each transmit AP, W; default the scenario's `ap_budgets`.
    """
    required = scenario.sir_min if sir_min_db is None else db_to_linear(sir_min_db)
    budget = scenario.ap_budgets(drop) if budget is None else budget
    sir_min = namespace(budget).full_like(budget[:, 0], required)
    own = scenario.own_coefficients(drop, budget, sir_min)
    if own is not None:
        return _used(require(_used(own, drop), drop, scenario), drop)
    statistics = channel_statistics(drop, scenario)
    plain = _used(network_problem(drop, scenario, statistics, budget, sir_min), drop)
    return _used(require(plain, drop, scenario, standard=standard, statistics=statistics), drop)


def _used(problem: MaxMinSinrProblem[Array], drop: TrackingDrop[Array]) -> MaxMinSinrProblem[Array]:
    return problem if drop.serves is None else problem.with_links(drop.serves)


def network_problem(
    drop: TrackingDrop[Array],
    physics: Physics,
    statistics: LinkStatistics[Array],
    budget: Float[Array, "drop ap"],
    sir_min: Float[Array, " drop"],
) -> MaxMinSinrProblem[Array]:
    """The max-min SINR problem of every drop under constraints on the SIR, for any budgets (W) and SIR0 (linear).

    Tensors or numpy arrays; `statistics` are `channel_statistics` of the drop, or
    those of other arrays (`covariances.link_statistics`).
    """
    xp = namespace(drop.ue_gain)
    noise = physics.noise_power
    gap = distance(xp.concat([drop.tx_position, drop.rx_position], axis=1), drop.target_position)
    echo, cross_echo = echo_coefficients(statistics, drop, physics, gap)
    sensing_gap = at_columns(gap[:, : budget.shape[1]].mT, drop.sensing_ap)
    return MaxMinSinrProblem(
        signal=signal_amplitude(statistics, noise),
        leakage=leakage_gain(statistics, noise),
        coherent=coherent_amplitude(statistics, noise),
        echo=echo,
        cross_echo=cross_echo,
        sir_min=xp.zeros_like(echo[..., 0]) + sir_min[:, None],
        budget=budget,
        link_ap=statistics.link_ap,
        link_gain=by_link(at_columns(drop.ue_gain, drop.serving_ap), umi_los_gain(sensing_gap, physics.carrier_frequency)),
        num_targets=drop.target_position.shape[1],
    )
