"""Snapshots and their coefficients: without torch, equal to the tensors' to 1e-9, derived where something is left out."""

import subprocess
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from isac_torch.deployment.completion import completed
from isac_torch.deployment.snapshot import Snapshot
from isac_torch.deployment.statistics import coefficients, size_class
from isac_torch.errors import DropError
from isac_torch.tensors import tensor_fields
from isac_torch.tracking.build import power_problem
from isac_torch.tracking.drop import TrackingDrop, build_drops
from isac_torch.tracking.scenario import TrackingScenario

SIZES: list[tuple[str, dict[str, Any]]] = [
    ("16x16x4", {}),
    ("16x16x4", {"pilot_length": 5, "pilot_assignment": "greedy"}),
    ("8x5x3", {"num_antennas": 1, "listening_aps": 2}),
    ("8x5x1", {"num_antennas": 2}),
    ("8x5x0", {"num_antennas": 4}),
    ("24x10x9", {"num_antennas": 16, "echo_gain": "product", "pilot_length": 4}),
    ("2x1x0", {"azimuth_spread_deg": 0.0}),
    ("12x6x2", {"num_antennas": 3, "receive_selection": "nearest_to_target", "angle_error": 0.0}),
]


def _drops(scenario: TrackingScenario, count: int = 3, seed: int = 900_100) -> TrackingDrop:
    generator = torch.Generator().manual_seed(seed)
    drop = scenario.sample(count, generator=generator)
    spread = torch.rand(drop.pilot_power.shape, generator=generator, dtype=torch.float64)
    return replace(drop, pilot_power=drop.pilot_power * 10 ** (2 * spread - 1))


def _snapshots(drop: TrackingDrop, scenario: TrackingScenario) -> list[Snapshot]:
    return [Snapshot.from_drop(drop, index, scenario) for index in range(drop.num_drops)]


