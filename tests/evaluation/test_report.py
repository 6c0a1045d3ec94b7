"""The HTML report: complete, self-contained, deaf to hostile text, and one line on bad input."""

import json
import math
from html.parser import HTMLParser
from typing import Any

import pytest

from isac_torch.cli import main
from isac_torch.errors import IsacError
from isac_torch.evaluation.report.chart import _ticks, curve, ratio_ranges
from isac_torch.evaluation.report.page import baseline, times_baseline
from isac_torch.evaluation.report.source import read_run
from isac_torch.evaluation.report.verdict import judged, sentences
from isac_torch.evaluation.report.write import write_report
from isac_torch.evaluation.tracking.columns import COLUMNS, CSV_FIELDS

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(40))
HOSTILE = '<script>alert("x")</script>&'
VOID = {"meta", "img", "line", "circle", "polyline", "br"}


def row(mean, drops=10, **changes):
    """A row of summary.json."""
    values = {key: 0.5 for key, _, _ in COLUMNS} | {
        "min_rate_ratio_mean": mean,
        "num_drops": drops,
        "min_rate_mbps_mean": 4 * mean,
    }
    return values | changes


def summary(**rows):
    return {"num_drops": 10, "infeasible": 1, "outage": 2, "allocators": rows}


SETTING = summary(fpc_0_1=row(0.25), opc_global=row(1.0), gnn=row(0.9876), gnn_refined=row(0.9991, sir_violation_rate=None))
CONTEXT = {
    "scenario_name": "16x16x4_tau16_sir-5", "scenario": {"num_aps": 16, "area_m2": None}, "seed": 900123, "version": "0.1.0",
    "optimum_from": ["opc_global"], "optimum_gap_max": 5e-4, "unresolved": 0, "contradictions": {"gnn": 0},
    "weights": {"file": "model.pt", "sha256": "ab" * 32, "bytes": 1000, "parameters": 5, "network": {}, "training": {}},
}  # fmt: skip


def write_setting(folder, content=SETTING, context=CONTEXT):
    """Files of one setting."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "summary.json").write_text(json.dumps(content))
    (folder / "provenance.json").write_text(json.dumps(context))
    (folder / "cdf_min_rate.png").write_bytes(PNG)
    (folder / "own_idea.png").write_bytes(PNG)
    lines = [dict.fromkeys(CSV_FIELDS, "") | {"drop": i, "kind": "feasible", "allocator": "gnn", "min_rate_ratio": 0.5 + i / 20,
             "violation": 0.0, "status": "feasible"} for i in range(10)]  # fmt: skip
    text = [",".join(CSV_FIELDS), *(",".join(str(value) for value in line.values()) for line in lines)]
    (folder / "drops.csv").write_text("\n".join(text) + "\n")


def write_training(folder):
    """A training folder with two curves, one of them with the placeholder of the HParams tab."""
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(folder / "logs")) as writer:
        for step, value in ((0, 0.0), (10, 0.5), (20, 0.75)):
            writer.add_scalar("val/min_rate_ratio", value, step)
        for step in range(5):
            writer.add_scalar("train/loss", math.exp(-step), step)
    (folder / "config.yaml").write_text("seed_everything: 1\n")


class Page(HTMLParser):
    """Collects text and attributes, and that every tag is closed in turn."""

    def __init__(self, content):
        super().__init__()
        self.open: list[str] = []
        self.text: list[str] = []
        self.attributes: list[Any] = []
        self.feed(content)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.attributes += [(tag, name, value) for name, value in attrs]
        self.open += [] if tag in VOID else [tag]

    def handle_startendtag(self, tag, attrs):
        self.attributes += [(tag, name, value) for name, value in attrs]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("style", "script"):
            self.text.append(data.strip())

    @property
    def words(self):
        return " ".join(self.text)


@pytest.fixture
def run(tmp_path):
    """A folder like the demo's: an evaluation with a training in it."""
    write_setting(tmp_path / "run")
    write_training(tmp_path / "run" / "training")
    return tmp_path / "run"


