"""One random network, or a batch of them: positions, shadowing, who serves, senses and listens, who sends which pilot."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int
from torch import Tensor

from isac_torch.errors import ScenarioError
from isac_torch.propagation.geometry import distance
from isac_torch.propagation.path_loss import umi_nlos_gain
from isac_torch.propagation.pilots import greedy_pilots, round_robin_pilots
from isac_torch.tensors import from_db, map_tensors
from isac_torch.tracking.association import balanced, closest, farthest_point, nearest_to_target

if TYPE_CHECKING:
    from isac_torch.tracking.scenario import TrackingScenario


@dataclass(frozen=True)
class TrackingDrop:
    """A batch of networks. Transmit and receive APs are kept apart; sets index into the transmit (or receive) APs.

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

    tx_position: Float[Tensor, "drop ap 3"]
    tx_orientation: Float[Tensor, "drop ap"]
    rx_position: Float[Tensor, "drop rx 3"]
    rx_orientation: Float[Tensor, "drop rx"]
    ue_position: Float[Tensor, "drop ue 3"]
    target_position: Float[Tensor, "drop target 3"]
    ue_gain: Float[Tensor, "drop ue ap"]
    pilot_power: Float[Tensor, "drop ue"]
    pilot: Int[Tensor, "drop ue"]
    serving_ap: Int[Tensor, "drop ue serving"]
    sensing_ap: Int[Tensor, "drop target sensing"]
    listening_ap: Int[Tensor, "drop target listening"]

    @property
    def num_drops(self) -> int:
        """Networks in the batch."""
        return self.tx_position.shape[0]

    def select(self, index: Int[Tensor, " chosen"]) -> TrackingDrop:
        """The drops at `index`, in that order."""
        return map_tensors(self, lambda t: t[index])

    def to(self, device: torch.device | str) -> TrackingDrop:
        """The same drops on another device."""
        return map_tensors(self, lambda t: t.to(device))


def sample_drops(
    scenario: TrackingScenario,
    num_drops: int,
    generator: torch.Generator,
    target_position: Float[Tensor, "drop target 3"] | None = None,
) -> TrackingDrop:
    """Random drops of a scenario in float64 on the generator's device, around given targets (m) if there are any.

    Given targets leave all other draws as they are for any number of targets. Raises ScenarioError for fewer than one drop.
    """
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
    ap_position: Float[Tensor, "drop allap 3"],
    ap_orientation: Float[Tensor, "drop allap"],
    ue_position: Float[Tensor, "drop ue 3"],
    target_position: Float[Tensor, "drop target 3"],
    shadowing_db: Float[Tensor, "drop ue allap"],
    lottery: Float[Tensor, "drop allap"] | None = None,
) -> TrackingDrop:
    """Drops from given positions (m), orientations (rad) and shadowing (dB): chooses roles, sets and pilots.

    `lottery` is a random number per AP that decides under receive_selection='random'.
    """
    receive = _receive_aps(scenario, ap_position, target_position, lottery)
    is_receive = torch.zeros(ap_position.shape[:2], dtype=torch.bool, device=receive.device).scatter(1, receive, True)
    # A stable sort of the flags lists the transmit APs first, each group in its own order.
    order = is_receive.to(torch.int8).argsort(dim=1, stable=True)
    tx, rx = order[:, : scenario.transmit_aps], order[:, scenario.transmit_aps :]

    def rows(table: Tensor, index: Tensor) -> Tensor:
        return table.gather(1, index.unsqueeze(-1).expand(-1, -1, table.shape[-1]))

    tx_position, rx_position = rows(ap_position, tx), rows(ap_position, rx)
    gain = umi_nlos_gain(distance(ue_position, tx_position), scenario.carrier_frequency)
    gain = gain * from_db(-shadowing_db.gather(2, tx.unsqueeze(1).expand(-1, gain.shape[1], -1)))
    serving_ap = closest(-gain, scenario.serving_links)
    listen_gap = distance(target_position, rx_position)
    assign = balanced if scenario.assignment == "balanced" else closest
    return TrackingDrop(
        tx_position=tx_position,
        tx_orientation=ap_orientation.gather(1, tx),
        rx_position=rx_position,
        rx_orientation=ap_orientation.gather(1, rx),
        ue_position=ue_position,
        target_position=target_position,
        ue_gain=gain,
        pilot_power=torch.full_like(gain[..., 0], scenario.pilot_power),
        pilot=_pilots(scenario, gain, serving_ap),
        serving_ap=serving_ap,
        sensing_ap=closest(distance(target_position, tx_position), scenario.sensing_links),
        listening_ap=assign(listen_gap, scenario.listening_aps),
    )


def _receive_aps(
    scenario: TrackingScenario, ap_position: Tensor, target_position: Tensor, lottery: Tensor | None
) -> Int[Tensor, "drop rx"]:
    count = scenario.receive_aps
    if scenario.receive_selection == "random":
        if lottery is None:
            raise ScenarioError("receive_selection='random' needs a random number per AP; pass lottery")
        return lottery.argsort(dim=1)[:, :count]
    if scenario.receive_selection == "nearest_to_target" and scenario.num_targets > 0:
        return nearest_to_target(distance(target_position, ap_position), count)
    middle = ap_position.new_tensor([scenario.side / 2, scenario.side / 2, scenario.ap_height])
    return farthest_point(ap_position, middle, count)


def _pilots(scenario: TrackingScenario, gain: Tensor, serving_ap: Tensor) -> Int[Tensor, "drop ue"]:
    if scenario.pilot_assignment == "greedy":
        return greedy_pilots(gain, gain.gather(2, serving_ap).sum(-1), scenario.pilot_symbols)
    return round_robin_pilots(gain.shape[0], gain.shape[1], scenario.pilot_symbols, gain.device)
