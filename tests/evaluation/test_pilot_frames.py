"""Chosen frames against fixed splits: the files, their averages, and what is refused."""

import csv
import json

import pytest

from isac_torch.cli import main
from isac_torch.downlink_pilots.scenario import DownlinkPilotScenario
from isac_torch.errors import ScenarioError
from isac_torch.evaluation.downlink_pilots.frames import compare_frames, default_splits

SMALL = DownlinkPilotScenario(num_aps=4, frame_symbols=7, uplink_symbols=2, downlink_symbols=2, crb_max=10.0)
OPTIONS = ["--scenario.num_aps=4", "--scenario.frame_symbols=7", "--scenario.uplink_symbols=2", "--scenario.downlink_symbols=2"]


def test_files_agree_and_the_chosen_frame_is_the_best(tmp_path):
    summary = compare_frames(SMALL, num_drops=2, seed=3, output=tmp_path, splits=[[2, 2], [4, 2]])
    assert json.loads((tmp_path / "summary.json").read_text()) == summary
    assert (tmp_path / "frames.png").read_bytes().startswith(b"\x89PNG")
    with (tmp_path / "frames.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    rates = {name: [float(line["net_rate_bit_s"]) for line in lines if line["frame"] == name] for name in summary["frames"]}
    assert list(rates) == ["2:2", "4:2", "policy", "chosen"]
    for name, row in summary["frames"].items():
        assert row["net_rate_mean"] == pytest.approx(sum(rates[name]) / 2)
        assert row["net_rate_worst"] == pytest.approx(min(rates[name]))
        assert row["without_frame"] == sum(rate == 0 for rate in rates[name]) / 2
        assert all(best >= rate * (1 - 1e-6) for best, rate in zip(rates["chosen"], rates[name], strict=True))
    fixed = {(line["downlink_symbols"], line["uplink_symbols"]) for line in lines if line["frame"] == "4:2"}
    assert fixed <= {("4", "2"), ("0", "0")}


def test_the_command_and_an_objective(tmp_path):
    options = ["--objective", "overhead", "--num_drops", "1", "--seed", "3", "--splits=[[3, 3]]", "--scenario.crb_max=10"]
    assert main(["downlink-pilots", "frame", *OPTIONS, *options, "--output", str(tmp_path)]) == 0
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["objective"] == "overhead"
    chosen = summary["frames"]["chosen"]
    assert chosen["without_frame"] == 1 or chosen["downlink_symbols_mean"] + chosen["uplink_symbols_mean"] <= 6


@pytest.mark.parametrize(
    ("splits", "message"),
    [([[2, 2, 2]], "must be two numbers"), ([[1, 4]], "pilots of its own"), ([[4, 4]], "leave no data symbol")],
)
def test_splits_that_make_no_frame_are_refused(splits, message, tmp_path):
    with pytest.raises(ScenarioError, match=message):
        compare_frames(SMALL, num_drops=1, seed=3, output=tmp_path, splits=splits)


def test_default_splits():
    assert default_splits(DownlinkPilotScenario()) == [[4, 16], [10, 10], [16, 4]]
    assert default_splits(DownlinkPilotScenario(num_ues=6)) == [[6, 16], [10, 10], [16, 6]]
    assert default_splits(DownlinkPilotScenario(frame_symbols=20, uplink_symbols=3, downlink_symbols=3)) == []
