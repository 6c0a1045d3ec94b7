"""Random networks that are too large for a table of all pairs, without torch."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from isac_torch.deployment.snapshot import Snapshot
from isac_torch.errors import ScenarioError
from isac_torch.tracking.roles import farthest_point
from isac_torch.tracking.scenario import TrackingScenario


def sample_network(scenario: TrackingScenario, seed: int) -> Snapshot:
    """One network with positions and orientations as `TrackingScenario.sample` draws them, though not the same draws.

    Gains, sets and pilots are left to the allocator: shadowing of any strength is `Shadowing(scenario.shadowing_db, seed)`.
    Raises ScenarioError unless receive APs are spread by `farthest_point` and beams are MRT.
    """
    if scenario.beams.kind != "mrt":
        raise ScenarioError(f"beams.kind={scenario.beams.kind!r} must be 'mrt' in large networks")
    if scenario.receive_selection != "farthest_point":
        raise ScenarioError(f"receive_selection={scenario.receive_selection!r} must be 'farthest_point' in large networks")
    generator = np.random.default_rng(seed)

    def spots(count: int, height: float | ndarray) -> Float[ndarray, "point 3"]:
        return np.column_stack([generator.uniform(0.0, scenario.side, (count, 2)), np.broadcast_to(height, count)])

    position = spots(scenario.num_aps, scenario.ap_height)
    orientation = generator.uniform(0.0, 2.0 * math.pi, scenario.num_aps)
    ue = spots(scenario.num_ues, scenario.ue_height)
    heights = generator.uniform(scenario.target_height_min, scenario.target_height_max, scenario.num_targets)
    target = spots(scenario.num_targets, heights)
    receives = np.zeros(scenario.num_aps, dtype=bool)
    centre = np.array([scenario.side / 2.0, scenario.side / 2.0, scenario.ap_height])
    receives[farthest_point(position[None], centre, scenario.receive_aps)[0]] = True
    return Snapshot(
        tx_position=position[~receives],
        tx_orientation=orientation[~receives],
        rx_position=position[receives],
        ue_position=ue,
        target_position=target,
        pilot_power=np.full(scenario.num_ues, scenario.pilot_power),
        ap_power=np.full(scenario.transmit_aps, scenario.ap_power),
        num_antennas=scenario.num_antennas,
        carrier_frequency=scenario.carrier_frequency,
        noise_power=scenario.noise_power,
        pilot_symbols=scenario.pilot_symbols,
        azimuth_spread_deg=scenario.azimuth_spread_deg,
        angle_error=scenario.angle_error,
        echo_gain=scenario.echo_gain,
        sir_min_db=scenario.sir_min_db,
        serving_aps=scenario.serving_aps,
        sensing_aps=scenario.sensing_aps,
        listening_aps=scenario.listening_aps,
    )
