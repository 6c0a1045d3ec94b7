"""The network that chooses pilot lengths of a frame: its training, and how much of the exact choice's rate it keeps.

    python benchmarks/frame_policy.py train --roads 24 --output frames.npz      # from the root of the project
    python benchmarks/frame_policy.py judge --num_ues 2 --roads 100 --json judged.json

`train` solves the first lengths that meet every bound on roads of 2, 3, 4 and 6 UEs at six values of Gamma, as many roads of
each. `judge` compares with the search over all lengths, on fresh roads: the network, the simple rule "tau_d with which the best
powers locate `slack` times as well as asked for", and the best single tau_d, chosen on these very roads.
"""

from __future__ import annotations

import argparse
import io
import json
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from isac_torch import DownlinkPilotScenario
from isac_torch.allocators.downlink_pilots.frame import best_frame, frame_at
from isac_torch.allocators.downlink_pilots.frame_policy import (
    chosen_downlink,
    lengths_of,
    load_scorer,
    roomy_downlink,
    scorer,
)
from isac_torch.files import write_whole

if TYPE_CHECKING:
    from torch import Tensor

    from isac_torch.allocators.downlink_pilots.frame_policy import Lengths
    from isac_torch.downlink_pilots.drop import DownlinkPilotDrop

_UES, _GAMMAS, _SOLVED = (2, 3, 4, 6), (0.5, 0.7, 1.0, 1.0, 1.5, 2.0), 6
"""UEs, Gamma (m2) and lengths per road of the training."""
_SEED = 995_000
_SHARP, _FAR, _CLOSE = 50.0, 0.3, 6.0
"""Of the choice in the training's loss; weight of the errors of single scores; how much less those count that are far below."""


@dataclass(frozen=True)
class Labels:
    """Roads with exact rates: inputs [road, length, input]; left, log of the data's share; rate, bit/s, 0 without a frame."""

    inputs: Tensor
    left: Tensor
    rate: Tensor


def labelled(num_ues: int, crb_max: float, roads: int, seed: int) -> Labels:
    """Roads at their first lengths that meet Gamma."""
    scenario = DownlinkPilotScenario(num_ues=num_ues, crb_max=crb_max, uplink_symbols=num_ues, downlink_symbols=num_ues)
    drop = scenario.sample(roads, generator=torch.Generator().manual_seed(seed))
    lengths = lengths_of(drop, scenario)
    downlink = lengths.candidates[:, :_SOLVED]
    rate = [frame_at(drop, scenario, column.tolist(), [num_ues] * roads).rate for column in downlink.T]
    return Labels(lengths.inputs(downlink), lengths.left(downlink), torch.stack(rate, -1))


def fit(labels: list[Labels], seed: int = 7, steps: int = 700) -> torch.nn.Sequential:
    """A scorer whose choice loses little, and whose scores differ as the logs of the rates do."""
    inputs, left, rate = (torch.cat([getattr(part, name) for part in labels]) for name in ("inputs", "left", "rate"))
    some = rate.amax(-1) > 0
    inputs, left, rate = inputs[some], left[some].clamp_min(-7.0), rate[some]
    below = (rate / rate.amax(-1, keepdim=True)).clamp_min(0.5).log()
    met = (rate > 0).to(rate)
    torch.manual_seed(seed)
    network = scorer()
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-2, weight_decay=3e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for _ in range(steps):
        score = network(inputs)[..., 0] + left
        lost = ((_SHARP * score).softmax(-1) * (1.0 - below.exp())).sum(-1).mean()
        wrong = score - below
        wrong = wrong - (wrong * met).sum(-1, keepdim=True) / met.sum(-1, keepdim=True)
        loss = lost + _FAR * (met * wrong.square() * (_CLOSE * below).exp()).sum() / met.sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return network.requires_grad_(False)


def save(network: torch.nn.Sequential, path: Path) -> None:
    """Write the weights as the package reads them."""
    state = {name: value.numpy() for name, value in network.state_dict().items()}
    buffer = io.BytesIO()
    np.savez(buffer, **state)
    write_whole(path, buffer.getvalue())


def judged(
    network: torch.nn.Sequential, lengths: Lengths, drop: DownlinkPilotDrop, scenario: DownlinkPilotScenario, exact: Tensor
) -> dict[str, Any]:
    """Share of the exact choice's net rate that each way of choosing keeps, over the roads that have a frame."""

    def shares(downlink: list[int]) -> Tensor:
        rate = frame_at(drop, scenario, downlink, [scenario.num_ues] * drop.num_drops).rate
        return (rate / exact)[exact > 0]

    ways = {"network": shares(chosen_downlink(lengths, network).tolist())}
    for slack in (1.0, 1.2, 1.25, 1.3, 1.35):
        ways[f"slack {slack}"] = shares(roomy_downlink(lengths, slack).tolist())
    fixed = {
        f"fixed {symbols}": shares([symbols] * drop.num_drops) for symbols in range(scenario.num_ues, scenario.num_ues + 8)
    }
    ways |= dict([max(fixed.items(), key=lambda item: float(item[1].mean()))])
    return {
        name: {
            "mean": float(share.mean()),
            "standard_error": float(share.std() / len(share) ** 0.5),
            "p5": float(share.quantile(0.05)),
            "worst": float(share.min()),
        }
        for name, share in ways.items()
    }


def main() -> None:
    """Train or judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["train", "judge"])
    parser.add_argument("--roads", type=int, default=24)
    parser.add_argument("--num_ues", type=int, default=2)
    parser.add_argument("--seed", type=int, default=996_700)
    parser.add_argument("--network", type=Path, help="file of `train`; default the one that comes with the package")
    parser.add_argument("--output", type=Path, default=Path("frames.npz"))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.what == "train":
        settings = [(ues, gamma, _SEED + 20 * ues + place) for place, gamma in enumerate(_GAMMAS) for ues in _UES]
        save(fit([labelled(ues, gamma, options.roads, seed) for ues, gamma, seed in settings]), options.output)
        return
    scenario = DownlinkPilotScenario(num_ues=options.num_ues)
    shortest = replace(scenario, downlink_symbols=options.num_ues, uplink_symbols=options.num_ues)
    drop = shortest.sample(options.roads, generator=torch.Generator().manual_seed(options.seed))
    begin = time.process_time()
    exact = best_frame(drop, scenario).rate
    searched = time.process_time() - begin
    lengths = lengths_of(drop, scenario)
    told = judged(load_scorer(options.network), lengths, drop, scenario, exact)
    text = json.dumps({"num_ues": options.num_ues, "roads": options.roads, "search_cpu_s": searched, "share": told}, indent=2)
    print(text)
    if options.json:
        options.json.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
