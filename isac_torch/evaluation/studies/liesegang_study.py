"""Numbers behind the figures of Liesegang et al.: networks, associations, powers, tests, and what comes out of them."""

from __future__ import annotations

import hashlib
from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from isac_torch.allocation import allocate
from isac_torch.allocators.registry import named_allocator
from isac_torch.allocators.tracking.batched import BatchedOptimal
from isac_torch.allocators.tracking.heuristics import Fractional
from isac_torch.errors import NpzError
from isac_torch.evaluation.studies.code import code_digest
from isac_torch.evaluation.studies.liesegang_cases import FALSE_ALARMS, Policy, Reading
from isac_torch.files import written_whole
from isac_torch.npz import read_npz
from isac_torch.sensing.detection import CellDrop, one_at_a_time, sample_cells
from isac_torch.sensing.glrt import Glrt
from isac_torch.sensing.pointing import mean_beam_lags
from isac_torch.sensing.quality import OperatingPoint, assess_at
from isac_torch.tensors import cast_floats, cat_tensors, map_tensors, to_db
from isac_torch.tracking.build import power_problem
from isac_torch.tracking.channel import channel_statistics
from isac_torch.tracking.communication import leakage_gain, rate
from isac_torch.tracking.requirement import Requirement

if TYPE_CHECKING:
    from isac_torch.evaluation.studies.liesegang_cases import Case
    from isac_torch.sensing.quality import SensingReport
    from isac_torch.tracking.problem import MaxMinSinrProblem
    from isac_torch.tracking.scenario import TrackingScenario
    from isac_torch.tracking.setup import SensingSetup

_MAX_BYTES = 2**28
"""Of a stored result: 1000 drops x 1000 fadings of ten targets are 80 MB."""
_CHUNK = 64
DOMINATING = ("opc_dominate", "opc_dominate_fair")
"""Designs that must sense no worse than uniform power."""


@dataclass(frozen=True)
class Result:
    """What a case gives.

    Attributes:
        ratio_db: SCNR or SICNR of every target, averaged over the blocks as the case says (every block's beside each other with
            averaging `block`), dB.
        rate: of every UE, bit/s; zeros without data beams.
        miss: probability of missing each target, averaged over the blocks; empty where not asked for.
    """

    ratio_db: Float[Tensor, "drop value"]
    rate: Float[Tensor, "drop ue"]
    miss: Float[Tensor, "drop missed"]


