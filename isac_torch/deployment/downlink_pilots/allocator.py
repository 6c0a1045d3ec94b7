"""The deployed allocator of the downlink-pilot system: snapshots of roads in, pilot powers out, by numpy and the compiled core.

    allocator = RoadAllocator.load()
    answer = allocator(snapshot)
    answer.power, answer.path, answer.reason

Every answer keeps the budgets exactly and the localisation bounds wherever powers exist that do; `path` says how it was found.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from isac_torch.deployment.downlink_pilots.compiled import RoadCore, road_core
from isac_torch.deployment.downlink_pilots.merit import powers, start_logits
from isac_torch.deployment.downlink_pilots.network import RoadNetwork
from isac_torch.deployment.downlink_pilots.newton import improved, located
from isac_torch.deployment.downlink_pilots.ranges import UNITS, unlike
from isac_torch.deployment.downlink_pilots.snapshot import EXAMPLE, RoadSnapshot
from isac_torch.deployment.downlink_pilots.statistics import coefficients
from isac_torch.deployment.patience import still_wanted
from isac_torch.deployment.weights_file import WeightsFile
from isac_torch.errors import BundleError, DropError
from isac_torch.weights import shipped_roads

if TYPE_CHECKING:
    from collections.abc import Sequence

    from isac_torch.deployment.downlink_pilots.problem import RoadProblem

RoadPath = Literal["network", "refined", "engine", "best_effort"]
FILE = WeightsFile("network", "isac-torch-roads", 1, "downlink_pilots", "downlink-pilots export")
TOLERANCE = 0.5e-6
"""Relative excess of a localisation bound over Gamma that still counts as met."""


@dataclass(frozen=True)
class RoadAllocated:
    """Pilot powers of one road and how they came about.

    Attributes:
        power: W of a pilot symbol, averaged over the pilot, of each link.
        link_ap: AP of each link.
        owner_kind: "ue" for each link.
        owner_index: which UE.
        nmse: of each UE's channel estimate, linear.
        crb: lower bound on the mean squared position error of each UE, m2; infinite where it cannot be located.
        quality: smallest Gamma over the bound of all UEs.
        path: whose powers these are: the network's; the network's improved by Newton's steps ("refined", if asked for); those
            of the steps because the network missed a bound ("engine"); or, where no powers meet every bound, those of the
            smallest largest bound ("best_effort").
        reason: why not the network's; else empty.
        out_of_distribution: what about the road is unlike those of the training, in words.
        milliseconds: time of the call that was spent on this road.
    """

    power: Float[ndarray, " link"]
    link_ap: Int[ndarray, " link"]
    owner_kind: tuple[str, ...]
    owner_index: Int[ndarray, " link"]
    nmse: Float[ndarray, " ue"]
    crb: Float[ndarray, " ue"]
    quality: float
    path: RoadPath
    reason: str
    out_of_distribution: tuple[str, ...]
    milliseconds: float


class RoadAllocator:
    """A trained network of the downlink-pilot system with its guard, without torch. docs/downlink_pilots.md.

    An instance holds no state between calls and may be called from several threads.

    Example:
        >>> from isac_torch import RoadAllocator, RoadSnapshot
        >>> road = RoadSnapshot(
        ...     ap_position=[[50, 0], [150, 0], [50, 100], [150, 100]],       # m
        ...     ue_position=[[80, 40], [120, 60]],
        ... )
        >>> answer = RoadAllocator.load()(road)
        >>> answer.power.shape, bool((answer.crb < 10.0).all())               # W, one entry a link; m2
        ((8,), True)
    """

    def __init__(self, network: RoadNetwork, card: dict[str, Any], refine: bool = False, core: RoadCore | None = None) -> None:
        """Around a loaded network and, where it is there, the compiled core of it; see `load`."""
        self.network, self._refine, self.card, self._core = network, refine, card, core

    @property
    def computes_by(self) -> str:
        """What computes the network's powers: "numpy", or "compiled" and the instruction set."""
        return "numpy" if self._core is None else f"compiled ({self._core.level})"

    @classmethod
    def load(cls, path: Path | str | None = None, refine: bool = False, native: bool = True) -> RoadAllocator:
        """The network that `isac-torch downlink-pilots export` wrote.

        Args:
            path: its file; default the network that comes with the package.
            refine: improve every answer by Newton's steps: within about 0.1 % of the optimum where no uplink pilot is
                shared; with 8 APs and 6 UEs 0.1 ms later by the compiled core, 3 ms later by numpy.
            native: use the compiled core where it is installed; False computes all by numpy.

        Raises:
            BundleError: the file is missing, damaged or no network of this system.
        """
        file = shipped_roads() if path is None else Path(path)
        weights, card = FILE.read(file)
        try:
            ranges = card["ranges"]
            if set(ranges) != set(UNITS) or not all(np.isfinite([r["least"], r["most"]]).all() for r in ranges.values()):
                raise BundleError(f"{file}: its card lists no ranges of {', '.join(UNITS)}; {FILE.remedy}")
            network = RoadNetwork(weights, card["network"])
            core = road_core(weights, card["network"]) if native else None
            problem = coefficients(RoadSnapshot.from_mapping(EXAMPLE))
            logits = network.logits(problem)
        except (KeyError, ValueError, AttributeError, TypeError, IndexError) as error:
            raise BundleError(f"{file}: its layers do not make a network ({type(error).__name__}); {FILE.remedy}") from None
        if not np.isfinite(logits).all():
            raise BundleError(f"{file}: gives no finite powers; {FILE.remedy}")
        if core is not None and not core.agrees(problem, powers(problem, logits)):
            raise BundleError(f"{file}: the compiled core gives other powers than numpy; {FILE.remedy}")
        return cls(network, card, refine, core)

    def __call__(self, snapshot: RoadSnapshot) -> RoadAllocated:
        """Powers for one road. DropError where it is none."""
        return self.many([snapshot])[0]

    def many(self, snapshots: Sequence[RoadSnapshot]) -> list[RoadAllocated]:
        """Powers for roads of any sizes, in their order, one after the other.

        Raises:
            DropError: a snapshot describes no road; the message names it. Nothing is allocated then.
        """
        for index, snapshot in enumerate(snapshots):
            try:
                snapshot.check()
            except DropError as error:
                raise DropError(f"drop {index}: {error}" if len(snapshots) > 1 else str(error)) from None
        return [self._one(snapshot) for snapshot in snapshots]

    def _one(self, snapshot: RoadSnapshot) -> RoadAllocated:
        begin = time.perf_counter()
        still_wanted()
        problem = coefficients(snapshot)
        with np.errstate(all="ignore"):  # what double precision cannot hold becomes infinite, and the guard sees to it
            power, path, reason = self._guarded(problem)
            nmse, accuracy = problem.nmse(problem.positive(power)), problem.quality(power).value
        ues, aps = power.shape
        return RoadAllocated(
            power=power.ravel(),
            link_ap=np.tile(np.arange(aps), ues),
            owner_kind=("ue",) * power.size,
            owner_index=np.repeat(np.arange(ues), aps),
            nmse=np.maximum(nmse, 0.0),  # rounding at energies of 10^20 over the noise
            crb=problem.crb_max * np.exp(-accuracy),
            quality=float(np.exp(accuracy.min())),
            path=path,
            reason=reason,
            out_of_distribution=unlike(problem, self.card["ranges"]),
            milliseconds=1e3 * (time.perf_counter() - begin),
        )

    def _located(self, problem: RoadProblem, power: Float[ndarray, "ue ap"]) -> Float[ndarray, "ue ap"]:
        found = None if self._core is None else self._core.located(problem, power)
        return located(problem, power) if found is None else found

    def _improved(self, problem: RoadProblem, power: Float[ndarray, "ue ap"]) -> Float[ndarray, "ue ap"]:
        found = None if self._core is None else self._core.improved(problem, power)
        return improved(problem, power) if found is None else found

    def _guarded(self, problem: RoadProblem) -> tuple[Float[ndarray, "ue ap"], RoadPath, str]:
        """Powers (W) that keep every budget, and every bound that can be kept; whose they are, and why."""
        power = None if self._core is None else self._core.powers(problem)
        if power is None:
            logits = self.network.logits(problem)
            power = powers(problem, logits if np.isfinite(logits).all() else start_logits(problem))
        if not np.isfinite(power).all():
            power = problem.even.copy()
        accuracy = problem.quality(power).value
        missed = np.flatnonzero(~(accuracy >= -TOLERANCE))
        if not len(missed) and not self._refine:
            return within_budget(problem, power), "network", ""
        worst = ", ".join(f"{ue} at {np.exp(-accuracy[ue]):.3g} of Gamma" for ue in missed[:8])
        inside = self._located(problem, power) if len(missed) else power
        if not _meets(problem, inside):
            # the largest quality is what best effort means; the network's may be the better one where rounding decides
            best = max((inside, power), key=lambda p: float(np.nan_to_num(problem.quality(p).value, nan=-np.inf).min()))
            return (
                within_budget(problem, best),
                "best_effort",
                f"no powers meet every bound; the network's missed that of UE {worst}",
            )
        better = self._improved(problem, inside)
        if not (_meets(problem, better) and _loss(problem, better) <= _loss(problem, inside)):
            better = inside
        if len(missed):
            return within_budget(problem, better), "engine", f"the network's powers missed the localisation bound of UE {worst}"
        return within_budget(problem, better), "refined", ""


def within_budget(problem: RoadProblem, power: Float[ndarray, "ue ap"]) -> Float[ndarray, "ue ap"]:
    """The same powers (W) with the rounding of the loads above the budgets taken off, and 0 on links that carry none."""
    power = problem.sent(power)
    load = power.sum(0)
    return np.where(load > problem.budget, power * (problem.budget / np.maximum(load, 1e-300)) * (1.0 - 1e-15), power)


def _meets(problem: RoadProblem, power: Float[ndarray, "ue ap"]) -> bool:
    return bool((problem.quality(power).value >= -TOLERANCE).all() and np.isfinite(power).all())


def _loss(problem: RoadProblem, power: Float[ndarray, "ue ap"]) -> float:
    return float((problem.weight * problem.nmse(problem.positive(power))).max())
