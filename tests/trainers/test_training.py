"""Objectives, the Lightning modules, and every configuration that comes with the project, on tiny runs."""

import pytest
import torch
from lightning import Trainer

from isac_torch.allocation import allocate
from isac_torch.allocators.tracking.learned import FirstOrder, LearnedAllocator
from isac_torch.errors import IsacError
from isac_torch.nn.checkpoint import load_network
from isac_torch.nn.tracking.balance import start_logits
from isac_torch.nn.tracking.merit import training_loss
from isac_torch.nn.tracking.network import AllocationNetwork
from isac_torch.nn.tracking.one_shot import OneShotNetwork
from isac_torch.trainers.cli import train
from isac_torch.trainers.module import AllocationTraining
from isac_torch.trainers.objectives import clipped_gradient, supervised_loss
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
    module = AllocationTraining(objective, **TINY, learning_rate=1e-2, supervised_steps=10, average_decay=0.5)
    before = allocate(problem, LearnedAllocator(module.average)).value.log().mean()
    fit(module, (problem, label), 8)
    after = allocate(problem, LearnedAllocator(module.average)).value.log().mean()
    assert float(after) > float(before)


def test_multiplier_follows_the_violations(problem):
    for allowed, rises in ((0.0, True), (1.0, False)):
        torch.manual_seed(0)
        module = AllocationTraining(**TINY, row_weight_step=1.0, row_violations=allowed)
        hard = type(problem)(**{**vars(problem), "sir_min": problem.sir_min * 100.0})
        fit(module, (hard, {}), 3)
        assert (float(module.row_weight) > 3.0) is rises


def test_a_supervised_run_without_labels_says_so(problem):
    with pytest.raises(IsacError, match="needs labels"):
        fit(AllocationTraining("supervised", **TINY), (problem, {}), 1)


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_every_configuration_runs(config, drops, tmp_path):
    """One step of each, with a small network and the tiny drops in place of the data sets that they name."""
    small = [text for key, value in TINY.items() for text in (f"--model.{key}", str(value))]
    fresh = "fresh_batches" in config.read_text()
    data = [f"--data.init_args.val_path={drops}", *([] if fresh else [f"--data.init_args.path={drops}"])]
    data += ["--data.init_args.batch_size=2", *(["--data.init_args.fresh_batches=1"] if fresh else [])]
    limits = ["--trainer.max_steps=1", "--trainer.val_check_interval=1", "--trainer.accelerator=cpu"]
    train(["--config", str(config), *small, *data, *limits, f"--output={tmp_path}", "--trainer.enable_progress_bar=false"])
    kind = OneShotNetwork if config.stem == "one_shot" else AllocationNetwork
    network, _ = load_network(tmp_path / "model.pt", kind)
    assert network.shape.items() <= TINY.items()
