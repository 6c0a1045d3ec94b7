"""Roads from files and to them: commands, shards, npz, the server, positions of a spreadsheet."""

import asyncio
import json

import h5py
import httpx
import numpy as np
import torch

from isac_torch import (
    DownlinkPilotScenario,
    RoadSnapshot,
    cli,
)
from isac_torch.deployment.answers import answer_tables
from isac_torch.deployment.downlink_pilots.snapshot import EXAMPLE
from isac_torch.deployment.files import read_snapshots
from isac_torch.deployment.limits import Limits
from isac_torch.deployment.serving import create_app
from tests.deployment.drawn_roads import ALLOCATOR
from tests.paths import ROOT


def test_commands(tmp_path, capsys):
    for suffix in ("json", "npz", "h5", "csv"):
        assert (
            cli.main(["downlink-pilots", "allocate", str(ROOT / "examples/road.json"), "--output", f"{tmp_path}/p.{suffix}"])
            == 0
        )
    answer = json.loads((tmp_path / "p.json").read_text())["drops"][0]
    assert len(answer["power"]) == 24
    assert len(answer["nmse"]) == len(answer["crb"]) == 3
    assert cli.main(["downlink-pilots", "allocate", str(ROOT / "examples/drop.json")]) == 2
    assert "isac-torch allocate" in capsys.readouterr().err
    assert cli.main(["allocate", str(ROOT / "examples/road.json")]) == 2
    assert "isac-torch downlink-pilots allocate" in capsys.readouterr().err


def test_shards_of_the_system_are_read_and_those_of_the_other_refused(tmp_path, capsys):
    asked = ["--num_drops", "2", "--shard_size", "2", "--seed", "5", "--output", f"{tmp_path}/drops"]
    assert cli.main(["downlink-pilots", "generate", *asked]) == 0
    shard = tmp_path / "drops/shard-00000.h5"
    assert cli.main(["downlink-pilots", "allocate", str(shard), "--output", f"{tmp_path}/p.json"]) == 0
    answers = json.loads((tmp_path / "p.json").read_text())["drops"]
    scenario = DownlinkPilotScenario()
    drop = scenario.sample(2, generator=torch.Generator().manual_seed(5))
    for index, answer in enumerate(answers):
        np.testing.assert_allclose(answer["power"], ALLOCATOR(RoadSnapshot.from_drop(drop, index, scenario)).power, rtol=1e-6)
    assert cli.main(["allocate", str(shard)]) == 2
    assert "of another system; give one of the tracking system" in capsys.readouterr().err
    with h5py.File(shard, "r+") as file:
        file.attrs["system"] = "pilot"  # its former name
    assert len(read_snapshots(shard, kind=RoadSnapshot)) == 2


def test_npz_of_many_roads(tmp_path):
    positions = {name: np.array(EXAMPLE[name], float) for name in ("ap_position", "ue_position")}
    many = {name: np.stack([value, value + 1.0]) for name, value in positions.items()}
    np.savez(tmp_path / "roads.npz", receiver=np.array("projection"), **many)
    snapshots = read_snapshots(tmp_path / "roads.npz", kind=RoadSnapshot)
    assert [snapshot.receiver for snapshot in snapshots] == ["projection"] * 2
    tables = answer_tables(ALLOCATOR.many(snapshots))
    assert set(tables) == {"link", "ue", "drop"}
    np.testing.assert_array_equal(tables["ue"]["drop"], [0, 0, 0, 1, 1, 1])


def test_server_answers_roads():
    async def inside():
        app = create_app(ALLOCATOR, Limits(max_drops=2), RoadSnapshot)
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url="http://x") as client:
            bodies = (EXAMPLE, [EXAMPLE] * 3, {"tx_position": [[0, 0, 0]]}, EXAMPLE | {"gain": [[1.5] * 8] * 3})
            return [await client.post("/allocate", json=body) for body in bodies] + [await client.get("/openapi.json")]

    good, many, wrong, strong, pages = asyncio.run(inside())
    assert good.status_code == 200
    assert good.json()["drops"][0]["path"] == "network"
    for refused, words in ((many, "at most 2"), (wrong, "isac-torch allocate"), (strong, "not dB")):
        assert refused.status_code == 422
        assert words in refused.json()["detail"]
    assert "ap_position" in pages.text


def test_positions_of_ones_own(tmp_path, capsys):
    road, gains = tmp_path / "road.json", tmp_path / "gains.csv"
    gains.write_text("\n".join(",".join(["-90"] * 8) for _ in range(3)))
    words = ["downlink-pilots", "import-geometry", str(ROOT / "examples/road.csv"), "--output", str(road)]
    assert cli.main([*words, "--gains_db", str(gains), "--crb_max", "2"]) == 0
    assert "8 APs, of which 6 receive, 3 UEs on 225 x 100 m" in capsys.readouterr().err
    (found,) = read_snapshots(road, kind=RoadSnapshot)
    np.testing.assert_array_equal(found.receive_ap, [0, 1, 3, 4, 5, 7])
    np.testing.assert_array_equal(found.crb_max, [2.0] * 3)
    np.testing.assert_allclose(found.gain, np.full((3, 8), 1e-9))
    for row, says in (("rx,1,1", "every AP"), ("target,1,1", "height"), ("pilot,1,1", "kind='pilot'")):
        (tmp_path / "wrong.csv").write_text(f"kind,x,y\nap,0,0\nap,9,9\nue,5,0\n{row}\n")
        assert cli.main(["downlink-pilots", "import-geometry", str(tmp_path / "wrong.csv")]) == 2
        assert says in capsys.readouterr().err
