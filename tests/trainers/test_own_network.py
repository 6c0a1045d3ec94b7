"""A network from outside the package is trained by the command, with loggers of the user's choice, and judged by its name."""

import csv
from typing import Any

import pytest
import torch
import yaml

from isac_torch.allocation import allocate
from isac_torch.allocators.registry import DOWNLINK_PILOTS, TRACKING
from isac_torch.allocators.tracking.learned import LearnedAllocator
from isac_torch.errors import AllocationError, CheckpointError, IsacError
from isac_torch.evaluation.benchmark import Case
from isac_torch.evaluation.card import weights_facts
from isac_torch.evaluation.measure import run_benchmark
from isac_torch.evaluation.tracking.view import VIEW
from isac_torch.nn.checkpoint import load_own_network, save_network
from isac_torch.nn.tracking.balance import start_logits
from isac_torch.nn.tracking.merit import directed_power
from isac_torch.nn.tracking.own import OwnNetwork
from isac_torch.tracking.build import power_problem
from isac_torch.tracking.requirement import Requirement
from isac_torch.tracking.scenario import TrackingScenario
from isac_torch.trainers.cli import train
from isac_torch.trainers.module import AllocationTraining
from tests.paths import ROOT

OWN = ROOT / "examples" / "own"


@pytest.fixture(autouse=True)
def path(monkeypatch):
    monkeypatch.syspath_prepend(OWN)


def argv(drops, output, *more):
    bar = ["--trainer.enable_progress_bar=false", "--trainer.accelerator=cpu"]
    place = [f"--data.init_args.path={drops}", f"--output={output}", f"--trainer.logger.init_args.save_dir={output}"]
    return ["--config", str(OWN / "train.yaml"), *place, *bar, *more]


@pytest.fixture(scope="module")
def own(drops, tmp_path_factory):
    """Folder of a training of the example's network, six steps. Not to be changed."""
    folder = tmp_path_factory.mktemp("own") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(OWN)
        train(argv(drops, folder, "--trainer.max_steps=6", "--trainer.val_check_interval=3", "--model.own.init_args.hidden=8"))
    return folder


def test_the_file_holds_the_network_which_its_name_gives_back(own, problem):
    import networks

    again = load_own_network(own / "model.pt", networks.ApNetwork)
    assert again.shape == {"class_path": "networks.ApNetwork", "init_args": {"hidden": 8, "layers": 2}}
    head: Any = again.module.head
    assert any(bool(value.abs().max() > 0) for value in head.parameters())  # it was zero before the training
    named = TRACKING.named("networks:ApNetwork", own / "model.pt")
    assert named.name == "networks:ApNetwork"
    found = allocate(problem, named)
    expected = directed_power(problem, again(problem, networks_graph(problem)))
    torch.testing.assert_close(found.power[:2], expected[:2], rtol=1e-3, atol=1e-6)
    assert bool((problem.ap_load(found.power) <= problem.budget * (1 + 1e-5)).all())


def networks_graph(problem):
    from isac_torch.tracking.graph import link_graph

    return link_graph(problem)


def test_it_stands_in_the_table_of_evaluate_with_its_weights(own, tmp_path):
    file = own / "model.pt"
    names = ["gnn_shipped", "networks:ApNetwork", "opc_batched"]
    allocators = {name: VIEW.allocator(name, file) for name in names}
    benchmark = run_benchmark(VIEW, Case(TrackingScenario.of_size("6x3x2"), 3, 9), allocators, tmp_path)
    rows = VIEW.summarise(benchmark)["allocators"]
    assert list(rows) == names
    assert 0.2 < rows["networks:ApNetwork"]["min_rate_ratio_mean"] <= 1.0
    assert TRACKING.weights_file("networks:ApNetwork", file) == file
    assert TRACKING.weights_file("opc_batched", file) is None
    facts = weights_facts(file)
    assert facts["network"]["class_path"] == "networks.ApNetwork"
    assert facts["parameters"] == sum(value.numel() for value in torch.load(own / "model.pt")["weights"].values())


def test_a_training_of_ones_own_network_goes_on(own, drops, tmp_path):
    options = ["--trainer.max_steps=4", "--model.own.init_args.hidden=8"]
    train(argv(drops, tmp_path / "run", *options))
    train(argv(drops, tmp_path / "run", "--trainer.max_steps=6", options[1], "--ckpt_path=last"))
    assert torch.load(tmp_path / "run" / "model.pt")["training"]["steps"] == 6


