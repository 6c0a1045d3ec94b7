"""What a data set is made from, and the list of shards that follows from it.

Recipe, seed and index decide a shard's bytes; the fingerprint of the recipe tells shards of one data set from all others.
"""

from __future__ import annotations

import hashlib
import inspect
import json
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isac_torch.datasets.files import sha256
from isac_torch.datasets.schema import FORMAT_VERSION
from isac_torch.errors import DatasetError
from isac_torch.systems import AnySystem, system_of

if TYPE_CHECKING:
    from isac_torch.systems import Scenario

MAX_SEED = 2**32
"""PyTorch's generator on a CPU uses 32 bits of its seed: larger ones would repeat the drops of smaller ones."""

_LABELLING_CODE = (
    "allocation.py",
    "problem.py",
    "links.py",
    "tensors.py",
    "units.py",
    "propagation",
    "{system}",
    "solvers",
    "allocators",
)


@dataclass(frozen=True)
class ShardTask:
    """One shard to make: `num_drops` drops of `scenario` from a generator seeded with `drop_seed`."""

    index: int
    scenario_index: int
    scenario: Scenario
    num_drops: int
    drop_seed: int

    @property
    def name(self) -> str:
        """File name of the shard."""
        return shard_name(self.index)

    @property
    def size(self) -> str:
        """Size class: APs x UEs, and x targets where these are not the UEs."""
        return system_of(self.scenario).size(self.scenario)


def shard_name(index: int) -> str:
    """File name of the shard at `index`."""
    return f"shard-{index:05d}.h5"


@dataclass(frozen=True)
class Recipe:
    """Everything that a data set's bytes depend on.

    Attributes:
        scenarios: size classes, each with its own `num_drops` drops.
        num_drops: drops of each scenario.
        seed: shard i draws its drops with seed + i.
        shard_size: drops of a shard; the last one of a scenario may hold fewer.
        allocator: the labelling allocator as it prints itself, tolerances included.
    """

    scenarios: tuple[Scenario, ...]
    num_drops: int
    seed: int
    shard_size: int
    allocator: str

    def __post_init__(self) -> None:
        """Refuse counts and seeds that make no data set, in one line each."""
        for name in ("num_drops", "shard_size"):
            if getattr(self, name) < 1:
                raise DatasetError(f"{name}={getattr(self, name)} must be at least 1")
        if len({system_of(scenario).name for scenario in self.scenarios}) > 1:
            raise DatasetError("scenario mixes the tracking and the downlink-pilot system; make a data set of each")
        if not 0 <= self.seed <= MAX_SEED - self.num_shards:
            raise DatasetError(f"seed={self.seed} must lie in 0..{MAX_SEED - self.num_shards}, since shard i uses seed + i")

    @property
    def system(self) -> AnySystem:
        """The system that all scenarios belong to."""
        return system_of(self.scenarios[0])

    @property
    def num_shards(self) -> int:
        """Shards of all scenarios."""
        return len(self.scenarios) * -(-self.num_drops // self.shard_size)

    @property
    def tasks(self) -> list[ShardTask]:
        """The shards, one scenario after the other."""
        tasks: list[ShardTask] = []
        for place, scenario in enumerate(self.scenarios):
            for first in range(0, self.num_drops, self.shard_size):
                count = min(self.shard_size, self.num_drops - first)
                tasks.append(ShardTask(len(tasks), place, scenario, count, self.seed + len(tasks)))
        return tasks

    def to_json(self) -> str:
        """The recipe with the versions of everything that computes it, the same text for the same recipe."""
        return json.dumps(self._entries() | {"scenarios": [_described(item) for item in self.scenarios]}, sort_keys=True)

    def shard_config(self, task: ShardTask) -> str:
        """What the header of one shard says of its making: the recipe with that shard's scenario alone, as JSON."""
        return json.dumps(self._entries() | {"scenario": _described(task.scenario)}, sort_keys=True)

    def _entries(self) -> dict[str, Any]:
        counts = {name: getattr(self, name) for name in ("num_drops", "seed", "shard_size", "allocator")}
        return counts | {"system": self.system.name, "software": software_versions(self.system.name)}

    @property
    def fingerprint(self) -> str:
        """SHA-256 of `to_json`."""
        return sha256(self.to_json().encode())


def _described(scenario: Scenario) -> dict[str, Any]:
    """The parameters; of a class outside the package also its name, a digest of its source and how tables call it."""
    kind = type(scenario)
    if kind is system_of(scenario).scenario:
        return asdict(scenario)
    source = inspect.getsourcefile(kind)
    digest = "" if source is None else sha256(Path(source).read_bytes())[:16]
    return asdict(scenario) | {"class_path": f"{kind.__module__}.{kind.__qualname__}", "code": digest, "name": scenario.name}


@cache
def software_versions(system: str) -> dict[str, Any]:
    """Versions that a shard's bytes depend on, with a digest of the sources of a system's physics and of the solvers.

    The digest keeps a run that resumes after an edit of the path loss from mixing two physics in one data set.
    """
    from importlib.metadata import PackageNotFoundError, version

    import torch

    import isac_torch

    root = Path(isac_torch.__file__).parent
    code = hashlib.sha256()
    for entry in _LABELLING_CODE:
        path = root / entry.format(system=system)
        for source in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            code.update(source.relative_to(root).as_posix().encode() + b"\0" + source.read_bytes())
    versions = {"isac_torch": isac_torch.__version__, "torch": torch.__version__.split("+")[0], "code": code.hexdigest()[:16]}
    for package in ("clarabel", "h5py", "moreau", "numpy", "scipy"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:  # an engine that is not installed computes nothing
            continue
    return versions | {"format_version": FORMAT_VERSION}
