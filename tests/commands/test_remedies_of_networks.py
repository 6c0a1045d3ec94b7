"""What the error about a field of a network tells a user to do is done here, field by field: `allocate` then answers."""

import json
import re
from typing import Any

import numpy as np
import pytest

from isac_torch.cli import main
from isac_torch.deployment.schema import EXAMPLE

NONE = object()
"""The field is left out."""
HEARD = [[1e-9, 2e-9, 1e-10], [1e-10, 1e-9, 3e-9]]
Fields = dict[str, Any]
REMEDIES: list[tuple[Fields, str, Fields]] = [
    ({"ap_power": [33.0] * 2}, "ap_power has 2 entries along its ap axis, but tx_position has 3", {"ap_power": [2.0] * 3}),
    ({"ap_power": [-3.0] * 3}, "(W, not dBm)", {"ap_power": [10 ** (-3.0 / 10 - 3)] * 3}),
    ({"pilot_power": [-10.0] * 2}, "1e-09..100 (W, not dBm)", {"pilot_power": [1e-4] * 2}),
    ({"noise_power": -94.0}, "(W over the whole band, not dBm)", {"noise_power": 10**-12.4}),
    ({"carrier_frequency": 2.0}, "1e+08..1e+12 (Hz)", {"carrier_frequency": 2e9}),
    ({"ue_gain": [[-80.0] * 3] * 2}, "(a linear power gain, not dB)", {"ue_gain": [[1e-8] * 3] * 2}),
    ({"tx_orientation": [45.0] * 3}, "(radians, not degrees)", {"tx_orientation": [0.785] * 3}),
    ({"angle_error": 5.0}, "0..1 (radians)", {"angle_error": 0.09}),
    ({"azimuth_spread_deg": 400.0}, "0..180 (degrees)", {"azimuth_spread_deg": 40.0}),
    ({"sir_min_db": 200.0}, "-100..100 (dB)", {"sir_min_db": -20.0}),
    ({"num_antennas": 0}, "1..64 (antennas of each AP)", {"num_antennas": 1}),
    ({"serving_aps": 0}, "1..1e+06 (APs)", {"serving_aps": 1}),
    ({"serving_ap": [[3], [1]]}, "0..2 (indices that start at 0)", {"serving_ap": [[2], [0]]}),
    ({"pilot": [1, 2]}, "0..1 (indices that start at 0)", {"pilot": [0, 1]}),
    ({"listening_ap": [[1], [1]]}, "0..0 (indices that start at 0)", {"listening_ap": [[0], [0]]}),
    ({"sensing_ap": [[0, 0], [0, 1]]}, "name each AP once", {"sensing_ap": [[0, 1], [0, 1]]}),
    ({"echo_gain": "radr"}, "must be 'radar' or 'product'", {"echo_gain": "product"}),
    ({"receive_selection": "nearest"}, "must be 'given' or", {"receive_selection": "given"}),
    ({"rx_position": []}, "give rx_position at least one row", {"rx_position": [[200, 120, 10]]}),
    ({"ue_position": [[120, 60]]}, "give it as [ue, 3]", {"ue_position": [[120, 60, 1.65]]}),
    ({"target_position": [90, 180, 60]}, "give it as [target, 3]", {"target_position": [[90, 180, 60]]}),
    ({"ap_powr": [2.0] * 3}, "call it ap_power or pilot_power", {"ap_power": [2.0] * 3}),
    ({"receive_reach": -1.0}, "(a multiple of a distance)", {"receive_reach": 2.0}),
    ({"target_position": NONE}, "target_position is missing", {"target_position": []}),
    ({"ue_position": NONE}, "UEs by ue_position or by ue_gain, ue_azimuth and ue_elevation",
     {"ue_position": NONE, "ue_gain": HEARD, "ue_azimuth": [[0.1] * 3] * 2, "ue_elevation": [[0.0] * 3] * 2}),
    ({"noise_power": float("nan")}, "leave optional fields out instead", {"noise_power": NONE}),
]  # fmt: skip
"""A wrong network, words of the refusal, and the network that follows it."""


def network(changes: Fields) -> Fields:
    return {name: value for name, value in (EXAMPLE | changes).items() if value is not NONE}


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("wrong", "words"), [(wrong, words) for wrong, words, _ in REMEDIES], ids=[words for _, words, _ in REMEDIES]
)
def test_the_error_is_one_line_with_the_remedy(wrong, words, here, capsys):
    (here / "n.json").write_text(json.dumps(network(wrong)))
    assert main(["allocate", "n.json", "--output", "p.json"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line
    assert not (here / "p.json").exists()


def test_networks_that_follow_every_remedy_are_answered(here):
    (here / "n.json").write_text(json.dumps([network(right) for _, _, right in REMEDIES]))
    assert main(["allocate", "n.json", "--output", "p.json"]) == 0
    answers = json.loads((here / "p.json").read_text())["drops"]
    assert len(answers) == len(REMEDIES) >= 25
    for answer in answers:
        power = np.array(answer["power"])
        assert np.isfinite(power).all()
        assert (power >= 0.0).all()
        assert min(answer["sinr"]) > 0.0


@pytest.mark.parametrize(
    ("content", "words", "right"),
    [
        (b"[]", "give an object with the fields of a drop, or a list of them", [EXAMPLE]),
        (json.dumps({"drops": [EXAMPLE], "more": 1}).encode(), "'drops' is no field of a drop; leave it out", EXAMPLE),
        (
            b'{"sir_min_db": 1, ' + json.dumps(EXAMPLE).encode()[1:],
            "'sir_min_db' is given twice; give each field once",
            EXAMPLE,
        ),
        (json.dumps(EXAMPLE).encode()[:-4], "see the format in docs/deployment.md", EXAMPLE),
        (b"PK123", "write it with numpy.savez", None),
    ],
    ids=["no drop", "a name beside drops", "twice", "cut", "npz"],
)
def test_files_that_follow_the_remedy_are_answered(content, words, right, here, capsys):
    (here / "n").write_bytes(content)
    assert main(["allocate", "n", "--output", "p.json"]) == 2
    assert words in re.sub(r"\s+", " ", capsys.readouterr().err)
    if right is None:
        with (here / "n").open("wb") as file:
            np.savez(file, **{name: np.asarray(value, float) for name, value in EXAMPLE.items()})
    else:
        (here / "n").write_text(json.dumps(right))
    assert main(["allocate", "n", "--output", "p.json"]) == 0
