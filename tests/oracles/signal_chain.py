"""Simulation of the signals themselves: channels, pilots, estimates, beams, symbols. NumPy only: never imports isac_torch.

Nothing of the closed forms is used but the MMSE filter, which the APs themselves apply.
"""

from collections.abc import Callable

import numpy as np

from tests.oracles.estimation import mmse_matrix
from tests.oracles.geometry import Array, Point
from tests.oracles.metrics import World


def _normal(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Circularly-symmetric complex standard normals."""
    result: Array = rng.standard_normal((*shape, 2)).view(np.complex128)[..., 0] * np.sqrt(0.5)
    return result


def _root(covariance: Array) -> Array:
    """A matrix root of each hermitian covariance (rank-deficient ones too)."""
    values, vectors = np.linalg.eigh(covariance)
    result: Array = vectors * np.sqrt(np.clip(values, 0.0, None))[..., None, :]
    return result


def draw_channels(covariance: Array, count: int, rng: np.random.Generator) -> Array:
    """`count` channels h[draw, ue, ap, antenna] ~ CN(0, C[ue, ap])."""
    white = _normal(rng, (count, *covariance.shape[:3]))
    channels: Array = np.einsum("kmab,dkmb->dkma", _root(covariance), white)
    return channels


def send_pilots(channels: Array, pilots: Array, pilot_power: Point, noise_power: float, rng: np.random.Generator) -> Array:
    """What the APs receive while every UE sends its pilot: Y[draw, ap, antenna, symbol]."""
    length = pilots.shape[1]
    sent = np.sqrt(length * np.asarray(pilot_power))[:, None] * pilots.conj()
    received = np.einsum("dkma,kt->dmat", channels, sent)
    noisy: Array = received + np.sqrt(noise_power) * _normal(rng, received.shape)
    return noisy


def estimate_channels(received: Array, covariance: Array, pilots: Array, pilot_power: Point, noise_power: float) -> Array:
    """MMSE estimates [draw, ue, ap, antenna]: correlate with the own pilot, then filter [B 6, 8]."""
    length = pilots.shape[1]
    filters = mmse_matrix(covariance, pilots, pilot_power, noise_power)
    correlated = np.einsum("dmat,kt->dkma", received, pilots)
    scale = 1.0 / np.sqrt(length * np.asarray(pilot_power))
    estimates: Array = np.einsum("k,kmab,dkmb->dkma", scale, filters, correlated)
    return estimates


def sinr_by_simulation(
    world: World,
    data_power: Array,
    sensing_power: Array,
    count: int,
    rng: np.random.Generator,
    batch: int = 500,
    form: Callable[[Array], Array] = lambda estimates: estimates,
) -> Array:
    """SINR of every UE from measured moments of the effective channels (the use-and-then-forget terms A, B, C, D).

    `form` makes beams of estimates (default: MRT), which are normalised by their *measured* mean energy. Sensing beams err
    at random: `world["draw_beam"]` is a function (rng, count) -> beams[draw, target, ap, antenna] of unit norm. Two passes:
    the first one measures norms.
    """
    args = (world["pilots"], world["pilot_power"], world["noise_power"])
    num_ues = data_power.shape[0]
    energy = np.zeros(data_power.shape)
    seeds = rng.integers(0, 2**63, size=max(count // batch, 1))
    for seed in seeds:
        _, estimates = _draw(world["covariance"], args, batch, np.random.default_rng(seed))
        energy += (np.abs(form(estimates)) ** 2).sum((0, 3)) / (batch * len(seeds))
    amplitude = np.sqrt(data_power / np.where(energy > 0.0, energy, np.inf))
    mean = np.zeros(num_ues, dtype=complex)
    power = np.zeros(num_ues)
    for seed in seeds:
        generator = np.random.default_rng(seed)
        channels, estimates = _draw(world["covariance"], args, batch, generator)
        # gain[d, k, j]: what UE k hears of the symbol of UE j
        beams = np.einsum("jm,djma->djma", amplitude, form(estimates))
        gain = np.einsum("dkx,djx->dkj", channels.conj().reshape(batch, num_ues, -1), beams.reshape(batch, num_ues, -1))
        mean += np.einsum("dkk->k", gain) / (batch * len(seeds))
        power += (np.abs(gain) ** 2).sum((0, 2)) / (batch * len(seeds))
        sensing = world["draw_beam"](generator, batch)
        heard = np.abs(np.einsum("dkma,dlma->dklm", channels.conj(), sensing)) ** 2
        power += np.einsum("lm,dklm->k", sensing_power, heard) / (batch * len(seeds))
    wanted = np.abs(mean) ** 2
    result: Array = wanted / (power - wanted + world["noise_power"])
    return result


def _draw(
    covariance: Array, pilot_args: tuple[Array, Point, float], count: int, rng: np.random.Generator
) -> tuple[Array, Array]:
    channels = draw_channels(covariance, count, rng)
    received = send_pilots(channels, *pilot_args, rng=rng)
    return channels, estimate_channels(received, covariance, *pilot_args)


def sinr_from_symbols(
    world: World, data_power: Array, sensing_power: Array, blocks: int, symbols: int, rng: np.random.Generator
) -> Array:
    """SINR of every UE from received samples alone: the regression of y on the UE's own symbol over the unexplained power.

    `blocks` coherence blocks with `symbols` data symbols each; the beams' norms are sqrt(tr Phi), as the APs know them.
    """
    args = (world["pilots"], world["pilot_power"], world["noise_power"])
    num_ues, num_aps = data_power.shape
    num_targets = sensing_power.shape[0]
    channels, estimates = _draw(world["covariance"], args, blocks, rng)
    norm = np.sqrt(np.einsum("kmaa->km", world["estimate"]).real)
    data = _normal(rng, (blocks, num_ues, symbols))
    sent = np.einsum("km,dkma,dkt->dmat", np.sqrt(data_power) / norm, estimates, data)
    probe = _normal(rng, (blocks, num_targets, num_aps, symbols))
    beams = world["draw_beam"](rng, blocks)
    sent = sent + np.einsum("lm,dlma,dlmt->dmat", np.sqrt(sensing_power), beams, probe)
    received = np.einsum("dkma,dmat->dkt", channels.conj(), sent)
    received = received + np.sqrt(world["noise_power"]) * _normal(rng, received.shape)
    correlation = (received * data.conj()).mean((0, 2))
    own = (np.abs(data) ** 2).mean((0, 2))
    wanted = np.abs(correlation) ** 2 / own
    result: Array = wanted / ((np.abs(received) ** 2).mean((0, 2)) - wanted)
    return result


def echoes_by_simulation(
    world: World,
    data_power: Array,
    sensing_power: Array,
    blocks: int,
    symbols: int,
    rng: np.random.Generator,
    draw_rcs: bool = False,
) -> Array:
    """Echo energy per sensed block, echo[block, listener of target l, echoing target]: shape (blocks, L, L), drawn symbols.

    Each entry is the energy, summed over `symbols` samples and the APs that listen to target l, of target l''s echo per receive
    antenna. The reflectivities are averaged over (variance `rcs`, independent per transmit AP) unless `draw_rcs`.
    """
    args = (world["pilots"], world["pilot_power"], world["noise_power"])
    num_ues, num_aps = data_power.shape
    num_targets = sensing_power.shape[0]
    _, estimates = _draw(world["covariance"], args, blocks, rng)
    norm = np.sqrt(np.einsum("kmaa->km", world["estimate"]).real)
    data = _normal(rng, (blocks, num_ues, symbols))
    sent = np.einsum("km,dkma,dkt->dmat", np.sqrt(data_power) / norm, estimates, data)
    probe = _normal(rng, (blocks, num_targets, num_aps, symbols))
    sent = sent + np.einsum("lm,dlma,dlmt->dmat", np.sqrt(sensing_power), world["draw_beam"](rng, blocks), probe)
    toward = np.einsum("lma,dmat->dlmt", world["response"].conj(), sent)
    result = np.zeros((blocks, num_targets, num_targets))
    for listener in range(num_targets):
        for receiver in world["listening"][listener]:
            gain = world["echo_gain"][:, receiver, :] * world["rcs"]
            if draw_rcs:
                reflect = np.sqrt(gain) * _normal(rng, (blocks, num_targets, num_aps))
                result[:, listener] += (np.abs(np.einsum("dlm,dlmt->dlt", reflect, toward)) ** 2).sum(-1)
            else:
                result[:, listener] += np.einsum("lm,dlmt->dl", gain, np.abs(toward) ** 2)
    return result
