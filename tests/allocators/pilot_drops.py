"""Small problems of the downlink-pilot system for the tests."""

import torch

from isac_torch.downlink_pilots.build import power_problem
from isac_torch.downlink_pilots.scenario import DownlinkPilotScenario


def drops(num_drops=3, seed=4, **parameters):
    scenario = DownlinkPilotScenario(**parameters)
    return power_problem(scenario.sample(num_drops, generator=torch.Generator().manual_seed(seed)), scenario)


def first(problem, index=0):
    return problem.select(torch.tensor([index]))


def random_power(problem, generator):
    share = torch.rand(problem.num_drops, problem.num_ues, problem.num_aps, generator=generator, dtype=torch.float64)
    return (share / share.sum(1, keepdim=True) * problem.budget.unsqueeze(1)).flatten(1)
