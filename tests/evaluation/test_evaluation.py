"""The benchmark end to end on small networks: files, figures, event files, clean re-runs and refusals."""

import csv
import json

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from isac_torch.allocation import Proposal, Status, allocate
from isac_torch.allocators.registry import named_allocator
from isac_torch.allocators.tracking.heuristics import Fractional
from isac_torch.cli import main
from isac_torch.errors import IsacError
from isac_torch.evaluation.benchmark import Case
from isac_torch.evaluation.measure import run_benchmark
from isac_torch.evaluation.optimum import checksum, stored_allocate
from isac_torch.evaluation.run import evaluate
from isac_torch.evaluation.settings import Setting
from isac_torch.evaluation.suite import MAX_SEED
from isac_torch.evaluation.tracking.view import VIEW, fresh_problem, sir_ceiling
from isac_torch.tracking.scenario import TrackingScenario
from tests.evaluation.unrendered import unrendered
from tests.paths import ROOT

KEYS = [
    "num_drops", "min_rate_ratio_mean", "min_rate_ratio_p5", "min_rate_ratio_worst", "min_rate_ratio_max",
    "min_rate_ratio_valid_mean", "valid_drop_share", "min_rate_mbps_mean", "mean_rate_mbps", "sir_violation_rate",
    "budget_violation_max", "ms_per_drop", "ratio_to_bound_mean", "rate_vs_fpc_0_1", "best_effort_sir_mean",
    "sicnr_db_median", "sicnr_db_p10", "miss_probability", "mutual_information_mbps", "position_error_m", "rate_mbps_p5",
    "power_w_mean", "infeasible", "gap_p99", "rate_over_upc", "rate_over_upc_worst", "mean_rate_over_upc",
    "sicnr_minus_upc_db_mean", "sicnr_minus_upc_db_median", "sicnr_minus_upc_db_p10", "miss_probability_minus_upc",
    "position_error_minus_upc_m",
]  # fmt: skip
SMALL = TrackingScenario(num_aps=6, num_ues=3, num_targets=2, num_receive_aps=2, serving_aps=2, sensing_aps=2)
ROWS = ["upc", "fpc_0_1", "opc_paper", "opc_batched"]


def numbers(names, optima):
    """The benchmark of the fixture again, for some of its allocators and without files."""
    named = {name: named_allocator(name) for name in names}
    return VIEW.summarise(run_benchmark(VIEW, Case(SMALL, 10, 7), named, optima))


@pytest.fixture(scope="module")
def benchmark(tmp_path_factory):
    """Folder and summary of one benchmark of four allocators on ten drops, the paper's on three."""
    folder = tmp_path_factory.mktemp("benchmark")
    return folder, evaluate(SMALL, allocators=ROWS, num_drops=10, seed=7, output=folder, opc_paper_drops=3)


def test_summary_has_exactly_the_agreed_keys(benchmark):
    folder, summary = benchmark
    assert json.loads((folder / "summary.json").read_text()) == summary
    assert list(summary) == ["num_drops", "infeasible", "outage", "allocators"]
    assert list(summary["allocators"]) == ROWS
    assert all(list(row) == KEYS for row in summary["allocators"].values())
    assert summary["allocators"]["opc_paper"]["num_drops"] == 3
    assert summary["allocators"]["upc"]["num_drops"] == summary["num_drops"] == 10


def test_summary_agrees_with_theory(benchmark):
    _, summary = benchmark
    rows = summary["allocators"]
    # The optimum's own row is 1 by definition; nobody beats it without violation beyond its certified gap of 1e-3.
    assert rows["opc_batched"]["min_rate_ratio_mean"] == pytest.approx(1.0, abs=1e-9)
    assert all(row["min_rate_ratio_max"] is None or row["min_rate_ratio_max"] <= 1.001 for row in rows.values())
    assert all(row["budget_violation_max"] <= 1e-6 for row in rows.values())
    assert all(row["min_rate_ratio_valid_mean"] <= row["min_rate_ratio_mean"] + 1e-12 for row in rows.values())


