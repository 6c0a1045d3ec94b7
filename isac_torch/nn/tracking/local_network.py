"""A learned policy that runs at the APs: no centre, r rounds of messages between neighbours, one program for every node.

Before any message each AP decides from what fractional power control knows; then come rounds, each with weights of its own.
The program is in `tracking.local`, which runs on numpy as well; here are its trainable layers. The answer after any number of
rounds is trained, so that `rounds` is an argument of the call.
"""

from __future__ import annotations

import warnings
from typing import ClassVar

import torch
from torch import Tensor, nn

from isac_torch.tracking.local.cell import LINK_READS, TARGET_READS, UE_READS, advanced, begun
from isac_torch.tracking.local.features import ALONE, NEAR
from isac_torch.tracking.local.policy import LocalPolicy, LocalState
from isac_torch.tracking.local.rounds import Channel, Neighbourhoods, clear
from isac_torch.tracking.problem import MaxMinSinrProblem

_OF_NOISE = (1, 2, 1)
"""How many of the last features of `alone` and `near`, and of the last numbers that a target reads, are about the noise of
sensing constraints, and 0 where they have none: a training without such constraints does not depend on them.
"""


def _two_layers(inputs: int, hidden: int, outputs: int, unread: int = 0) -> nn.Sequential:
    """Two layers; before training they do not read the last `unread` inputs."""
    first = nn.Linear(inputs - unread, hidden)
    if unread:
        first.weight = nn.Parameter(nn.functional.pad(first.weight.detach(), (0, unread)))
        first.in_features = inputs
    return nn.Sequential(first, nn.SiLU(), nn.Linear(hidden, outputs))


def _still(module: nn.Sequential) -> nn.Sequential:
    """The same layers, answering zero before training."""
    for parameter in module[-1].parameters():
        nn.init.zeros_(parameter)
    return module


def _linear(inputs: int, outputs: int) -> nn.Linear:
    """A layer that may have no outputs, of which torch would warn."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Initializing zero-element tensors")
        return nn.Linear(inputs, outputs)


class _AtAp(nn.Module):
    """Layers by which the links of one AP meet."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.norm, self.mix = nn.LayerNorm(hidden), nn.Linear(hidden, hidden)
        self.out = _two_layers(2 * hidden, hidden, hidden)


class _Round(nn.Module):
    """Layers and numbers of one round."""

    def __init__(self, hidden: int, floats: int, prices: int) -> None:
        super().__init__()
        self.norm_link, self.norm_ue, self.norm_target = (nn.LayerNorm(hidden) for _ in range(3))
        self.up_ue, self.up_target = _linear(hidden, floats), _linear(hidden, floats)
        self.ue = _two_layers(hidden + floats + UE_READS, hidden, hidden)
        self.target = _two_layers(hidden + floats + TARGET_READS, hidden, hidden, _OF_NOISE[2])
        self.ue_price, self.target_price = nn.Linear(hidden, 1 + prices), nn.Linear(hidden, 2)
        for layer in (self.ue_price, self.target_price):
            nn.init.normal_(layer.weight, std=0.02)
            nn.init.zeros_(layer.bias)
        self.down_ue, self.down_target = _linear(hidden, floats), _linear(hidden, floats)
        self.fairness = nn.Parameter(torch.tensor(4.0))
        self.log_length = nn.Parameter(torch.tensor(0.0))
        self.own_step, self.own_rest = nn.Parameter(torch.tensor(0.7)), nn.Parameter(torch.tensor(0.3))
        self.read = _two_layers(hidden + LINK_READS + prices + floats, hidden, hidden)
        self.at_ap = _AtAp(hidden)
        self.move = _still(_two_layers(hidden, hidden, 1))


class DistributedNetwork(LocalPolicy[Tensor], nn.Module):
    """Rounds of messages with learned cells; see the module.

    Exit r is the answer after r rounds, of which each has weights of its own.
    """

    SYSTEM: ClassVar[str] = "tracking-distributed"
    FEATURE_VERSION: ClassVar[int] = 3

    def __init__(self, hidden: int = 32, rounds: int = 8, floats: int = 8, prices: int = 2, layers: int = 2) -> None:
        """Cells of width `hidden` for `rounds` rounds.

        Args:
            hidden: width of the private states.
            rounds: rounds that are trained; beyond them the last one is repeated.
            floats: learned numbers of a link's message, each way; 0 leaves the messages of the price steps.
            prices: further prices that every UE announces, besides the classical one.
            layers: layers over each AP's own links before any message.
        """
        super().__init__()
        self.shape = {"hidden": hidden, "rounds": rounds, "floats": floats, "prices": prices, "layers": layers}
        self.encode = _two_layers(ALONE, hidden, hidden, _OF_NOISE[0])
        self.alone = nn.ModuleList(_AtAp(hidden) for _ in range(layers))
        self.first = _still(_two_layers(hidden, hidden, 1))
        self.probe = _still(_two_layers(hidden, hidden, 1))
        self.encode_near = _two_layers(NEAR, hidden, hidden, _OF_NOISE[1])
        self.cells = nn.ModuleList(_Round(hidden, floats, prices) for _ in range(rounds))

    @property
    def rounds(self) -> int:
        """Rounds that are trained."""
        return len(self.cells)

    def begin(self, problem: MaxMinSinrProblem, known: Neighbourhoods, channel: Channel | None = clear) -> LocalState:
        """States before the first round: links know their AP, UEs and targets nothing."""
        return begun(self, problem, known, channel)  # type: ignore[arg-type]  # layers are modules

    def advance(
        self,
        problem: MaxMinSinrProblem,
        known: Neighbourhoods,
        state: LocalState,
        index: int,
        channel: Channel = clear,
        air: MaxMinSinrProblem | None = None,
    ) -> LocalState:
        """States and log shares after one more round."""
        cell = self.cells[min(index, self.rounds - 1)]
        return advanced(cell, problem, known, state, channel, air or problem)  # type: ignore[arg-type]  # layers are modules
