"""What may happen to messages between APs, UEs and targets: losses, delays, dead APs, few bits, a bounded neighbourhood."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from isac_torch.tracking.local.promises import ASKED, PARTS
from isac_torch.tracking.local.rounds import AIR, links_at_aps, logarithm
from isac_torch.tracking.problem import MaxMinSinrProblem

_AT_FIRST = {"price of UEs": -25.0, "price of targets": -20.0}
"""What receivers assume before they have heard anything: no price. Of other words zero."""
_REGISTERED = ("gain", "largest echo", "scale of targets")
"""Words that are repeated until they are heard, before the first round; so are a node's first measurements."""
_WHOLE = (PARTS, ASKED, *_REGISTERED)
"""Words that arrive as they are over a channel of few bits: promises need their precision, the others are sent once."""
_LEARNED = (-6.0, 6.0)
_RANGE = {
    "measured by UEs": (-5.0, 19.0),
    "shared pilots of UEs": (-10.0, 10.0),
    "price of UEs": (-25.0, 20.0),
    "measured at targets": (-8.0, 6.0),
    "price of targets": (-20.0, 12.0),
    "beams": (-8.0, 4.0),
}
"""Nepers; smallest and largest logarithm that a number of few bits can be. Learned numbers are from -6 to 6."""
_SENT_AS_LOGARITHMS = ("beams",)
"""Words of which a channel of few bits carries the logarithm, the smallest for 0; others in `_RANGE` are logarithms already."""
OF_TARGETS = ("measured at targets", "price of targets", "beams", "factor of targets", PARTS, ASKED)
"""Words that decide whether sensing constraints hold: what APs and targets tell each other, without the learned numbers."""


@dataclass
class Lossy:
    """A channel that loses whole messages: receivers keep what they had heard before.

    Attributes:
        share: of the messages that are lost, independently of each other.
        generator: of the losses.
        twice: kinds of messages that are sent twice, as `OF_TARGETS`: they are lost where both are.
        last: of each kind, what receivers have heard.

    Example:
        >>> lossy = Lossy(0.05, torch.Generator().manual_seed(1), OF_TARGETS)
        >>> lossy.last = {kind: torch.zeros(1000, 100, 1) for kind in ("up", "beams")}
        >>> many = torch.ones(1000, 100, 1)
        >>> [round(1.0 - float(lossy(kind, many).mean()), 3) for kind in ("up", "beams")]
        [0.049, 0.002]
    """

    share: float
    generator: torch.Generator
    twice: tuple[str, ...] = ()
    last: dict[str, Tensor] = field(default_factory=dict)

    def __call__(self, kind: str, sent: Float[Tensor, "drop word number"]) -> Float[Tensor, "drop word number"]:
        """What arrives."""
        if kind == AIR or kind in _REGISTERED:
            return sent
        before = self.last.get(kind)
        if before is None:
            before = _before_anything(kind, sent)
        share = self.share**2 if kind in self.twice else self.share
        lost = torch.rand(*sent.shape[:2], 1, generator=self.generator) < share
        self.last[kind] = torch.where(lost.to(sent.device), before, sent)
        return self.last[kind]


@dataclass
class Late:
    """A channel on which some messages arrive late: receivers use the newest that has arrived. What nodes measure of the air is
    of now, what they announce may be of before.

    Attributes:
        share: of the messages that are late, independently of each other.
        generator: of which are late.
        rounds: after which a late message arrives.
        first: of each kind of message, what receivers assume before they have heard anything.
        sent: of each kind, the last messages and which of them are late, newest first.
    """

    share: float
    generator: torch.Generator
    rounds: int = 1
    first: dict[str, Tensor] = field(default_factory=dict)
    sent: dict[str, list[tuple[Tensor, Tensor]]] = field(default_factory=dict)

    def __call__(self, kind: str, sent: Float[Tensor, "drop word number"]) -> Float[Tensor, "drop word number"]:
        """What arrives."""
        if kind == AIR or kind in _REGISTERED:
            return sent
        late = torch.rand(*sent.shape[:2], 1, generator=self.generator) < self.share
        before = self.sent.setdefault(kind, [])
        before.insert(0, (sent, late.to(sent.device)))
        del before[self.rounds + 1 :]
        held = self.first.setdefault(kind, _before_anything(kind, sent))
        if len(before) > self.rounds:
            held = before[self.rounds][0]  # has arrived, late or not
        for message, is_late in reversed(before[: self.rounds]):
            held = torch.where(is_late, held, message)
        return held


def _before_anything(kind: str, sent: Float[Tensor, "drop word number"]) -> Float[Tensor, "drop word number"]:
    """What receivers assume before they hear a message of this kind. First measurements are repeated until they are heard."""
    return sent if kind.startswith("measured") else torch.full_like(sent, _AT_FIRST.get(kind, 0.0))


@dataclass(frozen=True)
class Silent:
    """A channel on which some APs are dead from the first round on: they radiate nothing, and nobody hears from them.

    Attributes:
        link: whether each link starts at such an AP.
        ap: whether each AP is one.
    """

    link: Bool[Tensor, "drop link"]
    ap: Bool[Tensor, "drop ap"]

    def __call__(self, kind: str, sent: Float[Tensor, "drop word number"]) -> Float[Tensor, "drop word number"]:
        """What arrives."""
        if kind not in (AIR, "up", "beams", PARTS):
            return sent
        dead = self.ap if kind == PARTS else self.link[:, -sent.shape[1] :]
        return torch.where(dead[..., None], torch.zeros_like(sent), sent)


@dataclass(frozen=True)
class Coarse:
    """A channel of numbers of few bits: equal steps within the range of each kind of message.

    What has a scale is sent as its logarithm.

    Attributes:
        bits: of each number.
    """

    bits: int

    def __call__(self, kind: str, sent: Float[Tensor, "drop word number"]) -> Float[Tensor, "drop word number"]:
        """What arrives."""
        if kind == AIR or kind in _WHOLE:
            return sent
        low, high = _RANGE.get(kind, _LEARNED)
        step = (high - low) / (2**self.bits - 1)
        logarithms = kind in _SENT_AS_LOGARITHMS
        value = logarithm(sent.detach()) if logarithms else sent.detach()
        cut = ((value.clamp(low, high) - low) / step).round() * step + low
        cut = torch.where(cut > low, cut.exp(), 0.0) if logarithms else cut
        return cut + (sent - sent.detach()) if sent.requires_grad else cut  # training sees through the rounding


def loudest_pairs(problem: MaxMinSinrProblem, share: float) -> Bool[Tensor, "drop ue ap"]:
    """Which APs hear which UEs when a share of the pairs, those with the strongest links, do."""
    at_ap = links_at_aps(problem)
    loud = problem.leakage @ at_ap.mT / at_ap.sum(-1).clamp_min(1.0)[:, None]
    return loud >= loud.flatten(1).quantile(1.0 - share, 1)[:, None, None]
