"""The HTTP service over a stand-in allocator: hostile requests get 4xx and one line, concurrent ones share batches."""

import asyncio
import io
import json
from dataclasses import replace

import numpy as np
import pytest

from isac_torch.deployment.files import read_snapshots
from isac_torch.deployment.limits import Limits
from isac_torch.deployment.memory import memory_of
from isac_torch.deployment.schema import EXAMPLE, drop_schema
from isac_torch.deployment.snapshot import Snapshot
from isac_torch.errors import RequestError
from tests.deployment.stand_in import BODY, FILE, StandIn, assert_refused, drop, npz, post, run


def test_answers_in_json_and_npz():
    response = post(BODY)
    assert response.status_code == 200
    (answer,) = response.json()["drops"]
    expected = StandIn.one(read_snapshots(FILE)[0])
    assert answer["power"] == expected.power.tolist()
    assert answer["owner_kind"] == ["ue", "ue"]
    arrays = {name: np.asarray(value) for name, value in EXAMPLE.items()}
    response = post(npz(**arrays), "application/x-npz", accept="application/x-npz")
    table = np.load(io.BytesIO(response.content), allow_pickle=False)
    np.testing.assert_array_equal(table["link_power"], expected.power)
    assert table["drop_path"].tolist() == [b"network"]


def test_lists_keep_their_order():
    response = post(json.dumps([drop(shift) for shift in (3.0, 1.0, 2.0)]).encode())
    first = [answer["power"][0] for answer in response.json()["drops"]]
    assert np.diff(first).tolist() == pytest.approx([-2.0, 1.0])


def test_other_pages():
    async def body(client, _):
        paths = ("/health", "/card", "/metrics", "/openapi.json", "/docs", "/nothing")
        return [await client.get(path) for path in paths]

    health, card, metrics, openapi, docs, nothing = run(body)
    assert health.json()["status"] == "ok"
    assert card.json() == {"name": "stand-in"}
    assert "isac_requests" in metrics.text
    schema = openapi.json()["paths"]["/allocate"]["post"]["requestBody"]["content"]["application/json"]
    assert schema["example"] == EXAMPLE
    assert "swagger" in docs.text
    assert nothing.status_code == 404


def test_schema_names_every_field_with_its_unit():
    schema = drop_schema()
    assert schema["required"] == ["tx_position", "tx_orientation", "rx_position", "target_position"]
    assert all(item["description"] for item in schema["properties"].values())
    assert "m;" in schema["properties"]["tx_position"]["description"]
    assert schema["properties"]["ue_gain"]["items"]["items"] == {"type": "number", "minimum": 0.0, "maximum": 1.0}
    assert schema["properties"]["tx_position"]["items"]["maxItems"] == 3
    assert schema["properties"]["serving_ap"]["items"]["items"] == {"type": "integer", "minimum": 0}
    assert schema["properties"]["num_antennas"]["type"] == "integer"
    assert schema["properties"]["echo_gain"]["enum"] == ["radar", "product"]
    assert "ue_gain: [ue, ap] large-scale fading" in (Snapshot.__doc__ or "")
    Snapshot.from_mapping(EXAMPLE).check()


@pytest.mark.parametrize(
    ("content", "kind", "status", "says"),
    [
        (b"", "application/json", 422, "not JSON"),
        (b"[" * 500_000, "application/json", 422, "too deep"),
        (b"{" * 500_000, "application/json", 422, "too deep"),
        (b"\x00" * 100, "application/json", 422, "not JSON"),
        (BODY.replace(b"-5", b"NaN"), "application/json", 422, "NaN"),
        (BODY.replace(b"-5", b"1e4"), "application/json", 422, "sir_min_db"),
        (BODY.replace(b"-5", b"13"), "application/json", 422, "bad luck"),
        (BODY.replace(b"[120, 60", b'["far", 60'), "application/json", 422, "ue_position"),
        (BODY.replace(b"ue_position", b"ue_positions"), "application/json", 422, "ue_positions"),
        (b"PK\x03\x04" + bytes(100), "application/x-npz", 422, "npz"),
        (BODY, "application/x-npz", 422, "npz"),
        (npz(tx_position=np.zeros((10**6, 3))), "application/octet-stream", 422, "unpack"),
        (npz(tx_position=np.array([object()], dtype=object)), "application/x-npz", 422, "plain numbers"),
        (BODY, "text/html", 415, "text/html"),
        (BODY, "multipart/form-data; boundary=x", 415, "multipart"),
        (b" " * (2**20 + 1), "application/json", 413, "exceeds"),
        (json.dumps([drop()] * 9).encode(), "application/json", 422, "9 drops"),
        (json.dumps(drop(num_antennas=256, ue_position=[[0, 0, 1]] * 900)).encode(), "application/json", 422, "MiB"),
        (json.dumps(drop(num_antennas=33)).encode(), "application/json", 422, "num_antennas=33"),
        (json.dumps([drop(), drop(carrier_frequency=2)]).encode(), "application/json", 422, "drop 1: carrier_frequency"),
    ],
    ids=lambda value: repr(value)[:24],
)
def test_hostile_requests_are_refused_in_one_line(content, kind, status, says):
    assert_refused(post(content, kind, Limits(max_bytes=2**20, max_drops=8)), status, says)


def test_odd_headers():
    assert_refused(post(BODY, **{"content-encoding": "gzip"}), 415, "packed")
    assert_refused(post(BODY, **{"content-length": "9" * 30}), 413, "exceeds")
    assert_refused(post(BODY, **{"content-length": "-1"}), 413, "exceeds")

    async def get(client, _):
        return await client.get("/allocate")

    assert run(get).status_code == 405


def test_a_body_without_a_length_is_counted():
    async def chunks():
        for _ in range(100):
            yield b" " * 2**16

    async def body(client, _):
        return await client.post("/allocate", content=chunks(), headers={"content-type": "application/json"})

    assert_refused(run(body, Limits(max_bytes=2**20)), 413, "exceeds")


def test_slow_bodies_and_slow_answers_end():
    async def slow():
        yield BODY[:10]
        await asyncio.sleep(1.0)
        yield BODY[10:]

    async def late_body(client, _):
        return await client.post("/allocate", content=slow(), headers={"content-type": "application/json"})

    assert_refused(run(late_body, Limits(seconds=0.1)), 408, "did not arrive")

    async def late_answer(client, allocator):
        allocator.gate.clear()
        response = await client.post("/allocate", content=BODY)
        allocator.gate.set()
        return response, await client.post("/allocate", content=BODY)

    first, second = run(late_answer, Limits(seconds=0.2))
    assert_refused(first, 504, "no answer")
    assert second.status_code == 200


def test_limits_that_let_nothing_through():
    with pytest.raises(RequestError, match="max_bytes=0"):
        Limits(max_bytes=0)
    with pytest.raises(RequestError, match="seconds=nan"):
        Limits(seconds=float("nan"))


def test_larger_networks_are_said_to_take_more():
    small = Snapshot.from_mapping(EXAMPLE)
    large = replace(small, num_antennas=8)
    assert memory_of(large) > memory_of(small) > 0
