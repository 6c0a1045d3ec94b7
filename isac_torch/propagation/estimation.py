"""Statistics of uplink MMSE channel estimates. Equations (6)-(8) of docs/physics.md."""

import torch
from jaxtyping import Complex, Float
from torch import Tensor


def observation_covariance(
    covariance: Complex[Tensor, "*shape ue antenna antenna"],
    gram: Float[Tensor, "*shape ue"],
    pilot_energy: Float[Tensor, "*shape ue"],
    noise_power: float,
) -> Complex[Tensor, "*shape antenna antenna"]:
    """Covariance Gamma of the despread pilot observation at one AP for one UE, W, eq. (6).

    Args: covariance, C_j of every UE at this AP; gram, |pi_j^H pi_k| against this UE's pilot; pilot_energy, pilot length
    times uplink power of every UE, W; noise_power, W.
    """
    weight = (pilot_energy * gram.square()).to(covariance.dtype)
    total = torch.einsum("...j,...jab->...ab", weight, covariance)
    eye = torch.eye(covariance.shape[-1], dtype=covariance.dtype, device=covariance.device)
    return total + noise_power * eye


def mmse_matrix(
    covariance: Complex[Tensor, "*shape antenna antenna"],
    observation: Complex[Tensor, "*shape antenna antenna"],
    pilot_energy: Float[Tensor, "*shape"],
) -> Complex[Tensor, "*shape antenna antenna"]:
    """MMSE matrix Lambda = E C Gamma^-1 of a UE with pilot energy E (W), eq. (7); its estimate has covariance Lambda C, (8)."""
    # (C Gamma^-1) = (Gamma^-1 C)^H because both are Hermitian; a solve, never an inverse.
    solved = torch.linalg.solve(observation, covariance)
    return pilot_energy[..., None, None].to(covariance.dtype) * solved.mH
