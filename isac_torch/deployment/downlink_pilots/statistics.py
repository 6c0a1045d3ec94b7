"""From a snapshot of a road to the coefficients of its power problem, by the functions that torch uses as well."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from isac_torch.deployment.downlink_pilots.problem import RoadProblem
from isac_torch.deployment.downlink_pilots.snapshot import NO_PATH_GAIN
from isac_torch.downlink_pilots.channel import channel_statistics
from isac_torch.downlink_pilots.drop import DownlinkPilotDrop, downlink_gram, large_scale_gain, serving
from isac_torch.downlink_pilots.localisation import fisher_gain
from isac_torch.propagation.pilots import round_robin_pilots

if TYPE_CHECKING:
    from isac_torch.deployment.downlink_pilots.snapshot import RoadSnapshot
    from isac_torch.downlink_pilots.scenario import DownlinkPilotScenario

Numpy = NDArray[Any]


def coefficients(snapshot: RoadSnapshot) -> RoadProblem:
    """The min-max NMSE problem of a snapshot that has passed `check`."""
    scenario = snapshot.scenario
    drop = drop_of(snapshot, scenario)
    statistics, fisher = channel_statistics(drop, scenario), fisher_gain(drop, scenario)
    serves = serving(drop, scenario)
    sent = 1.0 if serves is None else serves[0]
    energy = scenario.downlink_symbols / scenario.noise_power
    gram = np.concatenate([drop.gram_real, drop.gram_imag])
    shared = bool((statistics.same_pilot.sum(-1) > 1).any())
    ones = np.ones(snapshot.num_ues)
    return RoadProblem(
        gain=energy * statistics.gain[0],
        estimate=energy * statistics.estimate[0] * sent,
        gram=gram,
        same_pilot=statistics.same_pilot[0],
        fisher=np.concatenate([fisher.xx, fisher.yy, fisher.xy]) * sent,
        crb_max=scenario.crb_max * ones if snapshot.crb_max is None else snapshot.crb_max,
        weight=ones if snapshot.weight is None else snapshot.weight,
        budget=np.full(snapshot.num_aps, snapshot.pilot_power) if snapshot.ap_power is None else snapshot.ap_power,
        serves=None if serves is None else serves[0],
        receiver=scenario.receiver,
        orthogonal=not (shared or bool(np.triu((gram**2).sum(0), 1).any())),
        shared=shared,
    )


def drop_of(snapshot: RoadSnapshot, scenario: DownlinkPilotScenario) -> DownlinkPilotDrop[Numpy]:
    """The snapshot as a batch of one drop; what it leaves open by the scenario's rules."""
    aps, ues = snapshot.ap_position[None], snapshot.ue_position[None]
    gain = None if snapshot.gain is None else np.maximum(snapshot.gain, NO_PATH_GAIN)[None]
    real = downlink_gram(scenario, ues) if snapshot.gram_real is None else snapshot.gram_real
    pilot = round_robin_pilots(1, snapshot.num_ues, scenario.uplink_symbols, ues)
    drop = DownlinkPilotDrop(
        ap_position=aps,
        ue_position=ues,
        gain=large_scale_gain(scenario, aps, ues, np.zeros((1, snapshot.num_ues, snapshot.num_aps))) if gain is None else gain,
        pilot=pilot if snapshot.pilot is None else snapshot.pilot[None],
        gram_real=real[None],
        gram_imag=np.zeros_like(real)[None] if snapshot.gram_imag is None else snapshot.gram_imag[None],
    )
    if snapshot.receive_ap is not None:
        receives = np.zeros((1, snapshot.num_aps))
        receives[0, snapshot.receive_ap] = 1.0
        drop = replace(drop, receives=receives)
    if snapshot.serves is not None:
        drop = replace(drop, serves=snapshot.serves[None])
    if snapshot.path_cross_section is not None:
        drop = replace(drop, path_cross_section=snapshot.path_cross_section[None])
    return drop