class Study:
    """Runs cases on the same drops and blocks, each once; with a folder, once for all runs.

    Args:
        num_drops: random networks of every case.
        num_blocks: blocks (fading realisations) of every network.
        seed: of networks and blocks.
        checkpoint: weights of the learned allocator, if there are any.
        folder: keeps every result, so that an interrupted run goes on where it stopped; deleting it is always safe.
        reading: how the paper is read.
    """

    def __init__(
        self,
        num_drops: int,
        num_blocks: int,
        seed: int,
        checkpoint: Path | str | None = None,
        folder: Path | None = None,
        reading: Reading | None = None,
    ) -> None:
        self.num_drops, self.num_blocks, self.seed, self.checkpoint = num_drops, num_blocks, seed, checkpoint
        self.reading = Reading() if reading is None else reading
        self._folder = folder
        self._known: dict[tuple[Case, bool], Result] = {}
        self._kept: Tensor | None = None

    def under(self, reading: Reading) -> Study:
        """The same study of another reading; results are shared."""
        other = copy(self)
        other.reading = reading
        return other

    def without(self, group: int, groups: int) -> Study:
        """The same study without every `groups`-th drop, from drop `group` on: for the standard errors of a jackknife."""
        other = copy(self)
        other._kept = torch.arange(self.num_drops) % groups != group
        return other

    def run(self, case: Case, *, with_miss: bool = False) -> Result:
        """The result of a case; a known one costs nothing."""
        result = self._run(case, with_miss)
        return result if self._kept is None else map_tensors(result, lambda values: values[self._kept])

    def _run(self, case: Case, with_miss: bool) -> Result:
        for known in ((case, True), (case, with_miss)):
            if known not in self._known and (stored := self._read(*known)) is not None:
                self._known[known] = stored
            if known in self._known:
                return self._known[known]
        family = self._family(case, with_miss)
        for member, result in zip(family, self._compute(family, with_miss), strict=True):
            self._known[member, with_miss] = result
            self._write(member, with_miss, result)
        return self._known[case, with_miss]

    def _family(self, case: Case, with_miss: bool) -> list[Case]:
        """Cases that differ from this one in the cross-section or the false alarms only, and are asked for as well.

        They are computed together, from the same filters. Powers that are asked to keep a SICNR depend on the cross-section;
        they are computed for themselves.
        """
        if not isinstance(case.policy, Policy) or not (with_miss or case.phase == "tracking"):
            return [case]
        levels = [(level, self.reading.setup.false_alarm) for level in self.reading.sweeps.rcs_dbsm]
        if with_miss and case.clutter_statistics:
            levels += [(0.0, false_alarm) for false_alarm in FALSE_ALARMS]
        setups = [replace(case.setup, rcs_variance_dbsm=level, false_alarm=rate) for level, rate in dict.fromkeys(levels)]
        usual = replace(case, policy=Policy(), clutter_statistics=True, setup=setups[0])
        if case.setup not in setups or usual not in self._swept(with_miss):
            return [case]
        return [replace(case, setup=setup) for setup in setups]

    def _swept(self, with_miss: bool) -> set[Case]:
        """First cases of the sweeps of the cross-section: of figure 2 with miss probabilities, of figure 7 without."""
        reading = self.reading
        factors = reading.sweeps.clutter if with_miss else (reading.setup.clutter_factor,)
        phase = "detection" if with_miss else "tracking"
        return {
            reading.with_setup({"rcs_variance_dbsm": level, "clutter_factor": factor}, phase=phase)
            for level in reading.sweeps.rcs_dbsm
            for factor in factors
        }

    def _path(self, folder: Path, case: Case, with_miss: bool) -> Path:
        """File of a result, named by a checksum of all that decides it."""
        weights = ""
        if self.checkpoint is not None and case.policy == "gnn":
            weights = hashlib.sha256(Path(self.checkpoint).read_bytes()).hexdigest()
        decides = (code_digest(), self.num_drops, self.num_blocks, self.seed, weights, case, with_miss)
        return folder / f"{hashlib.sha256(repr(decides).encode()).hexdigest()[:32]}.npz"

    def _read(self, case: Case, with_miss: bool) -> Result | None:
        """A stored result; None where there is none, or a damaged one."""
        if self._folder is None:
            return None
        try:
            arrays = read_npz(self._path(self._folder, case, with_miss), _MAX_BYTES)
            return Result(*(torch.from_numpy(arrays[name].copy()) for name in ("ratio_db", "rate", "miss")))
        except (FileNotFoundError, NpzError, KeyError, TypeError):
            return None

    def _write(self, case: Case, with_miss: bool, result: Result) -> None:
        if self._folder is None:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        with written_whole(self._path(self._folder, case, with_miss)) as partial:
            np.savez(partial, ratio_db=result.ratio_db.numpy(), rate=result.rate.numpy(), miss=result.miss.numpy())

    def _compute(self, family: list[Case], with_miss: bool) -> list[Result]:
        """Results of cases that differ in the cross-section only."""
        case = family[0]
        cells, setup = self._networks(case)
        problem = _problem(cells, _asked(case, cells.scenario, setup), case, self.seed + 2)
        power = self._powers(case.policy, problem)
        precision = torch.float32 if case.conditions.precision == "single" else torch.float64
        reports = assess_at(
            cast_floats(cells.drop, precision),
            cells.scenario,
            setup,
            power.to(precision),
            Glrt("single" if case.phase == "detection" else case.form, case.clutter_statistics, case.conditions.near),
            [OperatingPoint(member.setup.rcs_variance / setup.rcs_variance, member.setup.false_alarm) for member in family],
            self.num_blocks,
            self.seed + 1,
            truth=cast_floats(cells.truth, precision),
            with_miss=with_miss,
            conditions=(case.conditions.pointing, case.conditions.clutter),
        )
        rates = rate(problem.sinr(power), cells.scenario)
        rates = rates.unflatten(0, (self.num_drops, -1)).mean(1)  # cells in turn: a UE gets the average over the turns
        return [self._result(report, rates, case.conditions.averaging) for report in reports]

    def _result(self, report: SensingReport, rates: Tensor, averaging: str) -> Result:
        quality, miss = cast_floats(report.quality, torch.float64), report.miss
        by_block = averaging == "block"
        if averaging == "energies":
            ratio = quality.signal.mean(1) / quality.disturbance.mean(1).clamp_min(torch.finfo(quality.signal.dtype).tiny)
        else:
            ratio = quality.ratio if by_block else quality.ratio.mean(1)
        if miss is not None and not by_block:
            miss = miss.mean(1)
        return Result(
            ratio_db=to_db(ratio.reshape(self.num_drops, -1)),
            rate=rates,
            miss=ratio.new_zeros(self.num_drops, 0) if miss is None else miss.reshape(self.num_drops, -1),
        )

    def _networks(self, case: Case) -> tuple[CellDrop, SensingSetup]:
        """Networks of a case, with the setup of its association."""
        generator = torch.Generator().manual_seed(self.seed)
        scenario, setup = case.scenario, case.setup
        if case.association in ("tc", "cf"):
            scenario = replace(scenario, serving_aps=scenario.transmit_aps)
        if case.conditions.receivers == "nearest":
            scenario = _nearest_receivers(scenario, case)
        if case.phase == "tracking":
            drop = scenario.sample(self.num_drops, generator=generator)
            return CellDrop(scenario, drop, drop.target_position), setup
        cells = sample_cells(scenario, setup, self.num_drops, generator=generator)
        if case.association in ("utc", "tc"):
            return cells, setup
        share = max(1, setup.samples(scenario) // setup.num_regions)
        return one_at_a_time(cells), replace(setup, sensing_samples=share)

    def _powers(self, policy: Policy | str, problem: MaxMinSinrProblem) -> Tensor:
        if isinstance(policy, Policy):
            return policy_power(policy, problem)
        if policy in ("opc_communication", "opc_sensing"):
            priority: Literal["communication", "sensing"] = "communication" if policy == "opc_communication" else "sensing"
            return allocate(problem, BatchedOptimal(priority=priority)).power
        return allocate(problem, named_allocator(policy, self.checkpoint)).power


def policy_power(policy: Policy, problem: MaxMinSinrProblem) -> Float[Tensor, "drop link"]:
    """Fractional powers, W; without one kind of beams the other fills each AP's budget, and an AP that has none is silent."""
    power = Fractional(policy.comm_exponent, policy.sensing_exponent).propose(problem).power
    if policy.beams == "both":
        return power
    sensing = torch.arange(problem.num_links) >= problem.num_comm_links
    kept = torch.where(sensing == (policy.beams == "probe"), power, 0.0)
    load = problem.ap_load(kept)
    return kept * (problem.budget / torch.where(load > 0, load, 1.0)).gather(1, problem.link_ap)


def _nearest_receivers(scenario: TrackingScenario, case: Case) -> TrackingScenario:
    """The receive APs nearest to the cells or targets, one for each, at most a quarter of all APs."""
    points = case.setup.num_regions if case.phase == "detection" else scenario.num_targets
    count = max(1, min(points, scenario.num_aps // 4))
    return replace(scenario, num_receive_aps=count, receive_selection="nearest_to_target", receive_assignment="nearest")


def _asked(case: Case, scenario: TrackingScenario, setup: SensingSetup) -> TrackingScenario:
    """The scenario with what powers are asked of the radar, whose echoes are those of the setup."""
    asked = scenario.requirement
    if case.policy in DOMINATING and asked.kind != "dominate":
        asked = Requirement("dominate")
    return replace(scenario, sensing=setup, requirement=asked)


def _problem(cells: CellDrop, scenario: TrackingScenario, case: Case, seed: int) -> MaxMinSinrProblem:
    """The power problem of all networks, built piece by piece to bound the memory."""
    pieces = torch.arange(cells.drop.num_drops).split(_CHUNK)
    pointing = case.conditions.pointing
    problems = [power_problem(cells.drop.select(piece), scenario) for piece in pieces]
    if pointing.is_normal and pointing.positions == 0:
        return cat_tensors(problems)
    places = cells.drop.target_position.unsqueeze(2)
    if pointing.positions:
        places = _places(case, scenario, cells, pointing.positions, seed)
    for i, piece in enumerate(pieces):
        some = cells.drop.select(piece)
        lags = mean_beam_lags(some, scenario, pointing, places[piece])
        statistics = channel_statistics(some, scenario, beam_lags=lags)
        problems[i] = replace(problems[i], leakage=leakage_gain(statistics, scenario.noise_power))
    return cat_tensors(problems)


def _places(case: Case, scenario: TrackingScenario, cells: CellDrop, count: int, seed: int) -> Tensor:
    """Random positions [drop, target, place, 3], m, of the paper's (20) and (21).

    A cell may lie anywhere in its region, a target anywhere in the area; both at any height of targets.
    """
    target = cells.drop.target_position
    generator = torch.Generator().manual_seed(seed)
    size = (*target.shape[:2], count, 3)
    share = torch.rand(size, generator=generator, dtype=target.dtype)
    per_side = round(case.setup.num_regions**0.5) if case.phase == "detection" else 1
    side = scenario.side / per_side
    corner = (target[..., :2] / side).floor().clamp(0, per_side - 1).unsqueeze(2)
    ground = (corner + share[..., :2]) * side
    low, high = scenario.target_height_min, scenario.target_height_max
    return torch.cat([ground, low + (high - low) * share[..., 2:]], -1)
