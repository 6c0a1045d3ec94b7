"""The compiled core of the deployed allocator: snapshots in, judged powers out, by the library that `native/` builds.

It does what `DeployedAllocator` does by numpy and onnxruntime, which stay the reference: statistics, network, balancing and the
guard's check with its repair of an unmet sensing constraint and its Newton steps, in one call for a batch and without the
interpreter's lock. The rest it leaves to them: a UE out of an AP's reach, powers that do not settle. An installation without a
compiler has no library; everything then runs by numpy.
"""

from __future__ import annotations

import ctypes
import logging
import math
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from isac_torch.caches import MEBIBYTE, kept
from isac_torch.deployment.card import UNITS
from isac_torch.deployment.library import DROP, LEVELS, MODEL, WANTED, address, native_library
from isac_torch.deployment.patience import Abandoned, question
from isac_torch.deployment.together import rows_of
from isac_torch.errors import BundleError
from isac_torch.propagation.arrays import turned_basis
from isac_torch.propagation.correlation import quadrature_table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from isac_torch.deployment.snapshot import Snapshot
    from isac_torch.tracking.balancing import Constants

SETTLED, LEFT, IMPROVED, REPAIRED, NEARLY = range(5)
"""What became of a drop, as in native/core.h."""
NETWORK: dict[str, Any] = {"system": "tracking-one-shot", "feature_version": 2, "hidden": 32}
"""What a card must say of its network for the core to compute it."""
_REALS = (
    "tx_position", "tx_orientation", "rx_position", "target_position", "ue_position", "ue_azimuth", "ue_elevation", "ue_gain",
    "pilot_power", "ap_power",
)  # fmt: skip
_WHOLES = ("pilot", "serving_ap", "sensing_ap", "listening_ap")
_SIR_MIN = 33
"""Field of `Drop` that holds SIR0."""
_STOPPED = 1
"""What the core returns where an answer is no longer wanted."""
_LAYER = ("norm_link", "norm_node", "node", "link", "mix")
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Solved:
    """Answers of the core for snapshots of one size class.

    Attributes:
        power: W.
        sinr: of each UE, linear.
        sir: of each target with a sensing constraint, linear.
        quantity: by which networks are told from those of the training, in the order of `card.UNITS`.
        outcome: SETTLED where the powers are good as the network gave them, IMPROVED or REPAIRED where they were changed;
            NEARLY where no powers meet every sensing constraint and these are near the best; LEFT where the rows hold nothing
            of use, but for `quantity`.
        missed: of each drop, the target whose sensing constraint the network's powers met least, and the SIR there over SIR0.
    """

    power: Float[ndarray, "drop link"]
    sinr: Float[ndarray, "drop ue"]
    sir: Float[ndarray, "drop constraint"]
    quantity: Float[ndarray, "quantity drop"]
    outcome: Int[ndarray, " drop"]
    missed: Float[ndarray, "drop 2"]


