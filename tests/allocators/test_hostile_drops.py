"""Whatever comes in, a deployed allocator answers with feasible powers or refuses in one line.

benchmarks/fuzz_deployment.py sends 100,000 inputs of the same kinds through an exported network. Here the network is replaced
by one that answers anything at all, NaN included: what comes out must not depend on its good behaviour.
"""

from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from isac_torch.deployment.allocator import DeployedAllocator
from isac_torch.deployment.downlink_pilots.allocator import RoadAllocator
from isac_torch.deployment.files import decode_snapshots
from isac_torch.deployment.snapshot import Snapshot
from isac_torch.errors import DropError
from isac_torch.tracking.balancing import CONSTANTS
from tests import hostile_drops, hostile_roads
from tests.scripts import benchmark


class AnyAnswer:
    """In place of the exported graph: logits of every size, some of them not finite, the same for the same inputs."""

    def run(self, outputs: list[str], inputs: dict[str, np.ndarray], options: object = None) -> list[np.ndarray]:
        parts = [self.one(heard) for heard in inputs["heard"]]
        return [np.stack(part) for part in zip(*parts, strict=True)]

    @staticmethod
    def one(heard: np.ndarray) -> list[np.ndarray]:
        rng = np.random.default_rng(np.frombuffer(heard.tobytes(), np.uint32))
        scale = rng.choice([0.0, 1.0, 30.0, 1e30, np.nan, np.inf], p=[0.3, 0.4, 0.15, 0.05, 0.05, 0.05])
        with np.errstate(all="ignore"):
            sizes = (heard.shape[1], len(heard), len(heard))
            return [np.asarray(scale * rng.standard_normal((1, size)), np.float32) for size in sizes]


@pytest.fixture(scope="module")
def fuzzer() -> Any:
    return benchmark("fuzz_deployment")


@pytest.fixture(scope="module")
def allocator() -> DeployedAllocator:
    return DeployedAllocator(AnyAnswer(), {"ranges": {}, "balance": asdict(CONSTANTS)})


def test_nothing_goes_wrong(fuzzer, allocator):
    tally = fuzzer.fuzz(allocator, count=600, seed=900_701, batch_size=128)
    assert tally.problems == []
    assert tally.worst_overload <= 1e-9
    accepted = {name.split(" -> ")[0] for name in tally.paths}
    assert {f"edge: {name}" for name in hostile_drops.EDGES} <= accepted  # none of the edges is refused altogether
    assert {name.split(" -> ")[1] for name in tally.paths} == set(fuzzer.PATHS) - {"refined"}
    assert {f"fault: {name}" for name in hostile_drops.FAULTS if name != "1e-300"} <= set(tally.refused)


def test_nothing_goes_wrong_on_roads(fuzzer):
    tally = fuzzer.fuzz(RoadAllocator.load(), count=360, seed=900_702, batch_size=64, system=fuzzer.ROADS)
    assert tally.problems == []
    assert tally.worst_overload <= 1e-12
    assert tally.different == 0
    assert {f"edge: {name}" for name in hostile_roads.EDGES} == {
        kind for kind in (name.split(" -> ")[0] for name in tally.paths) if kind.startswith("edge")
    }
    assert {name.split(" -> ")[1] for name in tally.paths} == set(fuzzer.ROAD_PATHS) - {"refined"}
    assert {f"fault: {name}" for name in hostile_roads.FAULTS} <= set(tally.refused)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=300) | st.text(max_size=100).map(str.encode))
def test_bytes_of_any_kind_are_refused_in_one_line(data):
    with pytest.raises(DropError) as error:
        decode_snapshots(data, name="x")
    assert "\n" not in str(error.value)


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2)
)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    seed=st.integers(0, 10**6),
    fields=st.dictionaries(
        st.sampled_from(["ue_gain", "pilot", "serving_ap", "ap_power", "num_antennas", "x"]), VALUES, max_size=2
    ),
)
def test_fields_of_any_kind_are_answered_or_refused(fuzzer, allocator, seed, fields):
    drop = hostile_drops.plain(np.random.default_rng(seed))
    try:
        snapshot = Snapshot.from_mapping(drop | fields)
        answer = allocator(snapshot)
    except DropError as error:
        assert "\n" not in str(error)  # noqa: PT017 - an answer is as good as a refusal
        return
    assert fuzzer.faults_of(snapshot, answer) == []
