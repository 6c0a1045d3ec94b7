"""Allocators of users, named package.module:Name."""

import sys
from types import ModuleType

import pytest
import torch

import isac_torch as it
from isac_torch.allocation import equal_split
from isac_torch.errors import AllocationError
from isac_torch.systems import TRACKING


class Equal:
    name, gap = "equal", 0.0

    def propose(self, problem):
        return it.Proposal(equal_split(problem))


class Scaled(Equal):
    def __init__(self, factor):
        self.factor = factor


@pytest.fixture
def module(monkeypatch):
    made = ModuleType("mine")
    vars(made).update(Equal=Equal, Scaled=Scaled, equal=equal_split, made=Equal(), number=3)
    monkeypatch.setitem(sys.modules, "mine", made)


@pytest.mark.parametrize("name", ["Equal", "equal", "made"])
@pytest.mark.parametrize("system", ["tracking", "downlink_pilots"])
def test_a_class_a_function_and_an_object_are_allocators(module, name, system):
    scenario = it.TrackingScenario.of_size("6x4x2") if system == "tracking" else it.DownlinkPilotScenario()
    problem = it.power_problem(scenario.sample(3, generator=torch.Generator().manual_seed(1)), scenario)
    allocator = it.named_allocator(f"mine:{name}", system=system)
    assert isinstance(allocator, it.Allocator)
    torch.testing.assert_close(it.allocate(problem, allocator).power, equal_split(problem))


@pytest.mark.parametrize(
    ("place", "says"),
    [
        ("mine:Absent", "write package.module:Name"),
        ("mine:Scaled", "give every argument of the class a default"),
        ("mine:number", "no function of a problem"),
        ("no_such_package.x:Name", "PYTHONPATH"),
        (":Name", "PYTHONPATH"),
    ],
)
def test_what_is_no_allocator_is_refused_in_one_line(module, place, says):
    with pytest.raises(AllocationError, match=says) as caught:
        TRACKING.allocators.named(place)
    assert "\n" not in str(caught.value)
