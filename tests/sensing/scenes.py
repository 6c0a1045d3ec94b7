"""Scenes with echoes, clutter and noise of like strength, for the tests of the likelihood ratio tests."""

from dataclasses import replace

import torch
from torch import Tensor

from isac_torch.sensing.clutter import Clutter
from isac_torch.sensing.conditions import Nearby
from isac_torch.sensing.echoes import EchoScene, echo_scene
from isac_torch.sensing.glrt import (
    Glrt,
)
from isac_torch.tracking.scenario import TrackingScenario
from isac_torch.tracking.setup import SensingSetup

SMALL = TrackingScenario(num_aps=7, num_receive_aps=2, num_ues=3, num_targets=3, serving_aps=2, sensing_aps=2, num_antennas=3)
SETUP = SensingSetup(clutter_factor=1.0)
TESTS = [Glrt(form, known) for form in ("single", "paper", "joint") for known in (True, False)]
NEAR = [
    Glrt("single", near=Nearby(aps=2)),
    Glrt("single", False, near=Nearby(aps=3)),
    Glrt("paper", near=Nearby(aps=3)),
    Glrt("joint", near=Nearby(aps=2)),
    Glrt("joint", near=Nearby(targets=1)),
    Glrt("joint", near=Nearby(aps=3, targets=0)),
    Glrt("joint", False, near=Nearby(aps=3, targets=1)),
]
"""Tests that know of near APs and targets only; of 5 transmit APs and 2 other targets."""
SAMPLES = 8


def label(test: Glrt) -> str:
    near = "".join(f"-{value}{name}" for value, name in ((test.near.aps, "aps"), (test.near.targets, "targets")) if value)
    return f"{test.form}-{'clutter' if test.clutter_statistics else 'noise'}{near}"


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.complex128)


def covariance(*shape: int, size: int, seed: int) -> Tensor:
    factor = normal(*shape, size, size, seed=seed)
    return factor @ factor.mH / size


def make_scene(
    colour: bool = False, listeners: int = 1, seed: int = 0, echo: float = 1.0, drops: int = 2, targets: int = 3
) -> EchoScene:
    """Geometry of random drops; strengths are set so that echoes, clutter and noise all matter."""
    scenario = replace(SMALL, listening_aps=listeners, num_targets=targets)
    scene = echo_scene(scenario.sample(drops, generator=torch.Generator().manual_seed(seed)), scenario, SETUP)
    power = scene.clutter.power / scene.clutter.power.mean()
    scale = echo * scene.scale / scene.scale.square().mean((2, 3), keepdim=True).sqrt()
    root = receive = None
    if colour:
        root = normal(2, 2, 5, 3, 3, seed=seed + 1) / 3**0.5
        receive = covariance(2, 2, size=3, seed=seed + 2)
    return replace(scene, scale=scale, clutter=Clutter(power, root, receive))


def make_pair(echo: float, listeners: int = 1) -> EchoScene:
    """Two targets in one drop: enough for statistics over many blocks."""
    return make_scene(listeners=listeners, echo=echo, drops=1, targets=2)


def make_sent(num_blocks: int = 2, seed: int = 3, samples: int = SAMPLES, drops: int = 2) -> Tensor:
    return normal(drops, num_blocks, 5, samples, 3, seed=seed)
