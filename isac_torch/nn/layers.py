"""Message passing between links and the APs, UEs and targets that they join."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from isac_torch.graph import LinkGraph
from isac_torch.links import LinkLayout, split_by_node, spread_to_links


@dataclass(frozen=True)
class Tokens:
    """Numbers of every token, a state or inputs; nodes are the UEs, then the targets."""

    link: Float[Tensor, "drop link link_width"]
    node: Float[Tensor, "drop node node_width"]
    ap: Float[Tensor, "drop ap ap_width"]


def sum_to_aps(link: Float[Tensor, "drop link hidden"], link_ap: Int[Tensor, "drop link"], num_aps: int) -> Tensor:
    """Sum of the links' states at each AP, [drop, ap, hidden]."""
    drops, _, hidden = link.shape
    first = torch.arange(drops, device=link.device)[:, None] * num_aps
    total = link.new_zeros(drops * num_aps, hidden)
    return total.index_add(0, (link_ap + first).flatten(), link.flatten(0, 1)).reshape(drops, num_aps, hidden)


def take_from_aps(ap: Float[Tensor, "drop ap hidden"], link_ap: Int[Tensor, "drop link"]) -> Tensor:
    """Each AP's state on each of its links, [drop, link, hidden]."""
    drops, num_aps, _ = ap.shape
    first = torch.arange(drops, device=ap.device)[:, None] * num_aps
    return ap.flatten(0, 1)[(link_ap + first).flatten()].reshape(drops, link_ap.shape[1], -1)


class MessageLayer(nn.Module):
    """One exchange: links inform their AP, the node that they serve and whom they disturb or illuminate; these answer.

    Sums over links are means or are weighted by the graph's shares, so that their size does not grow with the network.
    UEs and targets have weights of their own. `extra_*` are numbers a token that are read besides its state, such as
    the gradient of the objective there.
    """

    def __init__(self, hidden: int, extra_link: int = 0, extra_node: int = 0, extra_ap: int = 0) -> None:
        """Layer of width `hidden` that reads `extra_*` further numbers of each token."""
        super().__init__()
        self.norm = nn.ModuleDict({name: nn.LayerNorm(hidden) for name in ("link", "owner", "ap")})
        self.to_ap = nn.Linear(2 * hidden + extra_ap, hidden)
        self.to_ue = nn.Linear(4 * hidden + extra_node, hidden)
        self.to_target = nn.Linear(4 * hidden + extra_node, hidden)
        self.from_link = nn.Linear(hidden + extra_link, hidden)
        self.from_ap = nn.Linear(hidden, hidden, bias=False)
        self.from_owner = nn.ModuleDict({name: nn.Linear(hidden, hidden, bias=False) for name in ("ue", "target")})
        self.from_victim = nn.ModuleDict({name: nn.Linear(hidden, hidden, bias=False) for name in ("level", "share")})
        self.from_row = nn.ModuleDict({name: nn.Linear(hidden, hidden, bias=False) for name in ("own", "clutter")})
        self.mix = nn.Linear(hidden, hidden)

    def forward(self, tokens: Tokens, problem: LinkLayout, graph: LinkGraph, extra: Tokens | None = None) -> Tokens:
        """New states; the old ones are added (residual)."""
        named = (("link", tokens.link), ("owner", tokens.node), ("ap", tokens.ap))
        link, node, ap = (self.norm[name](token) for name, token in named)
        none = Tokens(link[..., :0], node[..., :0], ap[..., :0])
        extra = none if extra is None else extra
        ap = self.to_ap(torch.cat([ap, sum_to_aps(link, problem.link_ap, problem.num_aps) / 8.0, extra.ap], -1)).relu()
        node = self._nodes(problem, graph, link, torch.cat([node, extra.node], -1))
        answer = self._answers(problem, graph, node) + take_from_aps(self.from_ap(ap), problem.link_ap)
        link = self.mix((self.from_link(torch.cat([link, extra.link], -1)) + answer).relu())
        return Tokens(tokens.link + link, tokens.node + node, tokens.ap + ap)

    def _nodes(self, problem: LinkLayout, graph: LinkGraph, link: Tensor, node: Tensor) -> Tensor:
        """UEs hear their own links and who disturbs them; targets their own beams, the illumination and the clutter."""
        sizes = [problem.num_ues, problem.num_targets]
        ue, target = node.split(sizes, 1)
        by_ue, by_target = split_by_node(problem, link.movedim(-1, 1))
        mine, beams = ((block.sum(-1) / max(block.shape[-1], 1)).movedim(1, -1) for block in (by_ue, by_target))
        heard = [graph.disturbance @ link / problem.num_links, graph.disturbance_share @ link]
        seen = [graph.illumination @ link, graph.clutter @ link]
        ue = self.to_ue(torch.cat([ue, mine, *heard], -1)).relu()
        return torch.cat([ue, self.to_target(torch.cat([target, beams, *seen], -1)).relu()], 1)

    def _answers(self, problem: LinkLayout, graph: LinkGraph, node: Tensor) -> Tensor:
        """What each link hears from the node that it serves, the UEs that it disturbs and the targets that it illuminates."""
        ue, target = node.split([problem.num_ues, problem.num_targets], 1)
        own = spread_to_links(problem, torch.cat([self.from_owner["ue"](ue), self.from_owner["target"](target)], 1))
        level = graph.disturbance.mT @ self.from_victim["level"](ue) / problem.num_ues
        share = (graph.disturbance_share.mT * (problem.num_links / problem.num_ues)) @ self.from_victim["share"](ue)
        scale = problem.num_links / max(problem.num_targets, 1)
        row = graph.illumination.mT @ self.from_row["own"](target) - graph.clutter.mT @ self.from_row["clutter"](target)
        return own + level + share + row * (scale * 0.25)
