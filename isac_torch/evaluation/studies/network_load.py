"""What every AP computes and sends in a coherence block, and the centre with it: scalability as Liesegang et al. define it.

A network is scalable where the rate on each fronthaul link and the operations at each AP, for estimation, precoding, detection
and power control, stay finite as APs, UEs and targets grow without bound. Counted are complex multiplications with an addition,
and complex numbers that cross a fronthaul link, by the sets of drawn networks; `expected_load` has the same by formula.

With N antennas, tau_p pilots, tau_d data symbols and tau_s sensing samples, an AP with k UEs, l targets that it illuminates and
r targets that it listens for, whose test whitens the clutter of A transmit APs and has as many echo columns for each target,
and so needs the samples of B transmit APs, at most A (1 + r) of them:

    estimation    k (N tau_p + N^2)                       precoding   (k + l) N tau_d
    FPC           2 (k + l)                               fronthaul   k tau_d + 3 l + N tau_s
    reception     A N tau_s^2 + tau_s^3 / 6 + r (A tau_s^2 / 2 + A^2 tau_s + A^3 + N tau_s^2)
                                                          fronthaul   B N tau_s + r

A transmit AP has no reception, a receive AP has nothing else. On the link of a transmit AP the symbols of its UEs and three
numbers for each of its targets come down, and the samples that it sends go up, for the tests. Fusion adds one number per
target and receive AP at the centre.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import one_hot

from isac_torch.propagation.geometry import distance
from isac_torch.sensing.nearby import strongest
from isac_torch.tensors import sum_at
from isac_torch.tracking.whitening import clutter_power

if TYPE_CHECKING:
    from isac_torch.evaluation.studies.liesegang_cases import Association
    from isac_torch.tracking.drop import TrackingDrop
    from isac_torch.tracking.scenario import TrackingScenario


@dataclass(frozen=True)
class Load:
    """Of one coherence block.

    Attributes:
        transmit_operations: of every transmit AP.
        transmit_fronthaul: numbers on the link of every transmit AP.
        receive_operations: of every receive AP.
        receive_fronthaul: numbers on the link of every receive AP.
        centre_operations: of the centre, without power control.
    """

    transmit_operations: Float[Tensor, "drop ap"]
    transmit_fronthaul: Float[Tensor, "drop ap"]
    receive_operations: Float[Tensor, "drop rx"]
    receive_fronthaul: Float[Tensor, "drop rx"]
    centre_operations: Float[Tensor, " drop"]


def network_scenario(scenario: TrackingScenario, association: Association) -> TrackingScenario:
    """The scenario whose sets follow the association: without user-centric sets all transmit APs serve every UE."""
    return replace(scenario, serving_aps=scenario.transmit_aps) if association in ("tc", "cf") else scenario


def counted_load(drop: TrackingDrop, scenario: TrackingScenario, association: Association, near: int | None = None) -> Load:
    """The load of every AP of drawn networks, by their sets.

    Args:
        drop: networks, with the sets of `network_scenario`.
        scenario: theirs.
        association: with `uc` and `cf` all APs illuminate and listen for each target, one target after the other: a block
            for each, and the load is that of a round over all targets.
        near: transmit APs whose signals a receive AP takes into account (footnote 4 of the paper: far echoes); None: all.
    """
    sending, listening = drop.tx_position.shape[1], drop.rx_position.shape[1]
    targets = drop.target_position.shape[1]
    served = _members(drop.serving_ap, sending)
    if association in ("uc", "cf"):
        sensed, heard = (served.new_full((len(served), count), targets) for count in (sending, listening))
    else:
        sensed, heard = _members(drop.sensing_ap, sending), _members(drop.listening_ap, listening)
    known = sending if near is None else min(near, sending)
    if association in ("uc", "cf"):
        signals = (known * (1.0 + heard)).clamp_max(sending)
    else:
        signals = known_signals(drop, scenario, near).to(served).sum(-1)
    return _load(served, sensed, heard, float(known), signals, scenario)


def known_signals(drop: TrackingDrop, scenario: TrackingScenario, near: int | None) -> Bool[Tensor, "drop rx ap"]:
    """Whose samples each receive AP needs: of the strongest clutter, and nearest to the targets that it listens for.

    These are the sets of equations (92) and (93) of docs/sensing.md; an AP that listens for no target needs none.
    """
    listens = one_hot(drop.listening_ap, drop.rx_position.shape[1]).amax(2).bool().mT  # drop rx target
    illuminating = strongest(-distance(drop.target_position, drop.tx_position), near)
    whitened = strongest(clutter_power(drop, scenario, scenario.sensing), near)
    through = (listens.double() @ illuminating.double()) > 0
    return (whitened | through) & listens.any(-1, keepdim=True)


def expected_load(scenario: TrackingScenario, association: Association, near: int | None = None) -> Load:
    """The load of the mean AP by formula: K serving / M_tx UEs, L sensing / M_tx targets, L listening / M_rx targets heard.

    What a receive AP's link carries is an upper bound: sets of transmit APs overlap.
    """
    sending, listening, targets = scenario.transmit_aps, scenario.receive_aps, scenario.num_targets
    everyone_serves, everyone_senses = association in ("tc", "cf"), association in ("uc", "cf")
    served = scenario.num_ues if everyone_serves else scenario.num_ues * scenario.serving_links / sending
    sensed = targets if everyone_senses else targets * scenario.sensing_links / sending
    heard = targets if everyone_senses else targets * scenario.listening_aps / listening
    known = sending if near is None else min(near, sending)
    signals = min(known * (1.0 + heard), float(sending))
    served_by, lit_by, heard_by, needed = (
        torch.full((1, 1), float(n), dtype=torch.float64) for n in (served, sensed, heard, signals)
    )
    return _load(served_by, lit_by, heard_by, float(known), needed, scenario)


def _members(sets: Tensor, count: int) -> Float[Tensor, "drop ap"]:
    """How many nodes each AP works for."""
    flat = sets.flatten(1)
    members: Tensor = sum_at(torch.ones_like(flat, dtype=torch.float64), flat, count)
    return members


def _load(served: Tensor, sensed: Tensor, heard: Tensor, known: float, signals: Tensor, scenario: TrackingScenario) -> Load:
    """The formulas at the head of this file."""
    antennas, pilots, samples = scenario.num_antennas, scenario.pilot_symbols, scenario.sensing.samples(scenario)
    data = scenario.block_length - pilots
    estimation = served * (antennas * pilots + antennas**2)
    precoding = (served + sensed) * antennas * data
    filtering = known * antennas * samples**2 + samples**3 / 6
    testing = known * samples**2 / 2 + known**2 * samples + known**3 + antennas * samples**2
    busy = (heard > 0).to(heard.dtype)
    return Load(
        transmit_operations=estimation + precoding + 2.0 * (served + sensed),
        transmit_fronthaul=served * data + 3.0 * sensed + antennas * samples,
        receive_operations=busy * filtering + heard * testing,
        receive_fronthaul=busy * signals * antennas * samples + heard,
        centre_operations=heard.sum(-1),
    )


def slope(sizes: list[int], values: list[float]) -> float:
    """Growth exponent: slope of log(value) against log(size) by least squares, 0 for constant values."""
    x = [math.log(size) for size in sizes]
    y = [math.log(max(value, 1e-300)) for value in values]
    middle, mean = sum(x) / len(x), sum(y) / len(y)
    return sum((a - middle) * (b - mean) for a, b in zip(x, y, strict=True)) / sum((a - middle) ** 2 for a in x)
