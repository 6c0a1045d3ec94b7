"""Training of policies that run at the APs: every exit learns, settings are checked, the configurations run."""

from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from isac_torch.allocation import allocate
from isac_torch.allocators.tracking.distributed import Distributed
from isac_torch.errors import CheckpointError, IsacError
from isac_torch.nn.checkpoint import load_network, save_network, stored_kind
from isac_torch.nn.tracking.local_network import DistributedNetwork
from isac_torch.tracking.build import power_problem
from isac_torch.tracking.scenario import TrackingScenario
from isac_torch.trainers.cli import train
from isac_torch.trainers.distributed import DistributedTraining
from isac_torch.trainers.slots import moved
from tests.paths import ROOT
from tests.trainers.test_training import fit

CONFIGS = sorted((ROOT / "configs" / "distributed").glob("*.yaml"))


@pytest.mark.parametrize("network", ["distributed", "unfolded"])
def test_every_exit_improves(problem, network):
    torch.manual_seed(0)
    module = DistributedTraining(
        network, 2, 8, 2, 1, [0, 1, 2], learning_rate=2e-2, sensing_weight=(3.0, 3.0), average_decay=0.5, disturbed=0.0
    )

    def loss():
        worth = []
        for rounds in range(3):
            answer = allocate(problem, Distributed(module.average, rounds))
            missing = (0.03 - (problem.sir(answer.power) / problem.sir_min).log()).clamp_min(0.0).sum(-1)
            worth.append(float((3.0 * missing - answer.value.log()).mean()))
        return worth

    before = loss()
    fit(module, (problem, {}), 25)
    assert all(after < first for after, first in zip(loss(), before, strict=True))


def test_an_exit_without_weight_changes_nothing(problem):
    def gradient(**options):
        torch.manual_seed(0)
        module = DistributedTraining("distributed", 2, 8, 2, 1, most_slots=2, disturbed=0.0, **options)
        module.network.get_parameter("cells.0.move.2.weight").data.add_(0.1)
        fit(module, (problem, {}), 1)
        return torch.cat(
            [(torch.zeros_like(value) if value.grad is None else value.grad).flatten() for value in module.network.parameters()]
        )

    last = gradient(exit_rounds=[2])
    assert torch.equal(gradient(exit_rounds=[0, 1, 2], exit_weights=[0.0, 0.0, 1.0]), last)
    assert not torch.equal(gradient(exit_rounds=[2], slot_rounds=4, slot_range=3.0), last)


WRONG: list[dict[str, Any]] = [
    {"exit_rounds": [9]},
    {"exit_rounds": []},
    {"average_decay": 1.0},
    {"exit_weights": [1.0]},
    {"exit_weights": [1.0, 1.0, 1.0, 1.0, -1.0]},
    {"slot_range": 0.5},
    {"slot_rounds": 0},
    {"start_share": 0.5},
    {"start_share": 1.0, "start": "model.pt"},
]


@pytest.mark.parametrize("wrong", WRONG, ids=str)
def test_settings_that_make_no_sense_are_refused(wrong):
    with pytest.raises(IsacError, match=next(iter(wrong))):
        DistributedTraining(**wrong)


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_every_configuration_runs(config, drops, tmp_path):
    """One step of each with disturbed messages, validated, written and read again."""
    data = [f"--data.init_args.val_path={drops}", "--data.init_args.batch_size=2", "--data.init_args.fresh_batches=1"]
    small = ["--model.hidden=8", "--model.floats=2", "--model.disturbed=1.0"]
    limits = ["--trainer.max_steps=1", "--trainer.val_check_interval=1", "--trainer.accelerator=cpu"]
    quiet = [f"--output={tmp_path}", "--trainer.enable_progress_bar=false"]
    if config.stem in ("tune", "noise"):
        save_network(tmp_path / "before.pt", DistributedNetwork(8, 8, 2), {})
        quiet.append(f"--model.start={tmp_path / 'before.pt'}")
    train(["--config", str(config), *small, *data, *limits, *quiet], "tracking-distributed")
    kind: Any = stored_kind(tmp_path / "model.pt")
    network, facts = load_network(tmp_path / "model.pt", kind)
    assert network.rounds == 8
    assert "val/strict_ratio_r8" in facts["metrics"]
    events = EventAccumulator(str(tmp_path / "logs"))
    events.Reload()
    assert "val/share_against_rounds" in events.Tags()["images"]


