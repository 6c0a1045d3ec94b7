"""Sensing rows by the expected SICNR: what power control can ask for instead of a SIR. Eqs. (51)-(56) of docs/sensing.md.

The SIR row knows no noise, no clutter and no filter. These rows are means of what the paper's test measures,

    S_l^T p >= SICNR0 (I_l^T p + n_l),

S_l p the energy of target l's echo after whitening, I_l p that part of the other targets' energy which falls onto l's echoes,
and n_l the directions that the test looks at. Whitening depends on the powers; here it is that of the reference powers.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from jaxtyping import Complex, Float, Int
from torch import Tensor

from isac_torch.allocation import Allocation, allocate, equal_split
from isac_torch.errors import ScenarioError
from isac_torch.sensing.echoes import EchoScene, echo_scene
from isac_torch.tracking.build import power_problem
from isac_torch.tracking.channel import channel_statistics
from isac_torch.tracking.communication import trace
from isac_torch.units import db_to_linear

if TYPE_CHECKING:
    from isac_torch.allocation import Allocator
    from isac_torch.sensing.setup import SensingSetup
    from isac_torch.tracking.drop import TrackingDrop
    from isac_torch.tracking.problem import MaxMinSinrProblem
    from isac_torch.tracking.scenario import TrackingScenario

_BISECTIONS = 40


def sicnr_constraints(
    problem: MaxMinSinrProblem,
    drop: TrackingDrop,
    scenario: TrackingScenario,
    setup: SensingSetup,
    sicnr_min_db: float,
    reference: Float[Tensor, "drop link"] | None = None,
) -> MaxMinSinrProblem:
    """The same problem with one row a target (a single target too) that asks for an expected SICNR.

    Args:
        problem: `power_problem` of the drop.
        drop: networks.
        scenario: theirs.
        setup: clutter, cross-sections and samples of the test.
        sicnr_min_db: required SICNR of every target, dB; as the printed tracking test counts it, per direction.
        reference: powers (W) whose clutter the whitening is that of; default an equal split of every budget. Less power
            makes less clutter, so that these rows ask for rather too much than too little.

    Raises:
        ScenarioError: no targets, or more samples than the coherence block has.
    """
    if drop.target_position.shape[1] == 0:
        raise ScenarioError("num_targets=0 leaves nothing to sense; SICNR rows need at least one target")
    statistics = channel_statistics(drop, scenario)
    mrt = statistics.estimate / trace(statistics.estimate)[..., None, None]
    links = _Links(
        ap=problem.link_ap,
        beam=torch.cat([mrt.flatten(1, 2), statistics.sensing_beam.flatten(1, 2)], dim=1),
        power=equal_split(problem) if reference is None else reference,
        num_ues=problem.num_ues,
        num_comm=problem.num_comm_links,
    )
    echo, cross, noise = _coefficients(links, echo_scene(drop, scenario, setup), setup.samples(scenario))
    scale = echo.amax(-1, keepdim=True)
    return replace(
        problem,
        echo=echo / scale,
        cross_echo=cross / scale,
        echo_noise=noise / scale[..., 0],
        sir_min=torch.full_like(noise, db_to_linear(sicnr_min_db)),
    )


def allocate_for_sicnr(
    drop: TrackingDrop,
    scenario: TrackingScenario,
    setup: SensingSetup,
    allocator: Allocator[MaxMinSinrProblem],
    sicnr_min_db: float,
    passes: int = 3,
) -> tuple[MaxMinSinrProblem, Allocation]:
    """Powers under SICNR rows whose reference is half-way to the powers themselves, pass by pass.

    Args:
        drop: networks.
        scenario: theirs.
        setup: clutter, cross-sections and samples of the test.
        allocator: one that knows rows with noise, such as `BatchedOptimal`.
        sicnr_min_db: required SICNR of every target, dB.
        passes: allocations; 1 keeps the equal split as the reference.

    Returns:
        The last problem and its allocation.
    """
    if passes < 1:
        raise ScenarioError(f"passes={passes} must be at least 1")
    plain = power_problem(drop, scenario)
    reference = equal_split(plain)
    for _ in range(passes):
        problem = sicnr_constraints(plain, drop, scenario, setup, sicnr_min_db, reference)
        found = allocate(problem, allocator)
        reference = 0.5 * (reference + found.power)
    return problem, found


@dataclass(frozen=True)
class _Links:
    """Every link's AP, mean beam E[w w^H] (unit trace) and reference power (W), UE links first."""

    ap: Int[Tensor, "drop link"]
    beam: Complex[Tensor, "drop link antenna antenna"]
    power: Float[Tensor, "drop link"]
    num_ues: int
    num_comm: int

    def at_aps(self, clutter: Float[Tensor, "drop rx ap"]) -> Float[Tensor, "drop rx link"]:
        """A table over (receive AP, transmit AP) at each link's AP."""
        return clutter.gather(2, self.ap.unsqueeze(1).expand(-1, clutter.shape[1], -1))

    def shared(self, value: Float[Tensor, "drop rx link"]) -> Float[Tensor, "drop rx link"]:
        """What the other links of the same stream have together: a UE's links carry one stream, a sensing link its own."""
        comm = value[..., : self.num_comm].unflatten(-1, (self.num_ues, -1))
        others = comm.sum(-1, keepdim=True) - comm
        return torch.cat([others.flatten(-2), torch.zeros_like(value[..., self.num_comm :])], -1)


