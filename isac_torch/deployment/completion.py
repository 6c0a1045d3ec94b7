"""What a snapshot leaves out, derived by the rules of the scenario."""

from __future__ import annotations

from dataclasses import replace
from operator import attrgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isac_torch.deployment.open_roles import known_gain, with_given_roles
from isac_torch.deployment.snapshot import NO_PATH_GAIN, Snapshot
from isac_torch.errors import DropError
from isac_torch.propagation.geometry import distance
from isac_torch.tracking.association import balanced, closest
from isac_torch.tracking.drop import assign_pilots
from isac_torch.tracking.scenario import TrackingScenario

_DERIVED = (
    "ue_gain", "pilot_power", "pilot", "serving_ap", "sensing_ap", "listening_ap", "ap_power", "pilot_symbols",
    "rx_orientation",
)  # fmt: skip
_READ = attrgetter(*_DERIVED)


def completed(snapshot: Snapshot) -> Snapshot:
    """The same network with every role, gain, set, pilot and power filled in; itself where nothing is missing.

    The snapshot has passed `check`. Raises DropError where a derived assignment of receive APs needs SciPy and there is none.
    """
    snapshot = with_given_roles(snapshot)
    missing = any(value is None for value in _READ(snapshot))
    gain = snapshot.ue_gain
    # Not gain.min(), which takes three times as long for arrays as small as these.
    unheard = gain is not None and gain.item(gain.argmin()) < NO_PATH_GAIN
    if not (missing or unheard):
        return snapshot
    found: dict[str, Any] = {name: getattr(snapshot, name) for name in _DERIVED}
    if found["pilot_symbols"] is None:
        found["pilot_symbols"] = snapshot.num_ues
    if found["ap_power"] is None:
        found["ap_power"] = np.full(snapshot.num_aps, TrackingScenario.ap_power)
    if found["pilot_power"] is None:
        found["pilot_power"] = np.full(snapshot.num_ues, TrackingScenario.pilot_power)
    if found["rx_orientation"] is None:  # no matter: requirements that read it insist on it
        found["rx_orientation"] = np.zeros(len(snapshot.rx_position))
    if found["ue_gain"] is None:
        found["ue_gain"] = known_gain(snapshot)
    elif unheard:
        found["ue_gain"] = np.maximum(found["ue_gain"], NO_PATH_GAIN)
    if found["serving_ap"] is None:
        found["serving_ap"] = closest(-found["ue_gain"][None], min(snapshot.serving_aps, snapshot.num_aps))[0]
    if found["sensing_ap"] is None:
        gap = distance(snapshot.target_position, snapshot.tx_position)
        found["sensing_ap"] = closest(gap[None], min(snapshot.sensing_aps, snapshot.num_aps))[0]
    if found["listening_ap"] is None:
        found["listening_ap"] = _listening(snapshot)
    if found["pilot"] is None:
        sets = found["serving_ap"][None]
        found["pilot"] = assign_pilots(found["ue_gain"][None], sets, found["pilot_symbols"], "round_robin")[0]
    return replace(snapshot, **found)


def _listening(snapshot: Snapshot) -> NDArray[Any]:
    """The closest receive APs of each target, or, above four targets, those of least total distance."""
    if not snapshot.num_targets:
        return np.zeros((0, 0), dtype=np.int64)
    gap = distance(snapshot.target_position, snapshot.rx_position)[None]
    count = min(snapshot.listening_aps, len(snapshot.rx_position))
    if snapshot.num_targets <= 4:
        return closest(gap, count)[0]
    try:
        return balanced(gap, count)[0]
    except ImportError:
        raise DropError(
            f"{snapshot.num_targets} targets share {len(snapshot.rx_position)} receive APs, which needs SciPy; "
            "pip install scipy, or give listening_ap"
        ) from None
