"""Batches: every feasible drop once a pass, the same order for the same seed, sizes never mixed within a batch."""

from pathlib import Path

import pytest
import torch

from isac_torch.allocation import Status
from isac_torch.allocators.tracking.heuristics import Fractional
from isac_torch.datasets.fresh import FreshBatches, SirMix
from isac_torch.datasets.generate import generate_dataset
from isac_torch.datasets.loader import ShardBatches, shard_files, split_shards
from isac_torch.datasets.module import DownlinkPilotDataModule, PowerDataModule
from isac_torch.errors import DatasetError
from isac_torch.solvers.tracking.feasibility import largest_sir
from isac_torch.tensors import tensor_fields
from isac_torch.tracking.problem import MaxMinSinrProblem
from isac_torch.tracking.scenario import TrackingScenario

SMALL = TrackingScenario.of_size("4x3x2", sir_min_db=-15.0)
OTHER = TrackingScenario.of_size("5x2x1")


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "set"
    options = {"seed": 5, "shard_size": 6, "workers": 1, "allocator": Fractional(), "progress": False}
    generate_dataset([SMALL, OTHER], 20, folder, **options)
    return folder


def values(batches) -> list[float]:
    return [value for _, label in batches for value in label["value"].tolist()]


def test_every_drop_comes_once_a_pass_in_an_order_of_its_own(path):
    batches = ShardBatches(shard_files(path), 4, feasible_only=False)
    first, second = values(batches), values(batches)
    assert len(first) == len(set(first)) == 40
    assert sorted(first) == sorted(second)
    assert first != second
    assert values(ShardBatches(shard_files(path), 4, feasible_only=False)) == first


@pytest.mark.parametrize("pool_drops", [1, 12, 4000])
@pytest.mark.parametrize("feasible_only", [True, False])
def test_length_is_the_number_of_batches(path, pool_drops, feasible_only):
    batches = ShardBatches(shard_files(path), 4, pool_drops=pool_drops, feasible_only=feasible_only)
    assert len(list(batches)) == len(batches)
    assert all(problem.num_drops <= 4 for problem, _ in batches)


def test_infeasible_labels_stay_out_unless_asked_for(path):
    every = [label["status"] for _, label in ShardBatches(shard_files(path), 4, feasible_only=False)]
    kept = torch.cat([label["status"] for _, label in ShardBatches(shard_files(path), 4)])
    assert int((torch.cat(every) <= Status.FEASIBLE).sum()) == kept.numel()
    assert bool((kept <= Status.FEASIBLE).all())


def test_problem_and_label_of_a_batch_belong_together(path):
    for problem, label in ShardBatches(shard_files(path), 5, dtype=torch.float64):
        torch.testing.assert_close(problem.objective(label["power"]), label["value"], rtol=1e-12, atol=0.0)
    for problem, label in ShardBatches(shard_files(path), 5):
        assert isinstance(problem, MaxMinSinrProblem)
        assert problem.signal.dtype == label["power"].dtype == torch.float32
        torch.testing.assert_close(problem.objective(label["power"]), label["value"], rtol=1e-4, atol=0.0)


def test_validation_order_is_fixed_and_disjoint_from_training(path):
    train, val = split_shards(shard_files(path), 0.25)
    assert not {file.path for file in train} & {file.path for file in val}
    assert {file.scenario for file in val} == {0, 1}
    held = ShardBatches(val, 4, shuffle=False)
    assert values(held) == values(held)


def test_data_module_feeds_training_and_validation(path):
    module = PowerDataModule(path=path, batch_size=4, val_share=0.3)
    module.setup("fit")
    assert len(module.train_dataloader()) > 0
    assert len(module.val_dataloader()) > 0


def test_fresh_drops_never_repeat_and_follow_the_seed(path):
    def amplitudes(module: PowerDataModule) -> list[torch.Tensor]:
        return [tensor_fields(problem)["signal"] for problem, label in module.train_dataloader() if not label]

    def module() -> PowerDataModule:
        return PowerDataModule(path=path, batch_size=3, fresh_batches=2, fresh_scenarios=[SMALL], seed=9)

    one, other = module(), module()
    first, second = amplitudes(one), amplitudes(one)
    assert not torch.equal(first[0], second[0])
    assert all(map(torch.equal, first, amplitudes(other)))


@pytest.mark.parametrize("given", [1, 3, 5, 6])
def test_a_resumed_loader_of_stored_drops_goes_on_behind_the_last_batch(path, given):
    """Several scenarios and pools; batches of the rest of the pass and of the next one, to the last bit."""

    def loader():
        return ShardBatches(shard_files(path), 4, pool_drops=7, feasible_only=False)

    one, resumed = loader(), loader()
    assert len(one) > 6
    steps = iter(one)
    for _ in range(given):
        next(steps)
    resumed.load_state_dict(one.state_dict())
    rest = [label["value"].tolist() for _, label in steps]
    assert [label["value"].tolist() for _, label in resumed] == rest
    assert values(resumed) == values(one)


def test_a_loader_resumed_at_the_end_of_a_pass_starts_the_next_one(path):
    one = ShardBatches(shard_files(path), 4)
    values(one)
    resumed = ShardBatches(shard_files(path), 4)
    resumed.load_state_dict(one.state_dict())
    assert values(resumed) == values(one)


