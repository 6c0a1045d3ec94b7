"""The distributed policy, deployed: snapshots of networks in, the powers after some rounds of messages out, without torch.

    policy = DeployedPolicy.load(rounds=4)
    answer = policy(snapshot)

Each AP's powers are what its own program would send: a sensing constraint that is missed after the last round or exchange stays
missed, and `reason` names it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from isac_torch.deployment.allocator import DeployedAllocator
from isac_torch.deployment.guard import FALLBACK, Guarded, PathTaken
from isac_torch.deployment.local_layers import LocalCells
from isac_torch.deployment.repair import ROW_TOLERANCE, within_budget
from isac_torch.deployment.schema import EXAMPLE
from isac_torch.deployment.snapshot import Snapshot
from isac_torch.deployment.statistics import Coefficients, coefficients
from isac_torch.deployment.weights_file import WeightsFile
from isac_torch.errors import AllocationError, BundleError, DropError
from isac_torch.tracking.fractional import fractional_power
from isac_torch.tracking.requirement import Requirement
from isac_torch.weights import shipped_policy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from isac_torch.deployment.allocated import Allocated

FILE = WeightsFile("policy", "isac-torch-policy", 1, "tracking-distributed", "distributed export")
MOST_ROUNDS = 64


class DeployedPolicy(DeployedAllocator):
    """A trained distributed policy stopped after some rounds of messages, without torch. docs/distributed.md.

    Example:
        >>> from isac_torch.deployment.local_policy import DeployedPolicy
        >>> from isac_torch.deployment.schema import EXAMPLE
        >>> from isac_torch import Snapshot
        >>> answer = DeployedPolicy.load(rounds=4)(Snapshot.from_mapping(EXAMPLE))
        >>> answer.path, bool((answer.power >= 0).all())                  # power in W, one entry a link
        ('distributed', True)
    """

    def __init__(self, cells: LocalCells, card: dict[str, Any], rounds: int = 4, exchanges: int = 0) -> None:
        """Around loaded layers; see `load`."""
        for name, value in (("rounds", rounds), ("exchanges", exchanges)):
            if not 0 <= value <= MOST_ROUNDS:
                raise AllocationError(f"{name}={value} must be from 0 to {MOST_ROUNDS}")
        self._policy, self._rounds, self._exchanges, self._core = cells, rounds, exchanges, None
        self.card = {**card, "rounds": rounds, "exchanges": exchanges}

    @classmethod
    def load(  # type: ignore[override]
        cls, path: Path | str | None = None, rounds: int = 4, exchanges: int = 0
    ) -> DeployedPolicy:
        """The policy that `isac-torch distributed export` wrote.

        Args:
            path: its file; default the policy that comes with the package.
            rounds: of messages, 0 to 64; beyond those that were trained the last one is repeated.
            exchanges: of promises after them, 0 to 64, by which APs repair sensing constraints that are missed.

        Raises:
            AllocationError: so many rounds or exchanges are not possible.
            BundleError: the file is missing, damaged or no policy.
        """
        file = shipped_policy() if path is None else Path(path)
        weights, card = FILE.read(file)
        try:
            policy = cls(LocalCells(weights), card, rounds, exchanges)
            problem = coefficients([Snapshot.from_mapping(EXAMPLE)])
            good = bool(np.isfinite(policy.powers(problem)).all())
        except (KeyError, ValueError, AttributeError, TypeError, IndexError) as error:
            if isinstance(error, AllocationError):
                raise
            raise BundleError(f"{file}: its layers do not make a policy ({type(error).__name__}); {FILE.remedy}") from None
        if not good:
            raise BundleError(f"{file}: gives no finite powers; {FILE.remedy}")
        return policy

    def powers(self, problem: Coefficients) -> Float[ndarray, "drop link"]:
        """Powers (W) after rounds and exchanges, within every budget."""
        with np.errstate(all="ignore"):
            share = self._policy.answer(problem, self._rounds, self._exchanges)
            return within_budget(problem, np.exp(share) * problem.link_budget)

    def _guarded(self, problem: Coefficients) -> Guarded:
        """The policy's powers; fractional power control's where they are not finite. Missed constraints are named."""
        with np.errstate(all="ignore"):
            power = self.powers(problem)
            finite = np.isfinite(power).all(-1)
            if not finite.all():
                power[~finite] = fractional_power(problem.select(np.flatnonzero(~finite)), *FALLBACK)
            sinr, sir = problem.sinr(power), problem.sir(power)
        path: list[PathTaken] = ["distributed" if good else "fallback_fpc" for good in finite]
        return Guarded(power, path, [_missed(quality) for quality in sir / problem.sir_min], sinr, sir)

    def many(self, snapshots: Sequence[Snapshot]) -> list[Allocated]:
        """As `DeployedAllocator.many`. DropError also where something is required of scan cells or of positions."""
        for index, snapshot in enumerate(snapshots):
            if not _of_targets_alone(snapshot.requirement):
                place = f"drop {index}: " if len(snapshots) > 1 else ""
                raise DropError(
                    f"{place}requirement.kind={snapshot.requirement.kind!r}: the APs' policy knows constraints on the SIR or "
                    "SICNR of targets only; give scan=0 and position=0 with 'dominate', ask for another kind, or take "
                    "policy=central"
                )
        return super().many(snapshots)

    def _unlike(self, problem: Coefficients) -> list[tuple[str, ...]]:
        """Nothing: the card of a policy lists no ranges."""
        return [()] * problem.num_drops


def _of_targets_alone(requirement: Requirement) -> bool:
    """Whether all that is required is of the targets' SIR or SICNR."""
    if requirement.kind == "dominate":
        return requirement.scan == 0.0 and requirement.position == 0.0
    return requirement.kind != "position"


def _missed(quality: Float[ndarray, " constraint"]) -> str:
    """In words: targets whose sensing constraint is missed."""
    short = np.flatnonzero(quality < 1.0 - ROW_TOLERANCE)
    worst = ", ".join(f"{target} at {max(float(quality[target]), 0.0):.3g} of what is required" for target in short)
    return f"sensing constraint of target {worst}; further exchanges may repair it" if worst else ""
