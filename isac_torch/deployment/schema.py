"""JSON schema of a network and of its answer, from the fields of Snapshot, for the service's OpenAPI page."""

from __future__ import annotations

from dataclasses import MISSING, fields
from typing import Any

from isac_torch.deployment.downlink_pilots.snapshot import EXAMPLE as ROAD
from isac_torch.deployment.downlink_pilots.snapshot import RoadSnapshot
from isac_torch.deployment.field_specs import json_schema, specs_of
from isac_torch.deployment.snapshot import Snapshot

EXAMPLE: dict[str, Any] = {
    "tx_position": [[0, 0, 10], [400, 0, 10], [200, 350, 10]],
    "tx_orientation": [0.8, 2.4, 4.7],
    "rx_position": [[200, 120, 10]],
    "ue_position": [[120, 60, 1.65], [260, 210, 1.65]],
    "target_position": [[90, 180, 60], [310, 150, 40]],
    "sir_min_db": -5,
}
"""A small network: three transmit APs, one that listens, two UEs, two targets; everything else by default."""


def drop_schema(network: type[Snapshot] | type[RoadSnapshot] = Snapshot) -> dict[str, Any]:
    """JSON schema of one network: every field with its unit, shape and range."""
    properties = {name: json_schema(spec) for name, spec in specs_of(network).items()}
    required = [field.name for field in fields(network) if (field.default, field.default_factory) == (MISSING, MISSING)]
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def allocate_docs(network: type[Snapshot] | type[RoadSnapshot] = Snapshot) -> dict[str, Any]:
    """What the OpenAPI page says of POST /allocate, as keyword arguments of FastAPI's decorator."""
    drop = drop_schema(network)
    example = EXAMPLE if network is Snapshot else ROAD
    several = {"type": "object", "properties": {"drops": {"type": "array", "items": drop}}, "required": ["drops"]}
    binary = {"schema": {"type": "string", "format": "binary"}}
    line = {"application/json": {"schema": {"type": "object", "properties": {"detail": {"type": "string"}}}}}
    reasons = {
        408: "body too slow",
        413: "body too large",
        415: "not JSON or npz",
        422: "no such network",
        503: "busy",
        504: "late",
    }
    return {
        "openapi_extra": {
            "requestBody": {
                "required": True,
                "content": {
                    "application/json": {"schema": {"anyOf": [drop, several]}, "example": example},
                    "application/x-npz": binary,
                },
            }
        },
        "responses": {
            200: {"description": 'powers, W: {"drops": [...]}; npz where the request accepts application/x-npz'},
            **{
                status: {"description": f"{reason}; one line says what to mend", "content": line}
                for status, reason in reasons.items()
            },
        },
    }
