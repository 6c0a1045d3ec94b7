"""What transmit APs send in drawn coherence blocks: estimated channels, beams, symbols. Eqs. (33)-(34) of docs/sensing.md."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from isac_torch.propagation.arrays import steering, vectors_back
from isac_torch.propagation.geometry import angles
from isac_torch.propagation.pilots import pilot_gram
from isac_torch.sensing.conditions import Pointing
from isac_torch.sensing.pointing import draw_errors
from isac_torch.tensors import amplitude
from isac_torch.tracking.drawn_estimates import beams_at, estimation, served_by

if TYPE_CHECKING:
    from isac_torch.tracking.channel import ChannelStatistics
    from isac_torch.tracking.drop import TrackingDrop
    from isac_torch.tracking.scenario import TrackingScenario

NORMAL_ERRORS = Pointing()
"""Normal errors at every AP: the paper's choice."""


@dataclass(frozen=True)
class Blocks:
    """Drawn coherence blocks of a batch of drops; nothing here depends on the powers.

    Attributes:
        data_beam: of each serving link, of unit mean norm: h-hat / sqrt(tr Phi) under MRT.
        probe_beam: unit-norm beam of each sensing link, at the angles that the AP believes in.
        data_symbol: x_k[t], the same at all APs that serve UE k.
        probe_symbol: x_lm[t], one sequence per sensing link.
    """

    data_beam: Complex[Tensor, "drop block ue serving antenna"]
    probe_beam: Complex[Tensor, "drop block target sensing antenna"]
    data_symbol: Complex[Tensor, "drop block ue time"]
    probe_symbol: Complex[Tensor, "drop block target sensing time"]


def draw_blocks(
    drop: TrackingDrop,
    statistics: ChannelStatistics,
    scenario: TrackingScenario,
    num_blocks: int,
    num_samples: int,
    generator: torch.Generator,
    pointing: Pointing = NORMAL_ERRORS,
) -> Blocks:
    """Random blocks of every drop: channel estimates with their pilot contamination, angle errors, Gaussian symbols."""
    complex_type, device = statistics.lags.dtype.to_complex(), statistics.lags.device
    drops, ues = drop.pilot.shape
    targets, sensing = drop.sensing_ap.shape[1:]

    def normal(*shape: int) -> Tensor:
        full = (drops, num_blocks, *shape)
        return torch.randn(full, generator=generator, dtype=complex_type, device=generator.device).to(device)

    return Blocks(
        data_beam=(_data_beams if scenario.beams.kind == "mrt" else _other_beams)(drop, statistics, scenario, normal),
        probe_beam=_probe_beams(drop, scenario, num_blocks, generator, pointing),
        data_symbol=normal(ues, num_samples),
        probe_symbol=normal(targets, sensing, num_samples),
    )


def transmitted(
    blocks: Blocks, drop: TrackingDrop, power: Float[Tensor, "drop link"]
) -> Complex[Tensor, "drop block ap time antenna"]:
    """Samples s_m[t] of every transmit AP, sqrt(W), eq. (34). Args: power of every link, W."""
    num_aps = drop.tx_position.shape[1]
    num_comm = drop.serving_ap[0].numel()
    root = amplitude(power)
    comm = root[:, :num_comm].unflatten(1, drop.serving_ap.shape[1:])
    sense = root[:, num_comm:].unflatten(1, drop.sensing_ap.shape[1:])
    data = _table(comm[:, None, :, :, None] * blocks.data_beam, drop.serving_ap, num_aps)
    sent = torch.einsum("dfmkn,dfkt->dfmtn", data, blocks.data_symbol)
    beam = _table(sense[:, None, :, :, None] * blocks.probe_beam, drop.sensing_ap, num_aps)
    symbol = _table(blocks.probe_symbol, drop.sensing_ap, num_aps)
    return sent + torch.einsum("dfmln,dfmlt->dfmtn", beam, symbol)


