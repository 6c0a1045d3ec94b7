"""Several processing units, each with the APs of its own square: what crosses between a unit and its APs, and between units.

A UE belongs to the unit of its strongest serving AP, a target to the unit of the nearest AP that senses it. Complex numbers
of a coherence block, with the symbols of `network_load`:

    to its APs       what the links of its APs carry
    to other units   tau_d for each UE and other unit with an AP that serves it, 3 for each target and other unit with an AP
                     that senses it, N tau_s for each transmit AP and other unit with a receive AP that needs its samples,
                     1 for each target that is not its own and each of its receive APs that listens for it

Fusion is at the target's unit, one addition for each receive AP that listens.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import one_hot

from isac_torch.evaluation.studies.network_load import counted_load, expected_load, known_signals
from isac_torch.tensors import sum_at

if TYPE_CHECKING:
    from isac_torch.evaluation.studies.liesegang_cases import Association
    from isac_torch.tracking.drop import TrackingDrop
    from isac_torch.tracking.scenario import TrackingScenario


@dataclass(frozen=True)
class UnitLoad:
    """Of one coherence block.

    Attributes:
        to_aps: numbers between each unit and its APs.
        to_units: numbers that each unit sends to others.
        operations: additions of the fusion at each unit.
    """

    to_aps: Float[Tensor, "drop unit"]
    to_units: Float[Tensor, "drop unit"]
    operations: Float[Tensor, "drop unit"]


def counted_units(
    drop: TrackingDrop, scenario: TrackingScenario, association: Association, per_side: int, near: int | None = None
) -> UnitLoad:
    """The load of `per_side` x `per_side` units of drawn networks; the other arguments are those of `counted_load`."""
    units, targets = per_side**2, drop.target_position.shape[1]
    of_tx, of_rx = (_squares(place, scenario.side, per_side) for place in (drop.tx_position, drop.rx_position))
    load = counted_load(drop, scenario, association, near)
    to_aps = sum_at(load.transmit_fronthaul, of_tx, units) + sum_at(load.receive_fronthaul, of_rx, units)
    serving, sensing, listening = drop.serving_ap, drop.sensing_ap, drop.listening_ap
    home_of_ue = of_tx.gather(1, drop.ue_gain.argmax(2))
    home = of_tx.gather(1, sensing[..., 0])
    if association in ("uc", "cf"):  # every AP sends to and listens for every target, and needs all samples
        sensing = torch.arange(of_tx.shape[1]).expand(len(of_tx), targets, -1)
        listening = torch.arange(of_rx.shape[1]).expand(len(of_rx), targets, -1)
        needed = torch.ones(len(of_tx), units, of_tx.shape[1], dtype=torch.bool)
    else:
        needed = one_hot(of_rx, units).mT.double() @ known_signals(drop, scenario, near).double() > 0
    abroad = needed.mT & ~one_hot(of_tx, units).bool()  # drop ap unit
    data = scenario.block_length - scenario.pilot_symbols
    heard_at = _at(of_rx, listening)  # the unit of each AP that listens
    foreign = (heard_at != home.unsqueeze(-1)).double()
    sent = (
        data * sum_at(_other_units(_at(of_tx, serving), home_of_ue, units), home_of_ue, units)
        + 3.0 * sum_at(_other_units(_at(of_tx, sensing), home, units), home, units)
        + scenario.num_antennas * scenario.sensing.samples(scenario) * sum_at(abroad.double().sum(-1), of_tx, units)
        + sum_at(foreign.flatten(1), heard_at.flatten(1), units)
    )
    added = torch.full_like(home, listening.shape[-1]).double()
    return UnitLoad(to_aps, sent, sum_at(added, home, units))


def expected_units(scenario: TrackingScenario, association: Association, per_side: int, near: int | None = None) -> UnitLoad:
    """The load of the mean unit by formula. What it sends to others is an upper bound: the APs of a set are all in others."""
    units = per_side**2
    load = expected_load(scenario, association, near)
    sending, listening, targets = scenario.transmit_aps, scenario.receive_aps, scenario.num_targets
    everyone = association in ("uc", "cf")
    sensed_by, heard_by = (sending, listening) if everyone else (scenario.sensing_links, scenario.listening_aps)
    serving = sending if association in ("tc", "cf") else scenario.serving_links
    others = units - 1.0
    known = float(sending if near is None else min(near, sending))
    pairs = listening * min(known * (1.0 + targets * heard_by / listening), float(sending))
    data = scenario.block_length - scenario.pilot_symbols
    sent = (
        data * scenario.num_ues * min(serving - 1.0, others)
        + 3.0 * targets * min(sensed_by - 1.0, others)
        + scenario.num_antennas * scenario.sensing.samples(scenario) * min(pairs, sending * others)
        + targets * heard_by * min(1.0, others)
    )
    to_aps = sending * load.transmit_fronthaul + listening * load.receive_fronthaul
    return UnitLoad(to_aps / units, torch.full_like(to_aps, sent / units), torch.full_like(to_aps, targets * heard_by / units))


def shared_sides(per_side: int) -> float:
    """Sides that a unit shares with others, in the mean: 0 for one unit, 4 in an endless grid."""
    return 4.0 * (per_side - 1) / per_side


def _squares(position: Tensor, side: float, per_side: int) -> Tensor:
    """The unit [drop, ap] of each position [drop, ap, 3], m: its square of the area."""
    cell = (position[..., :2] / (side / per_side)).long().clamp(0, per_side - 1)
    return cell[..., 0] * per_side + cell[..., 1]


def _at(unit: Tensor, sets: Tensor) -> Tensor:
    """The units [drop, node, ap] of the APs of each node's set."""
    return unit.gather(1, sets.flatten(1)).unflatten(1, sets.shape[1:])


def _other_units(found: Tensor, home: Tensor, units: int) -> Tensor:
    """How many units other than its own each node has APs in."""
    there = one_hot(found, units).amax(2)
    return (there.sum(-1) - there.gather(2, home.unsqueeze(-1))[..., 0]).double()
