"""A deployed allocator: snapshots of networks in, powers out, by numpy and onnxruntime alone.

    allocator = DeployedAllocator.load("runs/bundle")
    answer = allocator(snapshot)
    answer.power, answer.path, answer.reason

Every answer keeps the budgets; `path` says whether the network's powers were used, repaired or replaced.
"""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from isac_torch.deployment.allocated import Allocated, Sensed, sensed_by, sensed_sir
from isac_torch.deployment.balance import balanced_power
from isac_torch.deployment.bundle import load_bundle, load_weights
from isac_torch.deployment.card import ONNX, OUTPUTS, REFINED, Seen, has_shares, ranges_of
from isac_torch.deployment.compiled import by_core, put
from isac_torch.deployment.completion import completed
from isac_torch.deployment.coverage import covered_first, without_unheard
from isac_torch.deployment.guard import Guarded, guard
from isac_torch.deployment.native import NativeCore, native_core
from isac_torch.deployment.open_roles import chosen_receivers
from isac_torch.deployment.patience import still_wanted
from isac_torch.deployment.schema import EXAMPLE
from isac_torch.deployment.snapshot import Snapshot
from isac_torch.deployment.statistics import coefficients
from isac_torch.deployment.together import alike, all_sound, rows_of, size_classes
from isac_torch.errors import BundleError, DropError
from isac_torch.tracking.balancing import Constants
from isac_torch.tracking.fractional import reference_power
from isac_torch.tracking.nodes import nodes_between
from isac_torch.tracking.share_inputs import SHARE_OUTPUTS, share_inputs
from isac_torch.tracking.share_problem import ShareProblem
from isac_torch.weights import shipped_bundle

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from onnxruntime import InferenceSession, RunOptions

    from isac_torch.deployment.statistics import Coefficients
    from isac_torch.tracking.nodes import Nodes


Answers: TypeAlias = "tuple[Guarded, list[tuple[str, ...]], Sensed]"
"""Guarded powers, what about each network is unlike those of the training, and what the radar gets."""


_SETS = ("serving_ap", "sensing_ap")
"""What names the AP of each link."""
_FIRST_ANSWER = 10.0
"""Seconds that a graph gets for a small network when it is loaded; it needs milliseconds."""
_CHUNK = 32
"""Drops that go through a network of shares at once."""
_FOREIGN = "improved from the reference powers, because the network was trained for a sensing SIR only"


