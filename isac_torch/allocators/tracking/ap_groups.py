"""A distributed policy as several programs: each runs some APs, and hears from the others only what they send to it.

Every program holds the coefficients of its own APs' links; all others are replaced by noise, so that a number that was not sent
cannot be used unseen. The program is that of `exits`, word for word: its channel sends what the group's own nodes say to the
programs that need it, and fills in what arrived. A UE's program runs with the AP that serves it best, a target's with the AP
that illuminates it best. Powers are therefore equal, bit by bit, to those of the batched form, and so they are where messages
are lost, late, cut to a few bits or missing (`nn.tracking.local_channels`): every program then draws the same faults.

Transports are anything that sends numbers from one program to another: sockets of torch.distributed (gloo) in
`run_as_processes`, queues between threads in tests.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from isac_torch.errors import AllocationError
from isac_torch.files import write_whole
from isac_torch.links import links_per_target, split_by_node
from isac_torch.nn.checkpoint import load_network, stored_kind
from isac_torch.nn.tracking.local_network import DistributedNetwork
from isac_torch.nn.tracking.unfolded import UnfoldedPrices
from isac_torch.tensors import at_rows
from isac_torch.tracking.local.promises import PARTS
from isac_torch.tracking.local.rounds import AIR, Channel, clear
from isac_torch.tracking.problem import MaxMinSinrProblem


@runtime_checkable
class Transport(Protocol):
    """How programs reach each other. Both calls wait until the other side takes part."""

    def exchange(self, sent: list[Tensor], expected: list[Tensor]) -> list[Tensor]:
        """Send sent[g] to program g and give what arrived of each, shaped like expected[g]; nothing where it is empty."""
        ...


@dataclass(frozen=True)
class Groups:
    """Which program runs which node of one drop.

    Attributes:
        ap: program of each AP.
        link: program of each link: that of its AP.
        master: program that runs the UE or target of each link.
        ue, target: the same, of each UE and target.
        serving: how many links, the first ones, serve UEs.
        hears_ue: which programs have an AP that hears a UE.
    """

    ap: Int[Tensor, " ap"]
    link: Int[Tensor, " link"]
    master: Int[Tensor, " link"]
    ue: Int[Tensor, " ue"]
    target: Int[Tensor, " target"]
    serving: int
    hears_ue: Bool[Tensor, "ue program"]


def groups_of(problem: MaxMinSinrProblem, programs: int, hears: Bool[Tensor, "drop ue ap"] | None = None) -> Groups:
    """APs in turns over `programs` programs, and each UE and target at its best AP's. `problem` holds one drop."""
    ap = torch.arange(problem.num_aps) % programs
    link = ap[problem.link_ap[0]]
    serving, lighting = split_by_node(problem, problem.link_gain[0])
    by_ue, by_target = (part.long() for part in split_by_node(problem, link.double()))
    ue = by_ue.gather(-1, serving.argmax(-1, keepdim=True))[:, 0]
    target = link[:0]
    if problem.num_targets:
        target = by_target.gather(-1, lighting.argmax(-1, keepdim=True))[:, 0]
    heard = torch.ones(problem.num_ues, programs, dtype=torch.bool)
    if hears is not None:
        of_program = torch.nn.functional.one_hot(ap, programs).bool()
        serves = torch.nn.functional.one_hot(by_ue, programs).any(1)
        heard = (hears[0, :, :, None] & of_program).any(1) | serves
    master = torch.cat([ue.repeat_interleave(problem.serving), target.repeat_interleave(links_per_target(problem))])
    return Groups(ap, link, master, ue, target, problem.num_comm_links, heard)


def own_knowledge(problem: MaxMinSinrProblem, groups: Groups, program: int, seed: int = 0) -> MaxMinSinrProblem:
    """The problem as program `program` knows it: coefficients of other programs' links are noise."""
    generator = torch.Generator().manual_seed(seed + program)
    own = groups.link == program

    def hidden(table: Tensor) -> Tensor:
        noise = torch.rand(table.shape, generator=generator, dtype=table.dtype) + 0.5
        return torch.where(own, table, noise)

    comm = problem.num_comm_links
    signal = hidden(torch.cat([problem.signal.flatten(1), problem.link_gain[:, comm:]], 1))[:, :comm]
    return replace(
        problem,
        signal=signal.reshape(problem.signal.shape),
        leakage=hidden(problem.leakage),
        coherent=_coherent(problem, hidden),
        echo=hidden(problem.echo),
        cross_echo=hidden(problem.cross_echo),
        link_gain=hidden(problem.link_gain),
        budget=torch.where(groups.ap == program, problem.budget, torch.ones_like(problem.budget)),
    )


def _coherent(problem: MaxMinSinrProblem, hidden: Callable[[Tensor], Tensor]) -> Float[Tensor, "drop ue ue serving"]:
    """What serving links cause at UEs on the same pilot; nothing at others, which every AP knows from the pilots."""
    flat = problem.coherent.flatten(2)
    lighting = flat.new_zeros(*flat.shape[:2], problem.num_links - problem.num_comm_links)
    found = hidden(torch.cat([flat, lighting], 2))[:, :, : problem.num_comm_links].reshape(problem.coherent.shape)
    return torch.where(problem.coherent != 0.0, found, problem.coherent)