@dataclass(frozen=True)
class Whitening:
    """What the clutter's filter leaves of samples at the reference powers, per receive AP.

    Attributes:
        passed: delta, share of the energy of a sequence that the transmit APs' streams have nothing to do with.
        overlap: mean squared correlation of two such sequences after the filter.
        weight: omega, share of a link's energy left by the clutter of the same stream from other APs.
        shrink: (I + tau_s delta kappa^2 C)^-1/2, what the AP's own clutter leaves besides.
        covariance: C, of the AP's samples with each link's weight, W.
    """

    passed: Float[Tensor, "drop rx"]
    overlap: Float[Tensor, "drop rx"]
    weight: Float[Tensor, "drop rx link"]
    shrink: Complex[Tensor, "drop rx ap antenna antenna"]
    covariance: Complex[Tensor, "drop rx ap antenna antenna"]


def _whitening(links: _Links, clutter: Float[Tensor, "drop rx ap"], samples: int) -> Whitening:
    """Large-system limit of the filter (T + I)^-1, eqs. (53)-(54): T has random streams, its limit only their powers.

    Args: clutter, kappa^2 over the noise, 1/W; samples, tau_s.
    """
    others = links.shared(links.at_aps(clutter) * links.power.unsqueeze(1))

    def strength(passed: Tensor) -> tuple[Tensor, Tensor]:
        weight = 1.0 / (1.0 + samples * passed.unsqueeze(-1) * others)
        return weight, _covariance(links, weight, clutter.shape[2])

    eye = torch.eye(links.beam.shape[-1], dtype=links.beam.dtype, device=links.beam.device)
    low, high = torch.zeros_like(others[..., 0]), torch.ones_like(others[..., 0])
    for _ in range(_BISECTIONS):
        passed = 0.5 * (low + high)
        cluttered = clutter[..., None, None] * strength(passed)[1]
        share = trace(torch.linalg.solve(eye + samples * passed[..., None, None, None] * cluttered, cluttered)).sum(-1)
        above = passed * (1.0 + share) > 1.0
        low, high = torch.where(above, low, passed), torch.where(above, passed, high)
    passed = high
    weight, covariance = strength(passed)
    value, vector = torch.linalg.eigh(covariance)
    value = clutter.unsqueeze(-1) * value.clamp_min(0.0)
    loss = 1.0 + samples * passed[..., None, None] * value
    falling = 1.0 / (passed.square().reciprocal() - samples * (value / loss).square().sum((-2, -1)))
    shrink = (vector * loss.rsqrt().unsqueeze(-2)) @ vector.mH
    return Whitening(passed, falling / (samples * passed.square()), weight, shrink, covariance)


def _covariance(links: _Links, weight: Tensor, num_aps: int) -> Complex[Tensor, "drop rx ap antenna antenna"]:
    """Covariance of every AP's samples, W, each link with a weight of its own at each receive AP."""
    part = (weight * links.power.unsqueeze(1)).unsqueeze(-1) * links.beam.flatten(2).unsqueeze(1)
    index = links.ap[:, None, :, None].expand(part.shape)
    drops, num_rx, _, entries = part.shape
    total = part.new_zeros(drops, num_rx, num_aps, entries).scatter_add(2, index, part)
    return total.unflatten(-1, links.beam.shape[2:])