class NativeCore:
    """The library with the weights of one bundle. Holds no state between calls; any thread may call it."""

    def __init__(self, library: ctypes.CDLL, layers: int, weights: Float[ndarray, " weight"], constants: Constants) -> None:
        """See `native_core`."""
        self._run = library.isac_allocate
        self._level = library.isac_level()
        self._weights = weights
        numbers = (
            constants.sensing_cap, constants.least_net_gain, constants.excess_at_zero, constants.excess_cap,
            constants.floor_share, constants.least_share, constants.least_own_gain,
        )  # fmt: skip
        self._model = MODEL.pack(layers, address(weights), *numbers)

    @property
    def level(self) -> str:
        """Instruction set in use, one of LEVELS."""
        return LEVELS[self._level]

    def solve(self, snapshots: Sequence[Snapshot], refine: bool = False) -> Solved:
        """Powers of snapshots of one size class that have passed `check` and are `completed`; good ones improved too.

        Raises Abandoned once they are no longer wanted (`patience`), which is asked between networks and between their steps.
        """
        first, count = snapshots[0], len(snapshots)
        tables = _tables(first.num_antennas, math.radians(first.azimuth_spread_deg), math.sqrt(2.0) * first.angle_error)
        sizes = (
            first.num_aps, first.num_ues, first.num_targets, len(first.rx_position), first.num_antennas,
            first.serving_ap.shape[1], first.sensing_ap.shape[1], first.listening_ap.shape[1], first.pilot_symbols,  # type: ignore[union-attr]  # completed
            first.ue_azimuth is not None, first.echo_gain == "product", len(tables[0]), len(tables[1]), refine,
        )  # fmt: skip
        layout = _layout(sizes, first.carrier_frequency, first.noise_power)
        answers, outcome = np.zeros((count, layout.results[-1])), np.full(count, LEFT, np.int32)
        blocks = rows_of(snapshots, layout.reals), rows_of(snapshots, _WHOLES), answers  # as long as the call lasts
        drops = layout.records([*map(address, (*blocks, *tables))], count)
        drops.view(np.float64)[:, _SIR_MIN] = [one.sir_min for one in snapshots]
        ask = question()
        wanted = WANTED() if ask is None else WANTED(lambda: int(ask()))
        if self._run(self._level, count, address(drops), self._model, wanted, address(outcome)) == _STOPPED:
            raise Abandoned
        power, sinr, sir, quantity, missed = (answers[:, begin:end] for begin, end in pairwise(layout.results))
        rows = len(UNITS) if sir.shape[1] else len(UNITS) - 2
        return Solved(power, sinr, sir, quantity.T[:rows], outcome, missed)

    def agrees(self, snapshot: Snapshot, power: Float[ndarray, "1 link"]) -> bool:
        """Whether the core gives the same powers of a completed snapshot, where it gives any."""
        solved = self.solve([snapshot])
        return solved.outcome[0] != SETTLED or bool(np.allclose(solved.power, power, rtol=1e-3, atol=1e-9))


def native_core(card: Mapping[str, Any], weights: Mapping[str, ndarray] | None, constants: Constants) -> NativeCore | None:
    """The core for one bundle; None, and one line in the log, where there is no library or the bundle is not made for it.

    Args:
        card: of the bundle.
        weights: arrays of its file of weights; None where it has none.
        constants: of its balancing layer.
    """
    library = native_library()
    if library is None:
        return None
    network = card.get("network")
    if weights is None or not isinstance(network, dict) or any(network.get(name) != value for name, value in NETWORK.items()):
        _LOG.info(
            "allocating by numpy: the bundle has no weights for the compiled core; write it again with `isac-torch export`"
        )
        return None
    layers = sum(name.endswith("mix.weight") for name in weights)
    return NativeCore(library, layers, packed_weights(weights, layers), constants)


def weight_shapes(layers: int) -> dict[str, tuple[int, ...]]:
    """Shapes of all weights of a network by their names, in the order in which native/network.h reads them."""
    h = NETWORK["hidden"]
    norm, found = ((h,), (h,)), {"encode_link": ((4, h), (h,)), "encode_node": ((6, h), (h,))}
    for layer in range(layers):
        of_layer = (norm, norm, ((4 * h + 6, h), (h,)), ((4 * h + 4, h), (h,)), ((h, h), (h,)))
        found |= {f"layers.{layer}.{name}": shapes for name, shapes in zip(_LAYER, of_layer, strict=True)}
    found |= dict.fromkeys(("link_head", "owner_head"), ((h, 1), (1,)))
    return {
        f"{name}.{part}": shape for name, both in found.items() for part, shape in zip(("weight", "bias"), both, strict=True)
    }


