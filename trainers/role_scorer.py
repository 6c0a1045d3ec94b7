"""Training of the network that scores sets of receive APs, in rounds: labels, a network, labels of the sets it likes, again."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, smooth_l1_loss
from tqdm import tqdm

from isac_torch.errors import IsacError
from isac_torch.files import writable_folder, written_whole
from isac_torch.nn.checkpoint import save_network
from isac_torch.nn.tracking.set_scorer import Outlook, SetFeatures, SetScorer
from isac_torch.tracking.requirement import Requirement
from isac_torch.tracking.scenario import TrackingScenario
from isac_torch.trainers.role_labels import Labels, drawn_sets, held_drops, labelled
from isac_torch.trainers.role_settings import Block, ScorerSettings

LEAST_RATIO = 1e-3
"""Ratios of SINRs below this count as this."""
_TOLERATED = 0.1
"""Error of a log ratio, nepers, up to which the loss is quadratic."""
_WARMUP = 50


def train_scorer(
    rounds: Sequence[Sequence[Block]], output: str | Path, seed: int, settings: ScorerSettings | None = None
) -> None:
    """Write `model.pt` to a folder; labels that are there already are taken from it, so that an interrupted run goes on.

    Args:
        rounds: blocks of each round. Sets of the first are drawn by chance, those of the others from the best ones of the
            network that the rounds before gave.
        output: folder.
        seed: of the first block; every block has the next one.
        settings: of the fit; default `ScorerSettings()`.

    Raises:
        IsacError: no rounds.
    """
    if not rounds or not all(rounds):
        raise IsacError(f"rounds={[len(blocks) for blocks in rounds]} must be at least one, each of at least one block")
    folder, how = writable_folder(Path(output)), ScorerSettings() if settings is None else settings
    known = _labels(rounds[0], seed, folder, None)
    scorer, loss = fit(known, how)
    for blocks in rounds[1:]:
        known += _labels(blocks, seed + len(known), folder, scorer)
        scorer, loss = fit(known, how)
    facts = {"loss": loss, "blocks": len(known), "sets": sum(labels.value.numel() for labels in known), "seed": seed}
    save_network(folder / "model.pt", scorer, facts)


def _labels(blocks: Sequence[Block], seed: int, folder: Path, scorer: SetScorer | None) -> list[Labels]:
    """The labels of one round; `scorer` is the network so far."""
    queue = [block for block in blocks for _ in range(block.blocks)]
    places = enumerate(tqdm(queue, desc="labels of a round", unit="block"))
    return [_block(block, seed + place, folder, scorer) for place, block in places]


def _block(block: Block, seed: int, folder: Path, scorer: SetScorer | None) -> Labels:
    """The labels of one block, kept in the folder."""
    path = folder / f"{block.size}_{block.drops}x{block.sets}_{seed}.npz"
    if not path.is_file():
        scenario = TrackingScenario.of_size(block.size, requirement=Requirement("dominate", enough_db=13.0))
        held, generator = held_drops(scenario, block.drops, seed)
        new = labelled(held, drawn_sets(held, block.sets, generator, scorer))
        arrays = {"ue": new.nodes.ue, "target": new.nodes.target, "cell": new.nodes.cell, "value": new.value}
        with written_whole(path) as partial:
            np.savez(partial, allow_pickle=False, **{name: value.numpy() for name, value in arrays.items()})
    with np.load(path, allow_pickle=False) as stored:
        ue, target, cell, value = (torch.from_numpy(stored[name]) for name in ("ue", "target", "cell", "value"))
    return Labels(SetFeatures(ue, target, cell), value)


def fit(known: Sequence[Labels], settings: ScorerSettings, seed: int = 0) -> tuple[SetScorer, float]:
    """A network trained from nothing on all labels, and its mean loss over the last epoch.

    Args:
        known: blocks of labels, of any sizes.
        settings: how.
        seed: of the first weights and of the order of the blocks.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        scorer = SetScorer(settings.hidden)
    names = ("ue", "target", "cell")
    scorer.scale_to(
        SetFeatures(*(torch.cat([getattr(x.nodes, name).flatten(0, 2) for x in known])[None, None] for name in names))
    )
    optimizer = torch.optim.AdamW(scorer.parameters(), settings.learning_rate, weight_decay=settings.weight_decay)
    total, step = settings.epochs * len(known), 0
    for _ in range(settings.epochs):
        losses: list[float] = []
        for place in torch.randperm(len(known), generator=generator).tolist():
            warm, fall = min(1.0, (step + 1) / _WARMUP), 0.51 + 0.49 * math.cos(math.pi * step / total)
            for group in optimizer.param_groups:
                group["lr"] = settings.learning_rate * warm * fall
            value = loss_of(scorer(known[place].nodes), known[place], settings.gain_weight)
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            losses.append(value.item())
            step += 1
    return scorer.eval(), sum(losses) / max(len(losses), 1)


def loss_of(outlook: Outlook, labels: Labels, gain_weight: float) -> Tensor:
    """Cross-entropy of the odds, and the error of the log ratio of SINRs in sets that meet the requirement; eq. (126)."""
    met = labels.value > 0.0
    ratio = (labels.value / labels.value[:, :1]).clamp_min(LEAST_RATIO).log()
    wrong = smooth_l1_loss(outlook.gain[met], ratio[met], beta=_TOLERATED)
    return binary_cross_entropy_with_logits(outlook.odds, met.float()) + gain_weight * wrong
