"""The tracking loop: worlds of their own, files that resume, standard errors by hand, the example."""

import json
import runpy
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import torch
from torch.testing import assert_close

from isac_torch.allocators.registry import named_allocator
from isac_torch.errors import ScenarioError
from isac_torch.evaluation.studies import tracking_loop, tracking_run
from isac_torch.evaluation.studies.tracking_design import design
from isac_torch.evaluation.studies.tracking_loop import _beams, follow
from isac_torch.evaluation.studies.tracking_report import CONTENDERS, summarise, world_row
from isac_torch.evaluation.studies.tracking_run import _read, run_worlds
from isac_torch.evaluation.studies.worlds import Contender, Loop, make_world
from isac_torch.roles.search import Search
from isac_torch.sensing.tracks import Tracker, TrackRules
from isac_torch.tracking.requirement import Requirement
from isac_torch.tracking.scenario import TrackingScenario
from tests.paths import ROOT

SMALL = TrackingScenario(
    num_aps=6, num_antennas=2, num_ues=2, num_targets=2, num_receive_aps=2, serving_aps=2, sensing_aps=2, area_m2=4e4
)
QUICK = Loop(num_worlds=2, num_steps=2, num_blocks=2, late=0, rules=TrackRules(cell=70.0))


def test_bad_loops_are_refused() -> None:
    for bad in ({"num_worlds": 0}, {"late": -1}, {"search_beams": -1}, {"step": 0.0}):
        with pytest.raises(ScenarioError, match=next(iter(bad))):
            Loop(**bad)
    with pytest.raises(ScenarioError, match="num_targets=0"):
        follow(replace(SMALL, num_targets=0), QUICK, Contender("upc"), make_world(SMALL, QUICK, 0))


def test_a_world_depends_on_its_number_only() -> None:
    one, many = make_world(SMALL, QUICK, 1), make_world(SMALL, replace(QUICK, num_worlds=9), 1)
    assert_close(one.path, many.path, rtol=0, atol=0)
    assert_close(one.network.ue_gain, many.network.ue_gain, rtol=0, atol=0)
    assert not torch.equal(one.path, make_world(SMALL, QUICK, 0).path)


def test_targets_stay_inside_and_arrive_in_turn() -> None:
    loop = replace(QUICK, num_steps=30, step=2.0, speed=40.0, late=3)
    scenario = replace(SMALL, num_targets=3)
    world = make_world(scenario, loop, 0)
    place = world.path[..., :3]
    assert float(place[..., :2].min()) >= 0.0
    assert float(place[..., :2].max()) <= scenario.side
    assert float(place[..., 2].min()) >= scenario.target_height_min
    assert world.present.sum(0).tolist() == [30, 27, 24]


def test_search_beams_come_beside_one_for_each_target() -> None:
    heights = SMALL.target_height_min, SMALL.target_height_max
    tracker = Tracker(QUICK.motion, SMALL.side, heights, QUICK.rules)
    few, _ = _beams(tracker, SMALL, QUICK, 0)
    more, _ = _beams(tracker, SMALL, replace(QUICK, search_beams=3), 0)
    assert len(few) == 2
    assert len(more) == 5
    assert len({tuple(place) for place in more.tolist()}) > 3  # they look at different cells
    made = design(make_world(SMALL, QUICK, 0).network, more, SMALL, Contender("upc"), named_allocator("upc"))
    assert made.problem.num_targets == 5
    assert made.drop.sensing_ap.shape == (1, 5, 2)
    assert made.power.shape == (1, made.problem.num_links)


BEAMS = torch.tensor([[50.0, 60.0, 40.0], [150.0, 120.0, 50.0]], dtype=torch.float64)


def test_other_roles_are_held_to_uniform_power_with_the_scenarios() -> None:
    """No answer is worse than with the scenario's roles, and roles that are kept give the same answer."""
    asked = Requirement("dominate", scan=0.0, position=0.0, sicnr=0.5)
    scenario = replace(SMALL, num_aps=8)
    search = Search(looked=4, solved=2, rounds=0, finalists=1)
    contender, kept = Contender("opc_dominate", (asked,), search), []
    allocator = named_allocator("opc_dominate")
    for index in range(2):
        network = make_world(scenario, QUICK, index).network
        made = design(network, BEAMS, scenario, contender, allocator)
        default = design(network, BEAMS, scenario, replace(contender, roles=None), allocator)
        assert_close(made.problem.sir_min, default.problem.sir_min)  # that of uniform power with the scenario's roles
        assert float(made.problem.violations(made.power).worst) <= 1e-6
        assert float(made.problem.objective(made.power)) >= 0.999 * float(default.problem.objective(default.power))
        kept.append(torch.equal(made.drop.rx_position, network.rx_position))
        again = design(network, BEAMS, scenario, contender, allocator, made.receive)
        assert torch.equal(again.drop.rx_position, made.drop.rx_position)
        assert_close(again.power, made.power)
    assert not all(kept)


def test_the_first_requirement_that_can_be_met_is_taken() -> None:
    asked = Requirement("dominate", scan=0.0, position=0.0)
    network, allocator = make_world(SMALL, QUICK, 0).network, named_allocator("opc_dominate")
    ladder = tuple(replace(asked, sicnr=factor) for factor in (50.0, 1.0, 0.5))
    made = design(network, BEAMS, SMALL, Contender("opc_dominate", ladder), allocator)
    alone = design(network, BEAMS, SMALL, Contender("opc_dominate", ladder[1:2]), allocator)
    assert_close(made.power, alone.power)
    last = design(network, BEAMS, SMALL, Contender("opc_dominate", ladder[:1]), allocator)
    assert float(last.problem.violations(last.power).worst) > 1e-3


