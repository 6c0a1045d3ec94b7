"""The map of a site: everything is on it, with its numbers, and nothing of it comes from elsewhere."""

import math
import re

import numpy as np
import pytest

from isac_torch.cli import main
from isac_torch.deployment.allocator import DeployedAllocator
from isac_torch.deployment.files import read_snapshots
from isac_torch.deployment.site_map import map_page
from tests.paths import EXAMPLES


def test_the_command_draws_the_example(tmp_path, capsys):
    network, page = tmp_path / "network.json", tmp_path / "map.html"
    assert main(["import-geometry", str(EXAMPLES / "sites.csv"), "--output", str(network)]) == 0
    powers = ["--output", str(tmp_path / "powers.csv"), "--site_map", str(page)]
    assert main(["allocate", str(network), *powers]) == 0
    text = page.read_text()
    (snapshot,) = read_snapshots(network)
    answer = DeployedAllocator.load()(snapshot)
    assert text.count("<line ") == len(answer.power)
    assert text.count("<circle ") == len(snapshot.ue_position) + len(snapshot.target_position)
    assert text.count("<polygon ") == len(snapshot.tx_position)
    assert text.count("<rect ") == len(snapshot.rx_position)
    first = re.search(r"AP \d+ to UE 0: ([\d.e+-]+) W", text)
    assert first
    assert float(first[1]) == pytest.approx(answer.power[0], rel=1e-3)
    assert "://" not in text.replace("http://www.w3.org/2000/svg", "")
    assert "<script" not in text


def test_a_triangle_points_where_the_array_looks(tmp_path):
    (snapshot,) = read_snapshots(EXAMPLES / "drop.json")
    answer = DeployedAllocator.load()(snapshot)
    text = map_page([snapshot], [answer]).decode()
    turned = [float(value) for value in re.findall(r"rotate\((-?[\d.]+)\)", text)]
    wanted = [-math.degrees(angle) % 360 for angle in np.asarray(snapshot.tx_orientation)]
    np.testing.assert_allclose(np.mod(turned, 360), wanted, atol=0.06)


def test_a_map_that_cannot_be_written_is_one_line(tmp_path, capsys):
    assert main(["allocate", str(EXAMPLES / "drop.json"), "--site_map", str(tmp_path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