@pytest.mark.parametrize("uses", [1, 3])
def test_a_resumed_loader_of_fresh_drops_goes_on_behind_the_last_batch(uses):
    """Also where drops are used several times: those held for further use are drawn again."""

    def loader():
        return FreshBatches([SMALL, OTHER], 2, 5, seed=3, mix=SirMix(), uses=uses)

    one, resumed = loader(), loader()
    for _ in range(4):
        one._next()
    resumed.load_state_dict(one.state_dict())
    for _ in range(4):
        mine, yours = one._next(), resumed._next()
        assert torch.equal(mine.signal, yours.signal)
        assert torch.equal(mine.sir_min, yours.sir_min)


def test_progress_in_checkpoints_of_former_versions_is_understood(path):
    stored, fresh = PowerDataModule(path=path), PowerDataModule(path=path, fresh_batches=2)
    stored.load_state_dict({"epoch": 3})
    fresh.load_state_dict({"drawn": 4, "given": 8})
    next(iter(stored.train_dataloader()))
    assert stored.train_dataloader().state_dict()["epoch"] == 3
    assert fresh.train_dataloader().state_dict() == {"drawn": 4, "given": 8, "processes": 1}


def test_fresh_drops_take_their_sir_from_the_mixture():
    mix = SirMix(low_db=-10.0, high_db=-5.0, tight_share=0.0)
    problem, label = next(iter(FreshBatches([SMALL], 64, 1, seed=1, dtype=torch.float64, mix=mix)))
    assert isinstance(problem, MaxMinSinrProblem)
    sir_db = 10.0 * problem.sir_min.log10()
    assert label == {}
    assert float(sir_db.max()) <= -5.0
    assert float(sir_db[:, 0].std()) > 1.0
    assert torch.equal(problem.sir_min[:, 0], problem.sir_min[:, 1])


def test_tight_drops_are_feasible_and_used_again_with_another_sir():
    mix = SirMix(tight_share=1.0, tight_db=(0.3, 1.0))
    batches = list(FreshBatches([SMALL], 16, 4, seed=1, dtype=torch.float64, mix=mix, uses=2))
    for problem, _ in batches:
        margin_db = 10.0 * largest_sir(problem).margin.log10()
        assert float(margin_db.min()) > 0.29  # what is left is the LP's tolerance
        assert float(margin_db.max()) < 1.01
    fields = [tensor_fields(problem) for problem, _ in batches]
    signals = {tuple(one["signal"].flatten().tolist()) for one in fields}
    assert len(signals) == 2, "four batches of drops that are used twice are two draws"
    assert len({tuple(one["sir_min"].flatten().tolist()) for one in fields}) == 4


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"path": None}, "path is missing"),
        ({"dtype": "float16"}, "float16"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"val_batch_size": 0}, "val_batch_size=0"),
        ({"pool_drops": 0}, "pool_drops=0"),
        ({"seed": -1}, "seed=-1"),
        ({"fresh_uses": 0}, "fresh_uses=0"),
        ({"val_share": 1.5}, "val_share=1.5"),
        ({"val_share": 0.9}, "too few"),
        ({"path": Path("nowhere")}, "no such folder"),
    ],
)
def test_bad_options_are_one_line(path, options, words):
    with pytest.raises(DatasetError, match=words) as caught:
        PowerDataModule(**({"path": path} | options)).setup()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("place", ["path", "val_path"])
def test_a_set_without_a_usable_drop_is_refused(path, tmp_path, place):
    folder = tmp_path / "infeasible"
    options = {"seed": 5, "shard_size": 3, "workers": 1, "allocator": Fractional(), "progress": False}
    generate_dataset(TrackingScenario.of_size("4x3x2", sir_min_db=60.0), 6, folder, **options)
    with pytest.raises(DatasetError, match=r"infeasible: none of its \d drops meets its constraints"):
        PowerDataModule(**({"path": path} | {place: folder}), val_share=0.3).setup()
    fresh = {"path": folder, "val_path": path, "fresh_batches": 1}
    PowerDataModule(**fresh).setup()  # the drops of the set are not used
    every = PowerDataModule(path=folder, feasible_only=False, val_share=0.5)
    every.setup()
    assert len(every.train_dataloader()) == 1


def test_yaml_of_former_versions_finds_its_data_module():
    from isac_torch.datasets import module

    assert module.PilotDataModule is DownlinkPilotDataModule


def test_a_set_of_the_other_system_is_refused(path):
    with pytest.raises(DatasetError, match="drops of the tracking system, where those of downlink_pilots are wanted"):
        DownlinkPilotDataModule(path=path).setup()


def test_unfinished_and_damaged_data_sets_are_refused(path, tmp_path):
    folder = tmp_path / "copy"
    folder.mkdir()
    for file in path.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    damaged = folder / "shard-00000.h5"
    damaged.write_bytes(damaged.read_bytes()[:-1])
    with pytest.raises(DatasetError, match="checksum"):
        values(ShardBatches(shard_files(folder), 4))
    manifest = folder / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"num_shards": 8', '"num_shards": 9'))
    with pytest.raises(DatasetError, match="missing"):
        shard_files(folder)
