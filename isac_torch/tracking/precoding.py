"""Beams of UEs that look at the other UEs of their AP: zero forcing and partial MMSE. Eqs. (87) and (88) of docs/physics.md."""

from __future__ import annotations

from array_api_compat import device
from jaxtyping import Complex, Float, Int

from isac_torch.tensors import Array, at_least, namespace, tiniest

_DEPENDENT = 1e-6
"""Share of an estimate beside those before it below which it counts as their combination."""


def partial_mmse(
    weight: Float[Array, " served"],
    estimates: Complex[Array, "served antenna sample"],
    error: Float[Array, "served antenna antenna"],
    noise_power: float,
) -> Complex[Array, "served antenna sample"]:
    """(I + sum_j q_j / sigma^2 (h_j h_j^H + C_j - Phi_j))^-1 h_k of the UEs that an AP serves, eq. (88).

    Args: weight, uplink powers q, W; estimates h; error, C - Phi; noise_power, W.
    """
    xp, over = namespace(error), weight / noise_power
    by_sample = xp.permute_dims(estimates, (2, 1, 0))  # [sample, antenna, ue]
    heard = (over * by_sample) @ xp.conj(by_sample).mT
    known = (over[:, None, None] * error).sum(0) + xp.eye(error.shape[-1], dtype=error.dtype, device=device(error))
    return xp.permute_dims(xp.linalg.solve(heard + known, by_sample), (2, 1, 0))


def avoided_ues(
    nulls: int,
    ue: Int[Array, " served"],
    estimate: Float[Array, "ue antenna antenna"],
    gram: Float[Array, "ue ue"],
) -> list[tuple[int, list[int]]]:
    """Every UE that an AP serves, and the up to `nulls` others that its beam avoids, those of largest mean estimate first.

    UEs on the same pilot are left out: estimates that share their noise cannot be told apart by nulls.

    Args: nulls, `BeamSetup.nulls`; ue, those that the AP serves; estimate, Phi of every UE; gram, of the pilots.
    """
    energy = estimate.diagonal(0, -2, -1).sum(-1)
    order = sorted((int(k) for k in ue), key=lambda k: -float(energy[k]))
    return [(int(k), [j for j in order if j != int(k) and not bool(gram[int(k), j] > 0.0)][:nulls]) for k in ue]


def zero_forced(
    vector: Complex[Array, "antenna sample"], others: list[Complex[Array, "antenna sample"]]
) -> Complex[Array, "antenna sample"]:
    """What is left of a vector without its components along the others, eq. (87)."""
    return _without(vector, null_basis(others))


def null_basis(vectors: list[Complex[Array, "antenna sample"]]) -> list[Complex[Array, "antenna sample"]]:
    """Orthonormal basis of the span of vectors in every sample, by Gram and Schmidt's method; zeros where one adds nothing."""
    basis: list[Array] = []
    for vector in vectors:
        xp = namespace(vector)
        unit = vector / xp.sqrt(at_least((xp.abs(vector) ** 2).sum(0), tiniest(xp.real(vector))))
        left = _without(unit, basis)
        energy = (xp.abs(left) ** 2).sum(0)
        adds = energy > _DEPENDENT**2
        basis.append(left * (xp.where(adds, 1.0, 0.0) / xp.sqrt(xp.where(adds, energy, 1.0))))
    return basis


def _without(vector: Array, basis: list[Array]) -> Array:
    xp = namespace(vector)
    for _ in range(2):  # the second time takes what rounding left
        for unit in basis:
            vector = vector - unit * xp.sum(xp.conj(unit) * vector, axis=0)
    return vector
