"""The tracking system's power problem: largest minimum SINR under per-AP budgets and sensing constraints.

    maximise   min_k  (a_k^T sqrt p)^2 / (N_k^T p + sum_j (c_kj^T sqrt p_j)^2 + 1)
    subject to sum_{e at AP m} p_e <= P_m,   S_l^T p >= SIR0_l (I_l^T p + n_l),   p >= 0

Everything is divided by the noise power, so that coefficients are in 1/W. A link is an (AP, UE) pair of the serving sets
or an (AP, target) pair of the sensing sets; the links of UE 0 come first, then those of UE 1, ..., then those of target 0.
Constraints on the SIR have n = 0; those on the expected SICNR (`tracking.sicnr_constraints`) have noise, and S and I after the
clutter's filter. The constraints of the targets come first, those of scan cells (`tracking.scan`) after them. A requirement on
the position adds h_l(p) >= required_l (`tracking.position`), concave in the powers.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Generic

from jaxtyping import Float, Int

from isac_torch.errors import ProblemError
from isac_torch.problem import Violations
from isac_torch.tensors import (
    Array,
    amplitude,
    at_least,
    at_rows,
    cast_floats,
    counting,
    is_real,
    map_tensors,
    namespace,
    sum_at,
    tensor_fields,
    tiniest,
)
from isac_torch.tracking.nodes import NodeProblem
from isac_torch.tracking.position import PositionInformation

if TYPE_CHECKING:
    import torch

_ANY_SIGN = {"coherent", *(f"position.{name}" for name in ("cross", "arrival", "departure"))}
"""Coefficients that may be negative."""


@dataclass(frozen=True)
class MaxMinSinrProblem(Generic[Array]):
    """A batch of max-min SINR problems of one size class, as tensors or numpy arrays. The module's docstring says what problem.

    Attributes:
        signal: a[k, s], amplitude gain of UE k's s-th serving link over the noise, 1/sqrt(W).
        leakage: N[k, e], mean interference power over noise that link e makes at UE k per W (its own beams' included), 1/W.
        coherent: c[k, j, s], amplitude of the s-th link of a UE j on k's pilot, 1/sqrt(W); zero unless j shares k's pilot.
        echo: S[l, e], the wanted echo of sensing constraint l per W of link e; any scale, per constraint.
        cross_echo: I[l, e], the other targets' echoes at l's receive APs per W of link e; same scale as S[l].
        sir_min: required quality of each sensing constraint, linear. There is no SIR with fewer than two targets.
        budget: P[m] of each transmit AP, W.
        link_ap: transmit AP of each link.
        link_gain: large-scale fading of each link, linear (what heuristics look at).
        num_targets: targets in each drop; their sensing links are the last ones.
        echo_noise: n[l] of each sensing constraint, on the scale of S[l] p; None where none has noise.
        num_cells: how many of the sensing constraints, the last ones, are of scan cells: no sensing beam points there.
        reference: W, powers that the requirement compares with; None where it compares with none.
        position: position information of every target and what is required of it; None where nothing is.
        used: 1 where a serving link may be used; 0 where not: it has no signal and no echo then; None: all may be.

    Example:
        >>> import torch
        >>> from isac_torch import MaxMinSinrProblem, TrackingScenario, power_problem
        >>> scenario = TrackingScenario.of_size("8x6x2")
        >>> problem = power_problem(scenario.sample(5, generator=torch.Generator().manual_seed(1)), scenario)
        >>> isinstance(problem, MaxMinSinrProblem)
        True
        >>> power = problem.link_budget / 10.0                         # W, [drop, link]
        >>> tuple(problem.sinr(power).shape), tuple(problem.sir(power).shape)   # of each UE, of each target; linear
        ((5, 6), (5, 2))
        >>> bool((problem.violations(power).budget == 0).all())
        True
    """

    signal: Float[Array, "drop ue serving"]
    leakage: Float[Array, "drop ue link"]
    coherent: Float[Array, "drop ue ue serving"]
    echo: Float[Array, "drop constraint link"]
    cross_echo: Float[Array, "drop constraint link"]
    sir_min: Float[Array, "drop constraint"]
    budget: Float[Array, "drop ap"]
    link_ap: Int[Array, "drop link"]
    link_gain: Float[Array, "drop link"]
    num_targets: int
    echo_noise: Float[Array, "drop constraint"] | None = None
    num_cells: int = 0
    reference: Float[Array, "drop link"] | None = None
    position: PositionInformation[Array] | None = None
    used: Float[Array, "drop ue serving"] | None = None

    @cached_property
    def by_node(self) -> NodeProblem[Array]:
        """The same coefficients with one axis over UEs and targets, built once: balancing asks for them at every step."""
        return NodeProblem.of(self)

    @property
    def num_drops(self) -> int:
        """Drops in the batch."""
        return self.signal.shape[0]

    @property
    def num_ues(self) -> int:
        """UEs in each drop."""
        return self.signal.shape[1]

    @property
    def serving(self) -> int:
        """Serving links of each UE."""
        return self.signal.shape[2]

    @property
    def num_comm_links(self) -> int:
        """Serving links of a drop: the first ones of the link axis."""
        return self.num_ues * self.serving

    @property
    def num_links(self) -> int:
        """Links of a drop, serving and sensing."""
        return self.leakage.shape[2]

    @property
    def num_aps(self) -> int:
        """Transmit APs."""
        return self.budget.shape[1]

    @property
    def num_constraints(self) -> int:
        """Sensing constraints that are linear in the powers."""
        return self.echo.shape[1]

    @property
    def num_target_constraints(self) -> int:
        """Those of them that belong to a target, in the order of the targets: one each, or none at all."""
        return self.num_constraints - self.num_cells

    @property
    def link_budget(self) -> Float[Array, "drop link"]:
        """Budget of each link's AP, W."""
        return at_rows(self.budget, self.link_ap)

    @property
    def constraint_noise(self) -> Float[Array, "drop constraint"]:
        """n[l] of every sensing constraint, zeros where none has noise."""
        return self.sir_min * 0.0 if self.echo_noise is None else self.echo_noise

    @property
    def asks_for_watts(self) -> bool:
        """Whether some sensing constraint has noise, is of a scan cell or on a position: all but the SIR, which is a ratio."""
        return bool((self.constraint_noise > 0).any()) or self.num_cells > 0 or self.position is not None

    @property
    def has_pilot_reuse(self) -> bool:
        """Whether some UEs share a pilot, so that the problem is not quasi-concave."""
        return bool((self.coherent != 0).any())

    def serving_power(self, power: Float[Array, "drop link"]) -> Float[Array, "drop ue serving"]:
        """The serving links' part of `power` (W), one row a UE."""
        return power[:, : self.num_comm_links].reshape(-1, self.num_ues, self.serving)

    def interference(self, power: Float[Array, "drop link"]) -> Float[Array, "drop ue"]:
        """Interference plus noise of each UE over the noise: the denominator of the SINR. `power` in W."""
        return self._interference(power, amplitude(self.serving_power(power)))

    def _interference(self, power: Float[Array, "drop link"], sent: Float[Array, "drop ue serving"]) -> Float[Array, "drop ue"]:
        """The same where the serving links' amplitudes are known."""
        shared = namespace(power).vecdot(self.coherent, sent[:, None])
        return _times(self.leakage, power) + (shared * shared).sum(-1) + 1.0

    def sinr(self, power: Float[Array, "drop link"]) -> Float[Array, "drop ue"]:
        """SINR of each UE, linear; `power` in W. Eq. (14) of docs/physics.md."""
        sent = amplitude(self.serving_power(power))
        wanted = namespace(power).vecdot(self.signal, sent)
        return wanted * wanted / self._interference(power, sent)

    def sir(self, power: Float[Array, "drop link"]) -> Float[Array, "drop constraint"]:
        """Quality of each linear sensing constraint, linear; `power` in W; 0 where no power is sent.

        The expected SIR, eq. (19) of docs/physics.md; with noise the expected SICNR, eq. (52) of docs/sensing.md; of a scan
        cell the echo over that of the reference powers.
        """
        other = _times(self.cross_echo, power) + self.constraint_noise
        return _times(self.echo, power) / at_least(other, tiniest(power))

    def ap_load(self, power: Float[Array, "drop link"]) -> Float[Array, "drop ap"]:
        """Power that each AP sends, W."""
        return sum_at(power, self.link_ap, self.num_aps)

    def objective(self, power: Float[Array, "drop link"]) -> Float[Array, " drop"]:
        """Smallest SINR of each drop, linear; `power` in W."""
        return namespace(power).min(self.sinr(power), axis=-1)

    def violations(self, power: Float[Array, "drop link"]) -> Violations[Array]:
        """Relative violations of budgets, sensing constraints and signs by `power` (W), per drop."""
        xp = namespace(power)
        excess = [xp.max(self.ap_load(power) / self.budget - 1.0, axis=-1), xp.zeros_like(power[:, 0])]
        if self.num_constraints:
            least = tiniest(power)  # a constraint that asks for nothing is met
            excess[1] = xp.max(1.0 - (self.sir(power) + least) / (self.sir_min + least), axis=-1)
        if self.position is not None:
            short = xp.max(1.0 - self.position.h(at_least(power, 0.0)) / self.position.required, axis=-1)
            excess[1] = xp.maximum(excess[1], short)
        excess.append(-xp.min(power, axis=-1) / xp.max(self.budget, axis=-1))
        overload, shortfall, negative = (at_least(value, 0.0) for value in excess)
        return Violations(budget=overload, sensing=shortfall, negative=negative)

    def best_sinr(self) -> Float[Array, "drop ue"]:
        """Bound on the SINR of each UE, linear: every budget on its own links and no interference. No powers exceed it."""
        sent = amplitude(self.serving_power(self.link_budget))
        return namespace(sent).vecdot(self.signal, sent) ** 2

    def links_of(self, ues: Int[Array, "drop chosen"]) -> Int[Array, "drop somelink"]:
        """The links of some UEs of each drop and of all targets, in the order of the UEs given."""
        xp = namespace(ues)
        own = (ues[..., None] * self.serving + counting(self.serving, ues)).reshape(len(ues), -1)
        sensing = counting(self.num_links - self.num_comm_links, ues) + self.num_comm_links
        return xp.concat([own, xp.zeros_like(own[:, :1]) + sensing], axis=1)

    def of_ues(self, ues: Int[Array, "drop chosen"]) -> MaxMinSinrProblem[Array]:
        """The same drops without the other UEs and their links: `ues` are indices, equally many in each drop."""
        drop = counting(len(ues), ues)[:, None, None]
        link = self.links_of(ues)

        def columns(table: Array) -> Array:
            return table[drop, counting(table.shape[1], ues)[:, None], link[:, None]]

        return replace(
            self,
            signal=at_rows(self.signal, ues),
            leakage=columns(self.leakage)[drop[..., 0], ues],
            coherent=self.coherent[drop, ues[..., None], ues[:, None]],
            echo=columns(self.echo),
            cross_echo=columns(self.cross_echo),
            link_ap=at_rows(self.link_ap, link),
            link_gain=at_rows(self.link_gain, link),
            reference=None if self.reference is None else at_rows(self.reference, link),
            position=None if self.position is None else self.position.of_links(link),
            used=None if self.used is None else at_rows(self.used, ues),
        )

    def served(self, power: Float[Array, "drop link"]) -> Float[Array, "drop link"]:
        """The same powers (W), 0 on serving links that may not be used."""
        return power if self.used is None else power * self._per_link(self.used)

    def _per_link(self, used: Float[Array, "drop ue serving"]) -> Float[Array, "drop link"]:
        """1 on sensing links, the value given on serving links."""
        xp = namespace(used)
        sensing = xp.ones_like(self.link_gain[:, self.num_comm_links :])
        return xp.concat([used.reshape(len(used), -1), sensing], axis=1)

    def with_links(self, used: Float[Array, "drop ue serving"]) -> MaxMinSinrProblem[Array]:
        """The same drops where serving links whose `used` is 0 bring nothing but disturbance: no optimum needs them."""
        weight = self._per_link(used)
        return replace(
            self,
            signal=self.signal * used,
            coherent=self.coherent * used[:, None],
            echo=self.echo * weight[:, None],
            cross_echo=self.cross_echo * weight[:, None],
            position=None if self.position is None else self.position.weighted(weight),
            used=used,
        )

    def select(self, index: Int[Array, " chosen"]) -> MaxMinSinrProblem[Array]:
        """The drops at `index`, in that order."""
        return map_tensors(self, lambda t: t[index])

    def to(self, device: torch.device | str) -> MaxMinSinrProblem[Array]:
        """The same problems on another device."""
        return map_tensors(self, lambda t: t.to(device))

    def cast(self, dtype: torch.dtype) -> MaxMinSinrProblem[Array]:
        """The same problems in another floating type."""
        return cast_floats(self, dtype)

    def check(self) -> None:
        """Raise ProblemError, naming the tensor, where a coefficient is not finite or has an impossible sign."""
        for name, value in tensor_fields(self).items():
            xp = namespace(value)
            if is_real(value) and not bool(xp.all(xp.isfinite(value))):
                raise ProblemError(f"{name} holds a value that is not finite; check the gains and positions of the drop")
            if name not in _ANY_SIGN and 0 not in value.shape and bool(xp.any(value < 0)):
                raise ProblemError(f"{name} holds {float(xp.min(value)):g}, but it must not be negative; check the drop")
        if not bool((self.budget > 0).all()):
            raise ProblemError("budget holds 0, but every transmit AP needs a positive power budget in W")


def _times(rows: Float[Array, "drop constraint link"], power: Float[Array, "drop link"]) -> Float[Array, "drop constraint"]:
    """Sum over the links of each row of coefficients, weighted with the powers."""
    return (rows @ power[..., None])[..., 0]
