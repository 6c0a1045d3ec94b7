"""What one training step does: its learning rate, the running average of the weights, what the network is asked for."""

from types import SimpleNamespace

import pytest
import torch

from isac_torch.nn.tracking.merit import MAX_MIN, Aim
from isac_torch.trainers.module import AllocationTraining
from isac_torch.trainers.pilot import DownlinkPilotTraining
from isac_torch.trainers.settings import LossSettings, NetworkSettings, OptimiserSettings

TINY = {"hidden": 8, "layers": 1, "refinements": 1, "steps": 1}
SIZES = NetworkSettings(**TINY)


def at_step(module, step, total=100):
    module.trainer = SimpleNamespace(global_step=step, estimated_stepping_batches=total)
    return module


OPTIMISER = {"learning_rate": 1e-2, "warmup_steps": 10, "weight_decay": 0.03}


@pytest.mark.parametrize(
    "make",
    [
        lambda: AllocationTraining(SIZES, optimiser=OptimiserSettings(**OPTIMISER)),
        lambda: DownlinkPilotTraining(**TINY, **OPTIMISER),
    ],
    ids=["tracking", "downlink_pilots"],
)
def test_learning_rate_rises_evenly_then_falls_to_two_percent(make):
    module = at_step(make(), 0)
    made = module.configure_optimizers()
    assert made["optimizer"].defaults["weight_decay"] == 0.03
    assert made["lr_scheduler"]["interval"] == "step"
    factor = made["lr_scheduler"]["scheduler"].lr_lambdas[0]
    assert made["optimizer"].param_groups[0]["initial_lr"] == 1e-2
    assert factor(0) == pytest.approx(0.1)  # the first of ten steps of the warm-up, the cosine still at its top
    assert factor(4) == pytest.approx(0.5, rel=5e-3)
    assert factor(50) == pytest.approx(0.51)
    assert factor(100) == pytest.approx(0.02)
    assert factor(250) == factor(100)  # a run that is longer than planned stays at the end of the cosine
    later = [factor(step) for step in range(10, 101)]
    assert later == sorted(later, reverse=True)


def test_the_average_follows_quickly_at_first_and_slowly_later():
    for step, share in ((0, 0.9), (8, 0.5), (10_000, 0.01)):  # 1 - (1 + n) / (10 + n), at least 1 - average_decay
        module = at_step(AllocationTraining(SIZES, optimiser=OptimiserSettings(average_decay=0.99)), step)
        with torch.no_grad():
            for mean, value in zip(module.average.parameters(), module.network.parameters(), strict=True):
                mean.zero_()
                value.fill_(1.0)
        module.on_train_batch_end()
        for mean in module.average.parameters():
            assert torch.allclose(mean, torch.full_like(mean, share), rtol=1e-5)


def test_both_families_take_turns_and_each_fourth_step_is_for_fairness():
    module = AllocationTraining(SIZES, LossSettings(fair_every=4))
    asked = [at_step(module, step)._aim() for step in range(8)]
    plain, others = Aim(by_ue_beams=False), Aim(by_ue_beams=True)
    fair = [Aim("proportional_fair", by_ue_beams=False), Aim("proportional_fair", by_ue_beams=True)]
    assert asked == [plain, others, plain, fair[0], plain, others, plain, fair[1]]
    never = AllocationTraining(SIZES)
    assert [at_step(never, step)._aim() for step in range(4)] == [plain, others, plain, others]
    single = AllocationTraining(NetworkSettings("one_shot", **TINY), LossSettings(fair_every=2))
    assert {at_step(single, step)._aim() for step in range(4)} == {MAX_MIN}


def test_hybrid_goes_evenly_from_labels_to_rates():
    module = AllocationTraining(SIZES, LossSettings("hybrid", supervised_steps=10))
    assert [at_step(module, step)._supervised_share() for step in (0, 5, 10, 25)] == pytest.approx([1.0, 0.5, 0.0, 0.0])
    for objective, share in (("supervised", 1.0), ("unsupervised", 0.0)):
        assert at_step(AllocationTraining(SIZES, LossSettings(objective)), 3)._supervised_share() == share
