"""What may happen to messages between APs, UEs and targets: losses, delays, dead APs, few bits, a bounded neighbourhood."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from isac_torch.tracking.local.promises import ASKED, PARTS
from isac_torch.tracking.local.rounds import AIR, links_at_aps
from isac_torch.tracking.problem import MaxMinSinrProblem

_AT_FIRST = {"price of UEs": -25.0, "price of targets": -20.0}
"""What receivers assume before they have heard anything: no price. Of other words zero."""
_REGISTERED = ("gain", "largest echo", "scale of targets")
"""Words that are repeated until they are heard, before the first round; so are a node's first measurements."""
_SCALED = ("beams", PARTS, ASKED, *_REGISTERED)
"""Words with a scale of their own, which floating point of few bits carries; here they arrive as they are."""
_LEARNED_RANGE, _LOG_RANGE = 6.0, 25.0


@dataclass
class Lossy:
    """A channel that loses whole messages: receivers keep what they had heard before.

    Attributes:
        share: of the messages that are lost, independently of each other.
        generator: of the losses.
    """

    share: float
    generator: torch.Generator
    last: dict[str, Tensor] = field(default_factory=dict)

    def __call__(self, kind: str, sent: Float[Tensor, "drop word number"]) -> Float[Tensor, "drop word number"]:
        """What arrives."""
        if kind == AIR or kind in _REGISTERED:
            return sent
        before = self.last.get(kind)
        if before is None:
            before = _before_anything(kind, sent)
        lost = torch.rand(*sent.shape[:2], 1, generator=self.generator) < self.share
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
    """A channel of numbers of few bits: equal steps of logarithms over +-25 nepers, of learned numbers over +-6.

    Attributes:
        bits: of each number.
    """

    bits: int

    def __call__(self, kind: str, sent: Float[Tensor, "drop word number"]) -> Float[Tensor, "drop word number"]:
        """What arrives."""
        if kind == AIR or kind in _SCALED:
            return sent
        span = _LEARNED_RANGE if kind in ("up", "down", "factor of targets") else _LOG_RANGE
        step = 2.0 * span / (2**self.bits - 1)
        cut = ((sent.detach().clamp(-span, span) + span) / step).round() * step - span
        return cut + (sent - sent.detach()) if sent.requires_grad else cut  # training sees through the rounding


def loudest_pairs(problem: MaxMinSinrProblem, share: float) -> Bool[Tensor, "drop ue ap"]:
    """Which APs hear which UEs when a share of the pairs, those with the strongest links, do."""
    at_ap = links_at_aps(problem)
    loud = problem.leakage @ at_ap.mT / at_ap.sum(-1).clamp_min(1.0)[:, None]
    return loud >= loud.flatten(1).quantile(1.0 - share, 1)[:, None, None]
