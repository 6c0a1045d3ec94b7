"""A network for deployment: the problem in, directions out, by products and elementwise functions alone.

It corrects the untrained directions as `AllocationNetwork` does, fed with the gradient of the level where it stands, but the
gradient is the closed form of `prices`, and nothing is split along an axis. So it can be exported with every size left open,
and costs a fraction.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from isac_torch.nn.dense import TINY, DenseProblem, Matrices
from isac_torch.nn.prices import Directions, PricedPoint, priced_point
from isac_torch.tracking.problem import MaxMinSinrProblem

FEATURE_VERSION = 1
"""Raised with every change of meaning, order or scaling of the features: weights of another version are refused."""
_LINK_DB = ((15.0, 15.0), (0.0, 10.0), (0.0, 10.0), (35.0, 12.0), (35.0, 12.0), (0.0, 10.0), (0.0, 10.0), (0.0, 10.0))
_UE_DB = ((15.0, 15.0), (25.0, 15.0), (15.0, 15.0))
_TARGET_DB = ((0.0, 10.0), (0.0, 10.0), (0.0, 10.0))
"""Mean and spread, dB, of each feature that is a gain or a ratio of gains."""
_POWER_DB, _SCALE_DB, _HEARD_DB = (-15.0, 10.0), (-15.0, 10.0), (15.0, 10.0)
_RANGE = 4.0
"""Standardised features are held within this many spreads."""
_LINK, _UE, _TARGET, _AP = 10, 3, 3, 2
_LINK_EXTRA, _UE_EXTRA, _TARGET_EXTRA, _AP_EXTRA = 6, 3, 4, 2
_FIRST_ITERATIONS, _WARM_ITERATIONS = 6, 4
"""Repetitions behind the prices: from equal scales, and from those of the point before."""


@dataclass(frozen=True)
class _Nodes:
    """Numbers of every link, UE, target and AP, one row a node: a state or inputs."""

    link: Tensor
    ue: Tensor
    target: Tensor
    ap: Tensor


class OneShotNetwork(nn.Module):
    """`layers` message layers and a correction of the untrained directions, then `refinements` times one more of each."""

    SYSTEM: ClassVar[str] = "tracking-one-shot"
    FEATURE_VERSION: ClassVar[int] = FEATURE_VERSION

    def __init__(self, hidden: int = 48, layers: int = 2, refinements: int = 1) -> None:
        """Network of width `hidden`."""
        super().__init__()
        self.shape = {"hidden": hidden, "layers": layers, "refinements": refinements}
        self.encode_link = nn.Linear(_LINK, hidden)
        self.encode_ue = nn.Linear(_UE, hidden)
        self.encode_target = nn.Linear(_TARGET, hidden)
        self.encode_ap = nn.Linear(_AP, hidden)
        self.layers = nn.ModuleList(RelationLayer(hidden) for _ in range(layers + refinements))
        self.heads = nn.ModuleList(_Heads(hidden) for _ in range(1 + refinements))

    def forward(self, problem: MaxMinSinrProblem) -> Float[Tensor, "drop logit"]:
        """Directions for `balance`, laid out as its `logit_size` says."""
        *_, last = self.trajectory(problem)
        return last

    def trajectory(self, problem: MaxMinSinrProblem) -> Iterator[Float[Tensor, "drop logit"]]:
        """Directions after each correction, the best guess last."""
        for found in self.directions(DenseProblem.of(problem)):
            yield torch.cat([found.link, found.excess, found.floor], -1).squeeze(1)

    def directions(self, problem: DenseProblem) -> Iterator[Directions]:
        """Directions after each correction, the best guess last."""
        with torch.no_grad():
            known = Matrices.of(problem)
            features, relations = _inputs(problem, known)
            found = start_directions(problem)
            point = priced_point(problem, known, found, None, _FIRST_ITERATIONS)
            extra = _point_features(problem, known, point)
        state = _Nodes(
            self.encode_link(features.link).relu(),
            self.encode_ue(features.ue).relu(),
            self.encode_target(features.target).relu(),
            self.encode_ap(features.ap).relu(),
        )
        first = len(self.layers) - len(self.heads) + 1
        for layer in self.layers[:first]:
            state = layer(state, relations, extra)
        found = self.heads[0](problem, state, found)
        yield found
        for layer, head in zip(self.layers[first:], self.heads[1:], strict=True):
            with torch.no_grad():
                held = Directions(found.link.detach(), found.excess.detach(), found.floor.detach())
                point = priced_point(problem, known, held, point.scale, _WARM_ITERATIONS)
                extra = _point_features(problem, known, point)
            state = layer(state, relations, extra)
            found = head(problem, state, found)
            yield found


def start_directions(problem: DenseProblem) -> Directions:
    """The untrained directions of `balance.start_logits`."""
    own_echo, own_cross = ((echo * problem.target_of).sum(1, keepdim=True) for echo in (problem.echo, problem.cross_echo))
    ratio = (own_echo.clamp_min(TINY) / own_cross.clamp_min(TINY)).clamp(1e-6, 1e6)
    serving = problem.ue_of.sum(0)
    comm = problem.signal.unsqueeze(1).clamp_min(TINY).log()
    excess, floor = torch.zeros_like(problem.leakage[..., :1]).mT, torch.zeros_like(problem.echo[..., :1]).mT
    return Directions(serving * comm + (1.0 - serving) * 2.0 * ratio.log(), excess, floor)


class RelationLayer(nn.Module):
    """One exchange between links, UEs, targets and APs; the old states are added (residual)."""

    def __init__(self, hidden: int) -> None:
        """Layer of width `hidden`."""
        super().__init__()
        self.norm = nn.ModuleDict({name: nn.LayerNorm(hidden) for name in ("link", "ue", "target", "ap")})
        self.to_ue = nn.Linear(4 * hidden + _UE_EXTRA, hidden)
        self.to_target = nn.Linear(4 * hidden + _TARGET_EXTRA, hidden)
        self.to_ap = nn.Linear(2 * hidden + _AP_EXTRA, hidden)
        self.from_ue = nn.ModuleList(nn.Linear(hidden, hidden, bias=False) for _ in range(3))
        self.from_target = nn.ModuleList(nn.Linear(hidden, hidden, bias=False) for _ in range(3))
        self.from_ap = nn.Linear(hidden, hidden, bias=False)
        self.from_link = nn.Linear(hidden + _LINK_EXTRA, hidden)
        self.mix = nn.Linear(hidden, hidden)

    def forward(self, old: _Nodes, relations: _Relations, extra: _Nodes) -> _Nodes:
        """New states."""
        link = self.norm["link"](old.link)
        heard = [weight @ link for weight in relations.to_ue]
        seen = [weight @ link for weight in relations.to_target]
        ue = self.to_ue(torch.cat([self.norm["ue"](old.ue), *heard, extra.ue], -1)).relu()
        target = self.to_target(torch.cat([self.norm["target"](old.target), *seen, extra.target], -1)).relu()
        sent = relations.to_ap @ link
        ap = self.to_ap(torch.cat([self.norm["ap"](old.ap), sent, extra.ap], -1)).relu()
        said = [part(ue) for part in self.from_ue] + [part(target) for part in self.from_target] + [self.from_ap(ap)]
        answer = relations.to_link @ torch.cat(said, 1)
        link = self.mix((self.from_link(torch.cat([link, extra.link], -1)) + answer).relu())
        return _Nodes(old.link + link, old.ue + ue, old.target + target, old.ap + ap)


class _Heads(nn.Module):
    """Corrections of the logits of links, UEs and targets; start at zero."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.parts = nn.ModuleDict({name: nn.Linear(hidden, 1) for name in ("serving", "sensing", "ue", "target")})
        for parameter in self.parameters():
            nn.init.zeros_(parameter)

    def forward(self, problem: DenseProblem, state: _Nodes, old: Directions) -> Directions:
        serving = problem.ue_of.sum(0)
        comm, sensing = (self.parts[name](state.link).mT for name in ("serving", "sensing"))
        link = old.link + serving * comm + (1.0 - serving) * sensing
        excess, floor = self.parts["ue"](state.ue).mT, self.parts["target"](state.target).mT
        return Directions(link, old.excess + excess, old.floor + floor)


