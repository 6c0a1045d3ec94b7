"""What each part of the learned allocator is worth: variants trained for the same CPU time, several seeds, the same drops.

    python benchmarks/ablation.py --json runs/ablation.json                # every variant x 2 seeds x 75 s: about 50 minutes
    python benchmarks/ablation.py --json /tmp/a.json --seconds 5 --seeds 0 --variants base no_steps

Training drops are drawn once, before any clock starts. Each run has one thread and its own share of CPU seconds, in which it
takes as many steps as it can; the learning rate falls with the time used. All are judged on fresh drops that no other table
uses, raw: without repair. Prints one line per run and one per variant. `lost` is the mean over the drops of the ratio of
`base` (same seed) less the variant's own, and `lost_se` the standard error of this mean over the drops.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from isac_torch.allocation import allocate
from isac_torch.allocators.tracking.batched import BatchedOptimal
from isac_torch.allocators.tracking.learned import LearnedAllocator
from isac_torch.datasets.fresh import FreshBatches, SirMix
from isac_torch.evaluation.tracking.metrics import SIR_MARGIN
from isac_torch.graph import LinkGraph
from isac_torch.nn.tracking.balance import balance
from isac_torch.nn.tracking.merit import MAX_MIN, Aim, sensing_shortfall, training_loss
from isac_torch.nn.tracking.network import AllocationNetwork
from isac_torch.tracking.build import power_problem
from isac_torch.tracking.graph import link_graph
from isac_torch.tracking.problem import MaxMinSinrProblem
from isac_torch.tracking.scenario import TrackingScenario
from isac_torch.trainers.objectives import clipped_gradient, supervised_loss

TRAIN_SEED, TEST_SEED = 1_900_000_000, 70_000_000
POOL_BATCHES, BATCH = 48, 64


class Deaf(AllocationNetwork):
    """No messages between a link and the UEs that it disturbs."""

    def trajectory(self, problem: MaxMinSinrProblem, graph: LinkGraph, aim: Aim = MAX_MIN) -> Iterator[Tensor]:
        """As of the network, with empty blocks."""
        none = {name: torch.zeros_like(getattr(graph, name)) for name in ("disturbance", "disturbance_share")}
        return super().trajectory(problem, replace(graph, **none), aim)


class Blind(AllocationNetwork):
    """No messages at all from rows: targets and links do not hear of illumination and clutter."""

    def trajectory(self, problem: MaxMinSinrProblem, graph: LinkGraph, aim: Aim = MAX_MIN) -> Iterator[Tensor]:
        """As of the network, with empty blocks."""
        none = {name: torch.zeros_like(getattr(graph, name)) for name in ("illumination", "clutter")}
        return super().trajectory(problem, replace(graph, **none), aim)


def linear_rate_loss(problem: MaxMinSinrProblem, logits: Tensor) -> Tensor:
    """The rate itself in place of its logarithm."""
    balanced = balance(problem, logits)
    return 4.0 * sensing_shortfall(problem, balanced.power).sum(-1) - torch.log2(1.0 + balanced.common_sinr)


@dataclass(frozen=True)
class Variant:
    """One way to build and train; everything not named is as in `base`."""

    what: str
    network: type[AllocationNetwork] = AllocationNetwork
    hidden: int = 48
    layers: int = 2
    refinements: int = 2
    steps: int = 10
    sensing_weight: float = 4.0
    multiplier_step: float = 0.0
    supervised_share: float = 0.0
    linear: bool = False
    clip: bool = True
    average: float = 0.995
    without: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """Columns of the features that are set to zero, by the encoder that reads them."""

    def built(self) -> AllocationNetwork:
        """The network, before training."""
        network = self.network(self.hidden, self.layers, self.refinements, self.steps)
        for name, columns in self.without.items():
            getattr(network, name).register_forward_pre_hook(partial(_read_without, columns))
        return network


def _read_without(columns: tuple[int, ...], _: nn.Module, given: tuple[Tensor]) -> tuple[Tensor]:
    """Input of an encoder with `columns` at zero."""
    kept = torch.ones(given[0].shape[-1], dtype=given[0].dtype)
    kept[list(columns)] = 0.0
    return (given[0] * kept,)


VARIANTS = {
    "base": Variant("2 layers, 2 gradient-fed ones, 10 learned steps, width 48"),
    "no_steps": Variant("without the learned steps", steps=0),
    "one_correction": Variant("one correction only, no gradient-fed layers, no steps", layers=4, refinements=0, steps=0),
    "twenty_steps": Variant("20 learned steps", steps=20),
    "wide": Variant("width 96", hidden=96),
    "deaf": Variant("no messages between links and the UEs that they disturb", network=Deaf),
    "blind": Variant("no messages between links and sensing constraints", network=Blind),
    "supervised_start": Variant("first fifth of the time on labels", supervised_share=0.2),
    "multiplier": Variant("multiplier follows the share of violated sensing constraints", multiplier_step=0.2),
    "linear_rate": Variant("rate in the loss, not its logarithm", linear=True),
    "unclipped": Variant("drops' gradients not cut to the median", clip=False),
    "no_tokens": Variant("all features but the kind of link", without={"encode_link": (1, 2, 3, 4), "encode_ue": (0, 1, 2)}),
    "no_gains": Variant(
        "own gain or echo, and that relative to the best link", without={"encode_link": (1, 2), "encode_ue": (0,)}
    ),
    "no_disturbance": Variant("sum and worst of the disturbance N P", without={"encode_link": (3, 4), "encode_ue": (1,)}),
    "no_shared_pilots": Variant("interference of shared pilots", without={"encode_ue": (2,)}),
}


def train(variant: Variant, pool: list[tuple[MaxMinSinrProblem, Tensor]], seed: int, seconds: float) -> AllocationNetwork:
    """A network trained for `seconds` of CPU time, the running average of its weights."""
    torch.manual_seed(seed)
    network = variant.built().train()
    average = variant.built().requires_grad_(False)
    average.load_state_dict(network.state_dict())
    optimizer = torch.optim.AdamW(network.parameters(), 2e-3, weight_decay=1e-2)
    dice = torch.Generator().manual_seed(seed)
    weight, step, start = variant.sensing_weight, 0, time.process_time()
    while (spent := (time.process_time() - start) / seconds) < 1.0:
        problem, label = pool[int(torch.randint(len(pool), (), generator=dice))]
        optimizer.param_groups[0]["lr"] = 2e-3 * min(1.0, (step + 1) / 20) * (0.51 + 0.49 * math.cos(math.pi * spent))
        points = list(network.trajectory(problem, link_graph(problem)))
        total = torch.zeros(())
        losses = _losses(variant, problem, label, weight, supervised=spent < variant.supervised_share)
        for share, point in ((1.0, points[-1]), (0.3, points[variant.refinements])):
            total = total + share * (_pull(losses, point, variant.clip) * point).sum() / BATCH
        optimizer.zero_grad()
        total.backward()
        if bool(torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0).isfinite()):
            optimizer.step()
        if variant.multiplier_step:
            weight = _next_weight(weight, variant.multiplier_step, problem, points[-1])
        step += 1
        with torch.no_grad():
            for mean, value in zip(average.parameters(), network.parameters(), strict=True):
                mean.lerp_(value, 1.0 - min(variant.average, (1 + step) / (10 + step)))
    return average.eval()


def _losses(
    variant: Variant, problem: MaxMinSinrProblem, label: Tensor, weight: float, *, supervised: bool
) -> Callable[[Tensor], Tensor]:
    if supervised:
        return lambda leaf: supervised_loss(problem, leaf, label)
    if variant.linear:
        return lambda leaf: linear_rate_loss(problem, leaf)
    return lambda leaf: training_loss(problem, leaf, weight)


def _pull(loss: Callable[[Tensor], Tensor], point: Tensor, clip: bool) -> Tensor:
    if clip:
        return clipped_gradient(loss, point)[0]
    leaf = point.detach().requires_grad_()
    return torch.autograd.grad(loss(leaf).sum(), leaf)[0].nan_to_num(0.0, 0.0, 0.0)


def _next_weight(weight: float, step: float, problem: MaxMinSinrProblem, logits: Tensor) -> float:
    missed = sensing_shortfall(problem, balance(problem, logits.detach()).power, margin=0.0) > 1e-4
    return min(max(weight * math.exp(step * (float(missed.float().mean()) - 0.005)), 0.1), 100.0)


def judge(network: AllocationNetwork, problem: MaxMinSinrProblem, optimum: Tensor) -> tuple[dict[str, float], Tensor]:
    """Ratios of the smallest rate to the certified optimum's on feasible drops, the share of targets missed; all ratios."""
    start = time.process_time()
    power = allocate(problem, LearnedAllocator(network)).power
    spent = time.process_time() - start
    ratio = (torch.log2(1 + problem.objective(power)) / torch.log2(1 + optimum)).clamp_max(1.0)
    missed = problem.sir(power) < problem.sir_min * SIR_MARGIN
    strict = torch.where(missed.any(-1), 0.0, ratio)
    found = {
        "mean": float(ratio.mean()),
        "p5": float(ratio.quantile(0.05)),
        "strict": float(strict.mean()),
        "missed": float(missed.double().mean()),
        "ms_per_drop": 1e3 * spent / problem.num_drops,
    }
    return found, ratio


