"""A scenario small enough to try every set of receive APs, and its drops."""

import torch

from isac_torch.tracking.drop import TrackingDrop
from isac_torch.tracking.requirement import Requirement
from isac_torch.tracking.scenario import TrackingScenario

SMALL = TrackingScenario(
    num_aps=5,
    num_receive_aps=2,
    num_antennas=2,
    num_ues=4,
    num_targets=2,
    serving_aps=2,
    sensing_aps=2,
    requirement=Requirement("dominate", position=0.0),
)


def drawn(count: int, scenario: TrackingScenario = SMALL) -> TrackingDrop:
    return scenario.sample(count, generator=torch.Generator().manual_seed(3))
