"""Small networks and drawn blocks of them."""

import torch
from torch import Tensor

from isac_torch.sensing.signals import Blocks, draw_blocks
from isac_torch.tracking.channel import channel_statistics
from isac_torch.tracking.drop import TrackingDrop
from isac_torch.tracking.scenario import TrackingScenario
from isac_torch.tracking.setup import SensingSetup

SMALL = TrackingScenario(num_aps=7, num_receive_aps=2, num_ues=4, num_targets=3, serving_aps=2, sensing_aps=2)
SETUP = SensingSetup(sensing_samples=20)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def make_drop(scenario: TrackingScenario = SMALL, num_drops: int = 2, seed: int = 0) -> TrackingDrop:
    return scenario.sample(num_drops, generator=seeded(seed))


def random_power(drop: TrackingDrop, seed: int = 1) -> Tensor:
    links = drop.serving_ap[0].numel() + drop.sensing_ap[0].numel()
    return torch.rand(drop.num_drops, links, generator=seeded(seed), dtype=torch.float64)


def make_blocks(drop: TrackingDrop, scenario: TrackingScenario, count: int, samples: int = 20, seed: int = 2) -> Blocks:
    return draw_blocks(drop, channel_statistics(drop, scenario), scenario, count, samples, seeded(seed))
