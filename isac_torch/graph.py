"""The graph that networks read, in either system: tokens of links, nodes of UEs, targets and APs, blocks between them."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from isac_torch.tensors import to_db

RATIO = (0.0, 10.0)
"""Mean and spread, dB, of a ratio of two gains."""
_RANGE = 4.0
"""Standardised features are held within this many spreads."""


@dataclass(frozen=True)
class LinkGraph:
    """Inputs of a network. Blocks are (disturbed or illuminated node) x (link).

    Attributes:
        link, ue, target, ap: standardised features of the tokens and nodes, as listed in `link_graph`.
        disturbance: N P / (1 + N P), between 0 (unheard) and 1 (far above the noise).
        disturbance_share: N P over its sum along the links.
        illumination: S P of a target over its sum along the links.
        clutter: I P of a target over its sum along the links.
    """

    link: Float[Tensor, "drop link link_feature"]
    ue: Float[Tensor, "drop ue ue_feature"]
    target: Float[Tensor, "drop target target_feature"]
    ap: Float[Tensor, "drop ap ap_feature"]
    disturbance: Float[Tensor, "drop ue link"]
    disturbance_share: Float[Tensor, "drop ue link"]
    illumination: Float[Tensor, "drop target link"]
    clutter: Float[Tensor, "drop target link"]


def standardised(value: Float[Tensor, "..."], scale: tuple[float, float] = RATIO) -> Float[Tensor, "..."]:
    """A linear ratio in dB, centred and divided by `scale`, within +-4; zero and infinity end at the borders."""
    return ((to_db(value.clamp_min(1e-20)) - scale[0]) / scale[1]).clamp(-_RANGE, _RANGE)
