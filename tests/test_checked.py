"""The runtime checks of the tests see wrong types, wrong axes, and axes that differ between arguments and result."""

from fractions import Fraction

import pytest
import torch
from jaxtyping import Float, Int, TypeCheckError
from torch import Tensor

from isac_torch.sensing.projection import orthonormal
from isac_torch.solvers.tracking.first_stage import Found
from tests.checked import NoFormError, checked, form


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


def test_a_call_of_known_types_and_shapes_is_checked_in_what_is_new():
    function = checked(turned)
    square = TABLE[:, :2]
    for _ in range(2):
        assert function(square, INDEX).shape == (2, 2)
        assert function(TABLE, INDEX).shape == (3, 2)
        for table, other, turn in ((square.float().long(), INDEX, True), (square, INDEX[:1], True), (TABLE, INDEX, False)):
            with pytest.raises(TypeCheckError, match="turned"):
                function(table, other, turn=turn)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, True),
        (1, 1.0),
        ("sum", "worst"),
        (TABLE, TABLE.double()),
        (TABLE, TABLE.numpy()),
        ((TABLE, None), (TABLE, INDEX)),
        ([TABLE], [INDEX]),
        ({"a": 1}, {"a": "b"}),
        (int, float),
    ],
)
def test_values_that_annotations_can_tell_apart_have_different_forms(one, other):
    assert form(one) == form(one)
    assert form(one) != form(other)


@pytest.mark.parametrize("value", [[1, "a"], {1, 2}, torch.Size([2]), range(3)])
def test_containers_whose_content_no_form_tells_are_checked_anew(value):
    with pytest.raises(NoFormError):
        form(value)


def test_the_package_is_checked():
    with pytest.raises(TypeCheckError, match="reference"):
        orthonormal(*(torch.zeros(1, size, size, dtype=torch.complex128) for size in (3, 4)))
    with pytest.raises(TypeCheckError, match="Found"):
        Found(torch.zeros(2, 3), torch.zeros(3), torch.zeros(2, dtype=torch.bool))
