"""How a UE estimates its channel from the received downlink pilot: the weights of three receivers, eqs. (P6a)-(P6c).

A receiver correlates the pilot with the downlink pilots of all UEs, z_j = psi_j^H y, and forms sum_j w_j z_j. With the Gram
matrix G of these pilots, white noise of unit variance and the streams' covariance C (P5), the estimate leaves the part
e_k - w G of the streams and the noise w G w^H. All energies are in units of the pilot's noise.
"""

from __future__ import annotations

from typing import TypeAlias

import torch
from jaxtyping import Complex, Float
from torch import Tensor

Parts: TypeAlias = tuple[Float[Tensor, "drop ue ue"], Float[Tensor, "drop ue ue"]]
"""Real and imaginary part of a complex matrix of every drop."""


def own_weights(real: Float[Tensor, "drop ue"], imag: Float[Tensor, "drop ue"], observed: Float[Tensor, "drop ue"]) -> Parts:
    """The best weights of receivers that look at z_k only, [drop, ue, stream] with zeros for all other streams, eq. (P6b).

    Args:
        real, imag: parts of Cov(z_k, a_kk) = sum_i psi_k^H psi_i Cov(a_kk, a_ki).
        observed: variance of z_k.
    """
    return torch.diag_embed(real / observed), torch.diag_embed(-imag / observed)


def lmmse_weights(gram: Parts, covariance: Float[Tensor, "drop ue ue ue"]) -> Parts:
    """Weights of the linear MMSE estimate of a_kk from all of z, row k of C_k (I + G C_k)^-1, eq. (P6a), without gradient.

    `covariance` [drop, ue, stream, stream] is C_k, as UE k hears the streams. The error is stationary in these weights, so that
    it has its exact gradient although they pass none on. Solved in double precision: I + G C_k holds energies of 1 to 10^6.
    """
    with torch.no_grad():
        joint = torch.complex(gram[0].double(), gram[1].double()).unsqueeze(1)
        streams = covariance.detach().to(joint)
        identity = torch.eye(joint.shape[-1], dtype=joint.dtype, device=joint.device)
        own = torch.einsum("dkki->dki", streams)
        # w (I + G C) = own row of C; transposed, as C is real and symmetric and G Hermitian.
        weights: Complex[Tensor, "drop ue ue"] = torch.linalg.solve((identity + joint @ streams).mT, own.unsqueeze(-1))[..., 0]
        return weights.real.to(gram[0]), weights.imag.to(gram[0])


def residual(weights: Parts, gram: Parts) -> Parts:
    """What weights leave of stream j in UE k's error: [k = j] - sum_i w_ki psi_i^H psi_j."""
    real, imag = _product(weights, gram)
    own = torch.eye(real.shape[-1], dtype=real.dtype, device=real.device)
    return own - real, -imag


def noise(weights: Parts, gram: Parts) -> Float[Tensor, "drop ue"]:
    """Variance w G w^H of the noise in each UE's estimate."""
    real, imag = _product(weights, gram)
    return (real * weights[0] + imag * weights[1]).sum(-1)


def _product(left: Parts, right: Parts) -> Parts:
    real = left[0] @ right[0] - left[1] @ right[1]
    return real, left[0] @ right[1] + left[1] @ right[0]
