"""From a requirement to the sensing constraints of a problem. Eqs. (64), (68) and (70) of docs/sensing.md."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Generic

from jaxtyping import Float

from isac_torch.tensors import Array, at_least, namespace, tiniest
from isac_torch.tracking.channel import channel_statistics
from isac_torch.tracking.detection import miss_at_reference, sicnr_for_miss
from isac_torch.tracking.fractional import fractional_power
from isac_torch.tracking.information import position_information
from isac_torch.tracking.scan import scan_echoes
from isac_torch.tracking.sicnr_constraints import LinearConstraints, TargetEchoes, sicnr_constraints, target_echoes
from isac_torch.tracking.whitening import active_aps, clutter_power, mean_beams, whitening
from isac_torch.units import db_to_linear

if TYPE_CHECKING:
    from isac_torch.tracking.channel import ChannelStatistics
    from isac_torch.tracking.drop import TrackingDrop
    from isac_torch.tracking.physics import RadarPhysics
    from isac_torch.tracking.position import PositionInformation
    from isac_torch.tracking.problem import MaxMinSinrProblem
    from isac_torch.tracking.requirement import Requirement
    from isac_torch.tracking.whitening import Beams, Whitening


@dataclass(frozen=True)
class Standard(Generic[Array]):
    """How well reference powers sense: what `dominate` compares with.

    Attributes:
        scan: E_c^T u, energy of the echo of every cell of the scan grid, over the noise, or what is enough where that is less.
        sicnr: expected SICNR of every target, linear.
        miss: probability of missing every target; zeros where the requirement has no margin.
        information: h of every target, 1/m2.
    """

    scan: Float[Array, "drop cell"]
    sicnr: Float[Array, "drop target"]
    miss: Float[Array, "drop target"]
    information: Float[Array, "drop target"]


@dataclass(frozen=True)
class _Radar(Generic[Array]):
    """What constraints are made from, at the reference powers.

    compared: powers (W) that `dominate` compares with: uniform ones, or those of fractional power control.
    """

    drop: TrackingDrop[Array]
    scenario: RadarPhysics
    compared: Float[Array, "drop link"]
    beams: Beams[Array]
    seen: Whitening[Array]

    def scan(self) -> Float[Array, "drop cell link"]:
        return scan_echoes(self.drop, self.scenario, self.beams, self.seen)

    def heard(self, scan: Float[Array, "drop cell link"]) -> Float[Array, "drop cell"]:
        """Echo of every cell with the powers that are compared with, but no more than is enough."""
        echo = (scan @ self.compared[..., None])[..., 0]
        enough = self.scenario.requirement.enough_db
        if enough is None:
            return echo
        listening = min(self.scenario.listening_aps, self.drop.rx_position.shape[1])
        directions = active_aps(self.beams, self.drop.tx_position.shape[1], self.seen.samples) * listening
        most = db_to_linear(enough) * namespace(echo).astype(directions, echo.dtype)[:, None]
        return namespace(echo).where(echo > most, most + 0.0 * echo, echo)

    def targets(self) -> TargetEchoes[Array]:
        return target_echoes(self.drop, self.scenario, self.scenario.sensing, self.beams, self.seen)

    def sicnr(self) -> LinearConstraints[Array]:
        return sicnr_constraints(self.targets(), self.beams)

    def miss(self) -> Float[Array, "drop target"]:
        """Of every target at the reference powers; zeros where no margin depends on it."""
        if self.scenario.requirement.margin == 0.0:
            return namespace(self.compared).zeros_like(self.drop.target_position[..., 0])
        return miss_at_reference(self.drop, self.scenario, self.beams, self.targets())

    def position(self, required: Float[Array, "drop target"]) -> PositionInformation[Array]:
        return position_information(self.drop, self.scenario, self.beams, self.seen, required)


def _radar(
    problem: MaxMinSinrProblem[Array],
    drop: TrackingDrop[Array],
    scenario: RadarPhysics,
    statistics: ChannelStatistics[Array],
    reference: Float[Array, "drop link"] | None = None,
) -> _Radar[Array]:
    compared = fractional_power(problem, *scenario.requirement.compared_exponents)
    beams = mean_beams(problem, statistics, compared if reference is None else reference)
    clutter = clutter_power(drop, scenario, scenario.sensing)
    return _Radar(drop, scenario, compared, beams, whitening(beams, clutter, scenario.sensing.samples(scenario)))


def reference_standard(problem: MaxMinSinrProblem[Array], drop: TrackingDrop[Array], scenario: RadarPhysics) -> Standard[Array]:
    """How well uniform power, or the fractional power control that `dominate` names, senses in every drop.

    `problem` is that of the drop, whatever its sensing constraints.
    """
    radar = _radar(problem, drop, scenario, channel_statistics(drop, scenario))
    power = radar.compared
    plain = namespace(power).zeros_like(drop.target_position[..., 0])
    return Standard(
        scan=radar.heard(radar.scan()),
        sicnr=radar.sicnr().quality(power),
        miss=radar.miss(),
        information=radar.position(plain).h(power),
    )


def require(
    problem: MaxMinSinrProblem[Array],
    drop: TrackingDrop[Array],
    scenario: RadarPhysics,
    *,
    standard: Standard[Array] | None = None,
    reference: Float[Array, "drop link"] | None = None,
    statistics: ChannelStatistics[Array] | None = None,
) -> MaxMinSinrProblem[Array]:
    """The same problem with the sensing constraints of `scenario.requirement` in place of its own.

    Args:
        problem: of the drop. Its constraints on the SIR stay where the requirement is of kind `sir`.
        drop: networks.
        scenario: theirs.
        standard: what `dominate` compares with; default the powers that it names in this very drop. Another one, for example
            that of the same sites with other roles, need not be reachable.
        reference: powers (W) at which the clutter's filter is taken; default those that `dominate` compares with, else
            uniform ones.
        statistics: `channel_statistics` of the drop where they are known already.

    Raises:
        ScenarioError: more samples than the coherence block has.
    """
    asked = scenario.requirement
    if asked.kind == "sir":
        return problem
    bare = _without(problem)
    if asked.kind == "none" or (drop.target_position.shape[1] == 0 and asked.kind != "dominate"):
        return bare
    statistics = channel_statistics(drop, scenario) if statistics is None else statistics
    radar = _radar(problem, drop, scenario, statistics, reference)
    if asked.kind == "dominate":
        return _dominate(replace(bare, reference=radar.compared), radar, asked, standard)
    if asked.kind == "position":
        zero = namespace(radar.compared).zeros_like(drop.target_position[..., 0])
        return replace(bare, position=radar.position(zero + asked.position_error**-2))
    echoes = radar.targets()
    found = sicnr_constraints(echoes, radar.beams)
    if asked.kind == "sicnr":
        least = found.noise * 0.0 + db_to_linear(asked.sicnr_min_db)
    else:
        least = sicnr_for_miss(drop, scenario, radar.beams, echoes)
    return replace(bare, echo=found.echo, cross_echo=found.cross_echo, echo_noise=found.noise, sir_min=least)


def _without(problem: MaxMinSinrProblem[Array]) -> MaxMinSinrProblem[Array]:
    """The problem without sensing constraints."""
    none = problem.echo[:, :0]
    return replace(
        problem,
        echo=none,
        cross_echo=none,
        sir_min=problem.sir_min[:, :0],
        echo_noise=None,
        num_cells=0,
        reference=None,
        position=None,
    )


def _dominate(
    problem: MaxMinSinrProblem[Array], radar: _Radar[Array], asked: Requirement, standard: Standard[Array] | None
) -> MaxMinSinrProblem[Array]:
    """R1, R2 and R3, each where its factor is positive."""
    power, targets = radar.compared, radar.drop.target_position.shape[1]
    xp = namespace(power)
    parts: list[tuple[LinearConstraints[Array], Array]] = []
    if asked.sicnr > 0.0 and targets:
        found = radar.sicnr()
        wanted, miss = (found.quality(power), radar.miss()) if standard is None else (standard.sicnr, standard.miss)
        parts.append((found, asked.sicnr * (1.0 + asked.margin * 4.0 * miss * (1.0 - miss)) * wanted))
    if asked.scan > 0.0:
        echo = radar.scan()
        wanted = radar.heard(echo) if standard is None else standard.scan
        echo = echo / at_least(wanted, tiniest(wanted))[..., None]
        one = xp.ones_like(wanted)
        parts.append((LinearConstraints(echo, xp.zeros_like(echo), one), asked.scan * one))
    if asked.position > 0.0 and targets:
        position = radar.position(xp.zeros_like(radar.drop.target_position[..., 0]))
        wanted = position.h(power) if standard is None else standard.information
        problem = replace(problem, position=replace(position, required=asked.position * wanted))
    if not parts:
        return problem
    return replace(
        problem,
        echo=xp.concat([part.echo for part, _ in parts], axis=1),
        cross_echo=xp.concat([part.cross_echo for part, _ in parts], axis=1),
        echo_noise=xp.concat([part.noise for part, _ in parts], axis=1),
        sir_min=xp.concat([required for _, required in parts], axis=1),
        num_cells=parts[-1][0].echo.shape[1] if asked.scan > 0.0 else 0,
    )
