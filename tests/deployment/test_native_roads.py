"""The compiled core of the downlink-pilot system against the numpy path: the same powers, paths and words."""

import itertools
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch

from isac_torch import RoadAllocator, RoadSnapshot
from isac_torch.deployment import library
from isac_torch.deployment.downlink_pilots.compiled import RoadCore, road_core
from isac_torch.deployment.downlink_pilots.merit import powers
from isac_torch.deployment.downlink_pilots.network import RoadNetwork
from isac_torch.deployment.downlink_pilots.newton import improved, located
from isac_torch.deployment.downlink_pilots.snapshot import EXAMPLE
from isac_torch.deployment.downlink_pilots.statistics import coefficients
from isac_torch.deployment.patience import Abandoned, while_wanted
from isac_torch.errors import DropError
from tests import hostile_roads
from tests.compiled_core import built
from tests.deployment.drawn_roads import roads, with_complex_pilots

POWER = 1e-9
"""Largest difference of a link's power over its AP's budget: both compute in double precision, in another order."""
PLAIN = (1e-6, 1e10)
"""Energies over the noise outside of which the log NMSE of (P7), (P8) is mostly rounding, and so is which step is the best."""
STEPS = 1e-4
"""Largest difference after Newton's steps, which may end one step apart, within their gap."""


@pytest.fixture(scope="module")
def compiled():
    return RoadAllocator.load()


@pytest.fixture(scope="module")
def reference():
    return RoadAllocator.load(native=False)


def drawn(count=3, complex_pilots=0, **changes):
    _, found = roads(count, 962_000, **changes)
    return with_complex_pilots(found, complex_pilots) if complex_pilots else found


def hostile(seed, count):
    """Roads at the edges of what is allowed, with correlated and shared pilots, that are accepted."""
    found: list[RoadSnapshot] = []
    for index in itertools.count():
        rng = np.random.default_rng([seed, index])
        road = hostile_roads.plain(rng)
        road = hostile_roads.EDGES[str(rng.choice(list(hostile_roads.EDGES)))](rng, road)
        if rng.random() < 0.3:
            road["downlink_correlation"] = float(rng.random())
        if rng.random() < 0.3:
            road["uplink_symbols"] = int(rng.integers(1, 5))
        try:
            snapshot = RoadSnapshot.from_mapping(road)
            snapshot.check()
        except DropError:
            continue
        found.append(snapshot)
        if len(found) == count:
            break
    return found


def plain(problem):
    """Whether double precision has digits to spare for the NMSE of every UE."""
    energy = (problem.estimate * problem.budget).sum(-1)
    return PLAIN[0] < energy.min() and energy.max() < PLAIN[1]


def said(answer):
    """Path and words of an answer; of the bounds that were missed which, not by how much: the third digit may be rounded."""
    return answer.path, re.sub(r"\S+ of Gamma", "", answer.reason), answer.out_of_distribution


def compare(compiled, reference, snapshots):
    """Paths and words are equal, powers nearly; the share of the roads whose network the core computed.

    Where pilots are shared or correlated Newton's steps may not settle: there rounding decides where they end, in numpy
    as well.
    """
    answered = 0
    for snapshot in snapshots:
        problem = coefficients(snapshot)
        one, other = compiled(snapshot), reference(snapshot)
        assert said(one) == said(other)
        budget = np.tile(problem.budget, len(problem.gain))
        if plain(problem) and (problem.orthogonal or one.path == "network"):
            assert np.abs((one.power - other.power) / budget).max() < STEPS
        found = compiled._core.powers(problem)
        if found is not None:
            answered += 1
            with np.errstate(all="ignore"):
                wanted = powers(problem, reference.network.logits(problem))
            if plain(problem):
                assert np.abs((found - wanted) / problem.budget).max() < POWER
            np.testing.assert_allclose(problem.nmse(found).max(), problem.nmse(wanted).max(), rtol=0.02)
    return answered / len(snapshots)


