"""The leaderboard takes runs on the public drops, and no others."""

import csv
import json

import pytest

from isac_torch.cli import main
from isac_torch.errors import IsacError
from isac_torch.evaluation import leaderboard
from isac_torch.evaluation.leaderboard import PublicSetting, public_settings, read_board, submit
from isac_torch.evaluation.run import evaluate
from isac_torch.evaluation.settings import Setting
from isac_torch.tracking.scenario import TrackingScenario
from tests.evaluation.unrendered import unrendered

SMALL = TrackingScenario(num_aps=6, num_ues=3, num_targets=2)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    settings = [Setting(name="small")]
    with unrendered():
        evaluate(SMALL, ["upc", "opc_batched"], 12, 970000, folder, sensed_drops=0, tensorboard=False, settings=settings)
    return folder


@pytest.fixture
def run(finished, tmp_path, monkeypatch):
    """A run of the public settings, which are one small setting here, and its own copy of the files that are checked."""
    monkeypatch.setattr(leaderboard, "public_settings", lambda: [PublicSetting("small", SMALL, 12, 970000)])
    for name in ("summary.json", "provenance.json", "small/drops.csv"):
        target = tmp_path / "run" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text((finished / name).read_text())
    return tmp_path / "run"


def changed(path, change):
    content = json.loads(path.read_text())
    change(content["settings"]["small"])
    path.write_text(json.dumps(content))


def test_a_run_becomes_a_row_per_allocator_and_replaces_its_own(run, tmp_path, capsys):
    board = tmp_path / "board.jsonl"
    assert main(["leaderboard", "submit", "--run", str(run), "--author", "one", "--board", str(board)]) == 0
    submit(run, board, "one")
    table = submit(run, board, "two")
    assert [(row["author"], row["allocator"]) for row in read_board(board)] == [
        (author, name) for author in ("one", "two") for name in ("upc", "opc_batched")
    ]
    assert table.splitlines()[2].startswith("| opc_batched")
    assert main(["leaderboard", "show", "--board", str(board)]) == 0
    assert capsys.readouterr().out.endswith(table + "\n")


def test_a_run_of_an_earlier_version_with_fewer_fields_counts(run, tmp_path):
    changed(run / "provenance.json", lambda c: c["scenario"]["requirement"].pop("enough_db"))
    submit(run, tmp_path / "board.jsonl", "one")
    assert len(read_board(tmp_path / "board.jsonl")) == 2


@pytest.mark.parametrize(
    ("name", "change", "says"),
    [
        ("provenance.json", lambda c: c.update(seed=1), "not the public setting"),
        ("provenance.json", lambda c: c["scenario"].update(num_ues=4), "not the public setting"),
        ("provenance.json", lambda c: c["scenario"].update(unknown=4), "not the public setting"),
        ("provenance.json", lambda c: c.update(scenario=[3]), "not the public setting"),
        ("summary.json", lambda c: c.update(num_drops=11), "not the public setting"),
        ("provenance.json", lambda c: c["contradictions"].update(upc=1), "beats a certificate"),
        ("summary.json", lambda c: c["allocators"]["upc"].update(min_rate_ratio_mean=0.99), "by drops.csv"),
    ],
)
def test_a_run_that_was_changed_is_refused(run, tmp_path, name, change, says):
    changed(run / name, change)
    with pytest.raises(IsacError, match=says):
        submit(run, tmp_path / "board.jsonl", "one")
    assert not (tmp_path / "board.jsonl").exists()


def test_other_drops_are_refused(run, tmp_path):
    path = run / "small" / "drops.csv"
    lines = list(csv.DictReader(path.read_text().splitlines()))
    for line in lines:
        line["optimal_min_sinr_db"] = str(float(line["optimal_min_sinr_db"] or 0.0) - 1.0)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(lines[0]))
        writer.writeheader()
        writer.writerows(lines)
    with pytest.raises(IsacError, match="the optimum of drop"):
        submit(run, tmp_path / "board.jsonl", "one")


def test_what_is_no_run_or_no_board_is_one_line(tmp_path):
    with pytest.raises(IsacError, match="not readable"):
        submit(tmp_path, tmp_path / "board.jsonl", "one")
    (tmp_path / "board.jsonl").write_text('{"allocator": "x"}\n')
    with pytest.raises(IsacError, match="no row"):
        read_board(tmp_path / "board.jsonl")


def test_the_public_settings_have_names_and_drops_of_their_own():
    settings = public_settings()
    assert len({setting.name for setting in settings}) == len(settings) == 3
    assert all(setting.num_drops >= 100 and setting.seed < 1_000_000 for setting in settings)