@pytest.mark.parametrize(("size", "options"), SIZES)
def test_coefficients_are_those_of_the_tensors(size: str, options: dict[str, Any]) -> None:
    """The same functions in another library: elementary functions differ in the last digits, solves by their condition."""
    scenario = TrackingScenario.of_size(size, **options)
    drop = _drops(scenario)
    snapshots = _snapshots(drop, scenario)
    for snapshot in snapshots:
        snapshot.check()
    expected, found = power_problem(drop, scenario), coefficients(snapshots)
    assert tensor_fields(expected).keys() == tensor_fields(found).keys()
    for name, value in tensor_fields(expected).items():
        assert isinstance(getattr(found, name), np.ndarray)
        assert_close(torch.from_numpy(getattr(found, name)), value, rtol=1e-9, atol=0.0)
    power = torch.rand(expected.link_gain.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    power[:, ::3] = 0.0
    for metric in ("sinr", "sir", "ap_load", "objective"):
        judged = torch.from_numpy(getattr(found, metric)(power.numpy()))
        assert_close(judged, getattr(expected, metric)(power), rtol=1e-9, atol=0.0)
    both = expected.violations(power), found.violations(power.numpy())
    for kind in ("budget", "sensing", "negative", "worst"):
        assert_close(torch.from_numpy(getattr(both[1], kind)), getattr(both[0], kind), rtol=1e-9, atol=1e-12)


def test_a_batch_is_its_drops() -> None:
    """Parts of a batch are worked off one after the other, with budgets and SIR0 of each drop."""
    scenario = TrackingScenario(pilot_length=8)
    snapshots = _snapshots(_drops(scenario, 70), scenario)
    generator = np.random.default_rng(1)
    snapshots = [
        replace(s, ap_power=generator.uniform(0.5, 4.0, 12), sir_min_db=float(generator.uniform(-20, 0))) for s in snapshots
    ]
    batch = coefficients(snapshots)
    for index in (0, 15, 16, 69):
        alone = coefficients([snapshots[index]])
        for name, value in tensor_fields(alone).items():
            np.testing.assert_allclose(getattr(batch, name)[index], value[0], rtol=1e-10)
        np.testing.assert_array_equal(alone.budget[0], snapshots[index].ap_power)
        np.testing.assert_allclose(alone.sir_min[0], 10 ** (snapshots[index].sir_min_db / 10))


def test_what_is_left_out_follows_the_scenario() -> None:
    for size in ("8x5x3", "12x6x6"):
        scenario = TrackingScenario.of_size(size, shadowing_db=0.0, pilot_length=3)
        whole = _snapshots(scenario.sample(2, generator=torch.Generator().manual_seed(3)), scenario)
        derived = ("ue_gain", "pilot_power", "pilot", "serving_ap", "sensing_ap", "listening_ap", "ap_power")
        for snapshot in whole:
            bare = replace(snapshot, **dict.fromkeys(derived))
            bare.check()
            for name in derived:
                np.testing.assert_allclose(getattr(completed(bare), name), getattr(snapshot, name), rtol=1e-12)
            assert completed(snapshot) is snapshot
    assert completed(replace(bare, pilot_symbols=None)).pilot_symbols == 6


def test_angles_stand_in_for_positions() -> None:
    scenario = TrackingScenario.of_size("8x5x2")
    snapshot = _snapshots(_drops(scenario, 1), scenario)[0]
    vector = snapshot.ue_position[:, None] - snapshot.tx_position  # type: ignore[index]
    blind = replace(
        snapshot,
        ue_position=None,
        ue_azimuth=np.arctan2(vector[..., 1], vector[..., 0]) - snapshot.tx_orientation,
        ue_elevation=np.arctan2(vector[..., 2], np.hypot(vector[..., 0], vector[..., 1])),
    )
    blind.check()
    first, second = coefficients([snapshot]), coefficients([blind])
    for name, value in tensor_fields(first).items():
        np.testing.assert_allclose(getattr(second, name), value, rtol=1e-9)
    assert size_class(blind) != size_class(snapshot)


def test_drops_are_built_from_numpy_positions_as_from_tensors() -> None:
    generator = torch.Generator().manual_seed(4)
    for options in ({"num_targets": 3}, {"num_targets": 6, "receive_selection": "nearest_to_target"}):
        scenario = TrackingScenario(num_aps=9, num_ues=5, **options)

        def uniform(*shape: int) -> torch.Tensor:
            return torch.rand(2, *shape, generator=generator, dtype=torch.float64)

        layout = {
            "ap_position": 500 * uniform(9, 3),
            "ap_orientation": 6 * uniform(9),
            "ue_position": 500 * uniform(5, 3),
            "target_position": 500 * uniform(scenario.num_targets, 3),
            "shadowing_db": 4 * uniform(5, 9),
        }
        expected = build_drops(scenario, **layout)
        found: Any = build_drops(scenario, **{name: value.numpy() for name, value in layout.items()})
        for name, value in tensor_fields(expected).items():
            assert_close(torch.from_numpy(getattr(found, name)), value, rtol=1e-12, atol=0.0)


def test_batches_refuse_mixed_sizes() -> None:
    one, other = (TrackingScenario.of_size(size) for size in ("8x5x2", "8x6x2"))
    mixed = _snapshots(_drops(one, 1), one) + _snapshots(_drops(other, 1), other)
    with pytest.raises(DropError, match="same sizes"):
        coefficients(mixed)
    with pytest.raises(DropError, match="at least one"):
        coefficients([])


def test_statistics_need_no_torch() -> None:
    code = (
        "import sys\n"
        "class NoTorch:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] == 'torch': raise ImportError(name)\n"
        "sys.meta_path.insert(0, NoTorch())\n"
        "from isac_torch.deployment.snapshot import Snapshot\n"
        "from isac_torch.deployment.statistics import coefficients\n"
        "s = Snapshot(tx_position=[[0, 0, 10], [90, 0, 10]], tx_orientation=[0, 3], rx_position=[[50, 50, 10]],\n"
        "             target_position=[[20, 30, 50], [70, 10, 40]], ue_position=[[30, 20, 2], [60, 40, 2]])\n"
        "s.check(); p = coefficients([s])\n"
        "print(p.sinr(p.link_gain * 0 + 0.5).shape, p.violations(p.link_gain * 0 + 0.5).worst.shape)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["(1,", "2)", "(1,)"]
