"""A small shard, and a file that holds it."""

from pathlib import Path

import pytest

from isac_torch.datasets.shards import Shard, encode_shard
from tests.datasets.shard import make_shard


@pytest.fixture(scope="module")
def shard() -> Shard:
    return make_shard()


@pytest.fixture
def path(shard, tmp_path) -> Path:
    file = tmp_path / "shard-00007.h5"
    file.write_bytes(encode_shard(shard))
    return file