def test_the_page_shows_results_origin_pictures_and_curves(run):
    page = Page(write_report(run).read_text())
    for text in (
        "0.988",
        "0.999",
        "0.250",
        "3.95 x",
        "gnn_refined",
        "900123",
        "ab" * 32,
        "val",
        "seed_everything: 1",
        "own_idea",
    ):
        assert text in page.words, text
    assert sum(name == "src" for _, name, _ in page.attributes) == 2
    assert sum(tag == "svg" and name == "class" for tag, name, _ in page.attributes) == 2
    assert all(title in page.words for _, title, _ in COLUMNS)


def test_the_page_loads_nothing(run):
    content = write_report(run).read_text()
    assert "default-src 'none'" in content
    page = Page(content)
    links = [value for _, name, value in page.attributes if name in ("src", "href", "srcset", "action")]
    assert links
    assert all(value.startswith(("data:image/png;base64,", "#")) for value in links)
    assert "://" not in content
    assert "url(" not in content


def test_every_anchor_leads_somewhere(tmp_path):
    names = ("16x16x4_tau16_sir-5", "8x4x2_tau4_sir-5")
    for name in names:
        write_setting(tmp_path / name)
    (tmp_path / "summary.json").write_text(json.dumps({"settings": dict.fromkeys(names, SETTING)}))
    page = Page(write_report(tmp_path).read_text())
    anchors = {value[1:] for _, name, value in page.attributes if name == "href"}
    assert anchors <= {value for _, name, value in page.attributes if name == "id"}
    assert page.words.count("16x16x4_tau16_sir-5") > page.words.count("8x4x2_tau4_sir-5") >= 3


def test_a_training_alone_is_reported(tmp_path):
    write_training(tmp_path / "a")
    page = Page(write_report(tmp_path / "a", tmp_path / "out" / "page.html").read_text())
    assert "Training" in page.words
    assert "What the numbers mean" not in page.words


def test_the_worst_drops_come_first(run):
    words = Page(write_report(run).read_text()).words
    assert words.index("Worst drops of gnn") < words.index("0 feasible 0.5 ") < words.index("1 feasible 0.55 ")


def test_the_placeholder_of_a_metric_is_no_point_of_its_curve(run):
    (training,) = read_run(run).trainings
    assert training.name == "training"
    assert [step for step, _ in training.curves["val/min_rate_ratio"]] == [10, 20]
    assert len(training.curves["train/loss"]) == 5


def test_hostile_text_stays_text(tmp_path):
    content = summary(**{HOSTILE: row(0.5), "gnn": row(0.5)})
    context = {
        "scenario_name": HOSTILE,
        "optimum_from": [HOSTILE],
        "contradictions": {HOSTILE: 1},
        "scenario": {HOSTILE: HOSTILE},
    }
    write_setting(tmp_path / "run", content, context)
    (tmp_path / "run" / f"{HOSTILE[:8].replace('<', '_')}.png").write_bytes(PNG)
    text = write_report(tmp_path / "run").read_text()
    assert HOSTILE not in text
    assert text.count("<script>") == 1
    assert HOSTILE in Page(text).words


def test_unknown_numbers_are_dashes(tmp_path):
    nothing = dict.fromkeys(row(0.0)) | {"num_drops": 3}
    write_setting(tmp_path, summary(upc=nothing, gnn=nothing | {"extra": math.nan}), {})
    assert "No learned policy" in Page(write_report(tmp_path).read_text()).words


