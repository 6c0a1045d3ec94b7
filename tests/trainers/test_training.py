"""Objectives, the Lightning modules, and every configuration that comes with the project, on tiny runs."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from lightning import Trainer

from isac_torch.allocation import allocate
from isac_torch.allocators.tracking.learned import FirstOrder, LearnedAllocator
from isac_torch.datasets.fresh import EitherMix, FactorMix, SirMix
from isac_torch.datasets.module import PowerDataModule
from isac_torch.errors import CheckpointError, IsacError
from isac_torch.nn.checkpoint import load_network, save_network, stored_kind
from isac_torch.nn.tracking.balance import start_logits
from isac_torch.nn.tracking.merit import training_loss
from isac_torch.nn.tracking.share_network import ShareNetwork
from isac_torch.tracking.build import power_problem
from isac_torch.tracking.requirement import Requirement
from isac_torch.tracking.scenario import TrackingScenario
from isac_torch.trainers.cli import train
from isac_torch.trainers.module import AllocationTraining
from isac_torch.trainers.objectives import clipped_gradient, supervised_loss
from isac_torch.trainers.settings import LossSettings, NetworkSettings, OptimiserSettings
from tests.paths import ROOT

CONFIGS = sorted((ROOT / "configs" / "train").glob("*.yaml"))
TINY = {"hidden": 8, "layers": 1, "refinements": 1, "steps": 2}


class Fixed:
    """A data loader that gives the same batch `count` times."""

    def __init__(self, batch, count):
        self.batch, self.count = batch, count

    def __iter__(self):
        return iter([self.batch] * self.count)

    def __len__(self):
        return self.count


def fit(module, batch, steps, **options):
    trainer = Trainer(
        max_steps=steps, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, inference_mode=False, num_sanity_val_steps=0, limit_val_batches=0, **options,
    )  # fmt: skip
    trainer.fit(module, Fixed(batch, steps))
    return trainer


def test_labels_own_shares_have_the_smallest_supervised_loss(problem):
    label = allocate(problem, FirstOrder(20)).power
    logits = start_logits(problem)
    perfect = torch.cat([label.clamp_min(1e-12).log(), logits[:, problem.num_links :]], 1)
    at_label, at_start = (supervised_loss(problem, guess, label) for guess in (perfect, logits))
    gradient, _ = clipped_gradient(lambda leaf: supervised_loss(problem, leaf, label), perfect)
    assert bool((at_label <= at_start + 1e-6).all())
    assert float(gradient.abs().max()) < 1e-3


def test_no_drop_pulls_harder_than_the_median(problem):
    logits = start_logits(problem)
    gradient, value = clipped_gradient(lambda leaf: training_loss(problem, leaf, 3.0), logits)
    length = gradient.norm(dim=-1)
    assert float(length.max()) <= float(length.median()) * (1 + 1e-5)
    assert bool(value.isfinite().all())


@pytest.mark.parametrize("objective", ["unsupervised", "supervised", "hybrid"])
def test_every_objective_improves_the_drops_it_sees(problem, objective):
    label = {"power": allocate(problem, FirstOrder(30)).power}
    torch.manual_seed(0)
    module = AllocationTraining(
        NetworkSettings(**TINY), LossSettings(objective, supervised_steps=10), OptimiserSettings(1e-2, average_decay=0.5)
    )
    before = allocate(problem, LearnedAllocator(module.average)).value.log().mean()
    fit(module, (problem, label), 8)
    after = allocate(problem, LearnedAllocator(module.average)).value.log().mean()
    assert float(after) > float(before)


def test_multiplier_follows_the_violations(problem):
    for allowed, rises in ((0.0, True), (1.0, False)):
        torch.manual_seed(0)
        module = AllocationTraining(NetworkSettings(**TINY), LossSettings(sensing_weight_step=1.0, sensing_violations=allowed))
        hard = replace(problem, sir_min=problem.sir_min * 100.0)
        fit(module, (hard, {}), 3)
        assert (float(module.row_weight) > 3.0) is rises


def test_a_supervised_run_without_labels_says_so(problem):
    with pytest.raises(IsacError, match="needs labels"):
        fit(AllocationTraining(NetworkSettings(**TINY), LossSettings("supervised")), (problem, {}), 1)


def test_the_share_network_learns_without_labels_and_knows_no_others():
    scenario = TrackingScenario.of_size("8x4x2", requirement=Requirement("dominate"))
    drops = scenario.sample(8, generator=torch.Generator().manual_seed(1_800_000_001))
    problem = power_problem(drops, scenario).cast(torch.float32)
    torch.manual_seed(0)
    module = AllocationTraining(NetworkSettings("shares", **TINY), optimiser=OptimiserSettings(1e-2, average_decay=0.5))

    def loss():
        with torch.no_grad():
            return float(module.average.loss(problem, module.average.points(problem)[0], 3.0).mean())

    before = loss()
    fit(module, (problem, {}), 6)
    assert loss() < before
    with pytest.raises(IsacError, match="unsupervised"):
        AllocationTraining(NetworkSettings("shares", **TINY), LossSettings("supervised"))


def test_a_training_goes_on_from_the_weights_of_the_same_network(tmp_path):
    torch.manual_seed(1)
    before = ShareNetwork(**TINY)
    with torch.no_grad():
        before.encode_link.bias.fill_(0.25)
    start = str(tmp_path / "before.pt")
    save_network(tmp_path / "before.pt", before, {})
    module = AllocationTraining(NetworkSettings("shares", **TINY), start=start)
    for network in (module.network, module.average):
        torch.testing.assert_close(network.state_dict(), before.state_dict(), rtol=0.0, atol=0.0)
    assert module.hparams["start"] == start
    with pytest.raises(CheckpointError, match="give those sizes"):
        AllocationTraining(NetworkSettings("shares", **{**TINY, "steps": 3}), start=start)
    with pytest.raises(CheckpointError, match="a network for requirements of every kind"):
        AllocationTraining(NetworkSettings(**TINY), start=start)
    with pytest.raises(CheckpointError, match="no such checkpoint"):
        AllocationTraining(NetworkSettings("shares", **TINY), start=str(tmp_path / "nowhere.pt"))
    with pytest.raises(IsacError, match="leave start out"):
        AllocationTraining(own=torch.nn.Linear(2, 2), start=start)


def test_factors_are_drawn_per_drop_and_scale_every_constraint():
    scenario = TrackingScenario.of_size("8x4x2", requirement=Requirement("dominate"))
    problem = power_problem(scenario.sample(40, generator=torch.Generator().manual_seed(1_800_000_002)), scenario)
    mix = FactorMix(0.7, 0.9, own_share=0.5)
    asked = mix.vary(problem, mix.limit(problem), torch.Generator().manual_seed(1))
    assert asked.position is not None
    assert problem.position is not None
    factor = asked.sir_min / problem.sir_min
    assert bool((factor - factor[:, :1]).abs().max() < 1e-12)
    assert bool(((asked.position.required / problem.position.required - factor[:, :1]).abs() < 1e-12).all())
    own = factor[:, 0] == 1.0
    assert 8 < int(own.sum()) < 32
    assert bool(((factor[~own] >= 0.7) & (factor[~own] <= 0.9)).all())


def test_either_a_sir_or_a_factor_is_drawn_as_the_scenario_requires():
    mix = EitherMix(SirMix(-8.0, -7.0, tight_share=0.0), FactorMix(0.7, 0.9, own_share=0.0))
    asked = []
    for kind in ("sir", "dominate"):
        scenario = TrackingScenario.of_size("8x4x2", requirement=Requirement(kind))
        problem = power_problem(scenario.sample(6, generator=torch.Generator().manual_seed(1_800_000_003)), scenario)
        asked.append(mix.vary(problem, mix.limit(problem), torch.Generator().manual_seed(1)).sir_min / problem.sir_min)
    with pytest.raises(IsacError, match="give one of them"):
        PowerDataModule(path=ROOT, fresh_sir=mix.sir, fresh_factor=mix.factor)
    assert bool((asked[0] <= 10 ** (-0.7 + 0.5)).all())  # SIR0 from -8 to -7 dB, or the most that is possible, over -5 dB
    assert bool(((asked[1] >= 0.7) & (asked[1] <= 0.9)).all())


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_every_configuration_runs(config, drops, tmp_path):
    """One step of each, with a small network and the tiny drops in place of the data sets that they name."""
    small = [text for key, value in TINY.items() for text in (f"--model.network.{key}", str(value))]
    fresh = "fresh_batches" in config.read_text()
    data = [f"--data.init_args.val_path={drops}", *([] if fresh else [f"--data.init_args.path={drops}"])]
    data += ["--data.init_args.batch_size=2", *(["--data.init_args.fresh_batches=1"] if fresh else [])]
    limits = ["--trainer.max_steps=1", "--trainer.val_check_interval=1", "--trainer.accelerator=cpu"]
    if "start:" in config.read_text():
        save_network(tmp_path / "before.pt", ShareNetwork(**TINY), {})
        data.append(f"--model.start={tmp_path / 'before.pt'}")
    train(["--config", str(config), *small, *data, *limits, f"--output={tmp_path}", "--trainer.enable_progress_bar=false"])
    kind: Any = stored_kind(tmp_path / "model.pt")
    network, _ = load_network(tmp_path / "model.pt", kind)
    assert network.shape.items() <= TINY.items()
