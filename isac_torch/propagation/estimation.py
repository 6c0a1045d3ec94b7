"""Statistics of uplink MMSE channel estimates. Equations (6)-(8) of docs/physics.md."""

from __future__ import annotations

from jaxtyping import Float, Inexact

from isac_torch.tensors import Array, constant, namespace


def observation_lags(
    lags: Float[Array, "*shape ue lag"],
    gram: Float[Array, "*#shape ue"],
    pilot_energy: Float[Array, "*#shape ue"],
    noise_power: float,
) -> Float[Array, "*shape lag"]:
    """Lags of the covariance Gamma of the despread pilot observation at one AP for one UE, W, eq. (6).

    Args: lags, of the covariance C_j of every UE at this AP; gram, |pi_j^H pi_k| against this UE's pilot; pilot_energy, pilot
    length times uplink power of every UE, W; noise_power, W.
    """
    weight = pilot_energy * (gram * gram)
    total = (weight[..., None, :] @ lags)[..., 0, :]
    noise = constant([noise_power] + [0.0] * (lags.shape[-1] - 1), lags)
    return total + noise


def mmse_matrix(
    covariance: Inexact[Array, "*shape antenna antenna"],
    observation: Inexact[Array, "*shape antenna antenna"],
    pilot_energy: Float[Array, "*#shape"],
) -> Inexact[Array, "*shape antenna antenna"]:
    """MMSE matrix Lambda = E C Gamma^-1 of a UE with pilot energy E (W), eq. (7); its estimate has covariance Lambda C, (8).

    Both matrices are Hermitian: complex ones, or the real symmetric ones that `turned` makes of them.
    """
    # C Gamma^-1 is the transpose of the solution of Gamma^T X = C^T; a solve, never an inverse.
    solved = namespace(covariance).linalg.solve(observation.mT, covariance.mT).mT
    return pilot_energy[..., None, None] * solved
