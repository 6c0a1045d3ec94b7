"""The main job end to end at a tiny size, through the same commands as `make demo`."""

import json
from pathlib import Path

import pytest
import yaml

from isac_torch import cli
from tests.paths import ROOT

DEMO = ROOT / "configs" / "demo"
SIZE = {"num_aps": 6, "num_ues": 4, "num_targets": 2, "num_antennas": 4}
KEYS = {
    "num_drops", "min_rate_ratio_mean", "min_rate_ratio_p5", "min_rate_ratio_worst", "min_rate_ratio_max",
    "min_rate_ratio_valid_mean", "valid_drop_share", "min_rate_mbps_mean", "mean_rate_mbps", "sir_violation_rate",
    "budget_violation_max", "ms_per_drop", "sicnr_db_median", "sicnr_db_p10", "miss_probability", "mutual_information_mbps",
}  # fmt: skip


def shrunk(folder: Path, name: str, changes: dict[str, object]) -> str:
    """The demo's configuration with the tiny size and `changes`."""
    config = yaml.safe_load((DEMO / f"{name}.yaml").read_text())
    if "scenario" in config:
        config["scenario"] |= SIZE
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(config | changes))
    return str(path)


@pytest.mark.timeout(200)
def test_generate_train_evaluate(tmp_path, capsys):
    drops, training, results = (str(tmp_path / name) for name in ("drops", "training", "results"))
    generate = shrunk(tmp_path, "generate", {"num_drops": 12, "shard_size": 4, "workers": 1})
    assert cli.main(["generate", "--config", generate, "--output", drops]) == 0
    assert cli.main(["dataset", "verify", drops]) == 0
    train = ["train", "--config", str(DEMO / "train.yaml"), "--data.init_args.path", drops, "--output", training]
    assert cli.main([*train, "--trainer.max_steps=2", "--trainer.val_check_interval=1", "--trainer.logger=false"]) == 0
    assert (tmp_path / "training" / "model.pt").is_file()
    allocators = ["upc", "fpc_0_1", "fpc_0.5_0.5", "opc_paper", "opc_global", "gnn"]
    evaluate = shrunk(tmp_path, "evaluate", {"num_drops": 3, "opc_paper_drops": 1, "allocators": allocators})
    weights = str(tmp_path / "training" / "model.pt")
    assert cli.main(["evaluate", "--config", evaluate, "--checkpoint", weights, "--output", results]) == 0
    summary = json.loads((tmp_path / "results" / "summary.json").read_text())
    assert set(summary) >= {"num_drops", "infeasible", "outage", "allocators"}
    assert list(summary["allocators"]) == allocators
    for row in summary["allocators"].values():
        assert set(row) >= KEYS
        assert row["budget_violation_max"] <= 1e-6  # what every allocator promises
    assert "gnn" in capsys.readouterr().out
