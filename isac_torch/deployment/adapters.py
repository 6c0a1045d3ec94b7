"""Large-scale gains from ray tracers, as the `ue_gain` of a Snapshot. No ray tracer is imported: these functions take arrays.

A large-scale gain here is the mean of |channel|^2 over antennas, frequencies and time: the phases of the paths average out,
their powers add. APs are the transmitters and UEs the receivers of the simulation; channels are reciprocal, so that a
simulation with the UEs as transmitters gives the same gains transposed.

Ask the ray tracer for isotropic elements (the model here points its beams itself) and for absolute powers: no normalisation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Complex, Float

from isac_torch.deployment.snapshot import NO_PATH_GAIN
from isac_torch.errors import GeometryError

if TYPE_CHECKING:
    from collections.abc import Sequence


def sionna_cfr_gain(
    response: Complex[np.ndarray, "ue uea ap apa time frequency"], no_path_gain: float = NO_PATH_GAIN
) -> Float[np.ndarray, "ue ap"]:
    """Gains, linear, from `paths.cfr(frequencies=..., normalize=False, out_type="numpy")` of Sionna RT.

    Take frequencies over the whole band; a single one would keep the fading of the paths in the gain.
    """
    _check_axes("response", response, 6, "[ue, ue antenna, ap, ap antenna, time, frequency]")
    return _gain(_square(response).mean(axis=(1, 3, 4, 5)), no_path_gain)


def sionna_cir_gain(
    coefficient: Complex[np.ndarray, "ue uea ap apa path time"], no_path_gain: float = NO_PATH_GAIN
) -> Float[np.ndarray, "ue ap"]:
    """Gains, linear, from the first result of `paths.cir(out_type="numpy")` of Sionna RT: powers of the paths, added up."""
    _check_axes("coefficient", coefficient, 6, "[ue, ue antenna, ap, ap antenna, path, time]")
    return _gain(_square(coefficient).sum(axis=4).mean(axis=(1, 3, 4)), no_path_gain)


def deepmimo_gain(
    power: Sequence[Float[np.ndarray, "ue path"]], no_path_gain: float = NO_PATH_GAIN
) -> Float[np.ndarray, "ue ap"]:
    """Gains, linear, from the `power` of DeepMIMO 4 datasets (`[d.power for d in macro.datasets]`), one a transmitting AP.

    `power` is in dB for 0 dB transmitted, NaN behind a UE's last path. Neither its `pathloss` (which adds amplitudes)
    nor the mean of its channels (divided by the root of the number of subcarriers) is the gain.
    """
    columns = []
    for index, paths in enumerate(power):
        _check_axes(f"power[{index}]", paths, 2, "[ue, path], dB")
        if np.isposinf(paths).any():
            raise GeometryError(f"power[{index}] holds inf; give powers of paths in dB, NaN where there is none")
        columns.append(np.nansum(10.0 ** (np.asarray(paths, np.float64) / 10.0), axis=1))
    if not columns or len({len(column) for column in columns}) > 1:
        raise GeometryError("power needs one array [ue, path] per AP, each with the same UEs; give [d.power for d in ...]")
    return _gain(np.stack(columns, axis=1), no_path_gain)


def _square(value: Complex[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    """|value|^2 in float64."""
    return np.asarray(value.real, np.float64) ** 2 + np.asarray(value.imag, np.float64) ** 2


def _check_axes(name: str, value: np.ndarray, count: int, axes: str) -> None:
    if value.ndim != count:
        raise GeometryError(f"{name} has shape {value.shape}, its axes must be {axes}")


def _gain(gain: Float[np.ndarray, "ue ap"], no_path_gain: float) -> Float[np.ndarray, "ue ap"]:
    if not np.isfinite(gain).all():
        raise GeometryError("the channel holds NaN or inf; trace the scene again")
    if (gain > 1.0).any():
        raise GeometryError(f"a gain of {gain.max():g} exceeds 1; ask for absolute, not for normalised channels")
    return np.maximum(gain, no_path_gain)