@built
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"num_ues": 6},
        {"num_ues": 6, "shadowing_db": 8.0, "num_aps": 7},
        {"num_ues": 1, "num_aps": 2},
        {"num_ues": 6, "downlink_correlation": 0.3},
        {"num_ues": 5, "downlink_correlation": 0.3, "receiver": "projection"},
        {"num_ues": 5, "downlink_correlation": 0.3, "receiver": "ignorant"},
        {"num_ues": 12, "num_aps": 20, "serving_aps": 5},
        {"num_ues": 5, "uplink_symbols": 3, "downlink_symbols": 4},
    ],
)
def test_the_core_answers_as_numpy_does(compiled, reference, changes):
    assert compare(compiled, reference, drawn(**changes)) == 1.0


@built
def test_complex_correlations_of_pilots(compiled, reference):
    for receiver in ("lmmse", "projection", "ignorant"):
        roads = drawn(complex_pilots=8, num_ues=5, uplink_symbols=3, receiver=receiver)
        assert compare(compiled, reference, roads) == 1.0


@built
def test_fuzzed_roads(compiled, reference):
    assert compare(compiled, reference, hostile(963_000, 40)) > 0.9


@built
@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_five_thousand_fuzzed_roads(compiled, reference):
    assert compare(compiled, reference, hostile(964_000, 5000)) > 0.99


NEWTON = {
    "plain": {"num_ues": 6},
    "shadowed": {"num_ues": 6, "num_aps": 7, "shadowing_db": 8.0, "crb_max": 1.2},
    "lmmse": {"num_ues": 6, "downlink_correlation": 0.3},
    "projection": {"num_ues": 5, "downlink_correlation": 0.4, "receiver": "projection"},
    "ignorant": {"num_ues": 5, "downlink_correlation": 0.4, "receiver": "ignorant"},
    "subsets": {"num_ues": 6, "num_aps": 12, "serving_aps": 4},
    "one UE": {"num_ues": 1, "num_aps": 4},
    "complex lmmse": {"num_ues": 4, "complex_pilots": 16},
    "complex ignorant": {"num_ues": 4, "complex_pilots": 16, "receiver": "ignorant"},
}


@built
@pytest.mark.parametrize("changes", NEWTON.values(), ids=NEWTON)
def test_newtons_steps_end_where_those_of_numpy_do(compiled, changes):
    for road in drawn(4, **changes):
        problem = coefficients(road)
        power = compiled._core.powers(problem)
        inside = located(problem, power)
        for found, wanted in (
            (compiled._core.located(problem, power), inside),
            (compiled._core.improved(problem, inside), improved(problem, inside)),
        ):
            assert np.abs((found - wanted) / problem.budget).max() < 1e-7


@built
def test_bounds_are_met_where_numpy_meets_them(compiled, reference):
    roads = drawn(24, num_ues=6, shadowing_db=8.0, crb_max=0.95)
    compare(compiled, reference, roads)
    assert {"network", "engine", "best_effort"} <= {compiled(road).path for road in roads}


@built
def test_steps_of_shared_pilots_end_no_worse_than_they_start(compiled):
    for road in drawn(6, num_ues=5, uplink_symbols=3, crb_max=2.0):
        problem = coefficients(road)
        power = compiled._core.powers(problem)
        found = compiled._core.improved(problem, power)
        assert (problem.quality(power).value > 0.0).all()
        assert (problem.quality(found).value > 0.0).all()
        assert (found.sum(0) <= problem.budget).all()
        assert problem.nmse(found).max() <= problem.nmse(power).max()


@built
@pytest.mark.parametrize("level", range(len(library.LEVELS)))
def test_every_instruction_set_gives_the_same(compiled, level, monkeypatch):
    if level > compiled._core._level:
        pytest.skip("this processor does not know it")
    core = compiled._core
    problems = [coefficients(road) for road in drawn(num_ues=5, downlink_correlation=0.2) + drawn(num_ues=3)]
    wanted = [(core.powers(problem), core.improved(problem, problem.even)) for problem in problems]
    monkeypatch.setattr(core, "_level", level)
    for problem, (power, better) in zip(problems, wanted, strict=True):
        np.testing.assert_allclose(core.powers(problem), power, rtol=1e-7)
        np.testing.assert_allclose(core.improved(problem, problem.even), better, rtol=1e-6)


