"""The downlink-pilot system in the compiled core: powers of a road by its network and by Newton's steps.

It computes what `RoadNetwork.logits` and `merit.powers` compute by numpy, which stay the reference, in one call and without the
interpreter's lock; and Newton's steps of `newton`. Roads beyond the numbers of double precision are left to numpy, and so are
networks of the first version.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from isac_torch.deployment.library import LEVELS, ROAD, ROAD_MODEL, WANTED, address, native_library
from isac_torch.deployment.patience import Abandoned, question
from isac_torch.downlink_pilots.scenario import RECEIVERS

if TYPE_CHECKING:
    import ctypes
    from collections.abc import Mapping

    from isac_torch.deployment.downlink_pilots.problem import RoadProblem

_SETTLED, _STOPPED = 0, 2
"""What became of a road, as in native/core.h."""
_ROW = 16
"""Columns of the packed weights are padded to a multiple."""
_ARRAYS = ("gain", "estimate", "gram", "same_pilot", "fisher", "crb_max", "weight", "budget")
"""Of a problem, in the order of `Road`."""


class RoadCore:
    """The library with the weights of one network. Holds no state between calls; any thread may call it."""

    def __init__(self, library: ctypes.CDLL, weights: Mapping[str, ndarray], shape: Mapping[str, int]) -> None:
        """See `road_core`."""
        self._run, self._steps, self._level = library.isac_road, library.isac_road_steps, library.isac_level()
        wide = -(-shape["hidden"] // _ROW) * _ROW
        self._weights = _packed(weights, shape, wide)
        sizes = (shape["hidden"], wide, shape["layers"], shape["refinements"], shape["steps"])
        self._model = ROAD_MODEL.pack(*sizes, address(self._weights))

    @property
    def level(self) -> str:
        """Instruction set in use, one of LEVELS."""
        return LEVELS[self._level]

    def powers(self, problem: RoadProblem) -> Float[ndarray, "ue ap"] | None:
        """Powers (W) by the network's logits; None where they, or the powers, are not finite.

        Raises Abandoned once they are no longer wanted (`patience`), which is asked between layers and balancing steps.
        """
        power = np.empty(problem.gain.shape)
        return self._called(self._run, problem, power, self._model)

    def located(self, problem: RoadProblem, power: Float[ndarray, "ue ap"]) -> Float[ndarray, "ue ap"] | None:
        """`newton.located`; None where the steps leave the numbers of double precision. Raises Abandoned as `powers` does."""
        return self._called(self._steps, problem, power.copy(), 1)

    def improved(self, problem: RoadProblem, power: Float[ndarray, "ue ap"]) -> Float[ndarray, "ue ap"] | None:
        """`newton.improved`, the same way."""
        return self._called(self._steps, problem, power.copy(), 0)

    def _called(
        self, function: Any, problem: RoadProblem, power: Float[ndarray, "ue ap"], argument: bytes | int
    ) -> Float[ndarray, "ue ap"] | None:
        """A function of the library on a road, whose answer it writes into `power`."""
        ues, aps = power.shape
        arrays = [np.ascontiguousarray(getattr(problem, name), np.float64) for name in _ARRAYS]  # as long as the call lasts
        serves = None if problem.serves is None else np.ascontiguousarray(problem.serves, np.float64)
        road = ROAD.pack(
            aps, ues, RECEIVERS.index(problem.receiver), problem.orthogonal, *map(address, arrays),
            0 if serves is None else address(serves), address(power),
        )  # fmt: skip
        ask = question()
        outcome = function(self._level, road, argument, WANTED() if ask is None else WANTED(lambda: int(ask())))
        if outcome == _STOPPED:
            raise Abandoned
        return power if outcome == _SETTLED else None

    def agrees(self, problem: RoadProblem, power: Float[ndarray, "ue ap"]) -> bool:
        """Whether the core gives the same powers (W) of a road, where it gives any."""
        found = self.powers(problem)
        return found is None or bool(np.allclose(found, power, rtol=1e-3, atol=1e-9))


def road_core(weights: Mapping[str, ndarray], card: Mapping[str, Any]) -> RoadCore | None:
    """The core for one network; None where there is no library or it does not know such networks.

    Args:
        weights: of the network, by name.
        card: what the file says of the network.

    Raises ValueError or KeyError where the weights are not those of such a network.
    """
    library = native_library()
    if library is None or int(card["feature_version"]) < 2 or int(card["layers"]) < 1:
        return None
    return RoadCore(library, weights, {name: int(card[name]) for name in ("hidden", "layers", "refinements", "steps")})


def _shapes(shape: Mapping[str, int]) -> dict[str, tuple[int, ...]]:
    """Shapes of the weights by their names, in the order in which native/road_network.h reads them."""
    h, first = shape["hidden"], shape["layers"]
    found = dict[str, tuple[int, ...]]()

    def dense(name: str, inputs: int, outputs: int = h) -> None:
        found.update({f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)})

    for name, inputs in (("link", 6), ("ue", 4), ("ap", 2)):
        dense(f"encode.{name}", inputs)
    for index in range(first + shape["refinements"]):
        layer = f"layers.{index}" if index < first else f"refinements.{index - first}"
        for name in ("link", "owner", "ap"):
            found.update({f"{layer}.norm.{name}.{part}": (h,) for part in ("weight", "bias")})
        dense(f"{layer}.to_ap", 2 * h + 1)
        dense(f"{layer}.to_ue", 4 * h + 2)
        for name in ("from_owner.ue", "from_ap", "from_victim.level", "from_victim.share"):
            found[f"{layer}.{name}.weight"] = (h, h)
        dense(f"{layer}.from_link", h + 3)
        dense(f"{layer}.mix", h)
        if index >= first - 1:
            dense(f"heads.{index - first + 1}", h, 1)
    dense("balance.dual", h, 2)
    return found


def _packed(weights: Mapping[str, ndarray], shape: Mapping[str, int], wide: int) -> Float[ndarray, " number"]:
    """All weights in one row: matrices [input, output], those of one or two outputs [output, input], then the paces.

    Raises ValueError where a shape is not that of such a network.
    """
    rows = []
    shapes = _shapes(shape)
    for name, wanted in (shapes | {"balance.pace": (shape["steps"], 4)}).items():
        array = np.asarray(weights[name], np.float64)
        if array.shape != wanted:
            raise ValueError(f"{name} has the shape {array.shape}, not {wanted}")
        if name in shapes:
            matrix = np.atleast_2d(array if name.startswith(("heads", "balance")) else array.T)
            array = np.pad(matrix, ((0, 0), (0, wide - matrix.shape[1])))
        rows.append(array.ravel())
    return np.concatenate(rows)
