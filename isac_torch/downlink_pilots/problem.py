"""Downlink pilots: power problem: smallest largest channel-estimation error under per-AP budgets and localisation bounds.

    minimise   max_k  w_k NMSE_k(p)          (or sum_k w_k NMSE_k)
    subject to sum_k p_mk <= P_m,   tr J_k(p)^-1 <= Gamma_k,   p >= 0

A link is an (AP, UE) pair: the links of UE 0 to APs 0, 1, ... come first, then those of UE 1. Where `serves` names subsets, the
other links exist, but carry no power.
Powers are W of a pilot symbol averaged over the pilot. Gains are divided by the noise power and include the pilot's length.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from isac_torch.downlink_pilots.fading import bound, expected_bound, outage_bound
from isac_torch.downlink_pilots.receiver import Parts, lmmse_weights, noise, own_weights, residual
from isac_torch.errors import ProblemError
from isac_torch.problem import Violations
from isac_torch.tensors import amplitude, cast_floats, map_tensors, tensor_fields

STEADY_SHARE = math.pi / 4.0
"""Squared mean over mean square of the size of a Rayleigh-distributed estimate."""


@dataclass(frozen=True)
class MinMaxNmseProblem:
    """A batch of min-max NMSE problems of one size class. See the module's docstring for the optimisation problem.

    Attributes:
        gain: tau_d beta[k, m] / noise, pilot energy over noise that UE k receives per W of any AP m's link, 1/W.
        estimate: tau_d gamma[k, m] / noise, the part of it that the AP's channel estimate makes coherent, 1/W.
        gram_real: real part of the downlink pilots' psi_k^H psi_j.
        gram_imag: its imaginary part.
        same_pilot: 1 where UEs k and j share an uplink pilot (1 on the diagonal).
        fisher_xx: Fisher information about UE k's x per W from AP m, 1/(m2 W).
        fisher_yy: about y, 1/(m2 W).
        fisher_xy: about x and y, 1/(m2 W).
        crb_max: Gamma of each UE, m2.
        weight: w of each UE's NMSE.
        budget: P[m] of each AP, W.
        link_ap: AP of each link.
        link_gain: large-scale fading of each link, linear (what heuristics look at).
        serves: 1 where the AP serves the UE; 0 where the link carries no power, `estimate` and `fisher_*` are 0; None: all 1.
        merit: what is minimised, the "worst" or the "sum" of the weighted NMSE.
        fading: which CRB is bounded: that of the mean beam power ("mean_power", as in the paper), its mean over the fading
            ("expected"), what `outage_percent` of the blocks exceed ("outage"), or that of every block ("per_block"): beams do
            not fade then, and `gain` and `estimate` are those of eq. (P15d).
        outage_percent: share of the blocks that may exceed Gamma, %; for "outage" only.
        receiver: how a UE estimates its channel: by the linear MMSE estimate from the whole received pilot ("lmmse"), from its
            correlation with the UE's own pilot ("projection", as in the paper), or from that with the weight that is best for
            orthogonal pilots ("ignorant").

    Example:
        >>> import torch
        >>> from isac_torch import DownlinkPilotScenario, MinMaxNmseProblem, power_problem
        >>> scenario = DownlinkPilotScenario(num_aps=8, num_ues=3)
        >>> problem = power_problem(scenario.sample(5, generator=torch.Generator().manual_seed(1)), scenario)
        >>> isinstance(problem, MinMaxNmseProblem)
        True
        >>> power = problem.budget[:, problem.link_ap[0]] / 3.0        # W, [drop, link]: each AP's budget over its 3 links
        >>> tuple(problem.nmse(power).shape), tuple(problem.crb(power).shape)   # of each UE: linear; m2
        ((5, 3), (5, 3))
    """

    gain: Float[Tensor, "drop ue ap"]
    estimate: Float[Tensor, "drop ue ap"]
    gram_real: Float[Tensor, "drop ue ue"]
    gram_imag: Float[Tensor, "drop ue ue"]
    same_pilot: Float[Tensor, "drop ue ue"]
    fisher_xx: Float[Tensor, "drop ue ap"]
    fisher_yy: Float[Tensor, "drop ue ap"]
    fisher_xy: Float[Tensor, "drop ue ap"]
    crb_max: Float[Tensor, "drop ue"]
    weight: Float[Tensor, "drop ue"]
    budget: Float[Tensor, "drop ap"]
    link_ap: Int[Tensor, "drop link"]
    link_gain: Float[Tensor, "drop link"]
    serves: Float[Tensor, "drop ue ap"] | None = None
    merit: Literal["worst", "sum"] = "worst"
    fading: Literal["mean_power", "expected", "outage", "per_block"] = "mean_power"
    outage_percent: int = 5
    receiver: Literal["lmmse", "projection", "ignorant"] = "lmmse"

    @property
    def num_drops(self) -> int:
        """Drops in the batch."""
        return self.gain.shape[0]

    @property
    def num_ues(self) -> int:
        """UEs in each drop."""
        return self.gain.shape[1]

    @property
    def num_aps(self) -> int:
        """APs."""
        return self.gain.shape[2]

    @property
    def num_links(self) -> int:
        """Links of a drop."""
        return self.link_ap.shape[1]

    @property
    def num_targets(self) -> int:
        """Targets with links of their own: none, as every UE is its own target."""
        return 0

    @property
    def num_comm_links(self) -> int:
        """Links that serve UEs: all."""
        return self.num_links

    @property
    def serving(self) -> int:
        """Links of each UE: one an AP, with power or without."""
        return self.num_aps

    @property
    def has_shared_uplink(self) -> bool:
        """Whether some UEs share an uplink pilot; then no certificate is offered."""
        return bool((self.same_pilot.sum(-1) > 1).any())

    def per_ue(self, power: Float[Tensor, "drop link"]) -> Float[Tensor, "drop ue ap"]:
        """Powers (W) by UE and AP."""
        return power.unflatten(-1, (self.num_ues, self.num_aps))

    def served(self, power: Float[Tensor, "drop link"]) -> Float[Tensor, "drop link"]:
        """The same powers (W), 0 on links that carry none."""
        return power if self.serves is None else power * self.serves.flatten(1)

    def strength(self, power: Float[Tensor, "drop link"]) -> Float[Tensor, "drop ue"]:
        """E|a_k|^2 of the effective channel, in units of the pilot's noise, eq. (P8). `power` in W."""
        by_ue = self.per_ue(power)
        return amplitude(self.estimate * by_ue).sum(-1).square() + (self.gain * by_ue).sum(-1)

    def mixing(self, power: Float[Tensor, "drop link"]) -> Float[Tensor, "drop ue ue ue"]:
        """Cov(a_kj, a_ki) of the streams j and i as UE k hears them, in units of the pilot's noise, eq. (P5). `power` in W.

        Beams made from different uplink pilots are independent, those made from the same one are parallel.
        """
        root = amplitude(self.per_ue(power))
        return torch.einsum("dkm,djm,dim->dkji", self.gain, root, root) * self.same_pilot.unsqueeze(1)

    def heard(self, power: Float[Tensor, "drop link"]) -> Float[Tensor, "drop ue ue"]:
        """Cov(a_kj, a_kj): c F_kj of (P8), energy over noise of UE j's beams at UE k. `power` in W."""
        return torch.einsum("dkm,djm->dkj", self.gain, self.per_ue(power))

    @property
    def gram(self) -> Parts:
        """Real and imaginary part of psi_k^H psi_j."""
        return self.gram_real, self.gram_imag

    @property
    def separated(self) -> bool:
        """Whether the UEs' pilots are known to be orthogonal, up and down: then all receivers are the same."""
        crossed = self.gram_real.square() + self.gram_imag.square()
        return not (self._may_share_uplink or bool(torch.triu(crossed, 1).any()))

    @property
    def _may_share_uplink(self) -> bool:
        """`has_shared_uplink`; on an accelerator always true, as one would wait for its answer: the general formulas hold."""
        return self.same_pilot.device.type != "cpu" or self.has_shared_uplink

    def combiner(self, power: Float[Tensor, "drop link"]) -> Parts:
        """Real and imaginary part of the weights that each UE's receiver gives to the correlations z_j, [drop, ue, j],
        eqs. (P6a)-(P6c). `power` in W.
        """
        receiver = "ignorant" if self.separated else self.receiver
        if receiver == "lmmse":
            return lmmse_weights(self.gram, self.mixing(power))
        heard = self.heard(power)
        own = heard.diagonal(dim1=1, dim2=2)
        if receiver == "ignorant":
            return own_weights(own, torch.zeros_like(own), 1.0 + own)
        if not self._may_share_uplink:
            observed = 1.0 + ((self.gram_real.square() + self.gram_imag.square()) * heard).sum(-1)
            return own_weights(own, torch.zeros_like(own), observed)
        mixed = self.mixing(power)
        cross = torch.einsum("dkki->dki", mixed)
        real, imag = ((part * cross).sum(-1) for part in self.gram)
        return own_weights(real, imag, 1.0 + _quadratic(self.gram, mixed))

    def error(self, power: Float[Tensor, "drop link"]) -> Float[Tensor, "drop ue"]:
        """Mean squared error of the UE's linear MMSE estimate of a_k, in units of the pilot's noise, eq. (P7). `power` in W.

        Written as the error of the receiver's weights, which is flat around the best ones: E|a_k|^2 less what is known would
        cancel digits.
        """
        return self.error_of(self.combiner(power), power)

    def error_of(self, combiner: Parts, power: Float[Tensor, "drop link"]) -> Float[Tensor, "drop ue"]:
        """Mean squared error of the estimate that the weights `combiner` make, in units of the pilot's noise. `power` in W."""
        parts = residual(combiner, self.gram)
        if self._may_share_uplink:
            left = _quadratic(parts, self.mixing(power))
        else:
            left = ((parts[0].square() + parts[1].square()) * self.heard(power)).sum(-1)
        return left + noise(combiner, self.gram)

    def nmse(self, power: Float[Tensor, "drop link"]) -> Float[Tensor, "drop ue"]:
        """Normalised mean squared error of each UE's channel estimate; 1 where it gets no power. `power` in W. Eq. (P8)."""
        strength = self.strength(power)
        silent = strength <= 0
        return torch.where(silent, torch.ones_like(strength), self.error(power) / strength.masked_fill(silent, 1.0))

    def fisher(self, power: Float[Tensor, "drop link"]) -> Float[Tensor, "drop ue 3"]:
        """Entries xx, yy, xy of each UE's Fisher information matrix, 1/m2, eq. (P13). `power` in W."""
        by_ue = self.per_ue(power)
        return torch.stack([(part * by_ue).sum(-1) for part in (self.fisher_xx, self.fisher_yy, self.fisher_xy)], dim=-1)

    def crb(self, power: Float[Tensor, "drop link"]) -> Float[Tensor, "drop ue"]:
        """Lower bound on the mean squared position error of each UE, m2; inf where it cannot be located. `power` in W.

        Eq. (P15), or over the fading of the beams as `fading` says, eqs. (P15a)-(P15c).
        """
        if self.fading in ("mean_power", "per_block"):
            return bound(*self.fisher(power).unbind(-1))
        by_ue = self.per_ue(power)
        information = (self.fisher_xx * by_ue, self.fisher_yy * by_ue, self.fisher_xy * by_ue)
        return expected_bound(information) if self.fading == "expected" else outage_bound(information, self.outage_percent)

    def ap_load(self, power: Float[Tensor, "drop link"]) -> Float[Tensor, "drop ap"]:
        """Power that each AP sends, W."""
        return self.per_ue(power).sum(1)

    def objective(self, power: Float[Tensor, "drop link"]) -> Float[Tensor, " drop"]:
        """Inverse of the largest weighted NMSE (or of their sum): larger is better, and gaps are relative. `power` in W."""
        loss = self.weight * self.nmse(power)
        return (loss.sum(-1) if self.merit == "sum" else loss.amax(-1)).reciprocal()

    def violations(self, power: Float[Tensor, "drop link"]) -> Violations:
        """Relative violations of budgets, localisation bounds (in 1/CRB) and signs by `power` (W), per drop.

        An AP has no budget for UEs that it does not serve.
        """
        overload = (self.ap_load(power) / self.budget - 1.0).amax(-1).clamp_min(0.0)
        if self.serves is not None:
            unserved = self.per_ue(power.abs()) * (1.0 - self.serves) / self.budget.unsqueeze(1)
            overload = torch.maximum(overload, unserved.flatten(1).amax(-1))
        shortfall = (1.0 - self.crb_max / self.crb(power)).amax(-1).clamp_min(0.0)
        negative = (-power.amin(-1) / self.budget.amax(-1)).clamp_min(0.0)
        return Violations(budget=overload, sensing=shortfall, negative=negative)

    def select(self, index: Int[Tensor, " chosen"]) -> MinMaxNmseProblem:
        """The drops at `index`, in that order."""
        return map_tensors(self, lambda t: t[index])

    def to(self, device: torch.device | str) -> MinMaxNmseProblem:
        """The same problems on another device."""
        return map_tensors(self, lambda t: t.to(device))

    def cast(self, dtype: torch.dtype) -> MinMaxNmseProblem:
        """The same problems in another floating type."""
        return cast_floats(self, dtype)

    def check(self) -> None:
        """Raise ProblemError, naming the tensor, where a coefficient is not finite or has an impossible sign."""
        if self.merit not in ("worst", "sum"):
            raise ProblemError(f"merit={self.merit!r} must be worst or sum")
        if self.fading not in ("mean_power", "expected", "outage", "per_block"):
            raise ProblemError(f"fading={self.fading!r} must be mean_power, expected, outage or per_block")
        if not 1 <= self.outage_percent <= 50:
            raise ProblemError(f"outage_percent={self.outage_percent} must lie in 1 to 50")
        if self.receiver not in ("lmmse", "projection", "ignorant"):
            raise ProblemError(f"receiver={self.receiver!r} must be lmmse, projection or ignorant")
        for name, value in tensor_fields(self).items():
            if value.is_floating_point() and not bool(value.isfinite().all()):
                raise ProblemError(f"{name} holds a value that is not finite; check the gains and positions of the drop")
            if not name.startswith(("gram", "fisher_xy")) and value.numel() and bool((value < 0).any()):
                raise ProblemError(f"{name} holds {value.min().item():g}, but it must not be negative; check the drop")
        strongest = STEADY_SHARE / (1.0 - STEADY_SHARE) if self.fading == "per_block" else 1.0
        if bool((self.estimate > self.gain * strongest * (1 + 1e-9)).any()):
            raise ProblemError("estimate exceeds gain, but an estimate is never stronger than its channel; check the drop")
        if self.serves is not None and bool(((self.serves != 0.0) & (self.serves != 1.0)).any()):
            raise ProblemError("serves must hold 0 and 1 only: 1 where the AP serves the UE")
        for name in ("budget", "weight", "crb_max"):
            if not bool((getattr(self, name) > 0).all()):
                raise ProblemError(f"{name} holds 0, but it must be positive")


def _quadratic(
    parts: tuple[Float[Tensor, "drop ue ue"], Float[Tensor, "drop ue ue"]], mixed: Float[Tensor, "drop ue ue ue"]
) -> Float[Tensor, "drop ue"]:
    """v_k^H C_k v_k for complex vectors v given by their parts and real symmetric C."""
    stacked = torch.stack(parts)
    return torch.einsum("cdkj,cdki,dkji->dk", stacked, stacked, mixed)
