"""Projections onto columns X that are known by their Gram matrix K = X^H X: rank, pseudo-inverse, an orthonormal basis."""

from __future__ import annotations

import torch
from jaxtyping import Complex, Int
from torch import Tensor

RANK_TOLERANCE = {torch.float64: 1e-9, torch.float32: 3e-6}
"""Directions below this share of the strongest one count as absent, by precision; columns are scaled to unit norm before."""


def rank(gram: Complex[Tensor, "*shape n n"], reference: Complex[Tensor, "*shape n n"] | None = None) -> Int[Tensor, "*shape"]:
    """Directions that a Gram matrix holds, judged on the scale of `reference` (itself by default)."""
    value, limit, _ = _scaled_spectrum(gram, gram if reference is None else reference, vectors=False)
    return (value > limit).sum(-1)


def pseudo_inverse(gram: Complex[Tensor, "*shape n n"]) -> Complex[Tensor, "*shape n n"]:
    """K^+ on the directions that `rank` counts; differentiable where the rank does not change."""
    scale = _scale(gram)
    unit = gram * scale.unsqueeze(-1) * scale.unsqueeze(-2)
    middle = torch.linalg.pinv(unit, rtol=RANK_TOLERANCE[scale.dtype], hermitian=True)
    return middle * scale.unsqueeze(-1) * scale.unsqueeze(-2)


def orthonormal(gram: Complex[Tensor, "*shape n n"], reference: Complex[Tensor, "*shape n n"]) -> Complex[Tensor, "*shape n n"]:
    """B with X B orthonormal on the range of X and zero elsewhere, from K = X^H X."""
    value, limit, vector = _scaled_spectrum(gram, reference, vectors=True)
    weight = torch.where(value > limit, value.clamp_min(limit).clamp_min(torch.finfo(value.dtype).tiny), torch.inf).rsqrt()
    return _scale(reference).unsqueeze(-1) * vector * weight.unsqueeze(-2)


def _scale(gram: Tensor) -> Tensor:
    """1 / norm of each column, 0 for columns of silent APs. A projector does not see it, so it carries no gradient."""
    energy = gram.detach().diagonal(dim1=-2, dim2=-1).real
    return torch.where(energy > 0, energy.clamp_min(torch.finfo(energy.dtype).tiny).rsqrt(), 0.0)


def _scaled_spectrum(gram: Tensor, reference: Tensor, *, vectors: bool) -> tuple[Tensor, Tensor, Tensor]:
    scale = _scale(reference)
    unit = (gram.detach() if not vectors else gram) * scale.unsqueeze(-1) * scale.unsqueeze(-2)
    value, vector = torch.linalg.eigh(unit) if vectors else (torch.linalg.eigvalsh(unit), unit)
    # The largest eigenvalue of n unit columns lies between 1 and n: 1 decides alike, and never vanishes.
    return value, RANK_TOLERANCE[value.dtype] * value.detach().amax(-1, keepdim=True).clamp_min(1.0), vector
