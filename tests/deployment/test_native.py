"""The compiled core against the numpy path: the same answers, whatever the sizes and the instruction set, in any thread."""

import itertools
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from isac_torch.deployment import library, native
from isac_torch.deployment.allocator import DeployedAllocator
from isac_torch.deployment.bundle import load_weights
from isac_torch.deployment.card import quantities, read_card
from isac_torch.deployment.completion import completed
from isac_torch.deployment.patience import Abandoned, while_wanted
from isac_torch.deployment.snapshot import Snapshot
from isac_torch.deployment.statistics import coefficients
from isac_torch.errors import BundleError, DropError
from isac_torch.weights import shipped_bundle
from tests import hostile_drops
from tests.compiled_core import built, run_compiler
from tests.deployment.drawn import snapshots

POWER, SINR = 1e-4, 1e-6
"""Largest differences: of a link's power over its AP's budget, and of what the core says of its own powers, relative."""


@pytest.fixture(scope="module")
def compiled():
    return DeployedAllocator.load()


@pytest.fixture(scope="module")
def reference():
    return DeployedAllocator.load(native=False)


def drawn(size, count, **parameters):
    return snapshots(size, count, 971_000_000, **parameters)


def hostile(seed, count):
    """Networks of mixed sizes, half of them at the edges of what is allowed, that are accepted."""
    found: list[Snapshot] = []
    while len(found) < count:
        rng = np.random.default_rng([seed, len(found)])
        seed += 1
        drop = hostile_drops.plain(rng)
        drop = hostile_drops.with_gains(rng, drop) if rng.random() < 0.2 else drop
        if rng.random() < 0.5:
            drop = hostile_drops.EDGES[str(rng.choice(list(hostile_drops.EDGES)))](rng, drop)
        if rng.random() < 0.3:
            drop["pilot_symbols"] = int(rng.integers(1, 5))
        try:
            snapshot = Snapshot.from_mapping(drop)
            snapshot.check()
            found.append(completed(snapshot))
        except DropError:
            continue
    return found


def compare(compiled, reference, snapshots):
    """Paths and words are equal, powers and what is said of them nearly; the share that the core settled itself."""
    answers, wanted = compiled.many(snapshots), reference.many(snapshots)
    settled = [compiled._core.solve([completed(snapshot)]).outcome[0] != native.LEFT for snapshot in snapshots]
    for snapshot, one, other, alone in zip(snapshots, answers, wanted, settled, strict=True):
        full = completed(snapshot)
        assert (one.path, one.reason, one.out_of_distribution) == (other.path, other.reason, other.out_of_distribution)
        np.testing.assert_array_equal(one.link_ap, other.link_ap)
        assert full.ap_power is not None
        assert np.abs((one.power - other.power) / full.ap_power[native.links_of(full)]).max() <= POWER
        if alone:
            problem = coefficients([full])
            np.testing.assert_allclose(one.sinr, problem.sinr(one.power[None])[0], rtol=SINR)
            np.testing.assert_allclose(one.sir, problem.sir(one.power[None])[0], rtol=SINR)
    return np.mean(settled)


@built
@pytest.mark.parametrize(
    ("size", "parameters"),
    [
        ("16x16x4", {}),
        ("16x16x4", {"pilot_length": 5}),
        ("8x6x2", {"num_antennas": 8, "echo_gain": "product"}),
        ("9x7x3", {"num_antennas": 1}),
        ("6x5x2", {"num_antennas": 2, "listening_aps": 2, "serving_aps": 3}),
        ("12x10x1", {"num_antennas": 3}),
        ("4x3x0", {}),
    ],
)
def test_the_core_answers_as_numpy_does(compiled, reference, size, parameters):
    assert compare(compiled, reference, drawn(size, 12, **parameters)) > 0.5


@built
@pytest.mark.parametrize(("size", "parameters"), [("8x8x4", {}), ("8x8x4", {"pilot_length": 3}), ("6x5x1", {})])
def test_newton_steps_end_where_those_of_numpy_do(size, parameters):
    compiled, reference = (DeployedAllocator.load(refine=True, native=native) for native in (True, False))
    assert compare(compiled, reference, drawn(size, 12, **parameters)) > 0.5


@built
def test_missed_constraints_are_repaired_as_numpy_does(compiled, reference):
    hard = drawn("12x6x4", 20) + [replace(snapshot, sir_min_db=-1.0) for snapshot in drawn("12x6x4", 4)]
    compare(compiled, reference, hard)
    answers = compiled._core.solve([completed(snapshot) for snapshot in hard])
    repaired = np.flatnonzero(answers.outcome == native.REPAIRED)
    assert len(repaired) > 2
    assert (answers.outcome == native.NEARLY).sum() > 1
    problem = coefficients(hard).select(repaired)
    found = problem.violations(answers.power[repaired])
    assert max(found.sensing.max(), found.budget.max(), found.negative.max()) <= 1e-6


@built
def test_fuzzed_networks_of_mixed_sizes(compiled, reference):
    compare(compiled, reference, hostile(1, 20))


@built
@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_ten_thousand_fuzzed_networks(compiled, reference):
    for part in range(100):
        compare(compiled, reference, hostile(1_000_000 * (part + 1), 100))


