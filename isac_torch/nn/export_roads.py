"""From a trained network of the downlink-pilot system to one file that runs without torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from isac_torch.deployment.downlink_pilots.allocator import FILE, RoadAllocator
from isac_torch.deployment.downlink_pilots.ranges import UNITS, quantities
from isac_torch.deployment.downlink_pilots.snapshot import RoadSnapshot
from isac_torch.deployment.downlink_pilots.statistics import coefficients
from isac_torch.downlink_pilots.build import power_problem
from isac_torch.downlink_pilots.graph import link_graph
from isac_torch.downlink_pilots.scenario import DownlinkPilotScenario
from isac_torch.errors import CheckpointError, IsacError
from isac_torch.files import writable_file
from isac_torch.nn.checkpoint import load_network
from isac_torch.nn.downlink_pilots.network import DownlinkPilotNetwork

_CLOSE = 1e-6
"""Largest difference of a logit from that of torch in double precision."""
_SEED = 71_000_000
_DROPS = 100
"""Roads of each scenario from which the ranges are read."""


def export_roads(checkpoint: Path, output: Path) -> float:
    """Write the weights stored at `checkpoint` as a file of `RoadAllocator`; the largest difference of its logits from torch's.

    Args:
        checkpoint: weights of a `DownlinkPilotNetwork`.
        output: file to write, .npz.

    Raises:
        CheckpointError: the weights are missing, corrupt or of another kind, do not say what they were trained on, or the
            written file answers otherwise; the file is removed then.
    """
    network, training = load_network(checkpoint, DownlinkPilotNetwork)
    scenarios, slack = _trained_on(checkpoint, training)
    writable_file(output)
    facts = {
        "network": {"feature_version": network.FEATURE_VERSION, **network.shape},
        "ranges": _ranges(scenarios, slack),
        "training": json.loads(json.dumps(training)),
    }
    FILE.write(output, {name: value.float().numpy() for name, value in network.state_dict().items()}, facts)
    worst = max(_difference(network, RoadAllocator.load(output), scenario) for scenario in scenarios)
    if not worst < _CLOSE:
        output.unlink()
        raise CheckpointError(f"{checkpoint}: the file's logits differ by {worst:.1e} from those of the weights; report it")
    return worst


def _difference(network: DownlinkPilotNetwork, allocator: RoadAllocator, scenario: DownlinkPilotScenario) -> float:
    drop = scenario.sample(1, generator=torch.Generator().manual_seed(_SEED))
    problem = power_problem(drop, scenario)
    with torch.no_grad():
        wanted = network.double().eval()(problem, link_graph(problem)).numpy()
    found = allocator.network.logits(coefficients(RoadSnapshot.from_drop(drop, 0, scenario)))
    return float(np.abs(found.ravel() - wanted[0]).max())


def _trained_on(path: Path, training: dict[str, Any]) -> tuple[list[DownlinkPilotScenario], tuple[float, float]]:
    """Scenarios of the fresh drops, and the least and largest factor of Gamma."""
    try:
        data = training["hyperparameters"]["data"]
        scenarios = [DownlinkPilotScenario(**item) for item in data["scenarios"]]
        drawn = data["requirements"]
        factors = (float(drawn["low"]), float(drawn["high"])) if drawn else (1.0, 1.0)
        if not scenarios:
            raise ValueError
    except (KeyError, TypeError, ValueError, AttributeError, IsacError):
        raise CheckpointError(
            f"{path}: does not say what the network was trained on, so that its card could not either; "
            "train it again with `isac-torch downlink-pilots train`"
        ) from None
    return scenarios, factors


def _ranges(scenarios: list[DownlinkPilotScenario], factors: tuple[float, float]) -> dict[str, dict[str, Any]]:
    """Least and most of every quantity over `_DROPS` roads of each scenario, Gamma as trained."""
    found: dict[str, list[float]] = {name: [] for name in UNITS}
    for index, scenario in enumerate(scenarios):
        drop = scenario.sample(_DROPS, generator=torch.Generator().manual_seed(_SEED + 1 + index))
        for road in range(_DROPS):
            for name, value in quantities(coefficients(RoadSnapshot.from_drop(drop, road, scenario))).items():
                found[name].append(value)
    low, high = (float(10.0 * np.log10(factor)) for factor in factors)
    limits = {name: [min(values), max(values)] for name, values in found.items()}
    for name in ("least_accuracy", "most_accuracy"):
        limits[name] = [limits[name][0] + min(low, 0.0), limits[name][1] + max(high, 0.0)]
    return {name: {"least": least, "most": most, "unit": UNITS[name]} for name, (least, most) in limits.items()}
