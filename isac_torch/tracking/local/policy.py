"""What policies that run at the APs have in common: nodes that hold a state, and rounds of messages that change it."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import Any, Generic

from jaxtyping import Bool, Float

from isac_torch.tensors import Array
from isac_torch.tracking.local.following import Heard, gone_ahead
from isac_torch.tracking.local.promises import settled
from isac_torch.tracking.local.rounds import Channel, Neighbourhoods, clear, neighbourhoods, on_common_scale
from isac_torch.tracking.problem import MaxMinSinrProblem


@dataclass(frozen=True)
class LocalState(Generic[Array]):
    """What the nodes hold between two rounds.

    Attributes:
        share: log shares of the budgets, at the APs: p = P exp(share).
        private: what else links, UEs and targets keep, one array for each kind.
        heard: what the APs heard in the last round; None before the first one, and where a policy does not keep it.
    """

    share: Float[Array, "drop link"]
    private: tuple[Any, ...]
    heard: Heard[Array] | None = None


class LocalPolicy(Generic[Array]):
    """A policy of r rounds of messages. The answer after any number of rounds is an allocation.

    `begin` and `advance` take problems on the scale of `on_common_scale`; `exits` brings them there.
    """

    @property
    @abstractmethod
    def rounds(self) -> int:
        """Rounds that are trained."""

    @abstractmethod
    def begin(
        self, problem: MaxMinSinrProblem[Array], known: Neighbourhoods[Array], channel: Channel | None = clear
    ) -> LocalState[Array]:
        """What the nodes hold before the first round. `channel` None: nobody will send anything, the shares are the answer."""

    @abstractmethod
    def advance(
        self,
        problem: MaxMinSinrProblem[Array],
        known: Neighbourhoods[Array],
        state: LocalState[Array],
        index: int,
        channel: Channel = clear,
        air: MaxMinSinrProblem[Array] | None = None,
    ) -> LocalState[Array]:
        """What the nodes hold after round number `index` (from 0). Beyond the trained rounds the last one is repeated.

        The problem may have changed a little since the round before: with the state of the last slot, one round a slot follows
        UEs and targets that move, if it comes after `go_ahead`.
        """

    def go_ahead(
        self,
        before: tuple[MaxMinSinrProblem[Array], Neighbourhoods[Array]],
        problem: MaxMinSinrProblem[Array],
        known: Neighbourhoods[Array],
        state: LocalState[Array],
    ) -> LocalState[Array]:
        """What the nodes hold when a slot begins that follows the one in which `state` was reached. Nobody sends anything.

        Args:
            before: problem and neighbourhoods of the last slot.
            problem, known: of this slot.
            state: after the last round of the last slot, or the exchanges after it.

        Returns:
            The state with other shares, eq. (114) of docs/distributed.md; as it was where nothing was heard before.

        Example:
            >>> import torch
            >>> from isac_torch import TrackingScenario, power_problem
            >>> from isac_torch.nn.tracking.local_network import DistributedNetwork
            >>> scenario = TrackingScenario.of_size("8x6x2")
            >>> problem = power_problem(scenario.sample(2, generator=torch.Generator().manual_seed(1)), scenario)
            >>> known, policy = neighbourhoods(problem), DistributedNetwork(8, 1, 2, 1, 1).double()
            >>> state = policy.advance(problem, known, policy.begin(problem, known), 0)
            >>> ahead = policy.go_ahead((problem, known), problem, known, state)  # nothing has changed: nobody moves
            >>> bool((ahead.share - state.share).abs().max() < 1e-9)
            True
        """
        if state.heard is None:
            return state
        return replace(state, share=gone_ahead(before, problem, known, state.share, state.heard))

    def exits(
        self,
        problem: MaxMinSinrProblem[Array],
        rounds: int | None = None,
        hears: Bool[Array, "drop ue ap"] | None = None,
        channel: Channel = clear,
        air: MaxMinSinrProblem[Array] | None = None,
    ) -> list[Float[Array, "drop link"]]:
        """Log shares of the budgets before any message and after each of `rounds` rounds, default all that are trained.

        Args:
            problem: a batch of drops.
            rounds: of messages.
            hears: which APs hear which UEs; None for all.
            channel: what arrives of the messages.
            air: the coefficients of the air in which nodes measure, where they differ from those that the APs know.
        """
        problem = on_common_scale(problem)
        air = None if air is None else on_common_scale(air)
        known = neighbourhoods(problem, hears)
        count = self.rounds if rounds is None else rounds
        found = [self.begin(problem, known, None).share]
        if not count:
            return found
        state = self.begin(problem, known, channel)
        for index in range(count):
            state = self.advance(problem, known, state, index, channel, air)
            found.append(state.share)
        return found

    def answer(
        self,
        problem: MaxMinSinrProblem[Array],
        rounds: int,
        exchanges: int = 0,
        hears: Bool[Array, "drop ue ap"] | None = None,
        channel: Channel = clear,
        air: MaxMinSinrProblem[Array] | None = None,
    ) -> Float[Array, "drop link"]:
        """Log shares of the budgets after `rounds` of messages and then `exchanges` of promises (`promises`).

        The other arguments are those of `exits`.
        """
        share = self.exits(problem, rounds, hears, channel, air)[-1]
        return settled(problem, neighbourhoods(problem, hears), share, exchanges, channel)
