"""The balancing equations, written once: what a network is trained with, exported with and deployed with.

With every node's shares of its links held, the problem is linear in the powers x of the nodes, t_k of the UEs and tau_l of the
targets:

    SINR_k = G_k t_k / ((A x)_k + 1),        G_k = (sum_s a_ks sqrt w_ks)^2,
    A_kj = sum_s N_kjs w_js + (sum_s c_kjs sqrt w_js)^2,        A_lj = sum_s (S - SIR0 I)_ljs w_js,

where w are the shares of the links in the power of the node that they serve, and target l meets its sensing constraint where
(A x)_l >= 0. Balanced powers give all UEs one common SINR gamma, UE k times its own 1 + excess_k, each target the least power
that meets its constraint, and one AP its whole budget. They are a fixed point: each node **asks** for power in proportion to
that of the others,

    t_k = gamma (1 + e_k) / G_k ((A x)_k + 1),        tau_l = sum_j!=l -A_lj x_j / A_ll,

the targets within bounds that are relative to the power of all UEs. `docs/learning.md` derives it. Arrays of torch or numpy;
vectors are rows [drop, 1, n]. Sums and maxima name their axis from the front, because onnxruntime miscounts a negative one
where another axis is empty.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Generic, Protocol, runtime_checkable

from jaxtyping import Float, Int

from isac_torch.tensors import Array, at_least, at_most, map_tensors, namespace

_TINY = 1e-10
"""Least amplitude (1/sqrt(W)) of a UE's signal; its square is still safe in single precision."""
_UNBOUNDED = 1e12


@dataclass(frozen=True)
class Constants:
    """Constants of the balancing equations. A network is trained under some, and its bundle carries them.

    Attributes:
        sensing_cap: largest power of a target's beams over that of all UEs: keeps constraints that cannot be met from draining
            the network.
        least_net_gain: net gain of a target's beams in its own constraint over their echo, below which they are left at their
            floor: the constraint then depends on the UEs' streams alone.
        excess_at_zero: offset of the logits of excess and floor: at logit 0 a UE asks for 5 % more than the common SINR.
        excess_cap: nepers that a UE may ask for above the common SINR; 9 are 39 dB.
        floor_share: least power of a target's beams over that of all UEs, for a floor of one.
        least_share: least share of a link in the power of the UE or target that it serves.
        least_own_gain: least net gain, over the constraint's largest echo, by which a target's constraint is divided.
    """

    sensing_cap: float = 5.0
    least_net_gain: float = 0.02
    excess_at_zero: float = -3.0
    excess_cap: float = 9.0
    floor_share: float = 0.01
    least_share: float = 1e-12
    least_own_gain: float = 1e-9


CONSTANTS = Constants()
"""Those that networks are trained under today."""


@runtime_checkable
class Layout(Protocol[Array]):
    """Coefficients with one axis over nodes; see `tracking.nodes.NodeProblem`."""

    @property
    def signal(self) -> Float[Array, "drop 1 link"]:
        """Amplitude gain of each serving link, 1/sqrt(W); 0 on sensing links."""
        ...

    @property
    def own_echo(self) -> Float[Array, "drop 1 link"]:
        """S of each sensing link at its own target, over the largest in the constraint; not read on serving links."""
        ...

    @property
    def net(self) -> Float[Array, "drop node link"]:
        """N of each UE, S - SIR0 I of each target."""
        ...

    @property
    def coherent(self) -> Float[Array, "drop node link"] | None:
        """Amplitude of each serving link at each UE on the same pilot, 1/sqrt(W); None where no pilot is shared."""
        ...

    @property
    def is_ue(self) -> Float[Array, "1 node"]:
        """1 for each UE, 0 for each target."""
        ...

    @property
    def is_target(self) -> Float[Array, "1 node"]:
        """1 for each target, 0 for each UE."""
        ...

    @property
    def itself(self) -> Float[Array, "node node"]:
        """1 where both are the same target."""
        ...

    def total(self, value: Float[Array, "drop row link"]) -> Float[Array, "drop row node"]:
        """Sums over the links that serve each node."""
        ...

    def load(self, share: Float[Array, "drop 1 link"]) -> Float[Array, "drop ap node"]:
        """Share of each AP's budget that a watt of each node takes, 1/W."""
        ...


