"""JSON from outside: the same values as Python's parser gives, limits before work, and time linear in the length."""

import contextlib
import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isac_torch.deployment.bounded_json import JsonLimits, parse_json
from isac_torch.errors import DropError

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def sizes(value: object) -> tuple[int, int, int]:
    """Depth, names and values, by walking the value itself; a list or object without content counts twice."""
    if not isinstance(value, (dict, list)):
        return 0, 0, 1
    inner = [sizes(one) for one in (value.values() if isinstance(value, dict) else value)]
    names = len(value) if isinstance(value, dict) else 0
    below = sum(one[2] for one in inner) if inner else 1
    return 1 + max((one[0] for one in inner), default=0), names + sum(one[1] for one in inner), 1 + below


@given(VALUES, st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32-be"]), st.booleans())
def test_values_are_those_of_the_library(value, encoding, ascii_only):
    data = json.dumps(value, ensure_ascii=ascii_only).encode(encoding, "surrogatepass")
    assert parse_json(data, JsonLimits(depth=50)) == value


@given(VALUES)
def test_limits_count_what_is_there(value):
    data = json.dumps(value).encode()
    depth, names, values = sizes(value)
    parse_json(data, JsonLimits(depth, names, values))
    if depth:
        with pytest.raises(DropError, match="too deep"):
            parse_json(data, JsonLimits(depth - 1, names, values))
    if names:
        with pytest.raises(DropError, match="names"):
            parse_json(data, JsonLimits(depth, names - 1, values))
    with pytest.raises(DropError, match="values"):
        parse_json(data, JsonLimits(depth, names, values - 1))


def many_names(count: int) -> bytes:
    return ("{" + ",".join(f'"k{index}":1' for index in range(count)) + ',"k0":2}').encode()


HOSTILE = {
    "a name given twice among many": many_names,
    "a text without an end": lambda count: b'"' + b'\\"' * (4 * count),
    "texts of escapes": lambda count: b"[" + b'"\\\\",' * count,
    "brackets in texts": lambda count: b'["' + b"[{" * count + b'"]',
    "lists without an end": lambda count: b"[" * count,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_twenty_times_the_length_takes_no_more_than_sixty_times_the_time(name):
    # Linear work takes 20 times as long, quadratic work 400 times; clocks of busy machines justify the factor between.
    def seconds(count: int) -> float:
        data, best = HOSTILE[name](count), float("inf")
        for _ in range(3):
            begin = time.process_time()
            with contextlib.suppress(DropError):
                parse_json(data, JsonLimits(depth=8))
            best = min(best, time.process_time() - begin)
        return best

    seconds(100)
    assert seconds(60_000) <= 60.0 * max(seconds(3_000), 1e-4)


def test_the_name_given_twice_is_said():
    with pytest.raises(DropError, match="'k0' is given twice"):
        parse_json(many_names(10))


def test_a_number_of_too_many_digits_is_refused_in_words_of_our_own():
    with pytest.raises(DropError, match=r"a whole number of more than \d+ digits") as refused:
        parse_json(b'{"budget": ' + b"9" * 900_000 + b"}")
    assert "sys." not in str(refused.value)


@pytest.mark.parametrize(
    ("data", "remedy"), [(b'{"a":1,"b":2}', "each network only"), (b'[{"a":1},{"b":2}]', "fewer networks")]
)
def test_the_remedy_for_many_names_fits_one_network_and_several(data, remedy):
    with pytest.raises(DropError, match=remedy):
        parse_json(data, JsonLimits(names=1))
