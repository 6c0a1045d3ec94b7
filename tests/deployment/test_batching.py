"""Requests that share batches: company, guilt, cost, and what waits when the service stops."""

import asyncio

import numpy as np
import pytest

from isac_torch.deployment.batching import Batcher, Busy
from isac_torch.deployment.limits import Limits
from isac_torch.deployment.schema import EXAMPLE
from isac_torch.deployment.snapshot import Snapshot
from tests.deployment.stand_in import StandIn, drop, run


def test_concurrent_requests_share_a_batch():
    async def body(client, allocator):
        allocator.gate.clear()
        tasks = [asyncio.create_task(client.post("/allocate", json=drop(shift))) for shift in range(40)]
        await asyncio.sleep(0.3)
        allocator.gate.set()
        return await asyncio.gather(*tasks), allocator.batches

    responses, batches = run(body)
    powers = [response.json()["drops"][0]["power"][0] for response in responses]
    assert np.diff(powers) == pytest.approx(np.ones(39))  # everybody gets his own answer
    assert sum(batches) == 40
    assert len(batches) <= 3


def test_only_the_guilty_request_of_a_batch_is_refused():
    async def body(client, allocator):
        allocator.gate.clear()
        drops = [drop(0.0), drop(sir_min_db=13), drop(1.0), drop(sir_min_db=14)]
        tasks = [asyncio.create_task(client.post("/allocate", json=one)) for one in drops]
        await asyncio.sleep(0.2)
        allocator.gate.set()
        return await asyncio.gather(*tasks)

    responses = run(body)
    # 14 stands for a mistake of ours, the only thing that may end in 500.
    assert [response.status_code for response in responses] == [200, 422, 200, 500]


def test_too_many_waiting_networks_are_turned_away():
    async def body(client, allocator):
        allocator.gate.clear()
        tasks = [asyncio.create_task(client.post("/allocate", json=drop())) for _ in range(12)]
        await asyncio.sleep(0.3)
        allocator.gate.set()
        return await asyncio.gather(*tasks)

    responses = run(body, Limits(max_waiting=5, max_batch=2))
    refused = [response for response in responses if response.status_code == 503]
    assert 5 <= len(refused) <= 7
    assert refused[0].headers["retry-after"] == "1"


def test_batches_stay_within_their_cost():
    async def inside():
        allocator = StandIn()
        batcher = Batcher(allocator, max_cost=2.5, max_batch=100)
        batcher.start()
        snapshot = Snapshot.from_mapping(EXAMPLE)
        await asyncio.gather(*[batcher.allocate([snapshot], cost=1.0) for _ in range(5)])
        with pytest.raises(Busy):
            await Batcher(allocator, max_waiting=1).allocate([snapshot, snapshot])
        await batcher.stop()
        assert not batcher.running
        return allocator.batches

    assert asyncio.run(inside()) == [2, 2, 1]


def test_batches_hold_no_more_networks_than_they_may():
    async def inside():
        allocator = StandIn()
        batcher = Batcher(allocator, max_batch=5)
        batcher.start()
        snapshot = Snapshot.from_mapping(EXAMPLE)
        await asyncio.gather(*[batcher.allocate([snapshot] * count) for count in (2, 2, 2, 7, 1)])
        await batcher.stop()
        return allocator.batches

    assert asyncio.run(inside()) == [4, 2, 7, 1]  # a request is never divided, however large


def test_stopping_answers_what_waits():
    async def inside():
        allocator = StandIn()
        batcher = Batcher(allocator, window=0.05)
        batcher.start()
        answer = asyncio.create_task(batcher.allocate([Snapshot.from_mapping(EXAMPLE)]))
        await asyncio.sleep(0.01)
        await batcher.stop()
        return await answer

    assert len(asyncio.run(inside())) == 1
