"""Channel estimates as APs draw them, UE by UE and AP by AP. Eq. (86) of docs/physics.md.

Everything is turned (`propagation.arrays`): covariances are real, estimates complex.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic

import numpy as np
from jaxtyping import Complex, Float, Int

from isac_torch.caches import kept
from isac_torch.propagation.arrays import turned
from isac_torch.propagation.estimation import observation_lags
from isac_torch.tensors import Array, namespace, stacked
from isac_torch.tracking.precoding import avoided_ues, partial_mmse, zero_forced

if TYPE_CHECKING:
    from isac_torch.tracking.drop import TrackingDrop
    from isac_torch.tracking.physics import Physics


@dataclass(frozen=True)
class Estimation(Generic[Array]):
    """How the APs of a batch of drops estimate channels: of every UE at every AP, whether the AP serves it or not.

    Attributes:
        covariance: turned C[m, k].
        root: turned F[m, k]: the estimate is F z, where z is the white observation of the UE's pilot at the AP.
        estimate: turned Phi[m, k] = F F^T.
        gram: |pi_j^H pi_k| of the uplink pilots.
    """

    covariance: Float[Array, "drop ap ue antenna antenna"]
    root: Float[Array, "drop ap ue antenna antenna"]
    estimate: Float[Array, "drop ap ue antenna antenna"]
    gram: Float[Array, "drop ue ue"]


@dataclass(frozen=True)
class Served(Generic[Array]):
    """The UEs that an AP serves.

    Attributes:
        drop: which drop of the batch.
        ap: which of its transmit APs.
        ue: its UEs.
        place: which serving link of each of them this AP is.
    """

    drop: int
    ap: int
    ue: Int[Array, " served"]
    place: Int[Array, " served"]


def served_by(drop: TrackingDrop[Array]) -> Iterator[Served[Array]]:
    """Every transmit AP of every drop that serves anybody."""
    xp = namespace(drop.serving_ap)
    for i in range(drop.num_drops):
        for m in range(drop.tx_position.shape[1]):
            ue, place = xp.nonzero(drop.serving_ap[i] == m)
            if len(ue):
                yield Served(i, m, ue, place)


def estimation(
    drop: TrackingDrop[Array], physics: Physics, lags: Float[Array, "drop ap ue lag"], gram: Float[Array, "drop ue ue"]
) -> Estimation[Array]:
    """Estimation in every drop; `lags` are those of C."""
    xp = namespace(lags)
    energy = physics.pilot_symbols * drop.pilot_power
    of_each = xp.broadcast_to(lags[:, :, None], (*lags.shape[:2], gram.shape[1], *lags.shape[2:]))
    observed = observation_lags(of_each, gram[:, None], energy[:, None, None], physics.noise_power)
    own, received = turned(stacked(lags, observed))
    # F = sqrt(E) C L^-T with Gamma = L L^T: the transpose of the solution of L X = C.
    root = xp.sqrt(energy)[:, None, :, None, None] * xp.linalg.solve(xp.linalg.cholesky(received), own).mT
    return Estimation(own, root, root @ root.mT, gram)


@kept()
def white_observations(pilots: int, antennas: int, samples: int, seed: int) -> np.ndarray:
    """Draws [pilot, antenna, sample] of circular normal numbers whose sample covariance is the identity, exactly.

    With matched second moments the mean energy of every estimate has no error.
    """
    size = pilots * antennas
    rng = np.random.default_rng(seed)
    drawn = rng.standard_normal((samples, size)) + 1j * rng.standard_normal((samples, size))
    basis, triangle = np.linalg.qr(drawn)
    phase = np.diagonal(triangle) / np.abs(np.diagonal(triangle))
    return (np.sqrt(samples) * basis * phase).T.reshape(pilots, antennas, samples)


def beams_at(
    served: Served[Array],
    estimates: Complex[Array, "ue antenna sample"],
    known: Estimation[Array],
    drop: TrackingDrop[Array],
    physics: Physics,
) -> Complex[Array, "served antenna sample"]:
    """Beams of the UEs of one AP before they are normalised; `estimates` are those of all UEs."""
    setup, place = physics.beams, (served.drop, served.ap)
    if setup.kind == "zf":
        avoided = avoided_ues(setup.nulls, served.ue, known.estimate[place], known.gram[served.drop])
        return namespace(estimates).stack([zero_forced(estimates[k], [estimates[j] for j in some]) for k, some in avoided])
    power = drop.pilot_power[served.drop][served.ue]
    weight = power if setup.loading is None else setup.loading + 0.0 * power
    error = (known.covariance[place] - known.estimate[place])[served.ue]
    return partial_mmse(weight, estimates[served.ue], error, physics.noise_power)
