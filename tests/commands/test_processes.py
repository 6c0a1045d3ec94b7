"""Training in several processes: nobody sees another's drops, all end with the same weights, one writes the model."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from isac_torch.allocators.tracking.heuristics import Fractional
from isac_torch.datasets.fresh import FreshBatches, SirMix
from isac_torch.datasets.generate import generate_dataset
from isac_torch.datasets.loader import ShardBatches, shard_files
from isac_torch.datasets.share import ALL, Share
from isac_torch.tensors import tensor_fields
from isac_torch.tracking.scenario import TrackingScenario
from isac_torch.trainers.ranks import gathered

SMALL = TrackingScenario.of_size("4x3x2", sir_min_db=-15.0)
OTHER = TrackingScenario.of_size("5x2x1")


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "set"
    options = {"seed": 5, "shard_size": 7, "workers": 1, "allocator": Fractional(), "progress": False}
    generate_dataset([SMALL, OTHER], 21, folder, **options)
    return folder


def shares(count):
    return [Share(rank, count) for rank in range(count)]


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("shuffle", [True, False])
def test_stored_drops_are_dealt_out_once_and_in_step(path, count, shuffle):
    loaders = [ShardBatches(shard_files(path), 3, feasible_only=False, shuffle=shuffle, share=share) for share in shares(count)]
    steps = [list(loader) for loader in loaders]
    assert len({len(mine) for mine in steps}) == 1
    assert {len(loader) for loader in loaders} == {len(steps[0])}
    seen = [value for mine in steps for _, label in mine for value in label["value"].tolist()]
    whole = ShardBatches(shard_files(path), 3, feasible_only=False)
    assert sorted(seen) == sorted(value for _, label in whole for value in label["value"].tolist())
    assert len(set(seen)) == 42
    for together in zip(*steps, strict=True):  # the same size class at the same step, nearly equally many drops
        assert len({problem.num_links for problem, _ in together}) == 1
        drops = [problem.num_drops for problem, _ in together]
        assert max(drops) - min(drops) <= 1


def test_nobody_goes_without_drops():
    index = torch.tensor([4, 9])
    assert [share.deal(index).tolist() for share in shares(3)] == [[4], [9], [9]]
    assert ALL.deal(index).tolist() == [4, 9]


@pytest.mark.parametrize("uses", [1, 3])
def test_fresh_drops_of_different_processes_differ(uses):
    def signals(share):
        batches = FreshBatches([SMALL, OTHER], 2, 6, seed=9, mix=SirMix(), uses=uses, share=share)
        return [tensor_fields(problem)["signal"] for problem, _ in batches]

    alone, mine, yours = signals(ALL), signals(Share(0, 2)), signals(Share(1, 2))
    assert [signal.shape for signal in mine] == [signal.shape for signal in yours]
    assert not any(torch.equal(a, b) for a in mine for b in yours)
    assert torch.equal(mine[0], alone[0])  # the first process' first block is the run's first block


@pytest.mark.parametrize(("before", "after"), [(1, 2), (2, 1), (2, 3), (3, 2)])
def test_a_run_resumed_by_another_number_of_processes_draws_new_blocks(before, after):
    def blocks(loader, steps):
        start = loader.drawn
        return {(start + step) * loader.share.processes + loader.share.rank for step in range(steps)}

    first = [FreshBatches([SMALL], 2, 5, seed=1, share=share) for share in shares(before)]
    for loader in first:
        loader.drawn = loader.given = 5
    used = set().union(*(set(range(5 * before)) for _ in first))
    later = [FreshBatches([SMALL], 2, 5, seed=1, share=share) for share in shares(after)]
    for loader in later:
        loader.load_state_dict(first[0].state_dict())
    assert not used & set().union(*(blocks(loader, 4) for loader in later))


def test_one_process_gathers_its_own_values():
    values = torch.arange(3.0)
    assert gathered(values) is values


SCRIPT = """
import json, sys
from pathlib import Path
import torch
from isac_torch.trainers.module import AllocationTraining
from isac_torch.trainers.ranks import gathered
from isac_torch.cli import main

torch.set_num_threads(1)
drops, judged = [], []
step, judge, end = AllocationTraining.training_step, AllocationTraining.validation_step, AllocationTraining.on_fit_end

def training_step(self, batch, index):
    drops.extend(f"{self.current_epoch} {value}" for value in batch[1]["value"].tolist())
    return step(self, batch, index)

def validation_step(self, batch, index):
    judged.extend(batch[1]["value"].tolist())
    return judge(self, batch, index)

def on_fit_end(self):
    unequal = gathered(torch.full((1 + 2 * self.global_rank,), float(self.global_rank)))
    weights = torch.cat([value.detach().double().flatten() for value in self.state_dict().values()])
    metrics = {name: float(value) for name, value in self.trainer.callback_metrics.items() if name.startswith("val/")}
    content = {"drops": drops, "judged": judged, "weights": weights.tolist(), "metrics": metrics, "gathered": unequal.tolist()}
    (Path(sys.argv[1]) / f"rank{self.global_rank}.json").write_text(json.dumps(content))
    end(self)

AllocationTraining.training_step, AllocationTraining.validation_step = training_step, validation_step
AllocationTraining.on_fit_end = on_fit_end
sys.exit(main(["train", *sys.argv[2:]]))
"""


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_processes_train_one_network(path, tmp_path):
    script = tmp_path / "run.py"
    script.write_text(SCRIPT)
    model = [
        f"--model.network.{name}={value}" for name, value in {"hidden": 8, "layers": 1, "refinements": 1, "steps": 1}.items()
    ]
    trainer = ["max_steps=4", "accelerator=cpu", "devices=2", "strategy=ddp", "inference_mode=false", "num_sanity_val_steps=0"]
    trainer += ["enable_progress_bar=false", "max_epochs=-1", "enable_model_summary=false", "log_every_n_steps=1"]
    data = ["--data=isac_torch.datasets.module.PowerDataModule", f"--data.path={path}", "--data.batch_size=4"]
    data += ["--data.val_share=0.3", "--data.feasible_only=false", "--model.loss.sensing_weight_step=0.5"]
    options = [*model, *(f"--trainer.{option}" for option in trainer), *data, f"--output={tmp_path / 'out'}"]
    done = subprocess.run([sys.executable, str(script), str(tmp_path), *options], capture_output=True, text=True, timeout=850)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("model.pt") == 1
    mine, yours = (json.loads((tmp_path / f"rank{rank}.json").read_text()) for rank in (0, 1))
    assert mine["drops"]
    assert not set(mine["drops"]) & set(yours["drops"])
    judged = mine["judged"] + yours["judged"]  # in the one pass that ends within these steps
    assert len(judged) == len(set(judged)) == 14
    assert mine["metrics"] == yours["metrics"]
    assert mine["gathered"] == yours["gathered"] == [0.0, 1.0, 1.0, 1.0]
    assert_close(torch.tensor(mine["weights"]), torch.tensor(yours["weights"]), rtol=0, atol=0)
    assert torch.load(tmp_path / "out" / "model.pt", weights_only=True)["training"]["steps"] == 4
