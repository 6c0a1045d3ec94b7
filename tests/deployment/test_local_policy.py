"""The distributed policy without torch: the same powers as with it, one line for whatever is no policy, and no centre."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch

from isac_torch import cli
from isac_torch.deployment.local_policy import FILE, DeployedPolicy
from isac_torch.deployment.schema import EXAMPLE
from isac_torch.deployment.snapshot import Snapshot
from isac_torch.errors import AllocationError, BundleError, CheckpointError
from isac_torch.nn.checkpoint import load_network, save_network
from isac_torch.nn.export_policy import export_policy
from isac_torch.nn.tracking.local_network import DistributedNetwork
from isac_torch.tensors import map_tensors
from isac_torch.tracking.build import power_problem
from isac_torch.tracking.scenario import TrackingScenario
from isac_torch.weights import shipped_policy, shipped_weights
from tests.paths import ROOT

SIZES = [(8, 6, 2, 6), (6, 6, 2, 3), (5, 3, 0, 3), (4, 1, 1, 1), (16, 16, 4, 16)]
NO_TORCH = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "torch":
            raise ModuleNotFoundError(f"No module named {name!r}", name="torch")

sys.meta_path.insert(0, Blocked())
from isac_torch import cli

sys.exit(cli.main(sys.argv[1:]))
"""
DROP = str(ROOT / "examples" / "drop.json")


@pytest.fixture(scope="module")
def network():
    return load_network(shipped_weights("distributed"), DistributedNetwork)[0].double()


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_powers_are_those_of_torch(network, size):
    aps, ues, targets, pilots = size
    scenario = TrackingScenario(num_aps=aps, num_ues=ues, num_targets=targets, pilot_length=pilots, num_receive_aps=2)
    problem = power_problem(scenario.sample(3, generator=torch.Generator().manual_seed(5)), scenario)
    numbers = map_tensors(problem, lambda value: value.numpy())
    for rounds in (0, 1, 8, 11):
        with torch.no_grad():
            wanted = network.exits(problem, rounds)[-1].exp() * problem.link_budget
        found = DeployedPolicy.load(rounds=rounds).powers(numbers)
        np.testing.assert_allclose(found, wanted.numpy(), rtol=1e-7, atol=1e-9)
    with torch.no_grad():
        kept = network.answer(problem, 1, 2).exp() * problem.link_budget
    np.testing.assert_allclose(DeployedPolicy.load(rounds=1, exchanges=2).powers(numbers), kept.numpy(), rtol=1e-7, atol=1e-9)


def test_the_shipped_policy_is_that_of_the_shipped_weights(tmp_path):
    export_policy(shipped_weights("distributed"), tmp_path / "again.npz")
    ours, again = (dict(np.load(path)) for path in (shipped_policy(), tmp_path / "again.npz"))
    assert all(np.array_equal(ours[name], again[name]) for name in ours)
    assert set(ours) == set(again)


def test_commands_answer_and_say_what_is_missed(tmp_path, capsys):
    assert cli.main(["allocate", DROP, "--policy=distributed", "--rounds=4", f"--output={tmp_path / 'a.json'}"]) == 0
    answer = json.loads((tmp_path / "a.json").read_text())["drops"][0]
    assert answer["path"] == "distributed"
    direct = DeployedPolicy.load(rounds=4)(Snapshot.from_mapping(json.loads((ROOT / "examples" / "drop.json").read_text())))
    np.testing.assert_array_equal(answer["power"], direct.power)
    alone = DeployedPolicy.load(rounds=0)
    answers = alone.many([Snapshot.from_mapping(EXAMPLE)])
    met = (answers[0].sir >= Snapshot.from_mapping(EXAMPLE).sir_min * (1 - 1e-9)).all()
    assert met == (answers[0].reason == "")
    assert "1 distributed" in capsys.readouterr().err


def test_a_ue_without_any_path_is_left_out(network):
    fields = dict(EXAMPLE)
    snapshot = Snapshot.from_mapping(fields)
    gain = np.full((snapshot.num_ues, snapshot.num_aps), 1e-11)
    gain[0] = 0.0
    answer = DeployedPolicy.load()(Snapshot.from_mapping({**fields, "ue_gain": gain.tolist()}))
    assert np.isfinite(answer.power).all()
    assert "UE 0" in answer.reason


