"""From a trained distributed policy to one file that runs without torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from isac_torch.deployment.local_policy import FILE, DeployedPolicy
from isac_torch.deployment.schema import EXAMPLE
from isac_torch.deployment.snapshot import Snapshot
from isac_torch.deployment.statistics import coefficients
from isac_torch.errors import CheckpointError
from isac_torch.files import writable_file
from isac_torch.nn.checkpoint import load_network
from isac_torch.nn.tracking.local_network import DistributedNetwork
from isac_torch.tensors import map_tensors

_CLOSE = 1e-6
"""Largest difference of a power from that of torch in double precision, relative to its AP's budget."""


def export_policy(checkpoint: Path, output: Path) -> float:
    """Write the weights stored at `checkpoint` as a policy, and the largest difference of its powers from those of torch.

    Args:
        checkpoint: weights of a distributed network.
        output: file to write, .npz.

    Returns:
        Largest difference over all rounds on an example, relative to the AP's budget.

    Raises:
        CheckpointError: the weights are missing, corrupt or of another kind, or the written file answers otherwise; the file
            is removed then.
    """
    network, training = load_network(checkpoint, DistributedNetwork)
    writable_file(output)
    facts = {"network": dict(network.shape), "training": json.loads(json.dumps(training))}
    FILE.write(output, {name: value.float().numpy() for name, value in network.state_dict().items()}, facts)
    numbers = coefficients([Snapshot.from_mapping(EXAMPLE)])
    problem: Any = map_tensors(numbers, torch.from_numpy)
    network = network.double()
    worst = 0.0
    for rounds in range(network.rounds + 1):
        with torch.no_grad():
            power = network.exits(problem, rounds)[-1].exp() * problem.link_budget
        found = torch.from_numpy(DeployedPolicy.load(output, rounds).powers(numbers))
        worst = max(worst, float(((found - power) / problem.link_budget).abs().max()))
    if not worst < _CLOSE:
        output.unlink()
        raise CheckpointError(f"{checkpoint}: the policy differs by {worst:.1e} from the weights; report it")
    return worst
