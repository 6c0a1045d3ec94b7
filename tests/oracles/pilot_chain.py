"""Downlink pilots: signals, simulated: uplink pilots, downlink pilots, estimates, echoes. Imports nothing of the package."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]
LIGHT = 299_792_458.0


def _noise(rng: np.random.Generator, *shape: int) -> ComplexArray:
    return rng.standard_normal((*shape, 2)).view(np.complex128)[..., 0] * np.sqrt(0.5)


def sequences(gram: ComplexArray, length: int, rng: np.random.Generator) -> ComplexArray:
    """Unit-norm sequences psi[:, k] of `length` symbols with psi_k^H psi_j = gram[k, j]."""
    values, vectors = np.linalg.eigh(gram)
    root = vectors @ np.diag(np.sqrt(values.clip(0)))  # root root^H = gram
    ues = gram.shape[0]
    basis, _ = np.linalg.qr(_noise(rng, length, ues))
    return basis @ root.conj().T


def simulated_frames(
    beta: Array,
    share: Array,
    pilot: NDArray[np.int64],
    gram: ComplexArray,
    uplink_energy: float,
    downlink_energy: float,
    trials: int,
    seed: int,
    receiver: str,
    steady: bool = False,
) -> Iterator[tuple[ComplexArray, ComplexArray]]:
    """Each UE's effective channels a_kj [trial, ue] and its affine estimate of a_kk [trial], from `trials` simulated frames.

    The estimate is the best one from the whole received pilot ("lmmse"), from its correlation with the UE's own pilot
    ("projection"), or from that by the weight that noise alone asks for ("ignorant"). beta[k, m]: channel gains; share[k, m]:
    AP m's mean transmit share for UE k; pilot: uplink pilot of each UE; gram: psi_k^H psi_j; energies: whole pilot over noise.
    Beams have the same power in every frame if `steady`.
    """
    rng = np.random.default_rng(seed)
    ues, aps = beta.shape
    symbols = max(int(pilot.max()) + 1, ues)
    uplink = np.fft.fft(np.eye(symbols)) / np.sqrt(symbols)  # orthonormal columns
    downlink = sequences(gram, ues + 2, rng)
    channel = np.sqrt(beta) * _noise(rng, trials, ues, aps)
    received = np.sqrt(uplink_energy) * np.einsum("tkm,sk->tms", channel, uplink[:, pilot])
    received += _noise(rng, trials, aps, symbols)
    despread = np.einsum("tms,sk->tkm", received, uplink[:, pilot].conj())
    together = (pilot[:, None] == pilot[None, :]).astype(float)
    variance = uplink_energy * together @ beta + 1
    estimate = np.sqrt(uplink_energy) * beta / variance * despread
    strength = uplink_energy * beta**2 / variance
    beam = np.sqrt(share) * estimate.conj() / (abs(estimate) if steady else np.sqrt(strength))
    for k in range(ues):
        effective = np.einsum("tm,tjm->tj", channel[:, k], beam)
        heard = np.sqrt(downlink_energy) * effective @ downlink.T
        heard = heard + _noise(rng, *heard.shape)
        observed = heard if receiver == "lmmse" else heard @ downlink[:, k, None].conj()
        a, y = effective[:, k] - effective[:, k].mean(), observed - observed.mean(0)
        weight = np.linalg.lstsq(y, a, rcond=None)[0]
        if receiver == "ignorant":
            spread = (abs(a) ** 2).mean()
            weight = np.array([np.sqrt(downlink_energy) * spread / (downlink_energy * spread + 1.0)])
        yield effective, effective[:, k].mean() + y @ weight


def simulated_nmse(*network: Any, **draws: Any) -> Array:
    """Error of every UE's estimate of its effective channel over the mean power of this; arguments of `simulated_frames`."""
    frames = enumerate(simulated_frames(*network, **draws))
    return np.array([(abs(a[:, k] - guess) ** 2).mean() / (abs(a[:, k]) ** 2).mean() for k, (a, guess) in frames])


def simulated_rate(*network: Any, noise: float, symbols: int = 8, **draws: Any) -> Array:
    """Bit that a Gaussian data symbol brings a UE that decodes with its channel's estimate, by the density of information.

    In each of `simulated_frames`, `symbols` data symbols to every UE go through the beams of the pilots and `noise`. A symbol x
    is scored by q(y | x) = exp(-|y - a_hat x|^2 / s) over its mean over all x, with the mean |y - a_hat x|^2 for s.
    """
    rng = np.random.default_rng(99)
    rates = []
    for k, (a, guess) in enumerate(simulated_frames(*network, **draws)):
        data = _noise(rng, *a.shape, symbols)
        y = np.einsum("tj,tjn->tn", a, data) + np.sqrt(noise) * _noise(rng, len(a), symbols)
        miss = abs(y - guess[:, None] * data[:, k]) ** 2
        s = miss.mean()
        strength = abs(guess[:, None]) ** 2 / s
        density = np.log1p(strength) - miss / s + abs(y) ** 2 / (s * (1.0 + strength))
        rates.append(density.mean() / np.log(2.0))
    return np.array(rates)


def located(ap: Array, ue: Array, snr: Array, spectrum: Array, frequency: Array, trials: int, seed: int) -> Array:
    """Squared error (m2) of the maximum-likelihood position in each of `trials` simulated sets of echoes.

    snr[m, n] of each path (energy over noise density), known spectrum at `frequency` (Hz) of unit energy. The complex
    amplitude of every path is unknown, so the likelihood is the energy that each path's delayed waveform explains. It is
    climbed from the best point of a grid by Gauss-Newton steps.
    """
    rng = np.random.default_rng(seed)
    ramp = 2j * np.pi * frequency

    def delays(point: Array) -> Array:
        reach = np.linalg.norm(point[..., None, :] - ap, axis=-1)
        return (reach[..., :, None] + reach[..., None, :]) / LIGHT

    truth = delays(ue)
    phase = np.exp(2j * np.pi * rng.random((trials, *snr.shape)))
    echo = (np.sqrt(snr) * phase)[..., None] * spectrum * np.exp(-ramp * truth[..., None])
    echo = echo + _noise(rng, *echo.shape)
    echo = echo * spectrum * np.exp(ramp * truth[..., None])  # matched filter around the true delay

    def matched(point: Array, order: int) -> ComplexArray:
        shift = delays(point) - truth
        return np.einsum("tmnf,tmnf,f->tmn", echo, np.exp(ramp * shift[..., None]), ramp**order)

    steps = np.linspace(-2.0, 2.0, 9)
    grid = [np.broadcast_to(ue + np.array([dx, dy]), (trials, 2)) for dx in steps for dy in steps]
    likelihood = np.stack([(abs(matched(point, 0)) ** 2).sum((1, 2)) for point in grid])
    guess = np.stack(grid)[likelihood.argmax(0), np.arange(trials)].copy()
    spread = (spectrum**2 * (2 * np.pi * frequency) ** 2).sum()
    for _ in range(12):
        c0, c1 = matched(guess, 0), matched(guess, 1)
        unit = (guess[:, None] - ap) / np.linalg.norm(guess[:, None] - ap, axis=-1, keepdims=True)
        slope = (unit[:, :, None] + unit[:, None, :]) / LIGHT
        gradient = np.einsum("tmn,tmna->ta", 2 * (c0.conj() * c1).real, slope)
        curvature = np.einsum("tmn,tmna,tmnb->tab", 2 * spread * abs(c0) ** 2, slope, slope)
        guess += np.linalg.solve(curvature, gradient[..., None])[..., 0]
    return ((guess - ue) ** 2).sum(-1)