@built
@pytest.mark.parametrize("level", range(len(library.LEVELS)))
def test_every_instruction_set_gives_the_same(compiled, level):
    core = compiled._core
    if level > core._level:
        pytest.skip("this processor does not know it")
    snapshots = drawn("12x10x3", 4, pilot_length=4)
    other = native.NativeCore(library.native_library(), 2, core._weights, compiled._constants)
    other._level = level
    np.testing.assert_allclose(other.solve(snapshots).power, core.solve(snapshots).power, rtol=2e-4, atol=1e-6)


@built
@pytest.mark.parametrize("refine", [False, True])
def test_nothing_is_read_before_it_is_written(compiled, unwritten_is_nan, monkeypatch, refine):
    core = compiled._core
    checked = native.NativeCore(unwritten_is_nan, 2, core._weights, compiled._constants)
    for level in range(core._level + 1):
        monkeypatch.setattr(core, "_level", level)
        monkeypatch.setattr(checked, "_level", level)
        for snapshot in hostile(3, 30) + drawn("9x7x3", 2, pilot_length=4):
            one, other = checked.solve([snapshot], refine=refine), core.solve([snapshot], refine=refine)
            np.testing.assert_array_equal(one.outcome, other.outcome)
            if one.outcome[0] != native.LEFT:
                np.testing.assert_allclose(one.power, other.power, rtol=2e-4, atol=1e-6)


@built
def test_quantities_are_those_of_the_card(compiled):
    snapshots = drawn("10x9x3", 5, pilot_length=4)
    found, wanted = compiled._core.solve(snapshots).quantity, quantities(coefficients(snapshots))
    np.testing.assert_allclose(found, list(wanted.values()), rtol=1e-9, atol=1e-9)


@built
def test_one_alone_in_a_batch_and_in_threads_to_the_last_bit(compiled):
    snapshots = drawn("8x6x2", 6)
    whole = [answer.power for answer in compiled.many(snapshots)]
    with ThreadPoolExecutor(4) as pool:
        for one, other in zip(pool.map(compiled, 8 * snapshots), 8 * whole, strict=True):
            np.testing.assert_array_equal(one.power, other)


@built
def test_what_the_core_leaves_is_answered_all_the_same(compiled, reference):
    snapshot = completed(drawn("8x6x2", 1)[0])
    assert snapshot.ue_gain is not None
    gain = snapshot.ue_gain.copy()
    gain[0] = 1e-20  # out of everybody's reach
    far = replace(snapshot, ue_gain=gain)
    assert compiled._core.solve([far]).outcome[0] == native.LEFT
    one, other = compiled(far), reference(far)
    np.testing.assert_array_equal(one.power, other.power)
    assert one.reason == other.reason != ""


@built
@pytest.mark.parametrize("asked", [0, 1, 3])
def test_a_deadline_ends_the_core_between_drops_and_between_steps(asked):
    allocator = DeployedAllocator.load(refine=True)
    assert allocator._core is not None
    snapshots = drawn("8x6x2", 2)
    answers = iter([True] * asked)
    with while_wanted(lambda: next(answers, False)), pytest.raises(Abandoned):
        allocator._core.solve([completed(snapshot) for snapshot in snapshots], refine=True)
    with while_wanted(lambda: True):
        for one, other in zip(allocator.many(snapshots), allocator.many(snapshots), strict=True):
            np.testing.assert_array_equal(one.power, other.power)


@built
@pytest.mark.parametrize("sir_min_db", [-5.0, 0.0, 10.0])
def test_a_deadline_ends_the_repair_of_one_network_at_any_step(compiled, sir_min_db):
    snapshot = replace(completed(drawn("12x6x4", 1)[0]), sir_min_db=sir_min_db)

    def solve(limit):
        """How often it is asked whether the answer is wanted, and whether it came; the answer `limit` is no."""
        asked = itertools.count(1)
        try:
            with while_wanted(lambda: next(asked) < limit):
                compiled._core.solve([snapshot])
        except Abandoned:
            return next(asked) - 1, False
        return next(asked) - 1, True

    times, came = solve(10**6)
    assert came
    for limit in range(1, times + 1):
        assert solve(limit) == (limit, False), "nobody is asked again"


def test_without_the_library_all_is_computed_by_numpy(monkeypatch, caplog):
    library.native_library.cache_clear()
    monkeypatch.setenv("ISAC_TORCH_NATIVE", "0")
    try:
        with caplog.at_level("INFO", logger=library.__name__):
            allocator = DeployedAllocator.load()
            allocator(drawn("4x3x2", 1)[0])
            assert allocator.computes_by == library.compute_path() == "numpy"
        assert [record.message for record in caplog.records] == ["allocating by numpy: ISAC_TORCH_NATIVE=0"]
    finally:
        library.native_library.cache_clear()


@built
def test_weights_that_are_not_the_graphs_are_refused(tmp_path):
    card = read_card(shipped_bundle())
    weights = load_weights(shipped_bundle(), card)
    assert weights is not None
    with pytest.raises(BundleError, match=r"link_head\.bias"):
        native.packed_weights(weights | {"link_head.bias": np.zeros(2, np.float32)}, 2)
    with pytest.raises(BundleError, match="unknown"):
        native.packed_weights(weights | {"more": np.zeros(2, np.float32)}, 2)


def test_the_core_compiles_without_warnings(tmp_path):
    run_compiler("-Wall", "-Wextra", "-Werror", "-fsyntax-only", cwd=tmp_path)