def test_factors_compare_the_same_drops_only():
    rows = {"upc": row(0.2), "fpc_0.5_0.5": row(0.1), "gnn": row(0.9), "opc_paper": row(0.9, drops=5)}
    assert baseline(rows) == "fpc_0.5_0.5"
    assert times_baseline(rows, "gnn") == pytest.approx(9.0)
    assert times_baseline(rows, "opc_paper") is None
    assert times_baseline({"gnn": row(0.9)}, "gnn") is None


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (0.982, 0.9898), (-7.5, -7.5), (0.0, 0.0), (1e-9, 3e-9), (-3.0, 1e6)])
def test_ticks_are_round_and_enclose_the_values(low, high):
    ticks = _ticks(low, high)
    slack = 1e-9 * max(abs(low), abs(high))
    assert ticks[0] <= low + slack
    assert ticks[-1] >= high - slack
    assert 2 <= len(ticks) <= 8
    assert ticks == sorted(set(ticks))


@pytest.mark.parametrize("points", [[(0, 1.0)], [(0, 2.0), (5, 2.0)], [(1, math.nan), (2, 3.0)], [(7, -1e-9), (9, 1e9)]])
def test_curves_stay_inside_their_picture(points):
    Page(curve(points, "label"))
    assert "nan" not in curve(points, "label")
    assert "no finite value" in curve([(0, math.inf)], "label")


def test_bars_are_clamped_to_the_axis():
    assert "left:100.00%" in ratio_ranges([("gnn", "red", 1.0004, 0.9, -0.1)])


@pytest.mark.parametrize(
    ("files", "word"),
    [
        ({}, "no evaluation"),
        ({"summary.json": "{"}, "no readable JSON"),
        ({"summary.json": "[]"}, "JSON object"),
        ({"summary.json": "{}"}, "must hold"),
        ({"summary.json": json.dumps({"settings": {}})}, "no setting"),
        ({"summary.json": json.dumps({"settings": {"../x": SETTING}})}, "names no folder"),
        ({"summary.json": json.dumps(summary(gnn={"num_drops": "many"}))}, "not a number"),
        ({"summary.json": json.dumps(summary(gnn=[1]))}, "not a number"),
        ({"summary.json": json.dumps(SETTING), "drops.csv": "a,b\n1,2\n"}, "columns"),
    ],
)
def test_bad_results_are_one_line(files, word, tmp_path):
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(IsacError, match=word) as caught:
        write_report(tmp_path)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "report.html").exists()


def test_the_command(run, tmp_path, capsys):
    target = tmp_path / "page.html"
    assert main(["report", str(run), "--output", str(target)]) == 0
    assert target.read_text().startswith("<!doctype html>")
    assert main(["report", str(tmp_path / "nowhere")]) == 2
    assert main(["report", str(run), "--output", str(tmp_path)]) == 2
    assert capsys.readouterr().err.count("\n") == 2


def test_an_evaluation_of_the_other_system_is_called_by_its_name(tmp_path, capsys):
    setting = {"num_drops": 2, "infeasible": 0, "crb_max_m2": 1.0, "allocators": {"full": {"nmse_ratio_mean": 1.5}}}
    (tmp_path / "summary.json").write_text(json.dumps({"settings": {"8x1_dl10_ul10_crb1": setting}}))
    assert main(["report", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert "downlink-pilot system" in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(("strict", "grade"), [(0.99, "good"), (0.9, "fair"), (0.3, "poor"), (None, "good")])
def test_the_first_words_say_how_good_the_policy_is(strict, grade):
    assert judged("gnn", {"min_rate_ratio_mean": 0.98, "min_rate_ratio_valid_mean": strict})[0] == grade


def test_the_first_words_say_who_pays():
    known = row(0.98, mean_rate_over_upc=0.7, sicnr_minus_upc_db_mean=-2.0, miss_probability_minus_upc=0.1, power_w_mean=7.0)
    said = " ".join(sentences(known, 2.5, "upc"))
    for words in ("2.50 times what upc", "strong UEs pay", "the radar pays", "-2.00 dB", "+10.0 percentage points", "7.0 W"):
        assert words in said
    fair = " ".join(sentences(known | {"sicnr_minus_upc_db_mean": 0.0, "miss_probability_minus_upc": 0.0}, None, None))
    assert "next to nothing" in fair
    assert "strong UEs" not in fair