def condensed(blocks: Blocks, drop: TrackingDrop, power: Float[Tensor, "drop link"]) -> Blocks:
    """Blocks of fewer samples that every test judges alike: as many as sequences are sent, where these are fewer than samples.

    With X the symbols of all sequences, [sequence, time], and the triangular L L^H = X X^H, X = L U for orthonormal rows U:
    what all APs send lies in the span of U, the noise beside it takes no part in a whitening filter or a projection, and in
    the coordinates of U the symbols are L.

    Args: blocks; drop, the networks; power of every link, W, whose silent sequences leave X.
    """
    num_samples, num_ues = blocks.data_symbol.shape[-1], blocks.data_symbol.shape[2]
    num_comm, links = drop.serving_ap[0].numel(), drop.serving_ap.shape[2]
    audible = (power > 0).any(0)
    used = torch.cat([audible[:num_comm].unflatten(0, (num_ues, links)).any(1), audible[num_comm:]])
    count = int(used.sum())
    if not 0 < count < num_samples:
        return blocks
    symbols = torch.cat([blocks.data_symbol, blocks.probe_symbol.flatten(2, 3)], dim=2)
    heard = symbols[:, :, used]
    short = symbols.new_zeros(*symbols.shape[:3], count)
    short[:, :, used] = torch.linalg.cholesky(heard @ heard.mH)
    probe = short[:, :, num_ues:].unflatten(2, blocks.probe_symbol.shape[2:4])
    return replace(blocks, data_symbol=short[:, :, :num_ues], probe_symbol=probe)


def _table(value: Tensor, link_ap: Tensor, num_aps: int) -> Tensor:
    """Values of links [drop, block, node, link, x] as a table [drop, block, ap, node, x], 0 where there is no link."""
    drops, nodes, _ = link_ap.shape
    drop = torch.arange(drops, device=value.device)[:, None, None]
    node = torch.arange(nodes, device=value.device)[None, :, None]
    empty = value.new_zeros(drops, num_aps, nodes, value.shape[1], value.shape[-1])
    return empty.index_put((drop, link_ap, node), value.permute(0, 2, 3, 1, 4)).permute(0, 3, 1, 2, 4)


def _data_beams(
    drop: TrackingDrop, statistics: ChannelStatistics, scenario: TrackingScenario, normal: Callable[..., Tensor]
) -> Tensor:
    """h-hat / sqrt(tr Phi), eq. (33): UEs with one pilot share one despread observation per AP, so their errors are tied."""
    energy = scenario.pilot_symbols * drop.pilot_power
    norm = (energy.unsqueeze(-1) * statistics.energy).sqrt()
    shaping = statistics.mmse @ torch.linalg.cholesky(statistics.observation) / norm[..., None, None]
    white = normal(scenario.pilot_symbols, drop.tx_position.shape[1], scenario.num_antennas)
    index = torch.arange(drop.pilot.shape[0], device=white.device)[:, None, None]
    own = white.transpose(0, 1)[:, index, drop.pilot.unsqueeze(-1), drop.serving_ap]
    return torch.einsum("dksab,fdksb->dfksa", shaping, own)


def _other_beams(
    drop: TrackingDrop, statistics: ChannelStatistics, scenario: TrackingScenario, normal: Callable[..., Tensor]
) -> Tensor:
    """Zero-forcing or partial-MMSE beams of drawn estimates, eqs. (87) and (88) of docs/physics.md."""
    white = normal(scenario.pilot_symbols, drop.tx_position.shape[1], scenario.num_antennas)
    gram = pilot_gram(drop.pilot).to(statistics.lags.dtype)
    known = estimation(drop, scenario, statistics.lags[:, :, : gram.shape[1]], gram)
    beams = white.new_zeros(*drop.serving_ap.shape, white.shape[1], white.shape[-1])
    for some in served_by(drop):
        seen = white[some.drop, :, :, some.ap].permute(1, 2, 0)[drop.pilot[some.drop]]  # ue antenna block
        estimates = known.root[some.drop, some.ap].to(seen.dtype) @ seen
        formed = beams_at(some, estimates, known, drop, scenario).transpose(1, 2)
        beams[some.drop, some.ue, some.place] = vectors_back(formed)
    return (beams / statistics.beam_norm[..., None, None]).permute(0, 3, 1, 2, 4)


def _probe_beams(
    drop: TrackingDrop, scenario: TrackingScenario, num_blocks: int, generator: torch.Generator, pointing: Pointing
) -> Tensor:
    """a / sqrt(N) at the true angles plus errors of azimuth and elevation, drawn for every block."""
    true = angles(drop.tx_position, drop.tx_orientation, drop.target_position)
    azimuth, elevation = (a.transpose(1, 2).gather(2, drop.sensing_ap).unsqueeze(1) for a in true)
    shape = (len(azimuth), num_blocks, *azimuth.shape[2:])
    sideways, upwards = draw_errors(pointing, scenario.angle_error, shape, azimuth, generator)
    return steering(azimuth + sideways, elevation + upwards, scenario.num_antennas) / scenario.num_antennas**0.5
