"""Which UE sends which of the orthonormal uplink pilots."""

from __future__ import annotations

from array_api_compat import device
from jaxtyping import Float, Int

from isac_torch.tensors import Array, counting, namespace


def round_robin_pilots(num_drops: int, num_ues: int, pilot_length: int, like: Array) -> Int[Array, "drop ue"]:
    """UE k sends pilot k modulo the number of pilots. The array is of the library and on the device of `like`."""
    return namespace(like).broadcast_to(counting(num_ues, like) % pilot_length, (num_drops, num_ues))


def greedy_pilots(
    gain: Float[Array, "drop ue ap"], serving_gain: Float[Array, "drop ue"], pilot_length: int
) -> Int[Array, "drop ue"]:
    """Greedy assignment after Ngo et al. (2017): the UE hurt most by contamination moves to the pilot that hurts it least.

    A variant: hurt is judged by large-scale fading alone, not by rates, so that it needs no powers.

    Starts from round robin and makes as many moves as there are UEs. Contamination of UE k by UE j is
    sum_m gain[k, m] gain[j, m]. Args: gain, large-scale fading, linear; serving_gain, its sum over each UE's serving APs.
    """
    xp = namespace(gain)
    num_drops, num_ues, _ = gain.shape
    pilot = xp.asarray(round_robin_pilots(num_drops, num_ues, pilot_length, gain), copy=True)
    others = 1.0 - xp.eye(num_ues, dtype=gain.dtype, device=device(gain))
    coupling = (gain @ xp.matrix_transpose(gain)) * others
    drop, number = counting(num_drops, gain), counting(pilot_length, gain)
    for _ in range(num_ues):
        shared = xp.astype(pilot_gram(pilot), gain.dtype)
        hurt = xp.sum(coupling * shared, axis=-1) / (serving_gain * serving_gain)
        worst = xp.argmax(hurt, axis=-1)
        users = xp.astype(pilot[..., None] == number, gain.dtype)
        per_pilot = (coupling[drop, worst][:, None, :] @ users)[:, 0, :]
        pilot[drop, worst] = xp.argmin(per_pilot, axis=-1)
    return pilot


def pilot_gram(pilot: Int[Array, "drop ue"]) -> Float[Array, "drop ue ue"]:
    """|pi_j^H pi_k|: one where two UEs send the same pilot, zero elsewhere."""
    xp = namespace(pilot)
    return xp.astype(pilot[..., :, None] == pilot[..., None, :], xp.float64)