@dataclass
class GroupChannel:
    """The channel of one program: own nodes' words go out to those who need them, others' come in.

    Attributes:
        groups: who runs what.
        program: which one this is.
        transport: between the programs.
        faults: what happens to messages on their way; every program has its own copy, which starts alike.
        counted: numbers that this program has sent to others, by kind of message; the air is none.
    """

    groups: Groups
    program: int
    transport: Transport
    faults: Channel = clear
    counted: dict[str, int] = field(default_factory=dict)

    def __call__(self, kind: str, sent: Tensor) -> Tensor:
        """What is known in this program after the exchange; words that are not for it are noise."""
        owner, needed = self._parties(kind)
        programs = needed.shape[1]
        mine, noise = owner == self.program, torch.full_like(sent, 0.7)
        out = [sent[:, mine & needed[:, other]] if other != self.program else sent[:, :0] for other in range(programs)]
        wanted = [(owner == other) & needed[:, self.program] & (owner != self.program) for other in range(programs)]
        arrived = self.transport.exchange(out, [torch.empty_like(sent[:, mask]) for mask in wanted])
        if kind != AIR:
            self.counted[kind] = self.counted.get(kind, 0) + sum(part.numel() for part in out)
        found = torch.where(mine[None, :, None], sent, noise)
        for mask, part in zip(wanted, arrived, strict=True):
            found[:, mask] = part
        return self.faults(kind, found)

    def _parties(self, kind: str) -> tuple[Tensor, Tensor]:
        """Program that owns each word of a message along its second axis, and which programs need it."""
        groups = self.groups
        programs = groups.hears_ue.shape[1]
        serving, beams, every = slice(groups.serving), slice(groups.serving, None), slice(None)
        part = {"up": every, "gain": serving, "beams": beams, "down": every}.get(kind)
        if part is not None:
            owner, to = groups.link[part], groups.master[part]
            owner, to = (to, owner) if kind == "down" else (owner, to)
            return owner, torch.nn.functional.one_hot(to, programs).bool()
        if kind.endswith("UEs"):
            return groups.ue, groups.hears_ue
        owner = {AIR: groups.link, "largest echo": groups.ap, PARTS: groups.ap}.get(kind, groups.target)
        return owner, torch.ones(len(owner), programs, dtype=torch.bool)


def run_program(
    policy: DistributedNetwork | UnfoldedPrices,
    problem: MaxMinSinrProblem,
    rounds: int,
    channel: GroupChannel,
    hears: Bool[Tensor, "drop ue ap"] | None = None,
    exchanges: int = 0,
) -> Float[Tensor, "drop link"]:
    """Powers (W) of the links of this program's APs; those of others are 0."""
    known = own_knowledge(problem, channel.groups, channel.program)
    with torch.no_grad():
        share = policy.eval().answer(known, rounds, exchanges, hears, channel, problem)
    own = (channel.groups.link == channel.program).to(share)
    return share.exp() * at_rows(problem.budget, problem.link_ap) * own


class Sockets:
    """Messages between the processes of a torch.distributed group (gloo: TCP sockets)."""

    def __init__(self, program: int) -> None:
        """The end of process `program`; the group is initialised."""
        self.program = program

    def exchange(self, sent: list[Tensor], expected: list[Tensor]) -> list[Tensor]:
        """See Transport."""
        import torch.distributed as dist

        waiting = []
        for other, (out, into) in enumerate(zip(sent, expected, strict=True)):
            if out.numel():
                waiting.append(dist.P2POp(dist.isend, out.contiguous(), other))
            if into.numel():
                waiting.append(dist.P2POp(dist.irecv, into, other))
        for work in dist.batch_isend_irecv(waiting) if waiting else []:
            work.wait()
        return expected


def run_as_processes(
    checkpoint: Path,
    problem: MaxMinSinrProblem,
    programs: int,
    rounds: int,
    folder: Path,
    hears: Tensor | None = None,
    faults: Channel = clear,
    exchanges: int = 0,
) -> Float[Tensor, "drop link"]:
    """Powers (W) of every link of one drop, computed by `programs` processes that exchange messages over sockets on this
    machine.

    Args:
        checkpoint: weights of the policy.
        problem: one drop.
        programs: processes, each with every so-many-th AP.
        rounds: of messages.
        folder: for what the processes hand back.
        hears: which APs hear which UEs; None for all.
        faults: what happens to messages on their way.
        exchanges: of promises after the rounds.

    Raises:
        AllocationError: more than one drop.
    """
    if problem.num_drops != 1:
        raise AllocationError(f"{problem.num_drops} drops; give one")
    from torch.multiprocessing.spawn import spawn

    spawn(_process, (problem, hears, str(checkpoint), str(folder), programs, rounds, faults, exchanges), nprocs=programs)
    parts = [torch.load(folder / f"power_{program}.pt", weights_only=True) for program in range(programs)]
    return torch.stack(parts).sum(0)


def _process(
    program: int,
    problem: MaxMinSinrProblem,
    hears: Tensor | None,
    checkpoint: str,
    folder: str,
    programs: int,
    rounds: int,
    faults: Channel,
    exchanges: int,
) -> None:
    """What one process does."""
    import torch.distributed as dist

    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{folder}/meeting", rank=program, world_size=programs)
    policy, _ = load_network(Path(checkpoint), stored_kind(Path(checkpoint)))  # type: ignore[type-var]
    channel = GroupChannel(groups_of(problem, programs, hears), program, Sockets(program), faults)
    power = run_program(policy.to(problem.budget.dtype), problem, rounds, channel, hears, exchanges)  # type: ignore[arg-type]
    answer = io.BytesIO()
    torch.save(power, answer)
    write_whole(Path(folder) / f"power_{program}.pt", answer.getvalue())
    dist.barrier()
    dist.destroy_process_group()
