"""The manifest of a data set: its recipe and the SHA-256 of every shard that is done. The same run writes the same bytes."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from isac_torch.datasets.files import sha256
from isac_torch.datasets.recipe import shard_name
from isac_torch.datasets.schema import DATASET_FORMAT, FORMAT_VERSION
from isac_torch.errors import DatasetError
from isac_torch.files import write_whole

MANIFEST = "manifest.json"


@dataclass
class Manifest:
    """What a folder should hold.

    Attributes:
        recipe: JSON text of the recipe.
        num_shards: shards of the finished data set.
        shards: file name -> {"sha256", "num_drops", "scenario", "size", "status"} of the shards that are done.
    """

    recipe: str
    num_shards: int
    shards: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the recipe."""
        return sha256(self.recipe.encode())

    @property
    def num_missing(self) -> int:
        """Shards that are not done."""
        return self.num_shards - len(self.shards)

    @property
    def first_missing(self) -> str:
        """Name of the first shard that is not done, if there is one."""
        return next(name for index in range(self.num_shards) if (name := shard_name(index)) not in self.shards)

    def check_finished(self, folder: Path) -> None:
        """Raise DatasetError, one line, where a shard is missing, as after an interrupted run; `folder` only names it."""
        if self.num_missing:
            raise DatasetError(
                f"{folder}: {self.num_missing} of {self.num_shards} shards are missing, first {self.first_missing}; "
                "run the same `isac-torch generate` again to finish it"
            )

    def write(self, folder: Path) -> None:
        """Replace the manifest of `folder` atomically."""
        content = {
            "format": DATASET_FORMAT,
            "format_version": FORMAT_VERSION,
            "fingerprint": self.fingerprint,
            "recipe": json.loads(self.recipe),
            "num_shards": self.num_shards,
            "shards": dict(sorted(self.shards.items())),
        }
        write_whole(folder / MANIFEST, json.dumps(content, indent=1, sort_keys=True) + "\n")


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a data set. DatasetError, one line, where the folder holds none or it is damaged or foreign."""
    path = folder / MANIFEST
    if not folder.is_dir():
        raise DatasetError(f"{folder}: no such folder; make it with `isac-torch generate --output {folder}`")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content.get("format") != DATASET_FORMAT or content.get("format_version") != FORMAT_VERSION:
            raise DatasetError(
                f"{path}: {content.get('format')!r} version {content.get('format_version')!r}, but this version reads "
                f"{DATASET_FORMAT!r} version {FORMAT_VERSION}; generate it anew"
            )
        recipe = json.dumps(_checked_recipe(content["recipe"]), sort_keys=True)
        num_shards = _whole(content["num_shards"])
        shards = _checked_shards(content["shards"], num_shards, len(content["recipe"]["scenarios"]))
        manifest = Manifest(recipe, num_shards, shards)
    except FileNotFoundError:
        raise DatasetError(
            f"{folder}: holds no {MANIFEST}, so it is no data set; give the folder that `generate` wrote"
        ) from None
    except DatasetError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DatasetError(f"{path}: damaged ({type(error).__name__}); delete it and run the same `generate` again") from None
    if manifest.fingerprint != content.get("fingerprint"):
        raise DatasetError(f"{path}: its fingerprint does not match its recipe, it was edited; generate the data set anew")
    return manifest


def _checked_recipe(recipe: dict[str, Any]) -> dict[str, Any]:
    kinds = {"scenarios": list, "seed": int, "allocator": str, "software": dict, "system": str}
    wrong = [name for name, kind in kinds.items() if not isinstance(recipe[name], kind)]
    if wrong or not recipe["scenarios"] or not all(isinstance(item, dict) for item in recipe["scenarios"]):
        raise ValueError("recipe")
    return recipe


def _checked_shards(shards: dict[str, dict[str, Any]], num_shards: int, scenarios: int) -> dict[str, dict[str, Any]]:
    if len(shards) > num_shards:
        raise ValueError("num_shards")
    for name, entry in shards.items():
        index = int(name.removeprefix("shard-").removesuffix(".h5"))
        counts = [_whole(count) for count in entry["status"].values()]
        whole = _whole(entry["num_drops"]) > 0 and sum(counts) == entry["num_drops"]
        texts = isinstance(entry["sha256"], str) and isinstance(entry["size"], str)
        if name != shard_name(index) or index >= num_shards or _whole(entry["scenario"]) >= scenarios or not (whole and texts):
            raise ValueError(name)
    return dict(shards)


def _whole(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(value)
    return value
