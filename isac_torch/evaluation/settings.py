"""Settings of an evaluation: which networks, which requirement, which allocators, how many drops.

Plain Python without postponed annotations, like the scenario: the command line reads it before anything heavy is imported.
"""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Setting:
    """One setting of several; what is not given is that of the whole run.

    Attributes:
        scenario: parameters of the network that differ, such as {sir_min_db: -10}.
        name: of the setting in summary.json and of its folder; default the scenario's, such as 16x16x4_tau16_sir-5.
        sir_below_best_db: require, in every drop, the largest SIR that any powers reach there less this many dB, in place of
            the scenario's SIR0: rows that bind everywhere.
        num_drops: drops to judge on.
        allocators: names of the rows.
        opc_paper_drops: the paper's slow algorithm runs on the first ones only.
        opc_global_drops: the readable reference runs on the first ones only.
        sensed_drops: drops whose true echoes are judged.
        sensed_blocks: coherence blocks over which true echoes are averaged.
    """

    scenario: dict[str, Any] = field(default_factory=dict)
    name: str | None = None
    sir_below_best_db: float | None = None
    num_drops: int | None = None
    allocators: list[str] | None = None
    opc_paper_drops: int | None = None
    opc_global_drops: int | None = None
    sensed_drops: int | None = None
    sensed_blocks: int | None = None
