"""Small problems and policies at the APs for the tests."""

import torch

from isac_torch import TrackingScenario, power_problem
from isac_torch.nn.tracking.local_network import DistributedNetwork
from isac_torch.nn.tracking.unfolded import UnfoldedPrices
from isac_torch.tracking.requirement import Requirement

SICNR = Requirement("dominate", scan=0.0, position=0.0, sicnr=0.9)


def problem_of(size="8x6x2", drops=3, **options):
    scenario = TrackingScenario.of_size(size, **options)
    return power_problem(scenario.sample(drops, generator=torch.Generator().manual_seed(7)), scenario)


def learned(seed=3):
    """A network whose every weight matters: at the start the last layers are zero."""
    torch.manual_seed(seed)
    network = DistributedNetwork(hidden=8, rounds=3, floats=2, prices=1, layers=1)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return network.double().eval()


POLICIES = {"learned": learned, "unfolded": lambda: UnfoldedPrices(3).double()}
