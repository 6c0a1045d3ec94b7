"""A learned policy of the APs without torch: its layers from named arrays, its program from `tracking.local`."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from numpy.typing import NDArray

from isac_torch.tracking.local.cell import Layer, advanced, begun, silu
from isac_torch.tracking.local.policy import LocalPolicy, LocalState
from isac_torch.tracking.local.rounds import Channel, Neighbourhoods, clear
from isac_torch.tracking.problem import MaxMinSinrProblem

Numpy = NDArray[Any]
_EPSILON = 1e-5
"""Added to the variance by layers that normalise, as torch does."""


class LocalCells(LocalPolicy[Numpy]):
    """The distributed network of `isac_torch.nn` for numpy arrays: the same program, layers by matrix products."""

    def __init__(self, weights: Mapping[str, Float[ndarray, "..."]]) -> None:
        """Around the weights of a network, named as torch names them. KeyError or ValueError where they are none."""
        self._layers = _layers(weights)
        self._cells: list[Any] = self._layers.cells

    @property
    def rounds(self) -> int:
        """Rounds that are trained."""
        return len(self._cells)

    def begin(
        self, problem: MaxMinSinrProblem[Numpy], known: Neighbourhoods[Numpy], channel: Channel | None = clear
    ) -> LocalState[Numpy]:
        """States before the first round."""
        return begun(self._layers, problem, known, channel)

    def advance(
        self,
        problem: MaxMinSinrProblem[Numpy],
        known: Neighbourhoods[Numpy],
        state: LocalState[Numpy],
        index: int,
        channel: Channel = clear,
        air: MaxMinSinrProblem[Numpy] | None = None,
    ) -> LocalState[Numpy]:
        """States and log shares after one more round."""
        return advanced(self._cells[min(index, self.rounds - 1)], problem, known, state, channel, air or problem)


def _layers(weights: Mapping[str, ndarray]) -> SimpleNamespace:
    """What the dotted names spell out: members of members, numbers in lists, and layers where there are weights and biases."""
    tree: dict[str, Any] = {}
    for name, value in weights.items():
        *path, last = name.split(".")
        place = tree
        for part in path:
            place = place.setdefault(part, {})
        place[last] = np.asarray(value, dtype=np.float64)
    grown: SimpleNamespace = _grown(tree)
    return grown


def _grown(tree: Any) -> Any:
    if not isinstance(tree, dict):
        return tree
    if set(tree) == {"weight", "bias"}:
        return _normalised(**tree) if tree["weight"].ndim == 1 else _linear(**tree)
    members = {name: _grown(member) for name, member in tree.items()}
    if set(members) == {"0", "2"}:
        return _both(members["0"], members["2"])
    if all(name.isdecimal() for name in members):
        return [members[str(index)] for index in range(len(members))]
    return SimpleNamespace(**members)


def _linear(weight: ndarray, bias: ndarray) -> Layer:
    return lambda value: value @ weight.T + bias


def _normalised(weight: ndarray, bias: ndarray) -> Layer:
    def layer(value: ndarray) -> ndarray:
        centred = value - value.mean(-1, keepdims=True)
        spread = np.sqrt((centred**2).mean(-1, keepdims=True) + _EPSILON)
        return np.asarray(centred / spread * weight + bias)

    return layer


def _both(first: Layer, second: Layer) -> Layer:
    return lambda value: second(silu(first(value)))
