"""Beams that look at the other UEs of their AP, AP by AP and UE by UE. NumPy only: nothing here may import isac_torch."""

from collections.abc import Callable

import numpy as np

from tests.oracles.geometry import Array
from tests.oracles.metrics import World


def zero_forcing(world: World, served: Array, nulls: int) -> Callable[[Array], Array]:
    """A function estimates[draw, ue, ap, antenna] -> beams of the same shape, 0 where an AP does not serve the UE.

    Each is the residual of a least-squares fit of the estimate by those of the `nulls` strongest other UEs that the AP
    serves and that send another pilot. `served[k, m]`: whether AP m serves UE k.
    """
    energy = np.einsum("kmaa->km", world["estimate"]).real

    def form(estimates: Array) -> Array:
        beams = np.zeros_like(estimates)
        for k, m in zip(*np.nonzero(served), strict=True):
            others = [j for j in np.nonzero(served[:, m])[0] if abs(np.vdot(world["pilots"][j], world["pilots"][k])) < 1e-6]
            others = sorted(others, key=lambda j: -energy[j, m])[:nulls]
            wanted = estimates[:, k, m, :, None]
            if others:
                basis = np.moveaxis(estimates[:, others, m], 1, 2)
                wanted = wanted - basis @ (np.linalg.pinv(basis) @ wanted)
            beams[:, k, m] = wanted[..., 0]
        return beams

    return form


def partial_mmse(world: World, served: Array, loading: Array) -> Callable[[Array], Array]:
    """The same for MMSE filters against all UEs of the AP, with uplink powers `loading` (W)."""

    def form(estimates: Array) -> Array:
        beams = np.zeros_like(estimates)
        size = estimates.shape[-1]
        for m in range(served.shape[1]):
            heard = world["noise_power"] * np.eye(size) + np.zeros((len(estimates), size, size), dtype=complex)
            for j in np.nonzero(served[:, m])[0]:
                channel = estimates[:, j, m]
                heard += loading[j] * channel[:, :, None] * channel[:, None, :].conj()
                heard += loading[j] * (world["covariance"][j, m] - world["estimate"][j, m])
            for k in np.nonzero(served[:, m])[0]:
                beams[:, k, m] = world["noise_power"] * (np.linalg.inv(heard) @ estimates[:, k, m, :, None])[..., 0]
        return beams

    return form