def draw_pool(scenario: TrackingScenario, *, labelled: bool) -> list[tuple[MaxMinSinrProblem, Tensor]]:
    """Training drops of the paper's size with mixed SIR0, and their optimal powers or, where nobody reads them, zeros."""
    batches = FreshBatches([scenario], BATCH, POOL_BATCHES, seed=TRAIN_SEED, dtype=torch.float64, mix=SirMix())
    engine = BatchedOptimal()
    drawn = [problem for problem, _ in batches if isinstance(problem, MaxMinSinrProblem)]
    labels = [allocate(problem, engine).power if labelled else torch.zeros_like(problem.link_budget) for problem in drawn]
    return [(problem.cast(torch.float32), label.float()) for problem, label in zip(drawn, labels, strict=True)]


def main() -> int:
    """Run what the arguments ask for and write the JSON file after every run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=75.0, help="CPU seconds of training a run")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--drops", type=int, default=400)
    parser.add_argument("--pilots", type=int, help="pilots of the 16 UEs in training and in the judged drops; 16 unless given")
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.json.parent.mkdir(parents=True, exist_ok=True)

    scenario = TrackingScenario(pilot_length=options.pilots)
    test = power_problem(scenario.sample(options.drops, generator=torch.Generator().manual_seed(TEST_SEED)), scenario)
    answer = allocate(test, BatchedOptimal())
    feasible = (answer.violation <= 1e-6).nonzero()[:, 0]
    test, optimum = test.select(feasible), answer.value[feasible]
    pool = draw_pool(scenario, labelled=any(VARIANTS[name].supervised_share for name in options.variants))
    found: dict[str, Any] = {"seconds": options.seconds, "drops": len(feasible), "runs": {}}
    for seed in options.seeds:
        base: Tensor | None = None
        for name in options.variants:
            result, ratio = judge(train(VARIANTS[name], pool, seed, options.seconds), test, optimum)
            base = ratio if name == "base" else base
            if base is not None:
                lost = base - ratio
                result |= {"lost": float(lost.mean()), "lost_se": float(lost.std() / math.sqrt(len(lost)))}
            found["runs"].setdefault(name, []).append(result)
            print(f"{name:18s} seed {seed} " + " ".join(f"{key} {value:.4f}" for key, value in result.items()), flush=True)
            options.json.write_text(json.dumps(found, indent=1) + "\n")
    for name, runs in found["runs"].items():
        means = {key: sum(run[key] for run in runs) / len(runs) for key in runs[0]}
        print(f"{name:18s} {VARIANTS[name].what:62s} " + " ".join(f"{key} {value:.4f}" for key, value in means.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
