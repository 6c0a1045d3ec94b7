"""Every number of summary.json against cases small enough to do by hand and against NumPy loops."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from isac_torch.allocation import Allocation, Status
from isac_torch.evaluation.figures import styles
from isac_torch.evaluation.optimum import Optimum, best_known, contradictions
from isac_torch.evaluation.tracking.metrics import (
    Outcome,
    Sensed,
    capped_ratio,
    rate_ratio,
    score,
    sensing_score,
    sir_violation_rate,
    summarise,
)
from isac_torch.evaluation.tracking.view import sir_ceiling
from isac_torch.tracking.scenario import TrackingScenario

SIR0 = 0.3
BANDWIDTH = 2e7


def tensor(*values):
    return torch.tensor(values, dtype=torch.float64)


def make_optimum(value, upper=None, infeasible=None):
    value = tensor(*value)
    upper = 1.0005 * value if upper is None else tensor(*upper)
    infeasible = torch.zeros(len(value), dtype=torch.bool) if infeasible is None else torch.tensor(infeasible)
    return Optimum(value, upper, infeasible, torch.full_like(value, 0.4))


def make_outcome(sinr, sir=None, violation=None, seconds=1.0, name="someone"):
    """An outcome of UEs with SINR `sinr` [drop][ue]; rates follow from it."""
    sinr = torch.tensor(sinr, dtype=torch.float64)
    drops = len(sinr)
    sir = torch.full((drops, 2), 0.5, dtype=torch.float64) if sir is None else torch.tensor(sir, dtype=torch.float64)
    violation = torch.zeros(drops, dtype=torch.float64) if violation is None else tensor(*violation)
    return Outcome(
        name=name,
        power=torch.ones(drops, 3, dtype=torch.float64),
        rate=BANDWIDTH * torch.log2(1 + sinr),
        sinr_min=sinr.amin(-1),
        sir=sir,
        sir_min=torch.full_like(sir, SIR0),
        budget_violation=torch.linspace(0.0, 1e-7, drops, dtype=torch.float64),
        violation=violation,
        status=torch.full((drops,), Status.FEASIBLE),
        seconds=seconds,
    )


def test_hand_computed_row():
    # Optimum: SINR 3, rate 2 bit/s/Hz. Allocator: SINR 1 -> ratio 1/2; SINR 15 with a violation -> 4/2, capped at 1.
    row = score(make_outcome([[1.0, 7.0], [15.0, 15.0]], violation=[0.0, 0.2], seconds=0.5), make_optimum([3.0, 3.0]))
    assert row["num_drops"] == 2
    assert row["min_rate_ratio_mean"] == pytest.approx(0.75)
    assert row["min_rate_ratio_p5"] == pytest.approx(0.525)  # linear between the two points
    assert row["min_rate_ratio_worst"] == pytest.approx(0.5)
    assert row["min_rate_ratio_max"] == pytest.approx(0.5)  # the violating drop has no say
    assert row["min_rate_ratio_valid_mean"] == pytest.approx(0.25)
    assert row["valid_drop_share"] == pytest.approx(0.5)
    assert row["min_rate_mbps_mean"] == pytest.approx(20 * (1 + 4) / 2)
    assert row["mean_rate_mbps"] == pytest.approx(20 * (1 + 3 + 4 + 4) / 4)
    assert row["budget_violation_max"] == pytest.approx(1e-7)
    assert row["ms_per_drop"] == pytest.approx(250.0)


def test_violating_drop_below_the_optimum_keeps_its_ratio():
    valid = torch.tensor([True, True, False, False])
    assert_close(capped_ratio(tensor(0.5, 1.2, 0.5, 1.2), valid), tensor(0.5, 1.2, 0.5, 1.0))


def test_infeasible_and_outage_drops_are_counted_apart():
    optimum = make_optimum([3.0, 3.0, 5e-4, 3.0], upper=[3.0, 3.0, 9e-4, 3.0], infeasible=[False, True, False, False])
    outcome = make_outcome([[3.0], [0.1], [1e-9], [1.0]], sir=[[0.5], [0.01], [0.5], [0.2]], violation=[0, 0.9, 0, 0.3])
    summary = summarise([outcome], optimum)
    row = summary["allocators"]["someone"]
    assert (summary["num_drops"], summary["infeasible"], summary["outage"]) == (4, 1, 1)
    assert row["min_rate_ratio_mean"] == pytest.approx((1 + 0.5) / 2)
    assert row["valid_drop_share"] == pytest.approx(1 / 2)
    assert row["sir_violation_rate"] == pytest.approx(1 / 3)  # the infeasible drop is out, the one in outage is in


def test_unresolved_drop_is_neither_counted_nor_called_infeasible():
    optimum = make_optimum([3.0, math.nan], upper=[3.0, math.inf])
    assert optimum.unresolved.tolist() == [False, True]
    assert score(make_outcome([[1.0], [1.0]]), optimum)["min_rate_ratio_mean"] == pytest.approx(0.5)


def test_sir_margin_is_a_tenth_of_a_decibel():
    required = torch.full((1, 4), SIR0, dtype=torch.float64)
    reached = SIR0 * 10 ** (tensor(0.0, -0.099, -0.101, -3.0)[None] / 10)
    assert sir_violation_rate(reached, required) == pytest.approx(0.5)


def test_rows_without_targets_or_without_drops_are_null():
    no_target = score(make_outcome([[1.0]], sir=torch.zeros(1, 0).tolist()), make_optimum([3.0]))
    assert no_target["sir_violation_rate"] is None
    nothing = score(make_outcome([[1.0]]), make_optimum([3.0], infeasible=[True]))
    assert {k for k, v in nothing.items() if v is None} == {
        "sicnr_db_median", "sicnr_db_p10", "miss_probability", "mutual_information_mbps",
        "min_rate_ratio_mean", "min_rate_ratio_p5", "min_rate_ratio_worst", "min_rate_ratio_max", "min_rate_ratio_valid_mean",
        "valid_drop_share", "min_rate_mbps_mean", "mean_rate_mbps", "sir_violation_rate", "ratio_to_bound_mean",
        "rate_vs_fpc_0_1", "position_error_m", "rate_mbps_p5", "power_w_mean", "gap_p99", "rate_over_upc",
        "rate_over_upc_worst", "mean_rate_over_upc", "sicnr_minus_upc_db_mean", "sicnr_minus_upc_db_median",
        "sicnr_minus_upc_db_p10", "miss_probability_minus_upc", "position_error_minus_upc_m",
    }  # fmt: skip


def test_ratio_to_the_bound_by_hand():
    optimum = make_optimum([3.0, 3.0], upper=[3.0, 15.0])
    row = score(make_outcome([[3.0], [15.0]], violation=[0.0, 1.0]), optimum)
    assert row["ratio_to_bound_mean"] == pytest.approx(1.0)  # log2(4)/log2(4), log2(16)/log2(16)
    assert score(make_outcome([[1.0], [3.0]]), optimum)["ratio_to_bound_mean"] == pytest.approx(0.5)
    assert score(make_outcome([[1.0]]), make_optimum([3.0], upper=[math.inf]))["ratio_to_bound_mean"] is None


def test_gain_over_fractional_control_is_of_mean_minimum_rates_on_the_same_drops():
    base = make_outcome([[1.0, 9.0], [3.0, 3.0], [1000.0, 1000.0]], name="fpc_0_1")
    own = make_outcome([[3.0, 3.0], [15.0, 15.0]], name="own")
    rows = summarise([base, own], make_optimum([1e3, 1e3, 1e3]))["allocators"]
    assert rows["own"]["rate_vs_fpc_0_1"] == pytest.approx((2 + 4) / (1 + 2))
    assert rows["fpc_0_1"]["rate_vs_fpc_0_1"] == pytest.approx(1.0)
    assert summarise([own], make_optimum([1e3, 1e3]))["allocators"]["own"]["rate_vs_fpc_0_1"] is None


def test_best_effort_is_the_worst_target_over_the_largest_sir_on_infeasible_drops():
    outcome = make_outcome([[1.0], [1.0], [1.0]], sir=[[0.2, 0.3], [0.1, 0.01], [0.4, 0.5]])
    optimum = make_optimum([3.0, 3.0, 3.0], infeasible=[True, False, True])  # best SIR 0.4
    assert score(outcome, optimum)["best_effort_sir_mean"] == pytest.approx((0.5 + 1.0) / 2)
    assert score(outcome, make_optimum([3.0, 3.0, 3.0]))["best_effort_sir_mean"] is None


def test_an_allocator_run_on_fewer_drops_is_measured_on_those():
    row = score(make_outcome([[1.0]]), make_optimum([3.0, 1000.0, 1000.0]))
    assert row["num_drops"] == 1
    assert row["min_rate_ratio_mean"] == pytest.approx(0.5)


def test_ratio_of_equal_sinr_is_one_and_of_zero_power_zero(generator):
    sinr = torch.rand(50, generator=generator, dtype=torch.float64) * 10
    assert_close(rate_ratio(sinr, sinr), torch.ones_like(sinr))
    assert_close(rate_ratio(torch.zeros_like(sinr), sinr), torch.zeros_like(sinr))


def test_row_against_loops(generator):
    drops, ues, targets = 40, 3, 2
    uniform = torch.rand(drops, ues + targets + 2, generator=generator, dtype=torch.float64)
    sinr, sir = 4 * uniform[:, :ues], 0.25 + 0.2 * uniform[:, ues : ues + targets]
    violation = torch.where(uniform[:, -2] < 0.3, 0.1, 0.0).double()
    best = 0.5 + uniform[:, -1]
    row = score(make_outcome(sinr.tolist(), sir.tolist(), violation.tolist()), make_optimum(best.tolist()))
    capped, strict, uncapped, least, every, missed = [], [], [], [], [], 0
    for i in range(drops):
        ratio = np.log2(1 + min(sinr[i].tolist())) / np.log2(1 + best[i].item())
        kept = violation[i].item() == 0
        capped.append(ratio if kept else min(ratio, 1.0))
        strict.append(ratio if kept else 0.0)
        uncapped += [ratio] if kept else []
        rates = [20 * np.log2(1 + s) for s in sinr[i].tolist()]
        least.append(min(rates))
        every += rates
        missed += sum(10 * np.log10(s) < 10 * np.log10(SIR0) - 0.1 for s in sir[i].tolist())
    assert 0 < len(uncapped) < drops
    # float64 sums of some dozens of terms
    for key, value in {
        "min_rate_ratio_mean": np.mean(capped),
        "min_rate_ratio_p5": np.quantile(capped, 0.05),
        "min_rate_ratio_worst": np.min(capped),
        "min_rate_ratio_max": np.max(uncapped),
        "min_rate_ratio_valid_mean": np.mean(strict),
        "valid_drop_share": len(uncapped) / drops,
        "min_rate_mbps_mean": np.mean(least),
        "mean_rate_mbps": np.mean(every),
        "sir_violation_rate": missed / (drops * targets),
    }.items():
        assert row[key] == pytest.approx(float(value), rel=1e-12), key


def test_valid_powers_above_the_bound_are_a_contradiction():
    optimum = make_optimum([3.0, 3.0, 3.0], upper=[3.001, 3.001, 3.001], infeasible=[False, False, True])
    values, none = [3.0, 3.1, 0.1], [math.inf] * 3
    assert contradictions(make_allocation(values, none, [0.0] * 3), optimum) == 2
    assert contradictions(make_allocation(values, none, [0.1] * 3), optimum) == 0


def make_allocation(value, upper, violation, status=Status.OPTIMAL):
    value = tensor(*value)
    return Allocation(
        power=torch.ones(len(value), 3, dtype=torch.float64),
        status=torch.full(value.shape, status),
        value=value,
        upper_bound=tensor(*upper),
        violation=tensor(*violation),
        best_quality=torch.full_like(value, torch.nan),
        seconds=0.0,
    )


def test_best_known_takes_valid_values_and_the_smallest_bound():
    one = make_allocation([1.0, 2.0, 1.0], [1.1, 2.2, 1.5], [0.0, 0.0, 0.1])
    two = make_allocation([0.9, 2.1, 9.0], [1.05, 2.3, 1.4], [0.0, 0.0, 0.1])
    best = best_known([one, two])
    assert_close(best.value, tensor(1.0, 2.1, math.nan), equal_nan=True)
    assert_close(best.upper_bound, tensor(1.05, 2.2, 1.4))
    assert best.unresolved.tolist() == [False, False, True]
    assert bool(best_known([make_allocation([1.0], [1.0], [0.5], Status.INFEASIBLE)]).infeasible.all())


def test_sir_ceiling_counts_the_targets_of_a_receive_ap(generator):
    drop = TrackingScenario().sample(30, generator=generator)
    ceiling = sir_ceiling(drop)
    assert ceiling is not None
    for i, heard_by in enumerate(drop.listening_ap[:, :, 0].tolist()):
        most = max(heard_by.count(ap) for ap in heard_by)
        assert ceiling[i].item() == pytest.approx(1 / (most - 1) if most > 1 else math.inf)
    assert sir_ceiling(TrackingScenario(num_targets=1).sample(2, generator=generator)) is None


def test_lines_of_a_figure_look_different():
    assert len({tuple(style.values()) for style in styles(36)}) == 36
    assert len({style["color"] for style in styles(9)}) == 9  # as many allocators as the demo has


def test_sensing_numbers_run_over_all_targets():
    sensed = Sensed(
        sicnr=tensor(1.0, 10.0, 100.0)[:, None],
        miss=tensor(0.0, 0.1, 0.5)[:, None],
        information=tensor(2e6, 2e6, 2e6)[:, None],
        position_error=tensor(3.0, 4.0, 5.0)[:, None],
    )
    row = sensing_score(sensed)
    assert row["sicnr_db_median"] == pytest.approx(10.0)
    assert row["sicnr_db_p10"] == pytest.approx(10 * math.log10(2.8))  # a fifth of the way from 1 to 10
    assert row["miss_probability"] == pytest.approx(0.2)
    assert row["mutual_information_mbps"] == pytest.approx(2.0)
    assert row["position_error_m"] == pytest.approx((50 / 3) ** 0.5)
    assert sensing_score(None) == dict.fromkeys(row)
    silent = Sensed(
        sicnr=tensor(0.0)[:, None],
        miss=tensor(1.0)[:, None],
        information=torch.zeros(1, 0, dtype=torch.float64),
        position_error=tensor(42.0)[:, None],
    )
    assert sensing_score(silent) == {
        "sicnr_db_median": None, "sicnr_db_p10": None, "miss_probability": 1.0, "mutual_information_mbps": None,
        "position_error_m": 42.0,
    }  # fmt: skip


def echoes(sicnr, miss, error):
    values = (torch.tensor(value, dtype=torch.float64) for value in (sicnr, miss, miss, error))
    return Sensed(*values)


def test_numbers_beside_uniform_power_by_hand():
    uniform = replace(
        make_outcome([[1.0, 3.0], [3.0, 3.0], [15.0, 15.0]], name="upc"),
        sensed=echoes([[1.0, 10.0], [100.0, 1.0]], [[0.5, 0.1], [0.0, 0.2]], [[3.0, 4.0], [0.0, 0.0]]),
    )
    own = replace(
        make_outcome([[3.0, 3.0], [1.0, 15.0]]), sensed=echoes([[10.0, 0.0], [100.0, 1.0]], [[0.1] * 2] * 2, [[6.0] * 2] * 2)
    )
    row = summarise([own], make_optimum([3.0] * 3), uniform)["allocators"]["someone"]
    assert row["rate_over_upc"] == pytest.approx((2 + 1) / (1 + 2))
    assert row["rate_over_upc_worst"] == pytest.approx(1 / 2)
    assert row["mean_rate_over_upc"] == pytest.approx((2 + 2 + 1 + 4) / (1 + 2 + 2 + 2))
    assert row["sicnr_minus_upc_db_mean"] == pytest.approx((10 - 40 - 10 + 0 + 0) / 4)  # an SICNR of 0 counts as -40 dB
    assert row["sicnr_minus_upc_db_median"] == pytest.approx(5.0 - 5.0)
    assert row["sicnr_minus_upc_db_p10"] == pytest.approx(-40 + 0.3 * 40 - 0.0)  # three tenths from the least to the next
    assert row["miss_probability_minus_upc"] == pytest.approx(0.1 - 0.2)
    assert row["position_error_minus_upc_m"] == pytest.approx(6.0 - 2.5)
    assert row["power_w_mean"] == pytest.approx(3.0)
    assert row["gap_p99"] == pytest.approx(np.quantile([1 - 3 / 3.0015, 1 - 1 / 3.0015], 0.99))


def test_an_allocator_is_measured_by_the_optimum_of_what_it_was_asked():
    own = replace(make_outcome([[1.0], [1.0]]), optimum=make_optimum([1.0, 1.0], infeasible=[False, True]))
    row = summarise([own], make_optimum([3.0, 3.0]))["allocators"]["someone"]
    assert row["min_rate_ratio_mean"] == pytest.approx(1.0)
    assert row["infeasible"] == 1
