"""Training of policies that run at the APs: every number of rounds that may be asked for has a loss of its own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from isac_torch.errors import IsacError
from isac_torch.nn.tracking.local_channels import Coarse, Lossy, loudest_pairs
from isac_torch.nn.tracking.local_network import DistributedNetwork
from isac_torch.nn.tracking.unfolded import UnfoldedPrices
from isac_torch.tensors import to_db
from isac_torch.tracking.local.policy import LocalState
from isac_torch.tracking.local.rounds import Channel, clear, neighbourhoods, on_common_scale
from isac_torch.tracking.problem import MaxMinSinrProblem
from isac_torch.trainers.averaged import AveragedTraining
from isac_torch.trainers.objectives import clipped_gradient
from isac_torch.trainers.ranks import gathered
from isac_torch.trainers.slots import moved
from isac_torch.trainers.start import take_weights

Batch = tuple[MaxMinSinrProblem, dict[str, Tensor]]

_RATE_FLOOR = 1e-3
"""bit/s/Hz added to each rate before its logarithm."""
_MISSED = 1e-4
"""Nepers below what is required from which validation counts a constraint as missed."""
_MOST_GRADIENT = 4.0
"""A drop's gradient is clipped at this times the batch's median: at 1 those that miss constraints would be drowned."""
_FOLLOWED = 2
"""One batch in this many goes on over further slots."""


@dataclass(frozen=True)
class Disturbance:
    """What a batch has to bear.

    Attributes:
        channel: what arrives of the messages.
        hears: which APs hear which UEs; None for all.
        generator: of what else changes.
    """

    channel: Channel
    hears: Bool[Tensor, "drop ue ap"] | None
    generator: torch.Generator


class DistributedTraining(AveragedTraining):
    """Trains a distributed policy by the smallest rate and the missing sensing at every exit, without labels.

    Per drop and exit: a soft minimum of the log rates, whose sharpness rises over the run, plus a rising weight times the
    missing log quality of every sensing constraint.
    """

    def __init__(
        self,
        network: Literal["distributed", "unfolded"] = "distributed",
        rounds: int = 8,
        hidden: int = 32,
        floats: int = 8,
        prices: int = 2,
        exit_rounds: Sequence[int] = (0, 1, 2, 4, 8),
        learning_rate: float = 3e-3,
        weight_decay: float = 1e-3,
        warmup_steps: int = 50,
        sharpness: tuple[float, float] = (4.0, 40.0),
        sensing_weight: tuple[float, float] = (3.0, 12.0),
        margin: float | list[float] = 0.03,
        exit_weights: list[float] | None = None,
        disturbed: float = 0.5,
        bits: int = 8,
        most_lost: float = 0.1,
        least_heard: float = 0.25,
        most_slots: int = 0,
        slot_db: float = 0.15,
        beam_db: float = 1.5,
        slot_range: float = 1.0,
        slot_rounds: int = 1,
        average_decay: float = 0.995,
        start: str | None = None,
        start_share: float = 0.0,
    ) -> None:
        """Policy and optimiser settings.

        Args:
            network: `distributed` has learned cells, `unfolded` trained numbers of the classical price steps.
            rounds: rounds of messages that are trained.
            hidden: width of the cells.
            floats: learned numbers of each link's message, each way.
            prices: further prices that a UE announces.
            exit_rounds: after how many rounds an answer may be asked for: each has a loss.
            learning_rate: of AdamW at its highest; falls to 2 % of it on a cosine.
            weight_decay: of AdamW.
            warmup_steps: steps over which the learning rate rises.
            sharpness: of the soft minimum, at the start and at the end, geometric in between.
            sensing_weight: of the missing log quality, at the start and at the end, geometric in between.
            margin: nepers above what is required to which constraints are pushed: one number, or one for each of `exit_rounds`.
                Few rounds leave constraints uncertain, and need more.
            exit_weights: of the loss of each of `exit_rounds`; default 1.
            disturbed: share of the batches in which messages are lost, and of those in which APs do not hear all UEs.
            bits: of each number, in half of the batches in which no message is lost.
            most_lost: largest share of messages that are lost in such a batch; uniform from 0.
            least_heard: smallest share of pairs of APs and UEs that hear each other in such a batch; uniform up to 1.
            most_slots: in every second batch the last round is repeated on up to this many following slots, in each of which
                all gains have changed a little; 0 trains nothing beyond `rounds`.
            slot_db: standard deviation of the change of gains, dB.
            beam_db: of what the beams of other targets cause, dB.
            slot_range: factor by which both are more or less in a batch, log-uniform from its inverse.
            slot_rounds: most rounds in each of the following slots of a batch.
            average_decay: of the running average of the weights that is validated and stored.
            start: weights (model.pt) of such a training to go on from; default new ones.
            start_share: share of these in the weights that are validated and stored, number by number; the rest is the running
                average. A training for further tasks then keeps more of what was learned before it.
        """
        super().__init__(average_decay)
        wrong = [number for number in exit_rounds if not 0 <= number <= rounds]
        if wrong or not exit_rounds:
            raise IsacError(f"exit_rounds={list(exit_rounds)} must be numbers from 0 to rounds={rounds}, at least one")
        margins = margin if isinstance(margin, list) else [margin] * len(exit_rounds)
        if len(margins) != len(exit_rounds):
            raise IsacError(f"margin={margin} must be one number, or one for each of exit_rounds={list(exit_rounds)}")
        weights = [1.0] * len(exit_rounds) if exit_weights is None else exit_weights
        if len(weights) != len(exit_rounds) or min(weights) < 0.0:
            raise IsacError(f"exit_weights={exit_weights} must be one number >= 0 for each of exit_rounds={list(exit_rounds)}")
        if slot_range < 1.0 or slot_rounds < 1:
            raise IsacError(f"slot_range={slot_range} and slot_rounds={slot_rounds} must both be at least 1")
        if not 0.0 <= start_share < 1.0 or (start_share and start is None):
            raise IsacError(f"start_share={start_share} must be at least 0 and below 1, and needs start where it is not 0")
        self.save_hyperparameters()
        self._margin = dict(zip(exit_rounds, margins, strict=True))
        self._exit_weight = dict(zip(exit_rounds, weights, strict=True))
        self.network: DistributedNetwork | UnfoldedPrices = (
            UnfoldedPrices(rounds) if network == "unfolded" else DistributedNetwork(hidden, rounds, floats, prices)
        )
        if start is not None:
            take_weights(self.network, start)
        self.average: DistributedNetwork | UnfoldedPrices = deepcopy(self.network).requires_grad_(False)
        self._before = {name: value.clone() for name, value in self.average.state_dict().items()}

    def stored(self) -> DistributedNetwork | UnfoldedPrices:
        """The running average, and `start_share` of the weights that the training began with."""
        share = self.hparams["start_share"]
        if not share:
            return self.average
        mean = deepcopy(self.average)
        mean.load_state_dict(
            {name: value.lerp(self._before[name].to(value), share) for name, value in mean.state_dict().items()}
        )
        return mean

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        """A scalar whose gradient is that of the losses of all exits, clipped per drop at the log shares."""
        problem = on_common_scale(batch[0])
        generator = torch.Generator().manual_seed(self.global_step)
        chance = torch.rand(4, generator=generator).tolist()
        channel, hears = clear, None
        if chance[0] < self.hparams["disturbed"]:
            channel = Lossy(self.hparams["most_lost"] * chance[1], generator)
        elif chance[1] < 0.5:
            channel = Coarse(self.hparams["bits"])
        if chance[2] < self.hparams["disturbed"]:
            hears = loudest_pairs(problem, 1.0 - (1.0 - self.hparams["least_heard"]) * chance[3])
        disturbance = Disturbance(channel, hears, generator)
        scalar, state = self._from_nothing(problem, disturbance)
        if self.global_step % _FOLLOWED == 0 and self.hparams["most_slots"]:
            scalar = scalar + self._over_slots(problem, state, disturbance)
        self.log("train/learning_rate", self.optimizers().param_groups[0]["lr"], batch_size=problem.num_drops)  # type: ignore[union-attr]
        return scalar

    def _from_nothing(self, problem: MaxMinSinrProblem, met: Disturbance) -> tuple[Tensor, LocalState]:
        """The part of the exits of the first rounds, and the state after them."""
        known = neighbourhoods(problem, met.hears)
        state = self.network.begin(problem, known, None)
        scalar = state.share.new_zeros(())
        for number in range(self.hparams["rounds"] + 1):
            if number == 1:
                state = self.network.begin(problem, known, met.channel)
            if number:
                state = self.network.advance(problem, known, state, number - 1, met.channel)
            if number in self.hparams["exit_rounds"]:
                part, value = self._part(problem, state.share, self._margin[number])
                scalar = scalar + self._exit_weight[number] * part
                self.log(f"train/loss_r{number}", value.mean(), batch_size=problem.num_drops)
        self.log("train/loss", value.mean(), prog_bar=True, batch_size=problem.num_drops)
        return scalar, state

    def _over_slots(self, problem: MaxMinSinrProblem, state: LocalState, met: Disturbance) -> Tensor:
        """The part of the last of a few slots that follow, with a few rounds in each."""
        slots = int(torch.randint(1, self.hparams["most_slots"] + 1, (), generator=met.generator))
        faster, rounds = 1.0, 1
        if self.hparams["slot_range"] > 1.0:
            faster = self.hparams["slot_range"] ** float(2.0 * torch.rand((), generator=met.generator) - 1.0)
        if self.hparams["slot_rounds"] > 1:
            rounds = int(torch.randint(1, self.hparams["slot_rounds"] + 1, (), generator=met.generator))
        for _ in range(slots):
            problem = moved(problem, faster * self.hparams["slot_db"], faster * self.hparams["beam_db"], met.generator)
            known = neighbourhoods(problem, met.hears)
            for _ in range(rounds):
                state = self.network.advance(problem, known, state, self.hparams["rounds"], met.channel)
        part, value = self._part(problem, state.share, self._margin[max(self._margin)])
        self.log("train/loss_followed", value.mean(), batch_size=problem.num_drops)
        return part

    def _part(
        self, problem: MaxMinSinrProblem, share: Float[Tensor, "drop link"], margin: float
    ) -> tuple[Tensor, Float[Tensor, " drop"]]:
        """A scalar whose gradient is that of the mean loss, clipped per drop at the log shares; the loss of each drop."""
        gradient, value = clipped_gradient(lambda leaf: self._loss(problem, leaf, margin), share, _MOST_GRADIENT)
        return (gradient * share).sum() / problem.num_drops, value

    def _loss(self, problem: MaxMinSinrProblem, share: Float[Tensor, "drop link"], margin: float) -> Float[Tensor, " drop"]:
        """Per drop, at the log shares `share` of the budgets."""
        power = share.exp() * problem.link_budget
        sharpness, weight = self._now("sharpness"), self._now("sensing_weight")
        log_rate = ((1.0 + problem.sinr(power)).log2() + _RATE_FLOOR).log()
        loss = (-sharpness * log_rate).logsumexp(-1) / sharpness
        if problem.num_constraints:
            missing = margin - (problem.sir(power).clamp_min(1e-6) / problem.sir_min).log()
            loss = loss + weight * missing.clamp_min(0.0).sum(-1)
        return loss

    def _now(self, name: str) -> float:
        first, last = self.hparams[name]
        progress = self.global_step / max(int(self.trainer.estimated_stepping_batches), 1)
        return float(first * (last / first) ** min(progress, 1.0))

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        """Share of the optimum's smallest rate after each trained number of rounds, and which drops miss a constraint."""
        problem, label = batch
        best = torch.log2(1.0 + label["value"].to(problem.budget)).clamp_min(1e-9)
        with torch.no_grad():
            found = self.stored().exits(problem)
            for number in self.hparams["exit_rounds"]:
                power = found[number].exp() * problem.link_budget
                ratio = torch.log2(1.0 + problem.objective(power)) / best
                missed = problem.violations(power).sensing > _MISSED
                self._seen.setdefault(number, []).append((ratio.clamp_max(1.0), missed.to(ratio), problem.objective(power)))

    def _draw(self, share: dict[int, float]) -> None:
        """Share of the optimum against rounds, where the logger takes figures."""
        board = getattr(self.logger, "experiment", None)
        if board is None or not hasattr(board, "add_figure"):
            return
        from matplotlib.figure import Figure

        figure = Figure(figsize=(4.5, 3.2), layout="constrained")
        axis = figure.add_subplot(xlabel="rounds of messages", ylabel="strict share of the optimum", ylim=(0.0, 1.0))
        axis.plot(list(share), list(share.values()), marker="o")
        axis.grid(alpha=0.3)
        board.add_figure("val/share_against_rounds", figure, self.global_step)

    def on_validation_epoch_start(self) -> None:
        """Forget the drops of the validation before."""
        self._seen: dict[int, list[tuple[Tensor, Tensor, Tensor]]] = {}

    def on_validation_epoch_end(self) -> None:
        """Log the curve over the rounds; `val/min_rate_ratio` is the mean over the exits of the strict ratio."""
        strict = []
        for number, parts in self._seen.items():
            ratio, missed, value = (gathered(torch.cat(part).float()) for part in zip(*parts, strict=True))
            strict.append((ratio * (1.0 - missed)).mean())
            self.log(f"val/strict_ratio_r{number}", strict[-1], prog_bar=number == max(self._seen))
            met = missed == 0.0
            self.log(f"val/valid_ratio_r{number}", ratio[met].mean() if bool(met.any()) else 0.0)
            self.log(f"val/violation_rate_r{number}", missed.mean())
            self.log("val/min_sinr_db", to_db(value.clamp_min(1e-9)).mean())
        self.log("val/min_rate_ratio", torch.stack(strict).mean(), prog_bar=True)
        self._draw(dict(zip(self._seen, map(float, strict), strict=True)))
        if not math.isfinite(float(strict[-1])):
            raise IsacError("the validation ratio is not finite; lower learning_rate")