def _coefficients(links: _Links, scene: EchoScene, samples: int) -> tuple[Tensor, Tensor, Tensor]:
    """S, I [drop, row, link] and n [drop, row], eqs. (55)-(56)."""
    num_aps = scene.clutter.power.shape[2]
    seen = _whitening(links, scene.clutter.power, samples)
    load = links.power.new_zeros(len(links.power), num_aps).scatter_add(1, links.ap, links.power)
    active = (load > 0).sum(-1).clamp_max(samples)
    lit = _lit(scene, seen, links)
    gain = scene.scale.square().gather(3, links.ap[:, None, None].expand(*lit.shape[:3], -1))
    antennas = scene.listener_response.shape[-1]
    heard = antennas * samples * seen.passed[:, None, :, None] * gain * lit
    landed = _landed(scene, seen, links, lit, active)
    listening = torch.zeros_like(scene.scale[..., 0]).scatter(2, scene.listening, 1.0)
    own = torch.einsum("dlr,dlre->dle", listening, heard)
    at_link = landed.gather(4, links.ap[:, None, None, None].expand(*landed.shape[:4], -1))
    cross = torch.einsum("dlr,dltre,dtre->dle", listening, at_link, heard)
    return own, cross, active.to(own).unsqueeze(-1) * listening.sum(-1)


def _lit(scene: EchoScene, seen: Whitening, links: _Links) -> Float[Tensor, "drop target rx link"]:
    """a^H E[w w^H] a of every link towards every target, after the filter of each receive AP."""
    shrunk = torch.einsum("drmab,dlmb->dlrma", seen.shrink, scene.response)
    towards = shrunk.gather(3, links.ap[:, None, None, :, None].expand(*shrunk.shape[:3], -1, shrunk.shape[-1]))
    lit = torch.einsum("dlrea,deab,dlreb->dlre", towards.conj(), links.beam, towards).real
    return lit.clamp_min(0.0) * seen.weight.unsqueeze(1)


def _landed(scene: EchoScene, seen: Whitening, links: _Links, lit: Tensor, active: Tensor) -> Tensor:
    """Share of the other target's echo from AP m that falls onto the inspected target's echoes [drop, target, other, rx, ap].

    Over the antennas by the angle between both directions. Over time onto the echo of the same AP as far as both targets look
    alike to it, and of the rest onto the other APs' echoes: by the streams they have in common, and by chance. 0 for the target
    itself.
    """
    antennas = scene.listener_response.shape[-1]
    receive = torch.einsum("dlra,dtra->dltr", scene.listener_response.conj(), scene.listener_response).abs().square()
    filtered = seen.shrink @ seen.covariance @ seen.shrink
    inner = torch.einsum("dlma,drmab,dtmb->dltrm", scene.response.conj(), filtered, scene.response)
    energy = inner.diagonal(dim1=1, dim2=2).real.movedim(-1, 1)  # drop target rx ap
    both = energy.unsqueeze(2) * energy.unsqueeze(1)
    alike = torch.where(both > 0, inner.abs().square() / torch.where(both > 0, both, 1.0), 0.0).clamp_max(1.0)
    profile = _stream_profile(links, lit, energy)
    common = torch.einsum("dlrnk,dtrmk->dltrm", profile, profile) - torch.einsum("dlrmk,dtrmk->dltrm", profile, profile)
    others = common + ((active - 1.0).unsqueeze(-1) * seen.overlap)[:, None, None, :, None]
    landed = receive.unsqueeze(-1) / antennas**2 * (alike + (1.0 - alike) * others.clamp_max(1.0))
    targets = landed.shape[1]
    return landed * (1.0 - torch.eye(targets, dtype=landed.dtype, device=landed.device))[:, :, None, None]


def _stream_profile(links: _Links, lit: Tensor, energy: Tensor) -> Float[Tensor, "drop target rx ap ue"]:
    """Share of each UE's stream in what every AP sends towards every target, after the filter."""
    sent = (lit * links.power[:, None, None])[..., : links.num_comm]
    owner = torch.arange(links.num_comm, device=sent.device) // (links.num_comm // links.num_ues)
    place = links.ap[:, : links.num_comm] * links.num_ues + owner
    flat = sent.new_zeros(*sent.shape[:3], energy.shape[3] * links.num_ues)
    flat = flat.scatter_add(3, place[:, None, None].expand(sent.shape), sent)
    return flat.unflatten(-1, (-1, links.num_ues)) / energy.clamp_min(torch.finfo(energy.dtype).tiny).unsqueeze(-1)