def test_the_logger_of_the_configuration_gets_the_metrics(own):
    with (own / "csv" / "version_0" / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {int(row["step"]) for row in rows if row["train/loss"]} == set(range(6))
    assert all(0.0 < float(row["val/min_rate_ratio"]) <= 1.0 for row in rows if row["val/min_rate_ratio"])
    told = yaml.safe_load((own / "csv" / "version_0" / "hparams.yaml").read_text())
    assert told["model/network"] == "networks.ApNetwork"
    assert not list(own.rglob("events.out.*"))


def test_several_loggers_write_side_by_side(drops, tmp_path):
    kinds = [
        {"class_path": "lightning.pytorch.loggers.CSVLogger", "init_args": {"save_dir": str(tmp_path), "name": "csv"}},
        {"class_path": "lightning.pytorch.loggers.TensorBoardLogger", "init_args": {"save_dir": str(tmp_path), "name": "tb"}},
    ]
    given = yaml.safe_load((OWN / "train.yaml").read_text())
    given["trainer"] |= {"logger": kinds, "max_steps": 1, "enable_progress_bar": False, "accelerator": "cpu"}
    given["data"]["init_args"]["path"] = str(drops)
    (tmp_path / "train.yaml").write_text(yaml.safe_dump(given))
    train(["--config", str(tmp_path / "train.yaml"), f"--output={tmp_path / 'run'}"])
    assert list(tmp_path.glob("csv/*/metrics.csv"))
    assert list(tmp_path.glob("tb/*/events.out.*"))


class Constant(torch.nn.Module):
    """Answers with ones of a shape, in units of its one parameter."""

    def __init__(self, extra: int = 0) -> None:
        super().__init__()
        self.extra, self.weight = extra, torch.nn.Parameter(torch.zeros(1))

    def forward(self, problem, graph):
        return self.weight * torch.ones(problem.num_drops, problem.num_links + self.extra)


def test_zeros_leave_the_directions_that_need_no_training(problem):
    training = AllocationTraining(own=Constant())
    assert training.hparams["network"].endswith("test_own_network.Constant")
    assert isinstance(training.network, OwnNetwork)
    torch.testing.assert_close(training.network.points(problem)[-1], start_logits(problem))
    loss = training.network.loss(problem, training.network.points(problem)[-1], 1.0)
    loss.sum().backward()
    (weight,) = training.network.module.parameters()
    assert weight.grad is not None
    assert bool(weight.grad.isfinite().all())


def refused(kind, act, *words):
    with pytest.raises(kind) as caught:
        act()
    message = str(caught.value)
    assert "\n" not in message
    assert all(word in message for word in words), message


def test_what_does_not_fit_is_refused_in_one_line(own, problem, tmp_path):
    refused(IsacError, lambda: OwnNetwork(Constant(extra=1)).points(problem), "(12, 25)", "(12, 24)", "(12, 30)")
    refused(AllocationError, lambda: TRACKING.named("networks:ApNetwork"), "give its weights")
    place = "networks:ApNetwork", own / "model.pt"
    refused(AllocationError, lambda: DOWNLINK_PILOTS.named(*place), "tracking system")
    refused(CheckpointError, lambda: LearnedAllocator.load(own / "model.pt"), "a network of one's own", "package.module:Name")
    refused(CheckpointError, lambda: load_own_network(own / "model.pt", Constant), "networks.ApNetwork", "Constant")
    scenario = TrackingScenario.of_size("6x3x2", requirement=Requirement(kind="dominate"))
    asks = power_problem(scenario.sample(1, generator=torch.Generator().manual_seed(1)), scenario)
    refused(AllocationError, lambda: TRACKING.named(*place).propose(asks), "sir or none")
    changed = OwnNetwork(Constant(), {"extra": 2})
    next(changed.module.parameters()).data[:] = torch.nan
    save_network(tmp_path / "a.pt", changed, {})
    refused(CheckpointError, lambda: load_own_network(tmp_path / "a.pt", Constant), "not finite")
    save_network(tmp_path / "b.pt", OwnNetwork(Constant(), {"width": 2}), {})
    refused(CheckpointError, lambda: load_own_network(tmp_path / "b.pt", Constant), "does not take", "width")
