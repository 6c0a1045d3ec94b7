"""The history of benchmarks: every run appends a line, and the picture shows all of them."""

import json
import runpy

import pytest

from tests.paths import ROOT

HISTORY = runpy.run_path(str(ROOT / "benchmarks" / "history.py"))


@pytest.mark.slow
def test_a_run_appends_a_line_and_draws(tmp_path, capsys):
    lines, picture = tmp_path / "history.jsonl", tmp_path / "history.png"
    argv = ["--size=4x2x2", "--drops=2", "--repetitions=1", f"--json={lines}", f"--png={picture}"]
    HISTORY["main"](argv)
    first = json.loads(lines.read_text())
    lines.write_text(lines.read_text() * 2)
    HISTORY["draw"](HISTORY["read"](lines), picture)
    assert first == json.loads(capsys.readouterr().out)
    assert all(first[name] > 0.0 for name in HISTORY["TIMES"])
    assert all(0.5 < first[name] <= 1.001 for name in HISTORY["QUALITIES"])
    assert picture.read_bytes()[:4] == b"\x89PNG"


def test_the_stored_history_has_the_numbers_that_are_drawn():
    stored = HISTORY["read"](HISTORY["LINES"])
    assert stored
    assert all({*HISTORY["TIMES"], *HISTORY["QUALITIES"], "date", "commit"} <= set(line) for line in stored)
