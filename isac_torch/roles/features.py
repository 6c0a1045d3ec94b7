"""What a set of receive APs does to UEs, targets and scan cells at uniform power, from large-scale quantities; docs/roles.md.

The problem of a set takes 10 ms to build. These numbers, which beams without direction and a filter that knows powers alone
give, take 0.04 ms: so all sets of a network can be looked at. Features are logarithms, in nepers.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from isac_torch.nn.tracking.set_scorer import SetFeatures
from isac_torch.propagation.geometry import distance
from isac_torch.roles.echo_features import LEAST, Listeners, cell_features, target_features
from isac_torch.roles.held import Held
from isac_torch.tracking.drop import AllAps, all_aps
from isac_torch.tracking.roles import members


def set_features(held: Held, sets: Int[Tensor, "drop set rx"]) -> SetFeatures:
    """Features of the default roles' set and then of the given ones.

    Args:
        held: networks with the default roles, and what they are held to under `dominate`.
        sets: APs that listen, counted as in `all_aps`.
    """
    aps = all_aps(held.drop)
    sets = torch.cat([aps.receive[:, None], sets], 1)
    sends = ~members(sets, aps.position.shape[1])
    radar = Listeners.of(held, aps, sets, sends)
    parts = ue_features(held, aps, sends), target_features(held, radar), cell_features(held, radar)
    return SetFeatures(*(part.float() for part in parts))


def ue_features(held: Held, aps: AllAps, sends: Bool[Tensor, "drop set allap"]) -> Float[Tensor, "drop set ue 10"]:
    """Of every UE the logarithms (nepers) of what transmit APs bring it.

    Entries: 0 SINR with every AP's budget divided equally over its links, eq. (120); 1 signal over noise where every AP
    sends the UE its whole budget; 2 interference and noise over noise; 3 gain of its serving APs, over noise; 4 entry 0
    over that of the weakest UE with the default roles; 5-8 entries 0-3 over those with the default roles; 9 links of its
    serving APs over theirs to it alone.
    """
    scenario = held.scenario
    noise = scenario.noise_power / scenario.ap_power
    pilot = aps.gain * scenario.pilot_power * scenario.pilot_symbols
    known = scenario.num_antennas * aps.gain * pilot / (pilot + scenario.noise_power)
    serves = _nearest_senders(sends, -aps.gain, scenario.serving_links)
    lights = _nearest_senders(sends, distance(held.drop.target_position, aps.position), scenario.sensing_links)
    links = (serves.sum(2) + lights.sum(2)).clamp_min(1)[:, :, None]
    each = known[:, None]
    split = (serves * (each / links).sqrt()).sum(-1) ** 2
    whole = (serves * each.sqrt()).sum(-1) ** 2
    disturbed = (sends[:, :, None] * aps.gain[:, None]).sum(-1) + noise
    served = (serves * aps.gain[:, None]).sum(-1)
    log = torch.stack([split / disturbed, whole / noise, disturbed / noise, served / noise], -1).clamp_min(LEAST).log()
    weakest = log[:, :1, :, :1].amin(2, keepdim=True)
    busy = ((serves * links).sum(-1, keepdim=True) / scenario.serving_links).log()
    return torch.cat([log, log[..., :1] - weakest, log - log[:, :1], busy], -1)


def _nearest_senders(
    sends: Bool[Tensor, "drop set allap"], gap: Float[Tensor, "drop node allap"], count: int
) -> Bool[Tensor, "drop set node allap"]:
    """The `count` APs of smallest `gap` among those that send, for every node."""
    order = gap.argsort(stable=True, dim=-1)[:, None].expand(-1, sends.shape[1], -1, -1)
    in_order = sends[:, :, None].expand_as(order).gather(3, order)
    first = in_order & (in_order.cumsum(-1) <= count)
    return torch.zeros_like(first).scatter(3, order, first)