def test_csv_has_a_line_per_drop_and_allocator(benchmark):
    folder, summary = benchmark
    with (folder / "drops.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 10 + 10 + 3 + 10
    ratios = [float(x["min_rate_ratio"]) for x in lines if x["allocator"] == "upc" and x["min_rate_ratio"]]
    broken = [x for x in lines if x["allocator"] == "upc" and float(x["violation"]) > 1e-6 and x["kind"] == "feasible"]
    assert summary["allocators"]["upc"]["valid_drop_share"] == pytest.approx(1 - len(broken) / len(ratios))


def test_figures_are_pictures(benchmark):
    folder, _ = benchmark
    names = {"cdf_rate", "cdf_min_rate", "cdf_sir", "learned_v_optimal", "network_map", "ratio_histogram", "loss"}
    names |= {"violations", "sinr_per_ue", "powers_typical", "powers_worst", "load_worst"}
    assert {path.stem for path in folder.glob("*.png")} == names
    for path in folder.glob("*.png"):
        assert path.read_bytes().startswith(b"\x89PNG"), path
    assert not list(folder.glob(".*tmp*"))


def test_event_files_hold_figures_chart_hyperparameters_and_table(benchmark):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.custom_scalar.metadata import CONFIG_SUMMARY_TAG
    from tensorboard.plugins.hparams import metadata, plugin_data_pb2

    folder, summary = benchmark
    events = EventAccumulator(str(folder / "tensorboard")).Reload()
    tags = events.Tags()
    assert set(tags["images"]) == {f"evaluation/{path.stem}" for path in folder.glob("*.png")}
    for name in ["optimum", *ROWS]:
        assert f"min_rate_mbps/{SMALL.name}" in EventAccumulator(str(folder / "tensorboard" / name)).Reload().Tags()["scalars"]
    counted = 10 - summary["infeasible"] - summary["outage"]
    best = EventAccumulator(str(folder / "tensorboard" / "optimum")).Reload()
    line = [event.value for event in best.Scalars(f"min_rate_mbps/{SMALL.name}")]
    assert len(line) == counted
    assert line == sorted(line)
    assert b"learned v optimal" in events.Tensors(CONFIG_SUMMARY_TAG)[0].tensor_proto.string_val[0]
    assert b"| opc_batched |" in events.Tensors("evaluation/table/text_summary")[0].tensor_proto.string_val[0]
    one = EventAccumulator(str(folder / "tensorboard" / "upc")).Reload()
    value = one.Scalars("evaluation/min_rate_ratio_mean")[0].value
    assert value == pytest.approx(summary["allocators"]["upc"]["min_rate_ratio_mean"])  # stored in float32
    start = plugin_data_pb2.HParamsPluginData.FromString(
        one.SummaryMetadata(metadata.SESSION_START_INFO_TAG).plugin_data.content
    )
    assert start.session_start_info.hparams["allocator"].string_value == "upc"


def test_same_seed_gives_the_same_numbers(benchmark, tmp_path):
    _, summary = benchmark
    again = numbers(["upc", "fpc_0_1", "opc_batched"], tmp_path)
    for name in ("upc", "opc_batched"):
        one, two = ({k: v for k, v in s["allocators"][name].items() if k != "ms_per_drop"} for s in (summary, again))
        assert one == two


def test_optimum_is_computed_when_not_listed_and_kept_for_the_next_run(tmp_path, benchmark):
    _, summary = benchmark
    first = numbers(["upc"], tmp_path)["allocators"]["upc"]
    assert first["min_rate_ratio_mean"] == summary["allocators"]["upc"]["min_rate_ratio_mean"]
    (stored,) = tmp_path.glob("*.npz")
    written = stored.stat().st_mtime_ns
    again = numbers(["upc"], tmp_path)["allocators"]["upc"]
    assert again["min_rate_ratio_mean"] == first["min_rate_ratio_mean"]
    assert stored.stat().st_mtime_ns == written


def test_stored_answer_is_found_judged_again_and_rebuilt_when_damaged(tmp_path):
    _, problem = fresh_problem(SMALL, 4, 3, progress=False)
    allocator = Fractional(0.5, 0.5)
    first, known = stored_allocate(problem, allocator, tmp_path)
    assert not known
    path = tmp_path / f"{checksum(problem, allocator)}.npz"
    second, known = stored_allocate(problem, allocator, tmp_path)
    assert known
    assert second.seconds == first.seconds
    assert_close(second.power, first.power, rtol=0, atol=0)
    assert_close(second.violation, first.violation, rtol=0, atol=0)
    path.write_bytes(path.read_bytes()[:100])
    rebuilt, known = stored_allocate(problem, allocator, tmp_path)
    assert not known
    assert_close(rebuilt.power, first.power, rtol=0, atol=0)
    np.savez_compressed(path, power=np.zeros((4, 10_000_000), dtype=np.float32))  # 150 MB, where 4 x 20 numbers should be
    again, known = stored_allocate(problem, allocator, tmp_path)
    assert not known
    assert_close(again.power, first.power, rtol=0, atol=0)
    other = problem.select(torch.tensor([1, 0, 2, 3]))
    assert checksum(other, allocator) != checksum(problem, allocator)
    assert checksum(problem, Fractional(0.5, 0.4)) != checksum(problem, allocator)


def test_single_target_has_null_sir_and_no_sir_figure(tmp_path):
    scenario = TrackingScenario(num_aps=5, num_ues=2, num_targets=1, num_receive_aps=1)
    with unrendered():
        summary = evaluate(scenario, allocators=["upc", "opc_batched"], num_drops=3, seed=1, output=tmp_path, tensorboard=False)
    assert all(row["sir_violation_rate"] is None for row in summary["allocators"].values())
    assert not (tmp_path / "cdf_sir.png").exists()


def test_an_allocator_that_fails_is_shown_as_such(tmp_path):
    class Broken:
        name, gap = "broken", 0.0

        def propose(self, problem):
            return Proposal(torch.full_like(problem.link_gain, torch.nan))

    named = {"broken": Broken(), "opc_batched": named_allocator("opc_batched")}
    found = run_benchmark(VIEW, Case(SMALL, 3, 1), named, tmp_path)
    assert set(found.outcomes[0].status.tolist()) == {Status.FAILED}
    assert VIEW.summarise(found)["allocators"]["broken"]["min_rate_ratio_mean"] > 0  # an equal split stands in


def test_no_powers_exceed_the_sir_ceiling():
    scenario = TrackingScenario(num_targets=6, num_receive_aps=2)
    drop, problem = fresh_problem(scenario, 20, 5, progress=False)
    ceiling = sir_ceiling(drop)
    assert ceiling is not None
    for exponents in ((0.0, 0.0), (1.0, 1.0), (0.0, -2.0), (3.0, 0.5)):
        worst = problem.sir(allocate(problem, Fractional(*exponents)).power).amin(-1)
        assert bool((worst <= ceiling * (1 + 1e-12)).all())


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"allocators": []}, "nobody"),
        ({"allocators": ["upc", "upc"]}, "twice"),
        ({"allocators": ["fpc_0"]}, "fpc_0"),
        ({"allocators": ["gnn"], "checkpoint": "none.pt"}, "checkpoint"),
        ({"num_drops": 0}, "num_drops=0"),
        ({"opc_paper_drops": 0}, "opc_paper_drops=0"),
        ({"opc_global_drops": 0}, "opc_global_drops=0"),
        ({"sensed_drops": -1}, "sensed_drops=-1"),
        ({"threads": 0}, "threads=0"),
        ({"max_drops": 0}, "max_drops=0"),
        ({"settings": [Setting(), Setting()]}, "name of its own"),
        ({"settings": [Setting(name="../up")]}, "letters"),
        ({"settings": [Setting({"num_uess": 3})]}, "num_uess"),
        ({"settings": [Setting({"num_ues": "three"})]}, "num_ues"),
        ({"settings": [Setting({"num_targets": 1}, sir_below_best_db=1.0)]}, "sir_below_best_db"),
        ({"settings": [Setting(allocators=["magic"])]}, "magic"),
        ({"seed": -1}, "seed=-1"),
        ({"seed": MAX_SEED + 1}, "seed="),
    ],
)
def test_bad_input_is_one_line_before_any_work(change, word, tmp_path):
    output = tmp_path / "new"
    arguments = {"allocators": ["upc"], "num_drops": 2, "seed": 0, "output": output} | change
    with pytest.raises(IsacError) as caught:
        evaluate(SMALL, **arguments)
    assert word in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not output.exists()


def test_names_of_fractional_control():
    assert named_allocator("fpc_0.5_-0.5") == Fractional(0.5, -0.5)
    assert named_allocator("upc") == Fractional(0.0, 0.0)
    assert named_allocator("ppc") == Fractional(1.0, 1.0)


@pytest.mark.parametrize("name", ["demo/evaluate", "evaluate/classical", "evaluate/pilot_reuse"])
def test_configurations_run(name, tmp_path):
    with unrendered():
        _run_configuration(name, tmp_path)


@pytest.mark.slow
def test_large_configuration_runs(tmp_path):
    _run_configuration("evaluate/large", tmp_path)


def _run_configuration(name, folder):
    config = ROOT / "configs" / f"{name}.yaml"
    change = ["--num_drops", "2", "--allocators", '["upc", "opc_batched"]', "--output", str(folder), "--tensorboard", "false"]
    assert main(["evaluate", "--config", str(config), *change]) == 0
    assert json.loads((folder / "summary.json").read_text())["num_drops"] == 2
