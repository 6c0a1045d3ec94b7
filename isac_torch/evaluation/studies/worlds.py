"""What the tracking loop simulates: worlds with moving targets, and who sets the powers in them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from isac_torch.errors import ScenarioError
from isac_torch.sensing.motion import ConstantVelocity
from isac_torch.sensing.tracks import TrackRules
from isac_torch.tracking.drop import TrackingDrop
from isac_torch.tracking.requirement import Requirement

if TYPE_CHECKING:
    from isac_torch.roles.search import Search
    from isac_torch.tracking.scenario import TrackingScenario


@dataclass(frozen=True)
class Loop:
    """What the tracking loop simulates.

    Attributes:
        num_worlds: random networks with targets of their own.
        num_steps: looks.
        step: time between looks, s.
        num_blocks: coherence blocks that one look hears; reflectivities change between them.
        speed: standard deviation of the targets' horizontal velocity along each axis, m/s.
        climb_speed: of the vertical velocity, m/s.
        late: steps by which each target appears after the one before it.
        cutoff: distance (m) beyond which an estimate counts as false and its target as missed.
        seed: world i draws its network, paths and blocks from seed + i, whatever the allocator and the number of worlds.
        search_beams: sensing beams that always search, beside one for each target: detection and tracking at the same time.
        role_steps: steps from one search for roles to the next, for contenders that search.
        rules: of tracks.
    """

    num_worlds: int = 8
    num_steps: int = 40
    step: float = 0.5
    num_blocks: int = 4
    speed: float = 10.0
    climb_speed: float = 0.5
    late: int = 2
    cutoff: float = 30.0
    seed: int = 900_000
    search_beams: int = 0
    role_steps: int = 4
    rules: TrackRules = field(default_factory=TrackRules)

    def __post_init__(self) -> None:
        """Refuse a loop without worlds, steps or time."""
        for name in ("num_worlds", "num_steps", "num_blocks", "role_steps", "step", "cutoff", "speed"):
            if getattr(self, name) <= 0:
                raise ScenarioError(f"{name}={getattr(self, name)} must be positive")
        for name in ("late", "search_beams"):
            if getattr(self, name) < 0:
                raise ScenarioError(f"{name}={getattr(self, name)} must not be negative")

    @property
    def motion(self) -> ConstantVelocity:
        """How targets move, and how the filter believes they do."""
        return ConstantVelocity(self.step)


@dataclass(frozen=True)
class Contender:
    """Who is in the loop: an allocator, what it is asked of the radar, and whether it chooses which APs listen.

    Attributes:
        allocator: its name in the registry.
        requirements: of the radar, the strictest first: every step takes the first that some powers meet, or the last one;
            none: that of the scenario.
        roles: how it looks for the APs that listen, with the targets where they are believed to be; None: the scenario's.
            `dominate` compares with uniform power and the scenario's roles in any case.
        uniform: share of uniform power that is mixed into the allocator's powers under `dominate`. The allocator is asked for
            what the mixture needs of its part, so that the mixture meets the requirement with other roles too.
        searching: who decides instead of this one unless exactly as many tracks are confirmed as targets are expected, so that
            new targets can still appear; None: this one always.
    """

    allocator: str
    requirements: tuple[Requirement, ...] = ()
    roles: Search | None = None
    uniform: float = 0.0
    searching: Contender | None = None

    def __post_init__(self) -> None:
        """Refuse a share that is none, and chains of contenders."""
        if not 0.0 <= self.uniform <= 1.0:
            raise ScenarioError(f"uniform={self.uniform} is a share of the power and must lie in 0..1")
        if self.searching is not None and self.searching.searching is not None:
            raise ScenarioError("searching names a contender that leaves the search to another; name that one itself")


@dataclass(frozen=True)
class World:
    """A network and the paths of its targets.

    Attributes:
        network: one drop.
        path: states of every target, m and m/s.
        present: whether a target is there yet.
        seed: of what is drawn at every step.
    """

    network: TrackingDrop
    path: Float[Tensor, "step target 6"]
    present: Bool[Tensor, "step target"]
    seed: int


def make_world(scenario: TrackingScenario, loop: Loop, index: int) -> World:
    """Network and paths of one world; targets turn back at the borders of the square and of the target heights."""
    seed = loop.seed + index
    generator = torch.Generator().manual_seed(seed)
    network = scenario.sample(1, generator=generator)
    velocity = torch.randn(*network.target_position[0].shape, generator=generator, dtype=torch.float64)
    velocity = velocity * torch.tensor([loop.speed, loop.speed, loop.climb_speed], dtype=torch.float64)
    state = torch.cat([network.target_position[0], velocity], dim=-1)
    low = torch.tensor([0.0, 0.0, scenario.target_height_min], dtype=torch.float64)
    high = torch.tensor([scenario.side, scenario.side, scenario.target_height_max], dtype=torch.float64)
    states = []
    for _ in range(loop.num_steps):
        states.append(state)
        state = loop.motion.move(state, generator)
        outside = (state[..., :3] < low) | (state[..., :3] > high)
        speed = torch.where(outside, -state[..., 3:], state[..., 3:])
        state = torch.cat([state[..., :3].clamp(low, high), speed], dim=-1)
    first = loop.late * torch.arange(scenario.num_targets)
    present = torch.arange(loop.num_steps).unsqueeze(1) >= first
    return World(network, torch.stack(states), present, seed)