@dataclass(frozen=True)
class _Relations:
    """Weights of the messages.

    Attributes:
        to_ue: of each UE's own links (mean), of those it hears (level), of those it hears (share).
        to_target: of each target's own beams (mean), of those that light it, of those that light the others.
        to_ap: of each AP's links.
        to_link: the same relations backwards, one after the other.
    """

    to_ue: tuple[Float[Tensor, "... ue link"], ...]
    to_target: tuple[Float[Tensor, "... target link"], ...]
    to_ap: Float[Tensor, "drop ap link"]
    to_link: Float[Tensor, "drop link row"]


def _inputs(problem: DenseProblem, known: Matrices) -> tuple[_Nodes, _Relations]:
    """Features of the nodes, and the relations.

    link: own gain a^2 P (serving) or own echo over the other targets' and SIR0 (sensing); the same relative to the owner's best
    link; total and worst disturbance N P at other UEs; best and worst S / (SIR0 I) over the targets; number of links of
    its AP; whether it serves; share of self-made noise in what its UE receives over it.
    ue: best gain; sum of all N P; interference of shared pilots. target: best and worst S / (SIR0 I) of its own beams; best of
    the UEs' streams. ap: serving and sensing links over five.
    """
    limit = problem.budget.unsqueeze(1) @ known.ap
    leak = problem.leakage * limit
    gain = problem.signal.unsqueeze(1).square() * limit
    self_made = (leak * problem.ue_of).sum(1, keepdim=True)
    total, worst = leak.sum(1, keepdim=True) - self_made, (leak * (1.0 - problem.ue_of)).amax(1, keepdim=True)
    better = problem.echo.clamp_min(1e-30) / (problem.sir_min.unsqueeze(-1) * problem.cross_echo).clamp_min(1e-30)
    own = (better * problem.target_of).sum(1, keepdim=True)
    some = better.sum(1, keepdim=True) > 0
    # A row of each extreme's opposite, so that it exists without a target too.
    none = torch.zeros_like(gain)
    best = torch.where(some, torch.cat([better, none], 1).amax(1, keepdim=True), 1.0)
    least = torch.where(some, torch.cat([better, none + 1e30], 1).amin(1, keepdim=True), 1.0)
    strength = gain + own
    strongest = (strength * known.owner).amax(2).unsqueeze(1)
    relative = strength / (strongest @ known.owner).clamp_min(1e-30)
    count = known.ap.sum(2).unsqueeze(1)
    serving = problem.ue_of.sum(0).expand_as(gain)
    strength_db = torch.cat([gain, own, relative, total, worst, best, least, count @ known.ap], 1)
    share = self_made / (self_made + gain).clamp_min(1e-30)
    link = torch.cat([_standardised(strength_db, _LINK_DB), serving, share], 1)

    heard = leak.sum(2)
    pilot = (problem.coherent * limit.sqrt() @ problem.ue_of.mT).square().sum(2)
    ue = torch.stack([strongest[:, 0, : problem.ue_of.shape[0]], heard, 1.0 + pilot], 1)
    beams, streams = better * problem.target_of, better * problem.ue_of.sum(0)
    lowest = torch.where(problem.target_of > 0, better, 1e30).amin(2)
    target = torch.stack([beams.amax(2), lowest, streams.amax(2)], 1)
    ap = torch.stack([(known.ap * serving).sum(2), (known.ap * (1.0 - serving)).sum(2)], -1) / 5.0
    nodes = _Nodes(link.mT, _standardised(ue, _UE_DB).mT, _standardised(target, _TARGET_DB).mT, ap)
    return nodes, _relations(problem, known, leak, limit)


