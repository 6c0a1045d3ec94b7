"""Format of shards and data sets: versions, and which attributes of an allocation a label keeps."""

from __future__ import annotations

SHARD_FORMAT = "isac-torch shard"
DATASET_FORMAT = "isac-torch data set"
FORMAT_VERSION = 1
"""Raised whenever a field changes its meaning; readers refuse every other version."""

LABELS = ("power", "status", "value", "upper_bound", "violation", "best_quality")
"""Attributes of an Allocation that a shard keeps; its seconds go to the log, since they differ from run to run."""

MAY_BE_INFINITE = frozenset({"label/upper_bound", "label/best_quality"})
"""Where `inf` or NaN means 'not known' rather than a damaged file."""
