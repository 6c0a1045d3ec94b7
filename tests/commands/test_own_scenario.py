"""A scenario from outside the package draws data sets and is judged, named by its class."""

import importlib
import json

import pytest
import torch

from isac_torch import cli
from isac_torch.allocation import allocate
from isac_torch.allocators.registry import TRACKING
from isac_torch.commands.own_scenario import with_scenario
from isac_torch.datasets.drops import DropDataset
from isac_torch.errors import ScenarioError
from isac_torch.systems import power_problem
from isac_torch.tracking.requirement import Requirement
from isac_torch.tracking.scenario import TrackingScenario
from tests.oracles import metrics, ragged
from tests.oracles.world import power_tables
from tests.paths import ROOT

OWN = ROOT / "examples" / "own"
SIZE = {"num_aps": 8, "num_ues": 6, "num_targets": 3, "num_receive_aps": 3, "listening_aps": 2, "pilot_length": 3}
COEFFICIENTS = ("signal", "leakage", "coherent", "echo", "cross_echo", "sir_min", "budget")


@pytest.fixture(autouse=True)
def scenarios(monkeypatch):
    monkeypatch.syspath_prepend(OWN)
    return importlib.import_module("scenarios")


def drawn(scenario, count=4, seed=1):
    return scenario.sample(count, generator=torch.Generator().manual_seed(seed))


def test_equal_arrays_give_the_package_s_problem(scenarios):
    alike = scenarios.MixedArrays(**SIZE, antennas=(4, 4), powers=(2.0,), ue_gain_db=(0.0,), rx_antennas=(3,))
    plain = TrackingScenario(**SIZE)
    drop = drawn(plain)
    torch.testing.assert_close(drawn(alike).ue_gain, drop.ue_gain)
    mine, theirs = power_problem(drop, alike), power_problem(drop, plain)
    for name in COEFFICIENTS:
        torch.testing.assert_close(getattr(mine, name), getattr(theirs, name), rtol=1e-9, atol=0.0)


def test_a_link_has_the_coefficients_of_aps_like_its_own(scenarios):
    mixed = scenarios.MixedArrays(**SIZE)
    drop = drawn(mixed)
    problem = power_problem(drop, mixed)
    alike = {count: power_problem(drop, TrackingScenario(**SIZE, num_antennas=count)) for count in mixed.antennas}
    for d, e in ((0, 0), (1, 7), (2, 20), (3, problem.num_links - 1)):
        of_ap = alike[mixed.antennas[int(problem.link_ap[d, e]) % 2]]
        torch.testing.assert_close(problem.leakage[d, :, e], of_ap.leakage[d, :, e])
        if e < problem.num_comm_links:
            torch.testing.assert_close(problem.signal[d].flatten()[e], of_ap.signal[d].flatten()[e])
    assert problem.budget[0].tolist() == [2.0, 0.5, 2.0, 0.5, 2.0]
    best, uniform = (allocate(problem, TRACKING.named(name)) for name in ("opc_batched", "upc"))
    assert bool((problem.ap_load(best.power) <= problem.budget * (1 + 1e-6)).all())
    assert bool((best.value[best.status == 0] >= uniform.value[best.status == 0] * (1 - 1e-3)).all())


def test_the_commands_take_it_by_its_class(tmp_path, capsys):
    drops = tmp_path / "drops"
    count = ["--num_drops=4", "--shard_size=2", "--workers=1", "--scenario.antennas=[4, 1]"]
    assert cli.main(["generate", "--config", str(OWN / "generate.yaml"), *count, f"--output={drops}"]) == 0
    recipe = json.loads((drops / "manifest.json").read_text())["recipe"]
    (stored,) = recipe["scenarios"]
    assert (stored["class_path"], stored["antennas"], stored["num_ues"]) == ("scenarios.MixedArrays", [4, 1], 6)
    problem, label = DropDataset(drops)[0]
    assert sorted(set(problem.budget.flatten().tolist())) == [0.5, 2.0]
    assert bool((problem.ap_load(label["power"]) <= problem.budget * (1 + 1e-6)).all())
    capsys.readouterr()
    assert cli.main(["dataset", "verify", str(drops)]) == 0
    assert cli.main(["dataset", "info", str(drops)]) == 0
    assert "8x6x2_tau6_sir-5" in capsys.readouterr().out
    other = ["--scenario.class_path=scenarios.MixedArrays", "--scenario.init_args.num_aps=8"]
    assert cli.main(["generate", *other, "--num_drops=4", f"--output={drops}"]) == 2  # another recipe
    assert "another recipe" in capsys.readouterr().err
    assert cli.main(["generate", *other, "--scenario.anntenas=[1]", "--num_drops=1", f"--output={tmp_path / 'b'}"]) == 2
    assert "anntenas" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("place", "word"),
    [("missing.Name", "PYTHONPATH"), ("scenarios.Name", "has no"), ("scenarios.in_turns", "extend"), ("x", "")],
)
def test_a_class_that_cannot_be_had_is_refused_in_one_line(place, word):
    with pytest.raises(ScenarioError) as caught:
        with_scenario([f"--scenario.class_path={place}"], TrackingScenario)
    assert word in str(caught.value)
    assert "\n" not in str(caught.value)


