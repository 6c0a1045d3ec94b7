"""Echoes that a set of receive APs hears at uniform power, were beams without direction: eqs. (121)-(124) of docs/roles.md."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from isac_torch.errors import ScenarioError
from isac_torch.propagation.arrays import steering
from isac_torch.propagation.geometry import angles, distance
from isac_torch.propagation.path_loss import umi_los_gain, umi_nlos_gain
from isac_torch.tensors import all_but_own, at_rows
from isac_torch.tracking.association import balanced, closest
from isac_torch.tracking.echoes import phase_slope
from isac_torch.tracking.scan import scan_grid
from isac_torch.tracking.sensing import echo_leg
from isac_torch.tracking.whitening import nlos_probability
from isac_torch.units import db_to_linear

if TYPE_CHECKING:
    from collections.abc import Callable

    from isac_torch.roles.held import Held
    from isac_torch.tracking.drop import AllAps
    from isac_torch.tracking.requirements import Standard
    from isac_torch.tracking.scenario import TrackingScenario

LEAST = 1e-12
"""Quantities below this count as this, so that their logarithms are finite."""
_NEWTON_STEPS = 6
_ALWAYS_DB = 60.0
"""What counts as enough where a requirement names no ratio of echo to noise, dB; it only shifts a feature."""


@dataclass(frozen=True)
class Listeners:
    """What every set's receive APs hear of a watt that arrives from each transmit AP.

    Attributes:
        aps: of the network, whatever they do.
        sets: APs that listen.
        scale: N tau_s P sigma_a^2 over the noise: of an echo whose ways out and back have gain 1.
        weight: share of transmit AP m's echoes that the filter of receive AP r leaves, eq. (121); 0 where m listens itself.
        active: directions over time that a test at one receive AP looks at.
    """

    aps: AllAps
    sets: Int[Tensor, "drop set rx"]
    scale: float
    weight: Float[Tensor, "drop set rx allap"]
    active: int

    @classmethod
    def of(cls, held: Held, aps: AllAps, sets: Int[Tensor, "drop set rx"], sends: Bool[Tensor, "drop set allap"]) -> Listeners:
        """The listeners of every set; `sends` says which APs transmit."""
        scenario = held.scenario
        antennas, samples = scenario.num_antennas, scenario.sensing.samples(scenario)
        gap = distance(aps.position, aps.position)
        gain = umi_nlos_gain if scenario.sensing.clutter_path == "nlos" else umi_los_gain
        clutter = gain(gap, scenario.carrier_frequency) * nlos_probability(gap) * scenario.sensing.clutter_factor
        clutter = clutter * (scenario.ap_power / antennas / scenario.noise_power)
        heard = at_rows(clutter, sets) * sends[:, :, None]
        passed = share_passed(heard, antennas, samples)[..., None]
        weight = passed * sends[:, :, None] / (1.0 + samples * passed * heard)
        scale = antennas * samples * scenario.ap_power * scenario.sensing.rcs_variance / scenario.noise_power
        active = min(aps.position.shape[1] - sets.shape[2], samples)
        return cls(aps, sets, scale, weight, active)

    def by_ap(self, legs: Float[Tensor, "drop point allap"]) -> Float[Tensor, "drop set rx point allap"]:
        """Echo of every point by the AP that lights it, over the noise, eq. (122); `legs` are the gains of one way."""
        back = at_rows(legs.mT, self.sets)[..., None]
        return self.scale * back * self.weight[:, :, :, None] * legs[:, None, None]

    def of_points(self, legs: Float[Tensor, "drop point allap"]) -> Float[Tensor, "drop set rx point"]:
        """Echo of every point, over the noise: the sum of `by_ap`."""
        return self.scale * at_rows(legs.mT, self.sets) * (self.weight @ legs.mT[:, None])

    def listening(
        self, gap: Float[Tensor, "drop point allap"], count: int, assign: Callable[[Tensor, int], Tensor]
    ) -> Float[Tensor, "drop set point rx"]:
        """1 where an AP of the set listens for a point, else 0. `gap`: m; `assign`: a rule of `tracking.association`."""
        table = at_rows(gap.mT, self.sets).mT
        chosen = assign(table.flatten(0, 1), min(count, self.sets.shape[2]))
        return torch.zeros_like(table).scatter(3, chosen.unflatten(0, table.shape[:2]), 1.0)


def share_passed(heard: Float[Tensor, "*lead ap"], antennas: int, samples: int) -> Float[Tensor, "*lead"]:
    """delta of eq. (121), by Newton's method from below; `heard`: clutter of each AP's antennas over the noise, linear."""
    passed = 1.0 / (1.0 + antennas * heard.sum(-1))
    for _ in range(_NEWTON_STEPS):
        left = 1.0 + samples * passed[..., None] * heard
        excess = passed * (1.0 + antennas * (heard / left).sum(-1)) - 1.0
        passed = passed - excess / (1.0 + antennas * (heard / left**2).sum(-1))
    return passed


def cell_features(held: Held, radar: Listeners) -> Float[Tensor, "drop set cell 4"]:
    """The scan cells from the weakest echo to the strongest, nepers.

    Entries: 0 echo (122) over what the k-th weakest cell has to keep; 1 the same where it is missing, else 0; 2 what it has to
    keep over what is enough, eq. (73); 3 entry 0 over that with the default roles.
    """
    scenario, standard = held.scenario, _standard(held)
    grid = scan_grid(scenario, radar.aps.position)
    gap = distance(grid.expand(len(radar.sets), -1, -1), radar.aps.position)
    listening = radar.listening(gap, scenario.listening_aps, closest)
    echo = (radar.of_points(echo_leg(gap, scenario)).mT * listening).sum(-1)
    wanted = (scenario.requirement.scan * standard.scan).sort(-1).values.clamp_min(LEAST).log()[:, None]
    margin = echo.clamp_min(LEAST).log().sort(-1).values - wanted
    enough_db = scenario.requirement.enough_db
    directions = radar.active * min(scenario.listening_aps, radar.sets.shape[2])
    enough = directions * db_to_linear(_ALWAYS_DB if enough_db is None else enough_db)
    level = (wanted - torch.tensor(enough, dtype=wanted.dtype).log()).expand_as(margin)
    return torch.stack([margin, margin.clamp_max(0.0), level, margin - margin[:, :1]], -1)


def target_features(held: Held, radar: Listeners) -> Float[Tensor, "drop set target 9"]:
    """Of every target what it keeps of its requirement, nepers.

    Entries: 0 echo (122) over the noise, over the SICNR that it has to keep; 1 the same with the other targets' echoes from the
    same direction beside the noise, eq. (123); 2 position information (124) over what it has to keep; 3-5 these over those with
    the default roles; 6 and 7 what it has to keep, SICNR and 1/m2; 8 targets that its receive APs listen for, not a logarithm.
    """
    scenario, standard, place, aps = held.scenario, _standard(held), held.drop.target_position, radar.aps
    gap = distance(place, aps.position)
    by_ap = radar.by_ap(echo_leg(gap, scenario))
    listening = radar.listening(gap, scenario.listening_aps, balanced if scenario.assignment == "balanced" else closest)
    echo = by_ap.sum(-1)
    crossed = (at_rows(_alike(held, aps), radar.sets) @ echo[..., None])[..., 0]
    crossed = crossed * min(1.0, radar.active / scenario.sensing.samples(scenario))
    own, other = ((x.mT * listening).sum(-1) for x in (echo, crossed))
    information = _information(scenario, radar, place, by_ap, listening)
    asked = scenario.requirement
    wanted = torch.stack([asked.sicnr * standard.sicnr, asked.position * standard.information], -1).clamp_min(LEAST).log()
    noise = radar.active * listening.sum(-1)
    kept = torch.stack([own / noise, own / (noise + other), information], -1).clamp_min(LEAST).log()
    kept = kept - wanted[:, None][..., [0, 0, 1]]
    shared = (listening * listening.sum(2, keepdim=True)).sum(-1, keepdim=True)
    return torch.cat([kept, kept - kept[:, :1], wanted[:, None].expand(-1, len(kept[0]), -1, -1), shared], -1)


def _standard(held: Held) -> Standard:
    if held.standard is None:
        raise ScenarioError(f"requirement.kind={held.scenario.requirement.kind!r} compares with no powers; take 'dominate'")
    return held.standard


def _alike(held: Held, aps: AllAps) -> Float[Tensor, "drop allap target target"]:
    """Squared correlation of two targets' responses at every AP; 0 of a target with itself."""
    place, antennas = held.drop.target_position, held.scenario.num_antennas
    response = steering(*angles(aps.position, aps.orientation, place), antennas)
    alike = (response.conj() @ response.mT).abs() ** 2 / antennas**2
    return alike * all_but_own(alike.shape[-1], alike)