def packed_weights(weights: Mapping[str, ndarray], layers: int) -> Float[ndarray, " weight"]:
    """All weights in one row, float32. BundleError in one line where they are not those of such a network."""
    shapes = weight_shapes(layers)
    wrong = [name for name, shape in shapes.items() if name not in weights or weights[name].shape != shape]
    if wrong or set(weights) != set(shapes):
        what = wrong[0] if wrong else f"{min(set(weights) - set(shapes))[:40]!r}, which is unknown"
        raise BundleError(
            f"the weights of the bundle are not those of an allocator ({what}); write it again with `isac-torch export`"
        )
    return np.concatenate([np.asarray(weights[name], np.float32).ravel() for name in shapes])


def links_of(snapshot: Snapshot) -> Int[ndarray, " link"]:
    """Transmit AP of each link of a completed snapshot: those of the UEs, then those of the targets."""
    serving, sensing = snapshot.serving_ap, snapshot.sensing_ap
    assert serving is not None  # noqa: S101 - completed
    assert sensing is not None  # noqa: S101 - completed
    return np.concatenate([serving.ravel(), sensing.ravel()])


@kept(64 * MEBIBYTE)
def _tables(antennas: int, spread: float, error: float) -> tuple[ndarray, ndarray, ndarray]:
    """Both quadratures and the turned basis; the same for a size class."""
    return quadrature_table(antennas, spread), quadrature_table(antennas, error), turned_basis(antennas)


@dataclass(frozen=True)
class _Layout:
    """Where the parts of drops of one size lie: in a row for each drop of all given reals, of all indices, and of the answers.

    Attributes:
        record: `Drop` of native/core.h as integers, with offsets in bytes in place of addresses, and 0 for SIR0.
        block: of each field, to which block its offset belongs: the rows of reals, of indices and of answers, the three
            tables, and for what is no address a last one.
        step: of each field, bytes from one drop's row to the next.
        reals: names of the arrays in the rows of reals.
        results: where each part of a row of answers begins, and the end.
    """

    record: Int[ndarray, " field"]
    block: Int[ndarray, " field"]
    step: Int[ndarray, " field"]
    reals: tuple[str, ...]
    results: tuple[int, ...]

    def records(self, address: list[int], count: int) -> Int[ndarray, "drop field"]:
        """`Drop` of every drop, from the addresses of the blocks and tables."""
        one = self.record + np.array([*address, 0])[self.block]
        return one + np.arange(count)[:, None] * self.step


@lru_cache(maxsize=256)
def _layout(sizes: tuple[int, ...], carrier_frequency: float, noise_power: float) -> _Layout:
    """Of drops with the first fields of `Drop`."""
    aps, ues, targets, receivers, _, serving, sensing, listening, *_, by_angles = sizes[:10]
    links, pairs = ues * serving + targets * sensing, ues * aps
    lengths = dict(zip(
        _REALS, (3 * aps, aps, 3 * receivers, 3 * targets, 3 * ues, pairs, pairs, pairs, ues, aps), strict=True
    ))  # fmt: skip
    reals = tuple(name for name in _REALS if name not in (("ue_position",) if by_angles else ("ue_azimuth", "ue_elevation")))
    given = dict(zip(reals, accumulate((lengths[name] for name in reals), initial=0), strict=False))
    wholes = tuple(accumulate((ues, ues * serving, targets * sensing, targets * listening), initial=0))
    results = tuple(accumulate((links, ues, targets if targets > 1 else 0, len(UNITS), 2), initial=0))
    offsets = [8 * given.get(name, 0) for name in _REALS] + [8 * begin for begin in wholes[:-1]] + [0, 0, 0]
    record = DROP.pack(*sizes, *offsets, carrier_frequency, noise_power, 0.0, *(8 * begin for begin in results[:-1]))
    block = [6] * len(sizes) + [0] * len(_REALS) + [1] * len(_WHOLES) + [3, 4, 5] + [6] * 3 + [2] * 5
    row = np.array([8 * sum(lengths[name] for name in reals), 8 * wholes[-1], 8 * results[-1], 0, 0, 0, 0])
    return _Layout(np.frombuffer(record, np.int64), np.array(block), row[block], reals, results)
