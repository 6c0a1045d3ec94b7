"""Loop oracles of SINR, rate, expected sensing SIR, load and fractional power. NumPy only: never imports isac_torch.

Powers come as full tables: `data_power[k, m]` (UE, AP) and `sensing_power[l, m]` (target, AP) in W, zero where AP m does not
serve UE k or does not sense target l. APs here are the transmit APs.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tests.oracles.geometry import Array

World = dict[str, Any]


def sinr(ue: int, world: World, data_power: Array, sensing_power: Array) -> float:
    """SINR of one UE with MRT and the use-and-then-forget bound [B 23], amplitude sqrt(eta_k / eta_j) included.

    `world` has covariance C[k, m], estimate Phi[k, m], mmse Lambda[k, m], beam W[l, m], pilots, pilot_power, noise_power.
    """
    covariance, estimate, mmse, beam = world["covariance"], world["estimate"], world["mmse"], world["beam"]
    num_ues, num_aps = data_power.shape
    wanted, interference = 0.0, float(world["noise_power"])
    for m in range(num_aps):
        wanted += math.sqrt(data_power[ue, m] * np.trace(estimate[ue, m]).real)
    for j in range(num_ues):
        coherent = 0j
        for m in range(num_aps):
            if data_power[j, m] == 0.0:
                continue
            norm = np.trace(estimate[j, m]).real
            interference += data_power[j, m] * np.trace(covariance[ue, m] @ estimate[j, m]).real / norm
            coherent += math.sqrt(data_power[j, m] / norm) * np.trace(covariance[ue, m] @ mmse[j, m])
        if j != ue:
            overlap = abs(np.vdot(world["pilots"][j], world["pilots"][ue])) ** 2
            ratio = world["pilot_power"][ue] / world["pilot_power"][j]
            interference += overlap * ratio * abs(coherent) ** 2
    for target in range(sensing_power.shape[0]):
        for m in range(num_aps):
            interference += sensing_power[target, m] * np.trace(covariance[ue, m] @ beam[target, m]).real
    return wanted**2 / interference


def rate(sinr_value: float, data_symbols: int, block_symbols: int, bandwidth_hz: float) -> float:
    """Downlink rate of a UE, bit/s [B 17]."""
    return data_symbols / block_symbols * bandwidth_hz * math.log2(1.0 + sinr_value)


def power_toward(target: int, ap: int, world: World, data_power: Array, sensing_power: Array) -> float:
    """Mean power that AP `ap` sends toward `target`, times the array gain: E|a^H s|^2, W."""
    response = world["response"][target, ap]
    total = 0.0
    for k in range(data_power.shape[0]):
        if data_power[k, ap] > 0.0:
            phi = world["estimate"][k, ap]
            total += data_power[k, ap] * np.vdot(response, phi @ response).real / np.trace(phi).real
    for j in range(sensing_power.shape[0]):
        total += sensing_power[j, ap] * np.vdot(response, world["beam"][j, ap] @ response).real
    return total


def echo(target: int, listening: Sequence[int], world: World, data_power: Array, sensing_power: Array) -> float:
    """Mean echo of `target` at the receive APs `listening` (indices): sum over transmit APs of beta sigma_rcs q, W per antenna.

    `world["echo_gain"][l, r, m]` is beta_{l, r, m} in 1/m2 and `world["rcs"]` the variance of the reflectivity in m2.
    """
    total = 0.0
    for receiver in listening:
        for m in range(data_power.shape[1]):
            sent = power_toward(target, m, world, data_power, sensing_power)
            total += world["echo_gain"][target, receiver, m] * world["rcs"] * sent
    return total


def sir(target: int, world: World, data_power: Array, sensing_power: Array) -> float:
    """Expected sensing SIR of one target: its echo over all others' at the APs that listen to it (`world["listening"][l]`)."""
    listening = world["listening"][target]
    own = echo(target, listening, world, data_power, sensing_power)
    other = 0.0
    for competitor in range(sensing_power.shape[0]):
        if competitor != target:
            other += echo(competitor, listening, world, data_power, sensing_power)
    return own / other


def ap_load(ap: int, data_power: Array, sensing_power: Array) -> float:
    """Power that AP `ap` sends, W."""
    total = 0.0
    for table in (data_power, sensing_power):
        for row in range(table.shape[0]):
            total += table[row, ap]
    return total


def fractional_power(
    gain_ue: Array, gain_target: Array, served: Array, sensed: Array, budget: Array, kappa_ue: float, kappa_target: float
) -> tuple[Array, Array]:
    """Fractional power control with per-AP normalisation [B 57-59]: tables data_power[k, m], sensing_power[l, m] in W.

    `served[k, m]` and `sensed[l, m]` say which links exist; an AP without any stays silent.
    """
    data, sensing = np.zeros(gain_ue.shape), np.zeros(gain_target.shape)
    for m in range(gain_ue.shape[1]):
        ues = [k for k in range(gain_ue.shape[0]) if served[k, m]]
        targets = [t for t in range(gain_target.shape[0]) if sensed[t, m]]
        weight_ue = {k: gain_ue[k, m] ** kappa_ue for k in ues}
        weight_target = {t: gain_target[t, m] ** kappa_target for t in targets}
        shares = {("ue", k): w / max(weight_ue.values()) for k, w in weight_ue.items()}
        shares |= {("target", t): w / max(weight_target.values()) for t, w in weight_target.items()}
        for (kind, index), share in shares.items():
            (data if kind == "ue" else sensing)[index, m] = budget[m] * share / sum(shares.values())
    return data, sensing
