"""Power allocation for cell-free massive MIMO that communicates and senses at once.

A tutorial of five minutes. Access points (APs) serve users (UEs) and illuminate targets at the same time. The question is how
much power each AP gives to each UE and to each target.

**Draw networks.** A scenario holds the parameters; a drop is one random network. All arrays have the drops as first axis,
all values are SI units and linear: positions in m, powers in W, gains as ratios.

>>> import torch
>>> import isac_torch as it
>>> scenario = it.TrackingScenario.of_size("16x16x4", sir_min_db=-5.0)  # 16 APs (4 of them listen), 16 UEs, 4 targets
>>> drop = scenario.sample(3, generator=torch.Generator().manual_seed(1))
>>> tuple(drop.ue_position.shape)                                       # [drop, ue, xyz], m
(3, 16, 3)

**State the problem.** Closed-form channel statistics turn positions into the coefficients of an optimisation problem: the
largest smallest SINR under a power budget of each AP and a sensing constraint (least SIR) of each target.

>>> problem = it.power_problem(drop, scenario)
>>> problem.num_links, tuple(problem.budget.shape)                      # (AP, UE) and (AP, target) pairs; W of each AP
(80, (3, 12))

**Allocate.** Every allocator is asked by `allocate`, which judges the powers by the problem's own constraints.

>>> best = it.allocate(problem, it.BatchedOptimal(gap=1e-3))
>>> tuple(best.power.shape), [it.Status(status).name for status in best.status.tolist()]
((3, 80), ['OPTIMAL', 'OPTIMAL', 'OPTIMAL'])
>>> bool((best.gap <= 1e-3).all())                                      # certified: no powers are better by more than 0.1 %
True

**Compare.** The value is the smallest SINR of each drop, linear. Uniform power ignores the targets and the interference.

>>> uniform = it.allocate(problem, it.Fractional())
>>> bool((best.value > 2.0 * uniform.value).all())
True
>>> learned = it.allocate(problem, it.named_allocator("gnn"))           # weights that come with the package
>>> bool((learned.value / best.value > 0.9).all())
True
>>> tuple(problem.sinr(learned.power).shape), tuple(problem.sir(learned.power).shape)  # of each UE, of each target
((3, 16), (3, 4))

**Choose what sensing needs.** A `Requirement` replaces the SIR by the SICNR, a miss probability, a position error, or by
"at least as good as uniform power" (`dominate`), which can always be met.

>>> careful = it.TrackingScenario.of_size("16x16x4", requirement=it.Requirement("dominate"))
>>> held = it.allocate(it.power_problem(drop, careful), it.BatchedOptimal())
>>> bool((held.violation <= 1e-6).all()), bool((held.value >= uniform.value).all())
(True, True)

**Differentiate.** Problems are torch code: gradients pass from the SINR to the powers.

>>> power = uniform.power.clone().requires_grad_()
>>> problem.sinr(power).log().mean().backward()
>>> tuple(power.grad.shape)
(3, 80)

**Deploy.** The same network as numpy and ONNX, without torch: positions in, checked powers (W) out.

>>> positions = {name: getattr(drop, name)[0] for name in ("tx_position", "tx_orientation", "rx_position", "ue_position")}
>>> answer = it.DeployedAllocator.load()(it.Snapshot(target_position=drop.target_position[0], **positions))
>>> answer.power.shape, answer.path
((80,), 'network')

`help()` of every name in `isac_torch.__all__` has an example that runs. docs/architecture.md shows how the parts fit together,
docs/glossary.md explains the terms, docs/physics.md has the equations; `isac-torch --help` lists the commands.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:  # for editors and type checkers; at run time __getattr__ imports a name when it is first used
    from isac_torch.allocation import Allocation, Allocator, Proposal, Status, allocate, allocate_many
    from isac_torch.allocators.downlink_pilots.batched import BatchedMinMaxNmse
    from isac_torch.allocators.downlink_pilots.learned import DownlinkPilotLearned
    from isac_torch.allocators.registry import named_allocator
    from isac_torch.allocators.tracking.batched import BatchedOptimal
    from isac_torch.allocators.tracking.drop_by_drop import GlobalOptimal, PaperOpc
    from isac_torch.allocators.tracking.heuristics import Fractional
    from isac_torch.allocators.tracking.learned import FirstOrder, LearnedAllocator
    from isac_torch.allocators.tracking.refined import Refined, Repaired
    from isac_torch.datasets.generate import generate_dataset
    from isac_torch.deployment.allocator import DeployedAllocator
    from isac_torch.deployment.downlink_pilots.allocator import RoadAllocator
    from isac_torch.deployment.downlink_pilots.snapshot import RoadSnapshot
    from isac_torch.deployment.snapshot import Snapshot
    from isac_torch.downlink_pilots.problem import MinMaxNmseProblem
    from isac_torch.downlink_pilots.scenario import DownlinkPilotScenario
    from isac_torch.errors import IsacError
    from isac_torch.large.allocator import LargeAllocator
    from isac_torch.systems import power_problem
    from isac_torch.tracking.problem import MaxMinSinrProblem
    from isac_torch.tracking.requirement import Requirement
    from isac_torch.tracking.scenario import TrackingScenario

_MODULES = {
    "allocation": ("Allocation", "Allocator", "Proposal", "Status", "allocate", "allocate_many"),
    "allocators.downlink_pilots.batched": ("BatchedMinMaxNmse",),
    "allocators.downlink_pilots.learned": ("DownlinkPilotLearned",),
    "allocators.registry": ("named_allocator",),
    "allocators.tracking.batched": ("BatchedOptimal",),
    "allocators.tracking.drop_by_drop": ("GlobalOptimal", "PaperOpc"),
    "allocators.tracking.heuristics": ("Fractional",),
    "allocators.tracking.learned": ("FirstOrder", "LearnedAllocator"),
    "allocators.tracking.refined": ("Refined", "Repaired"),
    "datasets.generate": ("generate_dataset",),
    "deployment.allocator": ("DeployedAllocator",),
    "deployment.downlink_pilots.allocator": ("RoadAllocator",),
    "deployment.downlink_pilots.snapshot": ("RoadSnapshot",),
    "deployment.snapshot": ("Snapshot",),
    "downlink_pilots.problem": ("MinMaxNmseProblem",),
    "downlink_pilots.scenario": ("DownlinkPilotScenario",),
    "errors": ("IsacError",),
    "large.allocator": ("LargeAllocator",),
    "systems": ("power_problem",),
    "tracking.problem": ("MaxMinSinrProblem",),
    "tracking.requirement": ("Requirement",),
    "tracking.scenario": ("TrackingScenario",),
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "Allocation",
    "Allocator",
    "BatchedMinMaxNmse",
    "BatchedOptimal",
    "DeployedAllocator",
    "DownlinkPilotLearned",
    "DownlinkPilotScenario",
    "FirstOrder",
    "Fractional",
    "GlobalOptimal",
    "IsacError",
    "LargeAllocator",
    "LearnedAllocator",
    "MaxMinSinrProblem",
    "MinMaxNmseProblem",
    "PaperOpc",
    "Proposal",
    "Refined",
    "Repaired",
    "Requirement",
    "RoadAllocator",
    "RoadSnapshot",
    "Snapshot",
    "Status",
    "TrackingScenario",
    "allocate",
    "allocate_many",
    "generate_dataset",
    "named_allocator",
    "power_problem",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that `import isac_torch` itself costs nothing (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'isac_torch' has no attribute {name!r}; the public names are in isac_torch.__all__")
    value = globals()[name] = getattr(import_module(f"isac_torch.{_HOMES[name]}"), name)
    return value


def __dir__() -> list[str]:
    """The public names and those already loaded."""
    return sorted({*globals(), *__all__})