def _information(
    scenario: TrackingScenario,
    radar: Listeners,
    place: Float[Tensor, "drop target 3"],
    by_ap: Float[Tensor, "drop set rx target allap"],
    listening: Float[Tensor, "drop set target rx"],
) -> Float[Tensor, "drop set target"]:
    """h of every target for beams without direction, 1/m2, eq. (124)."""
    asked, samples = scenario.requirement, scenario.sensing.samples(scenario)
    slope = phase_slope(radar.aps.position, radar.aps.orientation, place) * ((scenario.num_antennas**2 - 1) / 12.0) ** 0.5
    square = (slope[..., :, None] * slope[..., None, :]).flatten(-2)  # drop target ap 9
    heard = 2.0 * asked.blocks * by_ap.transpose(2, 3) * listening[..., None]  # drop set target rx ap
    arrived = heard.sum(-1)[..., None] * at_rows(square.transpose(1, 2), radar.sets).transpose(2, 3)
    free = max(0.0, 1.0 - (radar.active - 1) / samples)
    both = arrived.sum(3) + free * (heard.sum(3)[..., None, :] @ square[:, None])[..., 0, :]
    known = [asked.prior_horizontal**-2, asked.prior_horizontal**-2, asked.prior_vertical**-2]
    j = both.unflatten(-1, (3, 3)) + torch.diag(both.new_tensor(known))
    return 1.0 / torch.linalg.inv(j).diagonal(0, -2, -1)[..., :2].sum(-1)