def test_the_next_slot_changes_gains_and_nothing_else():
    scenario = TrackingScenario.of_size("8x6x2", pilot_length=3)
    problem = power_problem(scenario.sample(2, generator=torch.Generator().manual_seed(1)), scenario)
    same = moved(problem, 0.0, 0.0, torch.Generator().manual_seed(2))
    power = 0.1 * problem.link_budget
    torch.testing.assert_close(same.sinr(power), problem.sinr(power))
    after = moved(problem, 1.0, 0.0, torch.Generator().manual_seed(2))
    ratio = after.leakage / problem.leakage  # one number for each pair of a UE and an AP
    serving = ratio[..., : problem.num_comm_links].unflatten(2, (problem.num_ues, problem.serving))
    own = serving.diagonal(dim1=1, dim2=2).mT
    torch.testing.assert_close((after.signal / problem.signal).square(), own)
    shared = problem.coherent != 0
    torch.testing.assert_close((after.coherent[shared] / problem.coherent[shared]).square(), serving[shared])
    for row in range(problem.num_ues):
        for ap in range(problem.num_aps):
            there = problem.link_ap[0] == ap
            assert float(ratio[0, row, there].std(correction=0)) < 1e-12 or not bool(there.any())
    torch.testing.assert_close(after.echo / problem.echo, after.cross_echo / problem.cross_echo)
    spread = 10.0 * after.echo.div(problem.echo).log10()
    assert 0.3 < float(spread.std()) < 2.0
    passing = moved(problem, 0.0, 3.0, torch.Generator().manual_seed(2))
    changed = (passing.echo / problem.echo)[:, :, problem.num_comm_links :].unflatten(2, (problem.num_targets, -1))
    torch.testing.assert_close(changed[:, [0, 1], [0, 1]], torch.ones_like(changed[:, [0, 1], [0, 1]]))
    assert float(changed[:, 0, 1].log().std()) > 0.2


def test_a_share_of_the_weights_before_stays_in_those_that_are_stored(problem, tmp_path):
    torch.manual_seed(1)
    before = DistributedNetwork(8, 2, 2, 1)
    save_network(tmp_path / "before.pt", before, {})
    options = {"hidden": 8, "floats": 2, "exit_rounds": [0, 2], "start": str(tmp_path / "before.pt"), "average_decay": 0.1}
    module = DistributedTraining("distributed", rounds=2, prices=1, learning_rate=1e-2, start_share=0.25, **options)
    fit(module, (problem, {}), 3)
    first, last, stored = (network.state_dict() for network in (before, module.average, module.stored()))
    assert any(not torch.equal(first[name], last[name]) for name in first)
    for name, value in stored.items():
        torch.testing.assert_close(value, 0.25 * first[name] + 0.75 * last[name])


def test_a_training_goes_on_from_weights_of_its_own_size(tmp_path):
    torch.manual_seed(1)
    before = DistributedNetwork(8, 2, 2, 1)
    save_network(tmp_path / "before.pt", before, {})
    start = {"hidden": 8, "floats": 2, "exit_rounds": [0, 2], "start": str(tmp_path / "before.pt")}
    module = DistributedTraining("distributed", rounds=2, prices=1, **start)
    assert all(torch.equal(value, before.state_dict()[name]) for name, value in module.network.state_dict().items())
    with pytest.raises(CheckpointError, match="give those sizes"):
        DistributedTraining("distributed", rounds=2, prices=2, **start)
    with pytest.raises(CheckpointError, match="give those of"):
        DistributedTraining("unfolded", rounds=2, **start)
    with pytest.raises(IsacError, match=r"margin=\[0.1\] must be one number"):
        DistributedTraining("distributed", rounds=2, exit_rounds=[0, 2], margin=[0.1])
    assert DistributedTraining("unfolded", 2, exit_rounds=[0, 2], margin=[0.1, 0.2])._margin == {0: 0.1, 2: 0.2}