@dataclass(frozen=True)
class Terms(Generic[Array]):
    """The balancing equations of a batch at given shares.

    Attributes:
        share: of each link in the power of the node that it serves.
        root: the square root of the shares.
        signal: amplitude that each link adds to its UE's, per sqrt(W) of the UE; 0 on sensing links.
        amplitude: of each UE's signal per sqrt(W).
        pilot: amplitude of each UE at each UE on the same pilot; None where no pilot is shared.
        noise: power that a UE asks for to overcome the noise at SINR 1, W; 0 at targets.
        per_gain: one over the net gain of a target's beams in its own constraint; 0 at UEs and where it is too little to use.
        answer: A, of a watt of each node (last axis).
        asks: power that a UE (at SINR 1) or target asks for, of a watt of each other node; 0 for a target with too little gain.
        least, most: bounds of each node's power over that of all UEs.
        load: share of the AP's budget that a watt of each node takes, 1/W.
    """

    share: Float[Array, "drop 1 link"]
    root: Float[Array, "drop 1 link"]
    signal: Float[Array, "drop 1 link"]
    amplitude: Float[Array, "drop 1 node"]
    pilot: Float[Array, "drop node node"] | None
    noise: Float[Array, "drop 1 node"]
    per_gain: Float[Array, "drop 1 node"]
    answer: Float[Array, "drop node node"]
    asks: Float[Array, "drop node node"]
    least: Float[Array, "drop 1 node"]
    most: Float[Array, "1 node"]
    load: Float[Array, "drop ap node"]

    def select(self, index: Int[Array, " chosen"]) -> Terms[Array]:
        """The drops at `index`."""
        drops = len(self.share)
        return map_tensors(self, lambda value: value[index] if len(value) == drops else value)


@dataclass(frozen=True)
class Wanted(Generic[Array]):
    """What nodes ask for at some powers, the UEs' adding up to one.

    Attributes:
        load: of each AP over its budget.
        free: what nodes ask for before the targets' bounds; the UEs' adds up to one over the common SINR.
        common_sinr: of the UEs, linear.
        aim: what they get, the UEs' adding up to one.
    """

    load: Float[Array, "drop 1 ap"]
    free: Float[Array, "drop 1 node"]
    common_sinr: Float[Array, "drop 1 1"]
    aim: Float[Array, "drop 1 node"]


def asked(logit: Float[Array, "*shape"], constants: Constants) -> tuple[Float[Array, "*shape"], Float[Array, "*shape"]]:
    """1 + excess of UEs, and floor of targets over the power of all UEs, that logits stand for."""
    xp = namespace(logit)
    extra = xp.logaddexp(logit + constants.excess_at_zero, xp.zeros_like(logit))
    return xp.exp(at_most(extra, constants.excess_cap)), constants.floor_share * extra


def terms(
    layout: Layout[Array],
    share: Float[Array, "drop 1 link"],
    above: Float[Array, "drop 1 node"] | float,
    floor: Float[Array, "drop 1 node"] | float,
    constants: Constants,
) -> Terms[Array]:
    """The equations at given shares.

    Args:
        layout: coefficients.
        share: of each link in the power of the node that it serves; at least `constants.least_share`.
        above: 1 + excess of each UE, linear; not read at targets.
        floor: least power of each target over that of all UEs; not read at UEs nor at targets without a sensing constraint.
        constants: those that the shares were chosen under.
    """
    xp = namespace(share)
    root = xp.sqrt(share)
    signal = layout.signal * root
    amplitude = at_least(layout.total(signal), _TINY)
    noise = above * layout.is_ue / (amplitude * amplitude)
    answer = layout.total(layout.net * share)
    pilot = None if layout.coherent is None else layout.total(layout.coherent * root)
    if pilot is not None:
        answer = answer + pilot * pilot
    own = xp.sum(answer * layout.itself, axis=2)[:, None]
    enough = constants.least_own_gain
    if constants.least_net_gain:
        echo = layout.total(layout.own_echo * share) * layout.is_target
        enough = at_least(constants.least_net_gain * echo, enough)
    per_gain = (own > enough) / at_least(own, enough)
    return Terms(
        share=share,
        root=root,
        signal=signal,
        amplitude=amplitude,
        pilot=pilot,
        noise=noise,
        per_gain=per_gain,
        answer=answer,
        asks=answer * (1.0 - layout.itself) * (noise - per_gain).mT,
        least=floor * (own != 0.0) * layout.is_target,
        most=constants.sensing_cap + _UNBOUNDED * layout.is_ue,
        load=layout.load(share),
    )


def damped(terms: Terms[Array], layout: Layout[Array]) -> Terms[Array]:
    """The same equations where targets go half-way: without, two targets whose beams help each other would swap for ever."""
    half = 0.5 * layout.is_target
    return replace(terms, asks=terms.asks * (1.0 - half).mT + 0.5 * layout.itself)


def wanted(terms: Terms[Array], layout: Layout[Array], scale: Float[Array, "drop 1 node"]) -> Wanted[Array]:
    """What the nodes ask for at the powers `scale`, which the UEs' may give in any unit: one step of the fixed point."""
    xp = namespace(scale)
    load = scale @ terms.load.mT
    free = scale @ terms.asks.mT + terms.noise * xp.max(load, axis=2, keepdims=True)
    total = free @ layout.is_ue.mT
    bounded = xp.maximum(xp.minimum(free, terms.most), terms.least)
    return Wanted(load, free, 1.0 / total, bounded / (total * layout.is_ue + layout.is_target))