def test_nothing_changes_where_no_class_is_named(tmp_path):
    (tmp_path / "a.yaml").write_text("scenario: {num_aps: 8}\n")
    argv = [f"--config={tmp_path / 'a.yaml'}", "--scenario.num_ues", "3"]
    assert with_scenario(argv, TrackingScenario) == (argv, TrackingScenario)


def test_requirements_in_watts_need_the_package_s_channel_model(scenarios):
    with pytest.raises(ScenarioError, match="choose sir or none"):
        scenarios.MixedArrays(**SIZE, requirement=Requirement(kind="dominate"))
    with pytest.raises(ScenarioError, match="model that is not here"):
        TrackingScenario.from_mapping({"class_path": "scenarios.MixedArrays", "num_aps": 8})


def test_mixed_arrays_are_those_of_loops(scenarios):
    small = {**SIZE, "num_aps": 5, "num_ues": 3, "num_receive_aps": 2, "pilot_length": 3}
    mixed = scenarios.MixedArrays(**small, antennas=(3, 2), circles=(True, False), rx_antennas=(4, 1), ue_gain_db=(0.0, 6.0))
    drop = drawn(mixed, count=1)
    problem = power_problem(drop, mixed)
    power = allocate(problem, TRACKING.named("upc")).power
    world = ragged.world(drop, mixed, 0, [(3, True), (2, False)], (4, 1))
    data = power_tables(power, drop)
    for mine, loop in ((problem.sinr, metrics.sinr), (problem.sir, metrics.sir)):
        assert mine(power)[0].tolist() == pytest.approx([loop(i, world, *data) for i in range(3)], rel=1e-8)
    plain = drawn(TrackingScenario(**small), count=1)
    torch.testing.assert_close(drop.ue_gain[:, 1], 10.0**0.6 * plain.ue_gain[:, 1])


@pytest.mark.slow  # training and figures: ten seconds
def test_a_network_is_trained_and_judged_on_it(tmp_path):
    drops, run, table = tmp_path / "drops", tmp_path / "run", tmp_path / "table"
    config = ["--config", str(OWN / "generate.yaml")]
    assert cli.main(["generate", *config, "--num_drops=6", "--shard_size=3", "--workers=1", f"--output={drops}"]) == 0
    quick = ["--trainer.max_steps=2", "--trainer.val_check_interval=1", f"--trainer.logger.init_args.save_dir={run}"]
    data = [f"--data.init_args.path={drops}", "--data.init_args.batch_size=3"]
    assert cli.main(["train", "--config", str(OWN / "train.yaml"), *data, *quick, f"--output={run}"]) == 0
    assert "val" in next(run.glob("csv/version_0/metrics.csv")).read_text().splitlines()[0]
    names = "[upc, 'networks:ApNetwork', opc_batched]"
    count = [
        "--num_drops=2",
        "--seed=1",
        "--sensed_drops=0",
        "--tensorboard=false",
        f"--allocators={names}",
        f"--checkpoint={run / 'model.pt'}",
    ]
    assert cli.main(["evaluate", *config, *count, f"--output={table}"]) == 0
    rows = json.loads((table / "summary.json").read_text())["allocators"]
    ratios = [rows[name]["min_rate_ratio_mean"] for name in ("upc", "networks:ApNetwork", "opc_batched")]
    assert ratios[0] < ratios[1] <= ratios[2]