@built
def test_nothing_is_read_before_it_is_written(compiled, unwritten_is_nan, monkeypatch):
    core, network = compiled._core, compiled.network
    checked = RoadCore(unwritten_is_nan, network._w, network.shape)
    for level in range(core._level + 1):
        monkeypatch.setattr(core, "_level", level)
        monkeypatch.setattr(checked, "_level", level)
        for road in hostile(965_000, 30) + drawn(num_ues=6, num_aps=7) + drawn(num_ues=5, uplink_symbols=3):
            problem = coefficients(road)
            inside = core.located(problem, problem.even)
            pairs = [(checked.powers(problem), core.powers(problem)), (checked.located(problem, problem.even), inside)]
            if inside is not None and (problem.quality(inside).value > 0.0).all() and not problem.shared:
                pairs.append((checked.improved(problem, inside), core.improved(problem, inside)))
            for one, other in pairs:
                assert (one is None) == (other is None)
                if one is not None and plain(problem):
                    assert np.abs((one - other) / problem.budget).max() < STEPS


@built
@pytest.mark.parametrize("refine", [False, True])
def test_in_threads_to_the_last_bit(refine):
    allocator = RoadAllocator.load(refine=refine)
    roads = drawn(num_ues=6) + drawn(num_ues=4, downlink_correlation=0.3)
    alone = [allocator(road).power for road in roads]
    with ThreadPoolExecutor(4) as pool:
        for answer, power in zip(pool.map(allocator, 8 * roads), 8 * alone, strict=True):
            np.testing.assert_array_equal(answer.power, power)


def times_asked(call):
    """How often it is asked whether the answer is wanted; it ends at once where that is denied, whenever that is."""
    for limit in itertools.count(1):
        asked = itertools.count(1)
        with while_wanted(lambda asked=asked, limit=limit: next(asked) < limit):  # type: ignore[misc]  # bound now
            try:
                call()
            except Abandoned:
                assert next(asked) - 1 == limit, "nobody is asked again"
            else:
                return limit - 1
    return 0


@built
def test_a_deadline_ends_the_core_between_any_two_steps(compiled):
    problem, shape = coefficients(drawn(num_ues=6)[0]), compiled.network.shape
    times = times_asked(lambda: compiled._core.powers(problem))
    assert times == shape["layers"] + shape["refinements"] + shape["steps"]
    assert times_asked(lambda: compiled._core.improved(problem, problem.even)) > 4
    many = coefficients(drawn(1, num_ues=40, num_aps=2, uplink_symbols=40, downlink_symbols=40, frame_symbols=100)[0])
    points = 1 + shape["refinements"] + shape["steps"] + 1
    assert times_asked(lambda: compiled._core.powers(many)) == times + points  # once more among the UEs of each


@built
def test_it_says_what_computes(compiled):
    assert compiled.computes_by == library.compute_path()


@built
def test_what_the_core_leaves_is_computed_by_numpy(compiled, reference, monkeypatch):
    for name in ("_run", "_steps"):
        monkeypatch.setattr(compiled._core, name, lambda *_: 1)
    example = RoadSnapshot.from_mapping(EXAMPLE)
    for road in (example, replace(example, crb_max=np.full(3, 0.3))):
        np.testing.assert_array_equal(compiled(road).power, reference(road).power)


@built
@pytest.mark.parametrize("hidden", [8, 24])
def test_networks_of_other_shapes(hidden):
    from isac_torch.nn.downlink_pilots.network import DownlinkPilotNetwork

    torch.manual_seed(4)
    network = DownlinkPilotNetwork(hidden, 1, 2, 3)
    weights = {name: value.detach().numpy() for name, value in network.state_dict().items()}
    weights["heads.1.weight"] = weights["heads.1.weight"] + 0.3
    facts = {"feature_version": 2, "hidden": hidden, "layers": 1, "refinements": 2, "steps": 3}
    core, problem = road_core(weights, facts), coefficients(drawn(num_ues=5, downlink_correlation=0.3)[0])
    assert core is not None
    wanted = powers(problem, RoadNetwork(weights, facts).logits(problem))
    np.testing.assert_allclose(core.powers(problem), wanted, rtol=1e-8)
    assert road_core(weights, facts | {"feature_version": 1}) is None
    with pytest.raises(ValueError, match=r"mix\.bias has the shape"):
        road_core(weights | {"layers.0.mix.bias": np.zeros(3)}, facts)


def test_without_the_core_all_is_computed_by_numpy(reference):
    assert reference.computes_by == "numpy"
    assert reference(RoadSnapshot.from_mapping(EXAMPLE)).path == "network"
