"""Numbers behind the figures of Liesegang et al.: networks, associations, powers, tests, and what comes out of them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
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
from isac_torch.files import written_whole
from isac_torch.npz import read_npz
from isac_torch.sensing.detection import CellDrop, one_at_a_time, sample_cells
from isac_torch.sensing.glrt import Glrt
from isac_torch.sensing.quality import assess
from isac_torch.tensors import cat_tensors, to_db
from isac_torch.tracking.build import power_problem
from isac_torch.tracking.communication import rate
from isac_torch.tracking.requirement import Requirement
from isac_torch.tracking.scenario import TrackingScenario
from isac_torch.tracking.setup import SensingSetup

if TYPE_CHECKING:
    from isac_torch.tracking.problem import MaxMinSinrProblem

Beams = Literal["both", "data", "probe"]
Association = Literal["utc", "tc", "uc", "cf"]

_MAX_BYTES = 2**28
"""Of a stored result: 1000 drops x 1000 fadings of ten targets are 80 MB."""
_CHUNK = 64
DOMINATING = ("opc_dominate", "opc_dominate_fair")
"""Designs that must sense no worse than uniform power."""


@dataclass(frozen=True)
class Policy:
    """Fractional power control with both kinds of beams, or the whole budget of every AP on one kind.

    Attributes:
        comm_exponent: kappa_c.
        sensing_exponent: kappa_s.
        beams: `both`, only `data` (no sensing), or only `probe` (no communication).
    """

    comm_exponent: float = 0.0
    sensing_exponent: float = 0.0
    beams: Beams = "both"

    @property
    def label(self) -> str:
        """What a legend calls it."""
        suffix = {"both": "", "data": ", no sensing", "probe": ", no comm."}[self.beams]
        return f"FPC ({self.comm_exponent:g}, {self.sensing_exponent:g}){suffix}"


@dataclass(frozen=True)
class Case:
    """One curve: a network, powers and a detector.

    Attributes:
        phase: `detection` of cells or `tracking` of targets.
        scenario: the network.
        setup: clutter, reflectivities, cells.
        policy: fractional power control, or the name of an allocator: `opc_communication`, `opc_sensing`, or one of `evaluate`;
            `opc_dominate` and `opc_dominate_fair` are asked to sense no worse than uniform power, with the factors of the
            scenario's requirement where that is `dominate`.
        association: who serves and senses: user- and target-centric (utc), only one of both, or neither (cf).
        clutter_statistics: whether the detector knows them.
        form: test of the tracking phase.
    """

    phase: Literal["detection", "tracking"] = "detection"
    scenario: TrackingScenario = field(default_factory=TrackingScenario)
    setup: SensingSetup = field(default_factory=SensingSetup)
    policy: Policy | str = field(default_factory=Policy)
    association: Association = "utc"
    clutter_statistics: bool = True
    form: Literal["paper", "joint"] = "paper"


@dataclass(frozen=True)
class Result:
    """What a case gives.

    Attributes:
        ratio_db: SCNR or SICNR of every target, averaged over the blocks, dB.
        rate: of every UE, bit/s; zeros without data beams.
        miss: probability of missing each target, averaged over the blocks; empty where not asked for.
    """

    ratio_db: Float[Tensor, "drop target"]
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
    """

    def __init__(
        self, num_drops: int, num_blocks: int, seed: int, checkpoint: Path | str | None = None, folder: Path | None = None
    ) -> None:
        self.num_drops, self.num_blocks, self.seed, self.checkpoint = num_drops, num_blocks, seed, checkpoint
        self._folder = folder
        self._known: dict[tuple[Case, bool], Result] = {}

    def run(self, case: Case, *, with_miss: bool = False) -> Result:
        """The result of a case; a known one costs nothing."""
        for known in ((case, True), (case, with_miss)):
            if known not in self._known and (stored := self._read(*known)) is not None:
                self._known[known] = stored
            if known in self._known:
                return self._known[known]
        result = self._known[case, with_miss] = self._compute(case, with_miss)
        self._write(case, with_miss, result)
        return result

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

    def _compute(self, case: Case, with_miss: bool) -> Result:
        cells, setup = self._networks(case)
        problem = _problem(cells, _asked(case, cells.scenario, setup))
        power = self._powers(case.policy, problem)
        report = assess(
            cells.drop,
            cells.scenario,
            setup,
            power,
            Glrt("single" if case.phase == "detection" else case.form, case.clutter_statistics),
            num_blocks=self.num_blocks,
            seed=self.seed + 1,
            truth=cells.truth,
            with_miss=with_miss,
        )
        ratio, miss = report.quality.ratio.mean(1), report.miss
        rates = rate(problem.sinr(power), cells.scenario)
        empty = ratio.new_zeros(self.num_drops, 0)
        return Result(
            ratio_db=to_db(ratio.reshape(self.num_drops, -1)),
            rate=rates.unflatten(0, (self.num_drops, -1)).mean(1),  # cells in turn: a UE gets the average over the turns
            miss=empty if miss is None else miss.mean(1).reshape(self.num_drops, -1),
        )

    def _networks(self, case: Case) -> tuple[CellDrop, SensingSetup]:
        """Networks of a case, with the setup of its association."""
        generator = torch.Generator().manual_seed(self.seed)
        scenario, setup = case.scenario, case.setup
        if case.association in ("tc", "cf"):
            scenario = replace(scenario, serving_aps=scenario.transmit_aps)
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


def _asked(case: Case, scenario: TrackingScenario, setup: SensingSetup) -> TrackingScenario:
    """The scenario with what powers are asked of the radar."""
    if case.policy not in DOMINATING:
        return scenario
    asked = scenario.requirement if scenario.requirement.kind == "dominate" else Requirement("dominate")
    return replace(scenario, sensing=setup, requirement=asked)


def _problem(cells: CellDrop, scenario: TrackingScenario) -> MaxMinSinrProblem:
    """The power problem of all networks, built piece by piece to bound the memory."""
    pieces = torch.arange(cells.drop.num_drops).split(_CHUNK)
    return cat_tensors([power_problem(cells.drop.select(piece), scenario) for piece in pieces])
