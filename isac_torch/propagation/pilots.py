"""Which UE sends which of the orthonormal uplink pilots."""

import torch
from jaxtyping import Float, Int
from torch import Tensor


def round_robin_pilots(num_drops: int, num_ues: int, pilot_length: int, device: torch.device) -> Int[Tensor, "drop ue"]:
    """UE k sends pilot k modulo the number of pilots."""
    pilot = torch.arange(num_ues, device=device) % pilot_length
    return pilot.expand(num_drops, num_ues)


def greedy_pilots(
    gain: Float[Tensor, "drop ue ap"], serving_gain: Float[Tensor, "drop ue"], pilot_length: int
) -> Int[Tensor, "drop ue"]:
    """Greedy assignment after Ngo et al. (2017): the UE hurt most by contamination moves to the pilot that hurts it least.

    A variant: hurt is judged by large-scale fading alone, not by rates, so that it needs no powers.

    Starts from round robin and makes as many moves as there are UEs. Contamination of UE k by UE j is
    sum_m gain[k, m] gain[j, m]. Args: gain, large-scale fading, linear; serving_gain, its sum over each UE's serving APs.
    """
    num_drops, num_ues, _ = gain.shape
    pilot = round_robin_pilots(num_drops, num_ues, pilot_length, gain.device).clone()
    coupling = torch.einsum("dkm,djm->dkj", gain, gain)
    coupling = coupling - torch.diag_embed(coupling.diagonal(dim1=-2, dim2=-1))
    drop = torch.arange(num_drops, device=gain.device)
    for _ in range(num_ues):
        shared = pilot_gram(pilot).to(coupling)
        hurt = (coupling * shared).sum(-1) / serving_gain.square()
        worst = hurt.argmax(-1)
        users = torch.nn.functional.one_hot(pilot, pilot_length).to(coupling)
        per_pilot = torch.einsum("dj,djt->dt", coupling[drop, worst], users)
        pilot[drop, worst] = per_pilot.argmin(-1)
    return pilot


def pilot_gram(pilot: Int[Tensor, "drop ue"]) -> Float[Tensor, "drop ue ue"]:
    """|pi_j^H pi_k|: one where two UEs send the same pilot, zero elsewhere."""
    return (pilot.unsqueeze(-1) == pilot.unsqueeze(-2)).to(torch.float64)
