"""Slots that follow each other: a power problem after everybody has moved a little."""

from __future__ import annotations

from dataclasses import replace

import torch

from isac_torch.links import links_per_target, own_entries, split_by_node
from isac_torch.tensors import from_db
from isac_torch.tracking.problem import MaxMinSinrProblem


def moved(problem: MaxMinSinrProblem, change_db: float, beam_db: float, generator: torch.Generator) -> MaxMinSinrProblem:
    """The next slot: gains between APs and UEs or targets have changed by a normal number of decibels, and so has, by more,
    what the beams of other targets cause.

    A sensing beam follows its own target; where it passes others, a few metres matter.

    Args:
        problem: this slot's.
        change_db: standard deviation of the change of a gain between an AP and a UE or target, dB.
        beam_db: of the further change of the echoes that a link causes at constraints of other targets, dB.
        generator: of the changes.
    """
    shape = (problem.num_drops, problem.num_ues + problem.num_constraints, problem.num_aps)
    change = from_db(change_db * torch.randn(shape, generator=generator).to(problem.budget))
    at_link = change.gather(2, problem.link_ap[:, None].expand(-1, shape[1], -1))
    ue, target = at_link.split([problem.num_ues, problem.num_constraints], 1)
    by_ue = split_by_node(problem, ue)[0].sqrt()
    own = own_entries(problem, ue).flatten(1)
    passed = from_db(beam_db * torch.randn(problem.echo.shape, generator=generator).to(problem.budget))
    if problem.num_constraints == problem.num_targets:  # each target's own sensing links keep pointing at it
        mine = torch.eye(problem.num_targets, dtype=torch.bool).repeat_interleave(links_per_target(problem), 1)
        passed[:, :, problem.num_comm_links :] = passed[:, :, problem.num_comm_links :].masked_fill(mine.to(passed.device), 1.0)
    gain = torch.cat([problem.link_gain[:, : problem.num_comm_links] * own, problem.link_gain[:, problem.num_comm_links :]], 1)
    return replace(
        problem,
        signal=problem.signal * own.reshape(problem.signal.shape).sqrt(),
        leakage=problem.leakage * ue,
        coherent=problem.coherent * by_ue,
        echo=problem.echo * target * passed,
        cross_echo=problem.cross_echo * target * passed,
        link_gain=gain,
    )
