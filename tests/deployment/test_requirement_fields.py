"""Requirements inside a snapshot: the same problem as with torch, the one validator, and what is refused."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch

from isac_torch.deployment.files import decode_json, encode_json
from isac_torch.deployment.schema import EXAMPLE, drop_schema
from isac_torch.deployment.snapshot import Snapshot
from isac_torch.deployment.statistics import coefficients, size_class
from isac_torch.errors import DropError
from isac_torch.tensors import tensor_fields
from isac_torch.tracking.build import power_problem
from isac_torch.tracking.requirement import Requirement
from isac_torch.tracking.scenario import TrackingScenario
from isac_torch.tracking.setup import SensingSetup

ASKED = {
    "none": Requirement("none"),
    "sicnr": Requirement("sicnr", sicnr_min_db=-2.0),
    "detection": Requirement("detection", miss=0.3),
    "position": Requirement("position", position_error=15.0),
    "dominate": Requirement("dominate", sicnr=0.9, margin=0.2, enough_db=13.0),
}
SMALL = {**EXAMPLE, "rx_orientation": [0.5], "requirement": "dominate"}


@pytest.mark.parametrize("kind", list(ASKED))
@pytest.mark.parametrize("size", ["8x6x3", "6x4x1", "6x4x0"])
def test_coefficients_are_those_of_the_tensors(kind: str, size: str) -> None:
    setup = SensingSetup(clutter_factor=0.02, sensing_samples=40)
    scenario = TrackingScenario.of_size(size, listening_aps=1, requirement=ASKED[kind], sensing=setup)
    drop = scenario.sample(3, generator=torch.Generator().manual_seed(31))
    snapshots = [Snapshot.from_drop(drop, index, scenario) for index in range(3)]
    for snapshot in snapshots:
        snapshot.check()
    found, expected = tensor_fields(coefficients(snapshots)), tensor_fields(power_problem(drop, scenario))
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(
            found[name], value.numpy(), rtol=1e-9, atol=1e-9 * float(value.abs().max() if value.numel() else 0)
        )


def test_objects_survive_a_file_and_texts_are_objects() -> None:
    snapshot = Snapshot.from_mapping(SMALL)
    assert snapshot.requirement == Requirement("dominate")
    text = json.dumps(asdict(Requirement("sicnr", sicnr_min_db=2.0)))
    assert Snapshot.from_mapping({**SMALL, "requirement": text}).requirement.sicnr_min_db == 2.0
    (again,) = decode_json(encode_json([replace(snapshot, sensing={"rcs_variance_dbsm": 3, "sensing_samples": None})]))
    assert again.requirement == snapshot.requirement
    assert again.sensing == SensingSetup(rcs_variance_dbsm=3.0)
    schema = drop_schema()["properties"]["requirement"]
    assert "dominate" in schema["properties"]["kind"]["enum"]
    assert schema["properties"].keys() == asdict(Requirement()).keys()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"requirement": {"kind": "dominat"}}, "requirement.kind='dominat' must be"),
        ({"requirement": {"knd": "sir"}}, "requirement.knd is no field of requirement; call it kind"),
        ({"requirement": 3}, "requirement is a int where an object with kind"),
        ({"requirement": {"kind": "dominate", "sicnr": "1"}}, "requirement.sicnr='1' must be a number"),
        ({"requirement": {"kind": "dominate", "scan": -1}}, "requirement.scan holds -1, but must lie in 0..1000"),
        ({"requirement": {"kind": "dominate", "comm_exponent": 11}}, "comm_exponent holds 11, but must lie in -10..10"),
        ({"requirement": {"kind": "dominate", "cell": 0.01}}, "at most 2500 are kept; raise requirement.cell"),
        ({"requirement": {"kind": "position", "blocks": 1.5}}, "requirement.blocks=1.5 must be a whole number"),
        ({"requirement": "{"}, "requirement='{': "),
        ({"sensing": "los"}, "sensing='los' must be a JSON object"),
        ({"sensing": {"sensing_samples": 60}}, "sensing_samples=60 must not exceed coherence_length=50"),
        ({"sensing": {"num_regions": 5}}, "num_regions=5 must be a square number"),
        ({"rx_orientation": None}, "rx_orientation is missing; requirement.kind='dominate' needs"),
        ({"scan_area": [0, 0, -1, 10]}, "scan_area=[0, 0, -1, 10] must be"),
        ({"scan_area": [0, 0, 1]}, "scan_area has the shape (3,)"),
    ],
)
def test_what_is_no_requirement_is_refused_in_one_line(changes: dict, words: str) -> None:
    with pytest.raises(DropError) as refusal:
        Snapshot.from_mapping({**SMALL, **changes}).check()
    assert words in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_networks_that_ask_for_the_same_share_a_batch() -> None:
    one = Snapshot.from_mapping(SMALL)
    moved = replace(one, target_position=one.target_position + 1.0)
    assert size_class(one) == size_class(moved)
    assert size_class(one) != size_class(replace(one, requirement="sicnr"))
    assert size_class(one) != size_class(replace(one, scan_area=[0, 0, 500, 500]))
    plain = replace(one, requirement="sir", rx_orientation=None)
    assert size_class(plain) == size_class(replace(plain, coherence_length=100, rx_orientation=[1.0]))
    coefficients([replace(plain, rx_orientation=[1.0]), plain])


def test_open_roles_turn_the_arrays_that_listen() -> None:
    """Roles by a rule: the receive APs keep the orientation that the site gave them."""
    position = [[0, 0, 10], [400, 0, 10], [200, 350, 10], [210, 120, 10]]
    site = {**EXAMPLE, "tx_position": position, "tx_orientation": [0.8, 2.4, 4.7, 0.1], "rx_position": []}
    opened = Snapshot.from_mapping({**site, "receive_selection": "farthest_point", "requirement": "dominate"})
    opened.check()
    problem = coefficients([opened])
    assert problem.num_cells == 16
    assert problem.violations(problem.reference).worst.max() < 1e-9
