"""Loads of APs: counts against formulas, what stays finite and what grows."""

import pytest
import torch
from torch.testing import assert_close

from isac_torch.evaluation.studies.network_load import counted_load, expected_load, known_signals, network_scenario, slope
from isac_torch.evaluation.studies.network_units import counted_units, expected_units, shared_sides
from isac_torch.sensing.conditions import Nearby
from isac_torch.sensing.echoes import echo_scene
from isac_torch.sensing.glrt import Glrt
from isac_torch.sensing.nearby import known_clutter, known_columns
from isac_torch.tracking.drop import TrackingDrop
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
    # a target's receive AP may be shared, so that some have nothing to do; sets of transmit APs overlap
    for name in ("receive_operations", "receive_fronthaul"):
        assert bool(getattr(counted, name).mean() <= getattr(formula, name).mean() * (1.0 + 1e-12))


def test_a_receive_ap_needs_the_samples_of_its_clutter_and_columns() -> None:
    """The sets are those of the detector: eqs. (92) and (93)."""
    scenario = scenario_of(32)
    drop = scenario.sample(2, generator=torch.Generator().manual_seed(0))
    test, scene = Glrt(near=Nearby(5)), echo_scene(drop, scenario, scenario.sensing)
    columns = known_columns(scene, test, torch.arange(8).unsqueeze(1))
    needed = known_signals(drop, scenario, 5)
    for d in range(2):
        for r in range(8):
            mine = [(t, j) for t in range(8) for j in range(1) if int(drop.listening_ap[d, t, j]) == r]
            expected = known_clutter(scene, test)[d, r] & bool(mine)
            for t, j in mine:
                expected = expected | columns[d, t, j]
            assert torch.equal(needed[d, r], expected)


def brute_force_units(drop: TrackingDrop, scenario: TrackingScenario, per_side: int, near: int | None) -> list[float]:
    """Numbers between units of the first network, one by one."""
    width = scenario.side / per_side
    tx, rx = ([tuple((place[:2] / width).int().tolist()) for place in some[0]] for some in (drop.tx_position, drop.rx_position))
    sent: dict[tuple[int, ...], float] = {(a, b): 0.0 for a in range(per_side) for b in range(per_side)}
    data = scenario.block_length - scenario.pilot_symbols
    for k, serving in enumerate(drop.serving_ap[0].tolist()):
        home = tx[int(drop.ue_gain[0, k].argmax())]
        sent[home] += data * len({tx[m] for m in serving} - {home})
    for lit, heard in zip(drop.sensing_ap[0].tolist(), drop.listening_ap[0].tolist(), strict=True):
        sent[tx[lit[0]]] += 3 * len({tx[m] for m in lit} - {tx[lit[0]]})
        for r in heard:
            sent[rx[r]] += rx[r] != tx[lit[0]]
    needed = known_signals(drop, scenario, near)[0]
    for m, unit in enumerate(tx):
        there = {rx[r] for r in range(len(rx)) if needed[r, m]}
        sent[unit] += scenario.num_antennas * scenario.block_length * len(there - {unit})
    return [sent[a, b] for a in range(per_side) for b in range(per_side)]


@pytest.mark.parametrize("near", [4, None])
def test_numbers_between_units_match_the_loop(near: int | None) -> None:
    scenario = scenario_of(32)
    drop = scenario.sample(1, generator=torch.Generator().manual_seed(3))
    found = counted_units(drop, scenario, "utc", 2, near)
    assert found.to_units[0].tolist() == brute_force_units(drop, scenario, 2, near)
    whole = counted_load(drop, scenario, "utc", near)
    assert_close(found.to_aps.sum(), whole.transmit_fronthaul.sum() + whole.receive_fronthaul.sum())
    assert float(found.operations.sum()) == 8.0


@pytest.mark.parametrize("association", ["utc", "tc", "uc", "cf"])
def test_units_by_formula(association: str) -> None:
    scenario = network_scenario(scenario_of(64), association)
    drop = scenario.sample(2, generator=torch.Generator().manual_seed(0))
    counted, formula = (
        units(association)
        for units in (lambda name: counted_units(drop, scenario, name, 2, 6), lambda name: expected_units(scenario, name, 2, 6))
    )
    assert bool(counted.to_aps.mean() <= formula.to_aps.mean() * (1.0 + 1e-12))
    assert bool(counted.to_units.mean() <= formula.to_units.mean() * (1.0 + 1e-12))
    assert_close(counted.operations.mean(), formula.operations.mean())
    if association == "cf":
        assert_close(counted.to_units.mean(), formula.to_units.mean(), rtol=0.01, atol=0.0)
    alone = counted_units(drop, scenario, association, 1, 6)
    assert not bool(alone.to_units.any())
    assert (shared_sides(1), shared_sides(2)) == (0.0, 2.0)


def test_one_served_ue_and_one_target_by_hand() -> None:
    scenario = TrackingScenario(
        num_aps=2, num_ues=1, num_targets=1, num_antennas=2, serving_aps=1, sensing_aps=1, pilot_length=3, coherence_length=10
    )
    load = expected_load(scenario, "utc")
    assert float(load.transmit_operations) == (2 * 3 + 4) + 2 * 2 * 7 + 4
    assert float(load.transmit_fronthaul) == 7 + 3 + 2 * 10
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
