"""Loads of APs: counts against formulas, what stays finite and what grows."""

import pytest
import torch
from torch.testing import assert_close

from isac_torch.evaluation.studies.network_load import counted_load, expected_load, network_scenario, slope
from isac_torch.tracking.scenario import TrackingScenario

SIZES = [256, 1024, 4096]


def scenario_of(size: int) -> TrackingScenario:
    return TrackingScenario(num_aps=size, num_ues=size, num_targets=size // 4, pilot_length=16, coherence_length=50)


@pytest.mark.parametrize("association", ["utc", "tc", "uc", "cf"])
def test_counts_agree_with_the_formula_in_the_mean(association: str) -> None:
    scenario = network_scenario(scenario_of(32), association)
    drop = scenario.sample(3, generator=torch.Generator().manual_seed(0))
    counted = counted_load(drop, scenario, association, 12)
    formula = expected_load(scenario, association, 12)
    for name in ("transmit_operations", "transmit_fronthaul"):
        assert_close(getattr(counted, name).mean(), getattr(formula, name).mean())
    # a target's receive AP may be shared, so that some have nothing to do
    assert bool(counted.receive_operations.mean() <= formula.receive_operations.mean() * (1.0 + 1e-12))


def test_one_served_ue_and_one_target_by_hand() -> None:
    scenario = TrackingScenario(
        num_aps=2, num_ues=1, num_targets=1, num_antennas=2, serving_aps=1, sensing_aps=1, pilot_length=3, coherence_length=10
    )
    load = expected_load(scenario, "utc")
    assert float(load.transmit_operations) == (2 * 3 + 4) + 2 * 2 * 7 + 4
    assert float(load.transmit_fronthaul) == 7 + 3
    assert float(load.receive_operations) == pytest.approx(2 * 100 + 1000 / 6 + 50 + 10 + 1 + 200)
    assert float(load.receive_fronthaul) == 2 * 10 + 1


def test_only_user_and_target_centric_sets_keep_every_cost_finite() -> None:
    growth = {}
    for association in ("utc", "tc", "uc", "cf"):
        loads = [expected_load(scenario_of(size), association, 12) for size in SIZES]
        growth[association] = {
            name: slope(SIZES, [float(getattr(load, name)) for load in loads])
            for name in ("transmit_operations", "transmit_fronthaul", "receive_operations", "receive_fronthaul")
        }
    assert all(abs(value) < 1e-9 for value in growth["utc"].values())
    assert growth["tc"]["transmit_operations"] > 0.9
    assert growth["uc"]["receive_operations"] > 0.8
    assert min(growth["cf"]["transmit_operations"], growth["cf"]["receive_operations"]) > 0.8


def test_the_exponent_of_a_power_law() -> None:
    assert slope([1, 2, 4], [3.0, 12.0, 48.0]) == pytest.approx(2.0)
    assert slope([1, 2, 4], [5.0, 5.0, 5.0]) == 0.0
