"""The runtime checks of the tests see wrong types, wrong axes, and axes that differ between arguments and result."""

from fractions import Fraction

import pytest
import torch
from jaxtyping import Float, Int, TypeCheckError
from torch import Tensor

from isac_torch.sensing.projection import orthonormal
from isac_torch.solvers.tracking.first_stage import Found
from tests.checked import checked


def turned(table: Float[Tensor, "row column"], other: Int[Tensor, " row"], *, turn: bool = True) -> Float[Tensor, "column row"]:
    return table.mT if turn else table


def left_open(value: Fraction) -> Fraction:
    return value


left_open.__annotations__ = dict.fromkeys(("value", "return"), "OnlyTheTypeCheckerKnows")


TABLE, INDEX = torch.zeros(2, 3), torch.zeros(2, dtype=torch.int64)


def test_what_fits_is_let_through():
    assert checked(turned)(TABLE, other=INDEX).shape == (3, 2)
    assert checked(turned)(TABLE[:, :2], INDEX, turn=False).shape == (2, 2)
    assert checked(left_open)(Fraction(1, 2)) == 0.5


@pytest.mark.parametrize(
    ("table", "other", "turn"),
    [
        (TABLE[0], INDEX, True),
        (TABLE, INDEX.double(), True),
        (TABLE, INDEX[:1], True),
        (TABLE, INDEX, False),
        (TABLE, INDEX, 1),
    ],
)
def test_what_does_not_fit_is_refused(table, other, turn):
    with pytest.raises(TypeCheckError, match="turned"):
        checked(turned)(table, other, turn=turn)


def test_the_package_is_checked():
    with pytest.raises(TypeCheckError, match="reference"):
        orthonormal(*(torch.zeros(1, size, size, dtype=torch.complex128) for size in (3, 4)))
    with pytest.raises(TypeCheckError, match="Found"):
        Found(torch.zeros(2, 3), torch.zeros(3), torch.zeros(2, dtype=torch.bool))