@pytest.mark.parametrize("roles", [None, Search(looked=4, solved=2, rounds=0, finalists=1)])
def test_uniform_power_that_is_mixed_in_keeps_the_requirement(roles: Search | None) -> None:
    network, allocator = make_world(SMALL, QUICK, 0).network, named_allocator("opc_dominate")
    contender = Contender("opc_dominate", (Requirement("dominate", scan=0.5),), roles, uniform=0.25)
    mixed = design(network, BEAMS, SMALL, contender, allocator)
    reference = mixed.problem.reference
    assert reference is not None
    assert bool((mixed.power >= 0.25 * reference * (1 - 1e-9)).all())
    assert float(mixed.problem.violations(mixed.power).worst) <= 1e-6
    with pytest.raises(ScenarioError, match="uniform="):
        Contender("opc_dominate", uniform=1.5)


def test_another_decides_until_all_targets_are_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    quick = Search(looked=2, solved=1, rounds=0, finalists=1)
    asked = (Requirement("dominate", scan=0.0, position=0.0),)
    then = Contender("opc_dominate", asked, quick, searching=Contender("upc"))
    scenario, loop = replace(SMALL, num_targets=1, area_m2=1e4), replace(QUICK, num_steps=5, role_steps=20)
    with pytest.raises(ScenarioError, match="searching"):
        replace(then, searching=then)
    asks = Mock(side_effect=design)
    monkeypatch.setattr(tracking_loop, "design", asks)
    found = follow(scenario, loop, then, make_world(scenario, loop, 1))
    complete = [False, *(len(places) == 1 for places in found.estimates[:-1])]
    assert set(complete) == {False, True}
    assert [call.args[3] is then for call in asks.call_args_list] == complete
    assert [call.args[4].name == "opc_dominate" for call in asks.call_args_list] == complete
    searches = [call.args[5] is None for call in asks.call_args_list]
    assert searches == [not (now and before) for now, before in zip(complete, [False, *complete], strict=False)]


def test_runs_resume_and_do_not_depend_on_how_many_worlds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    contenders = {"upc": Contender("upc")}
    first = run_worlds(SMALL, replace(QUICK, num_worlds=1), contenders, tmp_path)
    assert len(list(tmp_path.glob("*.json"))) == 1
    one = Mock(side_effect=tracking_run._one)
    monkeypatch.setattr(tracking_run, "_one", one)
    both = run_worlds(SMALL, QUICK, contenders, tmp_path)
    assert [call.args[3] for call in one.call_args_list] == [1]
    assert both["upc"][0] == first["upc"][0]
    alone = follow(SMALL, QUICK, contenders["upc"], make_world(SMALL, QUICK, 1))
    assert both["upc"][1].gospa == alone.gospa
    damaged = next(tmp_path.glob("*.json"))
    damaged.write_text(damaged.read_text()[:50])
    assert _read(damaged) is None


def test_means_and_standard_errors_by_hand() -> None:
    rows = [
        {"gospa": 10.0, "squared_error": 50.0, "matched": 2.0, "missed": 1.0, "false": 0.0, "lost_tracks": 0.0,
         "min_rate_mbps": 4.0, "power": 20.0, "consistency": 1.0},
        {"gospa": 20.0, "squared_error": 0.0, "matched": 2.0, "missed": 1.0, "false": 0.0, "lost_tracks": 0.0,
         "min_rate_mbps": 2.0, "power": 20.0, "consistency": 3.0},
    ]  # fmt: skip
    other = [{**rows[0], "gospa": 12.0, "min_rate_mbps": 2.0}, {**rows[1], "gospa": 18.0, "min_rate_mbps": 1.0}]
    found = summarise(rows, other)
    assert found["num_worlds"] == 2
    assert found["gospa"] == 15.0
    assert found["gospa_se"] == pytest.approx(5.0)
    assert found["rms_error"] == pytest.approx((50 / 4) ** 0.5)
    assert found["rms_error_se"] == pytest.approx(0.5 * 5.0)  # without one world each: 0 and 5
    assert found["gospa_minus_upc"] == 0.0
    assert found["gospa_minus_upc_se"] == pytest.approx(2.0)
    assert found["rate_over_upc"] == 2.0
    assert found["rate_over_upc_se"] == pytest.approx(0.0)
    alone = summarise(rows[:1])
    assert alone["gospa_se"] is None
    assert "rate_over_upc" not in alone


def test_the_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    example = ROOT / "examples" / "tracking_loop.py"
    options = ["--output", str(tmp_path), "--allocators", "upc", "--num_worlds", "1", "--num_steps", "2"]
    monkeypatch.setattr("sys.argv", [str(example), *options])
    runpy.run_path(str(example), run_name="__main__")
    assert (tmp_path / "tracking.png").read_bytes().startswith(b"\x89PNG")
    assert len((tmp_path / "tracking.csv").read_text(encoding="utf-8").splitlines()) == 1 + 2
    summary = json.loads((tmp_path / "tracking.json").read_text(encoding="utf-8"))
    assert set(summary) == {"upc"}
    assert summary["upc"]["gospa_minus_upc"] == 0.0


@pytest.mark.slow
def test_the_loop_finds_and_follows() -> None:
    loop = replace(QUICK, num_steps=4)
    scenario = replace(SMALL, listening_aps=2)
    found = {
        name: [follow(scenario, loop, CONTENDERS.get(name, Contender(name)), make_world(scenario, loop, i)) for i in range(2)]
        for name in ("upc", "opc_batched")
    }
    rows: dict[str, Any] = {name: summarise([world_row(loop, one) for one in worlds]) for name, worlds in found.items()}
    assert rows["opc_batched"]["min_rate_mbps"] > rows["upc"]["min_rate_mbps"]
    assert rows["upc"]["missed"] < 2.0
