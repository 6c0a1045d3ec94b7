"""One random network, or a batch of them: positions, shadowing, who serves, senses and listens, who sends which pilot."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jaxtyping import Float, Int

from isac_torch.errors import ScenarioError
from isac_torch.propagation.geometry import distance
from isac_torch.propagation.path_loss import umi_nlos_gain
from isac_torch.propagation.pilots import greedy_pilots, round_robin_pilots
from isac_torch.tensors import Array, at_rows, constant, counting, from_db, map_tensors, namespace
from isac_torch.tracking.association import balanced, closest, farthest_point, nearest_to_target

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from isac_torch.tracking.scenario import TrackingScenario


@dataclass(frozen=True)
class TrackingDrop:
    """A batch of networks, as tensors or numpy arrays.

    Transmit and receive APs are kept apart; sets index into the transmit (or receive) APs.

    Attributes:
        tx_position: of the transmit APs, m.
        tx_orientation: azimuth of their arrays' broadside, rad.
        rx_position: of the receive APs, m.
        rx_orientation: azimuth of their arrays' broadside, rad.
        ue_position: m.
        target_position: m.
        ue_gain: large-scale fading rho between UE and transmit AP with shadowing, linear.
        pilot_power: uplink pilot power of each UE, W.
        pilot: which pilot each UE sends.
        serving_ap: transmit APs that serve each UE, strongest first.
        sensing_ap: transmit APs with a beam at each target, closest first.
        listening_ap: receive APs that listen for each target.
    """

    tx_position: Float[Array, "drop ap 3"]
    tx_orientation: Float[Array, "drop ap"]
    rx_position: Float[Array, "drop rx 3"]
    rx_orientation: Float[Array, "drop rx"]
    ue_position: Float[Array, "drop ue 3"]
    target_position: Float[Array, "drop target 3"]
    ue_gain: Float[Array, "drop ue ap"]
    pilot_power: Float[Array, "drop ue"]
    pilot: Int[Array, "drop ue"]
    serving_ap: Int[Array, "drop ue serving"]
    sensing_ap: Int[Array, "drop target sensing"]
    listening_ap: Int[Array, "drop target listening"]

    @property
    def num_drops(self) -> int:
        """Networks in the batch."""
        return self.tx_position.shape[0]

    def select(self, index: Int[Array, " chosen"]) -> TrackingDrop:
        """The drops at `index`, in that order."""
        return map_tensors(self, lambda t: t[index])

    def to(self, device: torch.device | str) -> TrackingDrop:
        """The same drops on another device."""
        return map_tensors(self, lambda t: t.to(device))


def sample_drops(
    scenario: TrackingScenario,
    num_drops: int,
    generator: torch.Generator,
    target_position: Float[Array, "drop target 3"] | None = None,
) -> TrackingDrop:
    """Random drops of a scenario in float64 on the generator's device, around given targets (m) if there are any.

    Given targets leave all other draws as they are for any number of targets. Raises ScenarioError for fewer than one drop.
    """
    import torch

    if num_drops < 1:
        raise ScenarioError(f"num_drops={num_drops} must be at least 1")

    def uniform(*shape: int) -> Tensor:
        return torch.rand(num_drops, *shape, generator=generator, dtype=torch.float64, device=generator.device)

    def ground(count: int, height: Tensor) -> Tensor:
        return torch.cat([scenario.side * uniform(count, 2), height.expand(num_drops, count).unsqueeze(-1)], dim=-1)

    fixed = uniform(1).new_tensor
    ap_position = ground(scenario.num_aps, fixed(scenario.ap_height))
    ap_orientation = 2.0 * math.pi * uniform(scenario.num_aps)
    ue_position = ground(scenario.num_ues, fixed(scenario.ue_height))
    spread = scenario.target_height_max - scenario.target_height_min
    if target_position is None:
        target_position = ground(scenario.num_targets, scenario.target_height_min + spread * uniform(scenario.num_targets))
    shadowing = torch.randn(
        num_drops, scenario.num_ues, scenario.num_aps, generator=generator, dtype=torch.float64, device=generator.device
    )
    lottery = uniform(scenario.num_aps)
    return build_drops(
        scenario, ap_position, ap_orientation, ue_position, target_position, scenario.shadowing_db * shadowing, lottery
    )


def build_drops(
    scenario: TrackingScenario,
    ap_position: Float[Array, "drop allap 3"],
    ap_orientation: Float[Array, "drop allap"],
    ue_position: Float[Array, "drop ue 3"],
    target_position: Float[Array, "drop target 3"],
    shadowing_db: Float[Array, "drop ue allap"],
    lottery: Float[Array, "drop allap"] | None = None,
) -> TrackingDrop:
    """Drops from given positions (m), orientations (rad) and shadowing (dB): chooses roles, sets and pilots.

    `lottery` is a random number per AP that decides under receive_selection='random'.
    """
    xp = namespace(ap_position)
    receive = _receive_aps(scenario, ap_position, target_position, lottery)
    is_receive = xp.any(receive[:, None, :] == counting(ap_position.shape[1], receive)[:, None], axis=-1)
    # A stable sort of the flags lists the transmit APs first, each group in its own order.
    order = xp.argsort(xp.astype(is_receive, xp.int8), axis=1, stable=True)
    tx, rx = order[:, : scenario.transmit_aps], order[:, scenario.transmit_aps :]
    tx_position, rx_position = at_rows(ap_position, tx), at_rows(ap_position, rx)
    gain = umi_nlos_gain(distance(ue_position, tx_position), scenario.carrier_frequency)
    gain = gain * from_db(-xp.take_along_axis(shadowing_db, tx[:, None, :], axis=2))
    serving_ap = closest(-gain, scenario.serving_links)
    listen_gap = distance(target_position, rx_position)
    assign = balanced if scenario.assignment == "balanced" else closest
    return TrackingDrop(
        tx_position=tx_position,
        tx_orientation=at_rows(ap_orientation, tx),
        rx_position=rx_position,
        rx_orientation=at_rows(ap_orientation, rx),
        ue_position=ue_position,
        target_position=target_position,
        ue_gain=gain,
        pilot_power=xp.full_like(gain[..., 0], scenario.pilot_power),
        pilot=assign_pilots(gain, serving_ap, scenario.pilot_symbols, scenario.pilot_assignment),
        serving_ap=serving_ap,
        sensing_ap=closest(distance(target_position, tx_position), scenario.sensing_links),
        listening_ap=assign(listen_gap, scenario.listening_aps),
    )


def assign_pilots(
    gain: Float[Array, "drop ue ap"], serving_ap: Int[Array, "drop ue serving"], pilot_length: int, rule: str
) -> Int[Array, "drop ue"]:
    """Which of `pilot_length` pilots each UE sends, by the rule `greedy` or `round_robin`."""
    if rule == "greedy":
        xp = namespace(gain)
        return greedy_pilots(gain, xp.sum(xp.take_along_axis(gain, serving_ap, axis=2), axis=-1), pilot_length)
    return round_robin_pilots(gain.shape[0], gain.shape[1], pilot_length, gain)


def _receive_aps(
    scenario: TrackingScenario, ap_position: Array, target_position: Array, lottery: Array | None
) -> Int[Array, "drop rx"]:
    xp = namespace(ap_position)
    count = scenario.receive_aps
    if scenario.receive_selection == "random":
        if lottery is None:
            raise ScenarioError("receive_selection='random' needs a random number per AP; pass lottery")
        return xp.argsort(lottery, axis=1)[:, :count]
    if scenario.receive_selection == "nearest_to_target" and scenario.num_targets > 0:
        return nearest_to_target(distance(target_position, ap_position), count)
    middle = constant([scenario.side / 2, scenario.side / 2, scenario.ap_height], ap_position)
    return farthest_point(ap_position, middle, count)
