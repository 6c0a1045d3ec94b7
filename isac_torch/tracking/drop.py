"""One random network, or a batch of them: positions, shadowing, who serves, senses and listens, who sends which pilot."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic

from jaxtyping import Float, Int

from isac_torch.errors import ScenarioError
from isac_torch.propagation.geometry import distance
from isac_torch.propagation.path_loss import umi_nlos_gain
from isac_torch.propagation.pilots import greedy_pilots, round_robin_pilots
from isac_torch.tensors import Array, at_rows, counting, from_db, map_tensors, namespace
from isac_torch.tracking.association import balanced, closest
from isac_torch.tracking.roles import members, receive_aps

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from isac_torch.tracking.scenario import TrackingScenario


@dataclass(frozen=True)
class TrackingDrop(Generic[Array]):
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
        rx_gain: large-scale fading between UE and receive AP, linear, which matters where roles change; None: not known.
        serves: 1 where the AP at this place of `serving_ap` serves the UE, 0 where it does not; None: all serve.
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
    rx_gain: Float[Array, "drop ue rx"] | None = None
    serves: Float[Array, "drop ue serving"] | None = None

    @property
    def num_drops(self) -> int:
        """Networks in the batch."""
        return self.tx_position.shape[0]

    def select(self, index: Int[Array, " chosen"]) -> TrackingDrop[Array]:
        """The drops at `index`, in that order."""
        return map_tensors(self, lambda t: t[index])

    def to(self, device: torch.device | str) -> TrackingDrop[Array]:
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
) -> TrackingDrop[Array]:
    """Drops from given positions (m), orientations (rad) and shadowing (dB): chooses roles, sets and pilots.

    `lottery` is a random number per AP that decides under receive_selection='random'.
    """
    gain = umi_nlos_gain(distance(ue_position, ap_position), scenario.carrier_frequency) * from_db(-shadowing_db)
    receive = receive_aps(scenario, ap_position, target_position, gain, lottery)
    return _with_sets(scenario, receive, ap_position, ap_orientation, gain, ue_position, target_position)


def with_roles(
    drop: TrackingDrop[Array], scenario: TrackingScenario, receive: Int[Array, "drop chosen"]
) -> TrackingDrop[Array]:
    """The same networks where other APs listen; sets and pilots follow, by the rules of the scenario.

    Args:
        drop: networks; `rx_gain` must be known.
        scenario: its numbers of links and rules; how many APs listen is that of `receive`.
        receive: APs that listen, counted through the drop's transmit APs and then its receive APs (`all_aps`).

    Raises:
        ScenarioError: the drop does not know the gains of its receive APs, or nobody is left to transmit.
    """
    if drop.rx_gain is None:
        raise ScenarioError("rx_gain is not known: the drop comes from an old data set; sample it again to change roles")
    aps = all_aps(drop)
    if not 0 < receive.shape[1] < aps.position.shape[1]:
        raise ScenarioError(
            f"{receive.shape[1]} of {aps.position.shape[1]} APs listen; let at least one listen and one transmit"
        )
    return _with_sets(scenario, receive, aps.position, aps.orientation, aps.gain, drop.ue_position, drop.target_position)


@dataclass(frozen=True)
class AllAps(Generic[Array]):
    """The APs of a batch of drops whatever they do: the transmit APs first, then the receive APs.

    Attributes:
        position: m.
        orientation: azimuth of their arrays' broadside, rad.
        gain: large-scale fading between UE and AP, linear.
        receive: those that listen.
    """

    position: Float[Array, "drop allap 3"]
    orientation: Float[Array, "drop allap"]
    gain: Float[Array, "drop ue allap"]
    receive: Int[Array, "drop rx"]


def all_aps(drop: TrackingDrop[Array]) -> AllAps[Array]:
    """The APs of every drop, whose `rx_gain` is known, in the order by which `with_roles` counts them."""
    xp = namespace(drop.ue_gain)
    listens = drop.tx_position.shape[1] + counting(drop.rx_position.shape[1], drop.ue_gain)
    return AllAps(
        position=xp.concat([drop.tx_position, drop.rx_position], axis=1),
        orientation=xp.concat([drop.tx_orientation, drop.rx_orientation], axis=1),
        gain=xp.concat([drop.ue_gain, drop.rx_gain], axis=2),
        receive=xp.broadcast_to(listens, (drop.num_drops, len(listens))),
    )


def _with_sets(
    scenario: TrackingScenario,
    receive: Array,
    ap_position: Array,
    ap_orientation: Array,
    gain: Array,
    ue_position: Array,
    target_position: Array,
) -> TrackingDrop[Array]:
    """Drops with given receive APs: splits the APs by role and chooses sets and pilots."""
    xp = namespace(ap_position)
    # A stable sort of the flags lists the transmit APs first, each group in its own order.
    flags = xp.astype(members(receive, ap_position.shape[1]), xp.int8)
    order = xp.argsort(flags, axis=1, stable=True)
    sending = ap_position.shape[1] - receive.shape[1]
    tx, rx = order[:, :sending], order[:, sending:]
    tx_position, rx_position = at_rows(ap_position, tx), at_rows(ap_position, rx)
    tx_gain, rx_gain = (xp.take_along_axis(gain, side[:, None, :], axis=2) for side in (tx, rx))
    serving_ap = closest(-tx_gain, min(scenario.serving_aps, sending))
    assign = balanced if scenario.assignment == "balanced" else closest
    return TrackingDrop(
        tx_position=tx_position,
        tx_orientation=at_rows(ap_orientation, tx),
        rx_position=rx_position,
        rx_orientation=at_rows(ap_orientation, rx),
        ue_position=ue_position,
        target_position=target_position,
        ue_gain=tx_gain,
        pilot_power=xp.full_like(tx_gain[..., 0], scenario.pilot_power),
        pilot=assign_pilots(tx_gain, serving_ap, scenario.pilot_symbols, scenario.pilot_assignment),
        serving_ap=serving_ap,
        sensing_ap=closest(distance(target_position, tx_position), min(scenario.sensing_aps, sending)),
        listening_ap=assign(distance(target_position, rx_position), min(scenario.listening_aps, rx.shape[1])),
        rx_gain=rx_gain,
    )


def assign_pilots(
    gain: Float[Array, "drop ue ap"], serving_ap: Int[Array, "drop ue serving"], pilot_length: int, rule: str
) -> Int[Array, "drop ue"]:
    """Which of `pilot_length` pilots each UE sends, by the rule `greedy` or `round_robin`."""
    if rule == "greedy":
        xp = namespace(gain)
        return greedy_pilots(gain, xp.sum(xp.take_along_axis(gain, serving_ap, axis=2), axis=-1), pilot_length)
    return round_robin_pilots(gain.shape[0], gain.shape[1], pilot_length, gain)