REFUSED = [
    (["--rounds=4"], "rounds=4"),
    (["--policy=distributed", "--rounds=65"], "from 0 to 64"),
    (["--policy=distributed", "--rounds=-1"], "from 0 to 64"),
    (["--policy=distributed", "--refine=true"], "refine=True"),
    (["--policy=distributed", "--model=nowhere.npz"], "there is no policy"),
    (["--policy=distributed", f"--model={shipped_weights('distributed')}"], "distributed export"),
    (["--policy=somewhere"], "policy"),
]


@pytest.mark.parametrize(("options", "words"), REFUSED, ids=str)
def test_what_does_not_go_together_is_one_line(options, words, capsys):
    assert cli.main(["allocate", DROP, *options]) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 1
    assert words in said[0]


def test_a_file_that_is_no_policy_is_one_line(tmp_path):
    good = dict(np.load(shipped_policy()))
    card = json.loads(good.pop("card").tobytes())
    facts = {"network": card["network"]}
    broken = {
        "nothing": b"",
        "text": b"not a zip",
        "cut": shipped_policy().read_bytes()[:5000],
    }
    for name, content in broken.items():
        (tmp_path / f"{name}.npz").write_bytes(content)
    nan = {**good, "first.0.weight": np.full_like(good["first.0.weight"], np.nan)}
    fewer = {name: value for name, value in good.items() if not name.startswith("cells.3.")}
    turned = {**good, "encode.0.weight": np.ascontiguousarray(good["encode.0.weight"].T)}
    wide = {name: value.astype(np.float64) for name, value in good.items()}
    for name, weights in {"nan": nan, "fewer": fewer, "turned": turned, "wide": wide, "empty": {}}.items():
        FILE.write(tmp_path / f"{name}.npz", weights, facts)
    np.savez(tmp_path / "other.npz", card=np.frombuffer(b'{"format": "else"}', dtype=np.uint8))
    np.savez(tmp_path / "pickle.npz", card=np.array([{"a": 1}], dtype=object))
    np.savez(tmp_path / "later.npz", card=np.frombuffer(json.dumps({**card, "format_version": 9}).encode(), dtype=np.uint8))
    files = sorted(tmp_path.glob("*.npz"))
    assert len(files) == 11
    for path in files:
        with pytest.raises(BundleError, match=str(path)) as caught:
            DeployedPolicy.load(path)
        assert "\n" not in str(caught.value)
    with pytest.raises(AllocationError, match="64"):
        DeployedPolicy.load(rounds=65)


def test_other_weights_are_refused_before_anything_is_written(tmp_path):
    with pytest.raises(CheckpointError, match="give those of a distributed network"):
        export_policy(shipped_weights("unfolded"), tmp_path / "policy.npz")
    assert not list(tmp_path.iterdir())


def test_an_exported_policy_needs_no_torch(tmp_path):
    torch.manual_seed(0)
    network = DistributedNetwork(8, 2, 0, 0, 1)
    save_network(tmp_path / "model.pt", network, {"steps": 3})
    assert cli.main(["distributed", "export", f"--checkpoint={tmp_path / 'model.pt'}", f"--output={tmp_path / 'p.npz'}"]) == 0
    argv = ["allocate", DROP, "--policy=distributed", f"--model={tmp_path / 'p.npz'}"]
    run = subprocess.run([sys.executable, "-c", NO_TORCH, *argv], capture_output=True, text=True, cwd=ROOT)
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout)["drops"][0]["path"] == "distributed"


def _asking(tmp_path, **requirement):
    drop = json.loads((ROOT / "examples" / "drop.json").read_text())
    drop |= {"requirement": requirement, "rx_orientation": [0.5] * len(drop["rx_position"])}
    (tmp_path / "drop.json").write_text(json.dumps(drop))


def test_the_sicnr_of_targets_may_be_required(tmp_path, capsys):
    sicnr, detection = {"kind": "sicnr", "sicnr_min_db": -3.0}, {"kind": "detection", "miss": 0.3}
    for requirement in (sicnr, detection, {"kind": "dominate", "scan": 0.0, "position": 0.0}):
        _asking(tmp_path, **requirement)
        assert cli.main(["allocate", str(tmp_path / "drop.json"), "--policy=distributed", "--rounds=8"]) == 0
        (answer,) = json.loads(capsys.readouterr().out)["drops"]
        assert answer["path"] == "distributed"


def test_requirements_on_cells_and_positions_are_refused_in_one_line(tmp_path, capsys):
    _asking(tmp_path, kind="dominate")
    assert cli.main(["allocate", str(tmp_path / "drop.json"), "--policy=distributed"]) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 1
    assert "or take policy=central" in said[0]
