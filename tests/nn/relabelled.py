"""Drops whose UEs, targets and APs are listed in another order."""

import torch

from isac_torch.tracking.problem import MaxMinSinrProblem


def relabel(problem, ue, target, ap):
    """The same drops with UEs, targets and APs listed in another order: new index i is old index order[i]."""
    links = torch.arange(problem.num_links)
    comm = links[: problem.num_comm_links].reshape(problem.num_ues, -1)[ue].flatten()
    sensing = links[problem.num_comm_links :].reshape(problem.num_targets, -1)[target].flatten()
    order = torch.cat([comm, sensing])
    rank = torch.empty_like(ap)
    rank[ap] = torch.arange(len(ap))
    moved = MaxMinSinrProblem(
        signal=problem.signal[:, ue],
        leakage=problem.leakage[:, ue][:, :, order],
        coherent=problem.coherent[:, ue][:, :, ue],
        echo=problem.echo[:, target][:, :, order],
        cross_echo=problem.cross_echo[:, target][:, :, order],
        sir_min=problem.sir_min[:, target],
        budget=problem.budget[:, ap],
        link_ap=rank[problem.link_ap[:, order]],
        link_gain=problem.link_gain[:, order],
        num_targets=problem.num_targets,
    )
    return moved, order