class DeployedAllocator:
    """A trained network with its guard, without torch: one `Snapshot` in, powers in W out. docs/deployment.md.

    The network proposes shares of each AP's budget and floors of the sensing SIR; the balancing layer turns them into powers
    that give all UEs one common SINR,

        (a_k^T sqrt p)^2 = t (N_k^T p + sum_j (c_kj^T sqrt p_j)^2 + 1)   for every UE k,

    and the guard checks budgets and sensing constraints and repairs or replaces what breaks them. An instance holds no state
    between calls and may be called from several threads. Allocators of torch, which answer batches of problems, follow the
    protocol `isac_torch.Allocator`; this class answers snapshots instead.

    Example:
        >>> from isac_torch import DeployedAllocator, Snapshot
        >>> snapshot = Snapshot(
        ...     tx_position=[[0, 0, 10], [400, 0, 10], [200, 350, 10]],   # m
        ...     tx_orientation=[0.8, 2.4, 4.7],                           # rad
        ...     rx_position=[[200, 120, 10]],
        ...     ue_position=[[120, 60, 1.65], [260, 210, 1.65]],
        ...     target_position=[[90, 180, 60], [310, 150, 40]],
        ... )
        >>> answer = DeployedAllocator.load()(snapshot)
        >>> answer.power.shape, answer.path                               # W, one entry a link
        ((12,), 'network')
    """

    def __init__(
        self,
        session: InferenceSession,
        card: dict[str, Any],
        refine: bool = False,
        weights: Mapping[str, ndarray] | None = None,
    ) -> None:
        """Around an open session and, for the compiled core, the bundle's weights; see `load`."""
        self._session = session
        self._seen = Seen(ranges_of(card))
        self._constants = None if has_shares(card) else Constants(**card["balance"])
        self._refine = refine
        self._core: NativeCore | None = None
        if self._constants is not None and weights is not None:
            self._core = native_core(card, weights, self._constants)
        self.card = card

    @classmethod
    def load(
        cls, bundle: Path | str | None = None, threads: int = 1, refine: bool = False, native: bool = True
    ) -> DeployedAllocator:
        """The bundle in a folder that `isac-torch export` wrote.

        Args:
            bundle: the folder; default the bundle that comes with the package.
            threads: of one call of the network. Several callers in threads of their own use the cores better.
            refine: improve every answer by Newton steps: nearer to the optimum, milliseconds later; not above 512 links.
            native: use the compiled core where it is installed; False computes all by numpy and onnxruntime.

        Raises:
            BundleError: the bundle is missing, damaged or of another version, or onnxruntime is not installed.
        """
        folder = shipped_bundle() if bundle is None else Path(bundle)
        session, card = load_bundle(folder, threads)
        allocator = cls(session, card, refine, load_weights(folder, card) if native else None)
        allocator._answer_once(folder)
        return allocator

    @property
    def computes_by(self) -> str:
        """What computes: "numpy", or "compiled" and the instruction set."""
        return "numpy" if self._core is None else f"compiled ({self._core.level})"

    def _answer_once(self, folder: Path) -> None:
        """Run the network on a small example, so that a graph that cannot answer is refused now, in one line."""
        from onnxruntime import RunOptions

        snapshot = Snapshot.from_mapping(EXAMPLE)
        problem, options = coefficients([snapshot]), RunOptions()
        watch = threading.Timer(_FIRST_ANSWER, setattr, (options, "terminate", True))
        watch.start()
        try:
            power = self._run(problem, options)
            good = power.shape == problem.link_ap.shape and bool(np.isfinite(power).all())
            reason = "" if good else f"powers of the shape {power.shape}, or not finite"
            if good and self._core is not None and not self._core.agrees(completed(snapshot), power):
                reason = "its weights and its graph give different powers"
        except Exception as error:  # noqa: BLE001 - onnxruntime raises classes of its own for whatever it cannot run
            reason = " ".join(str(error).split())[:200] or type(error).__name__
        finally:
            watch.cancel()
        if options.terminate:
            reason = f"none in {_FIRST_ANSWER:g} s on a small network"
        if reason:
            raise BundleError(f"{folder / ONNX}: gives no powers ({reason}); write it again with `isac-torch export`")

    def __call__(self, snapshot: Snapshot) -> Allocated:
        """Powers for one network. DropError where it is none."""
        return self.many([snapshot])[0]

    def many(self, snapshots: Sequence[Snapshot]) -> list[Allocated]:
        """Powers for networks of any sizes, in their order; those of one size class are worked off together.

        Raises:
            DropError: a snapshot describes no network; the message names it. Nothing is allocated then.
        """
        begin = time.perf_counter()
        full: list[Snapshot] = []
        groups = alike(snapshots)
        sound = all_sound(snapshots, groups)
        for index, snapshot in enumerate(snapshots):
            try:
                if not sound:
                    snapshot.check()
                full.append(completed(snapshot))
            except DropError as error:
                raise DropError(f"drop {index}: {error}" if len(snapshots) > 1 else str(error)) from None
        checked = (time.perf_counter() - begin) / max(len(snapshots), 1)
        answers: dict[int, Allocated] = {}
        for members in size_classes(full, groups):
            begin = time.perf_counter() - checked * len(members)
            batch = [full[index] for index in members]
            core = self._core if batch[0].requirement.kind == "sir" else None
            found, strange, sensed = self._by_numpy(batch) if core is None else self._by_core(core, batch)
            nodes, links, quality = _nodes_of(batch[0]), rows_of(batch, _SETS), sensed.quality.tolist()
            spent = 1e3 * (time.perf_counter() - begin) / len(members)
            for drop, index in enumerate(members):
                listens, link_ap = chosen_receivers(snapshots[index]), links[drop]
                if len(listens):
                    link_ap = np.delete(np.arange(snapshots[index].num_aps), listens)[link_ap]
                answers[index] = Allocated(
                    power=found.power[drop],
                    link_ap=link_ap,
                    receive_ap=listens,
                    owner_kind=nodes.kind,
                    owner_index=nodes.index,
                    sinr=found.sinr[drop],
                    sir=sensed.sir[drop],
                    sicnr=sensed.sicnr[drop],
                    position_error=sensed.position_error[drop],
                    quality=quality[drop],
                    path=found.path[drop],
                    reason=found.reason[drop],
                    out_of_distribution=strange[drop],
                    milliseconds=spent,
                )
        return [answers[index] for index in range(len(snapshots))]

    def _by_numpy(self, batch: Sequence[Snapshot]) -> Answers:
        """Guarded powers of completed snapshots of one size class, and what about each is unlike those of the training."""
        problem = coefficients(batch)
        found = without_unheard(problem, covered_first(problem, self._guarded))
        return found, self._unlike(problem), sensed_by(problem, found)

    def _by_core(self, core: NativeCore, batch: Sequence[Snapshot]) -> Answers:
        """The same by the compiled core; what it leaves by numpy."""
        found, strange, left = by_core(core, batch, self._seen, self._refine)
        if left:
            rest, unlike, _ = self._by_numpy([batch[drop] for drop in left])
            for row, drop in enumerate(left):
                put(found, drop, rest, row)
                strange[drop] = unlike[row]
        return found, strange, sensed_sir(found, np.array([snapshot.sir_min for snapshot in batch]))

    def _guarded(self, problem: Coefficients) -> Guarded:
        """The network's powers after the guard; improved where asked for, or where the network is known to do badly."""
        if self._constants is None or problem.asks_for_watts:
            return self._guarded_steps(problem)
        unlike = self._seen.outside(problem, REFINED)
        refine = np.array([self._refine or bool(words) for words in unlike])
        found = guard(problem, self.powers(problem), refine)
        if self._refine:
            return found
        reason = [
            f"improved, because {words[0]}" if path == "refined" else text
            for path, words, text in zip(found.path, unlike, found.reason, strict=True)
        ]
        return replace(found, reason=reason)

    def _guarded_steps(self, problem: Coefficients) -> Guarded:
        """Newton steps from shares, or from the reference powers under requirements that the network was not trained for."""
        if self._constants is None:
            return guard(problem, self.powers(problem), True)
        found = guard(problem, reference_power(problem), True)
        reason = [_FOREIGN if path == "refined" else text for path, text in zip(found.path, found.reason, strict=True)]
        return replace(found, reason=reason)

    def _unlike(self, problem: Coefficients) -> list[tuple[str, ...]]:
        """What about each network is unlike those of the training."""
        return self._seen.unlike(problem)

    def powers(self, problem: Coefficients) -> Float[ndarray, "drop link"]:
        """The network's own powers (W), before the guard; NaN where it fails."""
        return self._run(problem)

    def _run(self, problem: Coefficients, options: RunOptions | None = None) -> Float[ndarray, "drop link"]:
        if self._constants is None:
            return self._shares(problem, options) * problem.link_budget
        by_node = problem.by_node
        with np.errstate(all="ignore"):
            parts = []
            for inputs in by_node.network_inputs():
                still_wanted()
                parts.append(self._session.run(OUTPUTS, inputs, options))
            link, node, scale = (np.concatenate(part, dtype=np.float64)[:, 0] for part in zip(*parts, strict=True))
            return balanced_power(by_node, link, node, self._constants, scale)

    def _shares(self, problem: Coefficients, options: RunOptions | None) -> Float[ndarray, "drop link"]:
        """Of each link in its AP's budget, from a network for requirements of every kind."""
        parts = []
        with np.errstate(all="ignore"):  # what single precision cannot hold becomes infinite, and the guard sees to it
            for first in range(0, problem.num_drops, _CHUNK):
                still_wanted()
                some = ShareProblem.of(problem.select(np.arange(first, min(first + _CHUNK, problem.num_drops))))
                inputs = {name: np.ascontiguousarray(value, np.float32) for name, value in share_inputs(some).items()}
                parts.append(self._session.run(SHARE_OUTPUTS, inputs, options)[0])
        return np.concatenate(parts, dtype=np.float64)


def _nodes_of(snapshot: Snapshot) -> Nodes:
    """Whom each link of a completed snapshot serves."""
    serving, sensing = snapshot.serving_ap, snapshot.sensing_ap
    assert serving is not None  # noqa: S101 - completed
    assert sensing is not None  # noqa: S101 - completed
    ues, links = serving.shape
    return nodes_between(ues, links, len(sensing), serving.size + sensing.size)


def __getattr__(name: str) -> Any:
    """Answer for the former name of `DeployedAllocator`: `Allocator` means the protocol of `isac_torch.allocation` now."""
    if name == "Allocator":
        raise ImportError("isac_torch.deployment.allocator.Allocator is isac_torch.DeployedAllocator now; import that")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
