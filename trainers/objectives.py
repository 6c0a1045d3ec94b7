"""What training minimises: per-drop losses and their gradients at the directions that a network predicts.

Gradients are taken at the directions alone and clipped per drop before they enter the network: a drop in deep fade has a
gradient hundreds of times the usual one, and would drown the rest of its batch.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from isac_torch.links import split_by_node
from isac_torch.tracking.problem import MaxMinSinrProblem

Loss = Callable[[Float[Tensor, "drop logit"]], Float[Tensor, " drop"]]

_SHARE_FLOOR = 1e-6


def supervised_loss(
    problem: MaxMinSinrProblem, logits: Float[Tensor, "drop logit"], label: Float[Tensor, "drop link"]
) -> Float[Tensor, " drop"]:
    """Divergence of the predicted shares of each owner from those of the label powers (W), per drop.

    Owners count alike, but a target that the label gives under a thousandth of an average UE's power does not count: its
    shares mean nothing. Scales need no label, as the balancing layer finds them.
    """
    predicted = split_by_node(problem, logits[:, : problem.num_links])
    wanted = split_by_node(problem, label)
    least = 1e-3 * wanted[0].sum(-1).mean(-1, keepdim=True)
    total = logits.new_zeros(len(logits))
    for guess, truth in zip(predicted, wanted, strict=True):
        power = truth.sum(-1)
        share = (truth / power.clamp_min(1e-30)[..., None]).clamp_min(_SHARE_FLOOR)
        divergence = (share * (share.log() - guess.log_softmax(-1))).sum(-1)
        total = total + (divergence * (power > least)).sum(-1)
    return total / (problem.num_ues + problem.num_targets)


def clipped_gradient(
    loss: Loss, logits: Float[Tensor, "drop logit"], most: float = 1.0
) -> tuple[Float[Tensor, "drop logit"], Float[Tensor, " drop"]]:
    """Gradient of each drop's loss at `logits`, at most `most` times the batch's median one, and the losses; all detached.

    A drop whose gradient is not finite gets zeros.
    """
    with torch.enable_grad():
        leaf = logits.detach().requires_grad_()
        value = loss(leaf)
        (gradient,) = torch.autograd.grad(value.sum(), leaf)
    sound = gradient.isfinite().all(-1, keepdim=True)
    gradient = torch.where(sound, gradient, torch.zeros_like(gradient))
    length = gradient.norm(dim=-1, keepdim=True)
    return gradient * (most * length.median() / length.clamp_min(1e-12)).clamp_max(1.0), value.detach()
