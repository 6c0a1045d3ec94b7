"""Which transmit APs and targets a receive AP's test takes into account: near ones. Eqs. (92) and (93) of docs/sensing.md.

A receive AP that knows the signals of all transmit APs, and looks for the echoes of all targets, has work that grows with the
network. Nearness is what matters to the test, the strength of what arrives: of the clutter for the covariance that
whitens, of the echoes for their columns.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from isac_torch.sensing.echoes import EchoScene, at_listeners

if TYPE_CHECKING:
    from isac_torch.sensing.glrt import Glrt


def strongest(value: Float[Tensor, "*shape n"], count: int | None) -> Bool[Tensor, "*shape n"]:
    """The `count` largest entries along the last axis; all of them for None, or where there are fewer."""
    if count is None or count >= value.shape[-1]:
        return torch.ones_like(value, dtype=torch.bool)
    return torch.zeros_like(value, dtype=torch.bool).scatter(-1, value.topk(count, -1).indices, True)


def known_clutter(scene: EchoScene, test: Glrt) -> Bool[Tensor, "drop rx ap"]:
    """The transmit APs whose clutter each receive AP whitens: those of the strongest clutter, eq. (92)."""
    return strongest(scene.clutter.power, test.near.aps)


def known_columns(
    scene: EchoScene, test: Glrt, order: Int[Tensor, "target point"]
) -> Bool[Tensor, "drop target listening column"]:
    """The echo columns, over (point, transmit AP), that each test knows of: its own target first, eq. (93).

    For every point those of the `near.aps` strongest paths; of the other targets only the `near.targets` whose echoes
    arrive most strongly.
    """
    index = torch.arange(order.shape[0], device=order.device)[:, None]
    strength = at_listeners(scene.scale.square().transpose(1, 2), scene.listening)  # drop target listening target ap
    strength = strength.permute(0, 2, 1, 3, 4)[:, :, index, order].transpose(1, 2)  # drop target listening point ap
    kept = strongest(strength, test.near.aps)
    own = torch.ones_like(kept[..., :1, 0])
    others = strongest(strength[..., 1:, :].sum(-1), test.near.targets)
    return (kept & torch.cat([own, others], -1).unsqueeze(-1)).flatten(-2)