def _relations(problem: DenseProblem, known: Matrices, leak: Tensor, limit: Tensor) -> _Relations:
    links, ues = leak.shape[2], leak.shape[1]
    level = leak / (1.0 + leak)
    share, light, clutter = (_row_share(value) for value in (leak, problem.echo * limit, problem.cross_echo * limit))
    own_ue, own_target = (own.expand(leak.shape[0], -1, -1) for own in (problem.ue_of, problem.target_of))
    # Targets are few: a quarter of a link's weight to them all.
    targets = torch.ones_like(problem.sir_min).sum(1).clamp_min(1.0)[:, None, None]
    heard = 0.25 * links / targets
    back = [own_ue, level / ues, share * (links / ues), own_target, light * heard, clutter * heard, known.ap]
    mean_ue, mean_target = (own / own.sum(1, keepdim=True).clamp_min(1.0) for own in (problem.ue_of, problem.target_of))
    to_ue, to_target = (mean_ue, level / links, share), (mean_target, light, clutter)
    return _Relations(to_ue, to_target, known.ap / 8.0, torch.cat(back, 1).mT.contiguous())


def _row_share(value: Tensor) -> Tensor:
    return value / value.sum(2, keepdim=True).clamp_min(1e-30)


def _standardised(value: Tensor, scales: tuple[tuple[float, float], ...]) -> Tensor:
    """Linear ratios [drop, feature, node] in dB, centred and scaled feature by feature, within bounds."""
    mean, spread = value.new_tensor(scales).mT.unsqueeze(-1)
    return ((value.clamp_min(1e-20).log() * (10.0 / math.log(10.0)) - mean) / spread).clamp(-_RANGE, _RANGE)


def _point_features(problem: DenseProblem, known: Matrices, point: PricedPoint) -> _Nodes:
    """What the nodes should know of a point.

    link: slope of its logit and that of its power in four parts, relative to the drop's slopes; power over the AP's budget.
    UE: slope of its power, scale, interference. target: the first two, the row's margin, whether it decides. AP: load, price.
    """
    links, ues = point.power.shape[2], point.heard.shape[2]
    slope = point.useful - point.harm - point.charge + point.row
    centred = slope - point.share * ((slope @ known.owner.mT) @ known.owner)
    parts = torch.cat([centred, point.useful, point.harm, point.charge, point.row], 1)
    size = centred.square().mean(2, keepdim=True).sqrt() + 1e-4 / links
    limit = problem.budget.unsqueeze(1) @ known.ap
    link = torch.cat([_compressed(parts / size), _standardised(point.power / limit, (_POWER_DB,))], 1)
    scale = _standardised(point.scale / (point.scale @ known.is_ue.mT), (_SCALE_DB,))
    worth = _compressed(point.price * point.scale * ues)
    ue = torch.cat([worth[..., :ues], scale[..., :ues], _standardised(point.heard, (_HEARD_DB,))], 1)
    margin = (point.power @ known.row.mT) / (point.power @ known.echo.mT).clamp_min(TINY)
    target = torch.cat([worth[..., ues:], scale[..., ues:], margin.clamp(-_RANGE, 1.0), point.active], 1)
    ap = torch.cat([point.load, _compressed(point.budget_price)], 1)
    return _Nodes(link.mT, ue.mT, target.mT, ap.mT)


def _compressed(value: Tensor) -> Tensor:
    """Odd, nearly linear near zero, logarithmic far out."""
    return value.sign() * value.abs().log1p()
