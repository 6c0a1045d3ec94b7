"""Gains from ray tracers, on channels that Sionna RT and DeepMIMO made (tests/data/ray_tracing)."""

import numpy as np
import pytest

from isac_torch.deployment.adapters import deepmimo_gain, sionna_cfr_gain, sionna_cir_gain
from isac_torch.deployment.snapshot import NO_PATH_GAIN
from isac_torch.errors import GeometryError
from tests.paths import DATA

FOLDER = DATA / "ray_tracing"


@pytest.fixture(scope="module")
def sionna():
    return dict(np.load(FOLDER / "sionna_rt.npz", allow_pickle=False))


@pytest.fixture(scope="module")
def deepmimo():
    return dict(np.load(FOLDER / "deepmimo.npz", allow_pickle=False))


def test_path_powers_add_up(sionna):
    gain = sionna_cir_gain(sionna["cir_a"])
    loop = np.zeros((2, 3))
    for ue in range(2):
        for ap in range(3):
            for antenna in range(4):
                loop[ue, ap] += sum(abs(a) ** 2 for a in sionna["cir_a"][ue, 0, ap, antenna, :, 0].astype(complex)) / 4
    np.testing.assert_allclose(gain, loop, rtol=1e-12)


def test_response_and_paths_agree_but_for_fading(sionna):
    # 20 MHz average out only paths that differ by more than 15 m: some fading is left, 2 dB here.
    ratio = sionna_cfr_gain(sionna["cfr"]) / sionna_cir_gain(sionna["cir_a"])
    assert np.abs(10 * np.log10(ratio)).max() < 2.0
    a, tau, f = sionna["cir_a"][..., 0].astype(complex), sionna["tau"].astype(float), sionna["frequencies"]
    response = np.einsum("uibap,ubpf->uibaf", a, np.exp(-2j * np.pi * tau[..., None] * f))
    mean = (np.abs(response) ** 2).mean(axis=(1, 3, 4))
    # cfr() shifts all delays of a pair together, which no mean of squares sees; float32 in the tracer.
    np.testing.assert_allclose(sionna_cfr_gain(sionna["cfr"]), mean, rtol=1e-3)


def test_gain_is_that_of_the_street(sionna):
    # All in line of sight with reflections on top: close to free space.
    away = np.linalg.norm(sionna["ue_position"][:, None] - sionna["ap_position"], axis=-1)
    free = (299_792_458.0 / 2e9 / (4 * np.pi * away)) ** 2
    ratio_db = 10 * np.log10(sionna_cir_gain(sionna["cir_a"]) / free)
    assert (ratio_db > 0).all()
    assert (ratio_db < 5).all()


def test_deepmimo_says_what_sionna_says(sionna, deepmimo):
    order = [int(np.linalg.norm(sionna["ap_position"] - position, axis=-1).argmin()) for position in deepmimo["tx_pos"]]
    np.testing.assert_allclose(deepmimo["rx_pos"], sionna["ue_position"], rtol=1e-6)
    gain = deepmimo_gain(list(deepmimo["power"]))
    np.testing.assert_allclose(gain, sionna_cir_gain(sionna["cir_a"])[:, order], rtol=1e-4)  # float32 decibels
    # The docstring's warning: their channels carry 1/subcarriers, here 16.
    mean = (np.abs(deepmimo["channel"]) ** 2).mean(axis=(2, 3, 4)).T * 16
    assert np.abs(10 * np.log10(mean / gain)).max() < 2.0


def test_unconnected_pairs_get_a_tiny_gain():
    power = [np.array([[-80.0, -90.0], [np.nan, np.nan]]), np.array([[-70.0, np.nan], [-60.0, np.nan]])]
    expected = [[1e-8 + 1e-9, 1e-7], [NO_PATH_GAIN, 1e-6]]
    np.testing.assert_allclose(deepmimo_gain(power), expected, rtol=1e-12)
    assert sionna_cir_gain(np.zeros((1, 1, 2, 4, 3, 1), complex)).tolist() == [[NO_PATH_GAIN, NO_PATH_GAIN]]


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: sionna_cir_gain(2.0 * np.ones((1, 1, 1, 1, 1, 1), complex)), "normalised"),
        (lambda: sionna_cir_gain(np.full((1, 1, 1, 1, 1, 1), np.nan, complex)), "NaN"),
        (lambda: deepmimo_gain([]), "one array"),
        (lambda: deepmimo_gain([np.zeros((2, 1)), np.zeros((3, 1))]), "same UEs"),
        (lambda: deepmimo_gain([np.full((2, 1), np.inf)]), "inf"),
    ],
)
def test_channels_that_make_no_gain_are_refused(call, says):
    with pytest.raises(GeometryError, match=says) as error:
        call()
    assert "\n" not in str(error.value)
