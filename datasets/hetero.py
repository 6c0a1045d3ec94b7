"""A power problem as `torch_geometric.data.HeteroData`, for networks written with PyTorch Geometric."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from isac_torch.tracking.graph import link_graph

if TYPE_CHECKING:
    from isac_torch.tracking.problem import MaxMinSinrProblem


def to_hetero_data(problem: MaxMinSinrProblem, drop: int = 0) -> Any:
    """The graph of one drop: nodes `link` and `ue` with the features `x` of `link_graph`, and `target` and `ap` without any.

    Edges: (link, sent_by, ap), (link, serves, ue), (link, illuminates, target); and with one weight each, `edge_attr`:
    (link, disturbs, ue), the share of a UE's disturbance that the link makes with the whole budget of its AP, and
    (link, echoes, target), the share of a target's echo. Links keep the order of the problem, so that a number for each node
    `link` is a row of powers.

    Args:
        problem: a batch of drops.
        drop: which of them.

    Raises:
        ModuleNotFoundError: PyTorch Geometric is missing: pip install 'isac-torch[geometric]'.

    Example:
        >>> import torch
        >>> from isac_torch import TrackingScenario, power_problem
        >>> from isac_torch.datasets.hetero import to_hetero_data
        >>> scenario = TrackingScenario.of_size("8x6x2")
        >>> problem = power_problem(scenario.sample(1, generator=torch.Generator().manual_seed(1)), scenario)
        >>> to_hetero_data(problem)["link"].num_nodes == problem.num_links    # doctest: +SKIP
        True
    """
    from torch_geometric.data import HeteroData

    one = problem.select(torch.tensor([drop], device=problem.budget.device))
    graph, data = link_graph(one), HeteroData()
    data["link"].x, data["ue"].x = graph.link[0], graph.ue[0]
    data["target"].num_nodes, data["ap"].num_nodes = one.num_targets, one.num_aps
    links = torch.arange(one.num_links, device=one.budget.device)
    owner = torch.arange(one.num_ues, device=links.device).repeat_interleave(one.serving)
    beams = links[one.num_comm_links :]
    each = len(beams) // max(one.num_targets, 1)
    data["link", "sent_by", "ap"].edge_index = torch.stack([links, one.link_ap[0]])
    data["link", "serves", "ue"].edge_index = torch.stack([links[: one.num_comm_links], owner])
    targets = torch.arange(one.num_targets, device=links.device).repeat_interleave(each)
    data["link", "illuminates", "target"].edge_index = torch.stack([beams, targets])
    for name, node, weight in (("disturbs", "ue", graph.disturbance_share[0]), ("echoes", "target", graph.illumination[0])):
        data["link", name, node].edge_index, data["link", name, node].edge_attr = _dense(weight)
    return data


def _dense(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Edges from every column (link) to every row with a weight above zero, and the weights, [edge, 1]."""
    row, column = weight.nonzero(as_tuple=True)
    return torch.stack([column, row]), weight[row, column, None]
