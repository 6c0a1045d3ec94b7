"""Gains of large networks: simulated shadowing and measured tables."""

import math

import numpy as np
import pytest

from isac_torch.errors import DropError
from isac_torch.large.gains import MeasuredGains, Shadowing
from isac_torch.large.problem import large_problem
from tests.large.networks import network


def test_simulated_shadowing_is_normal_and_reproducible():
    ue, ap = (index.ravel() for index in np.meshgrid(np.arange(300), np.arange(300)))
    one = np.ones(len(ue))
    value = 10 * np.log10(Shadowing(4.0, 7)(ue, ap, one))
    assert abs(value.mean()) < 4 * 4.0 / 300
    assert abs(value.std() - 4.0) < 4 * 4.0 / (300 * math.sqrt(2))
    table = value.reshape(300, 300)
    assert abs(np.corrcoef(table[:-1].ravel(), table[1:].ravel())[0, 1]) < 4 / 300
    assert abs(np.corrcoef(table[:, :-1].ravel(), table[:, 1:].ravel())[0, 1]) < 4 / 300
    assert (Shadowing(4.0, 7)(ue[:9], ap[:9], one[:9]) == Shadowing(4.0, 7)(ue, ap, one)[:9]).all()
    assert (Shadowing(4.0, 8)(ue, ap, one) != Shadowing(4.0, 7)(ue, ap, one)).all()
    assert (Shadowing(0.0, 8)(ue, ap, one) == one).all()


def test_measured_gains_may_be_sparse():
    from scipy.sparse import csr_array

    ue, ap = np.array([0, 0, 1]), np.array([0, 1, 1])
    table = csr_array(np.array([[0.5, 0.0], [0.0, 0.25]]))
    assert MeasuredGains(table)(ue, ap, np.full(3, 0.1)).tolist() == [0.5, 0.1, 0.25]
    assert MeasuredGains(table.toarray())(ue, ap, np.full(3, 0.1)).tolist() == [0.5, 1e-20, 0.25], "a measured zero is no path"


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda gain: 10.0 * np.log10(gain), "not dB"),
        (lambda gain: -10.0 * np.log10(gain), "not dB"),
        (lambda gain: np.where(gain == gain.max(), np.nan, gain), "NaN"),
        (lambda gain: np.where(gain == gain.max(), np.inf, gain), "inf"),
        (lambda gain: gain + 0j, "real numbers"),
        (lambda gain: gain.T, "transposed"),
        (lambda gain: gain[:5], r"\(5, 9\), the network has 6 UEs and 9 transmit APs"),
        (lambda gain: np.concatenate([gain, gain], 1), r"\(6, 18\)"),
    ],
)
def test_measured_gains_follow_the_rules_of_a_snapshot(change, says, sparse):
    from scipy.sparse import csr_array

    net = network(12, 6, 2, 3)
    distance = np.linalg.norm(net.ue_position[:, None] - net.tx_position, axis=2)
    table = change(10.0 ** (-3.67 * np.log10(distance) - 5.05))
    with pytest.raises(DropError, match=says) as error:
        large_problem(net, MeasuredGains(csr_array(table) if sparse else table))
    assert "\n" not in str(error.value)
