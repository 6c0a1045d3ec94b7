"""What Liesegang et al. conclude from their figures, judged on our averages. Ids as in docs/reproduction.md.

The paper gives no numbers in its text, and its curves are not at hand: each claim is a statement with a rule that decides it.
"Median" is over all cells (or targets) of all drops, of values averaged over the blocks; rates are over all UEs of all drops.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING

import torch

from isac_torch.evaluation.studies.claims import Claim, Verdict
from isac_torch.evaluation.studies.liesegang_figures import (
    CLUTTER,
    NO_SENSING,
    RCS_DBSM,
    SAMPLES,
    UES,
    tracked,
    with_clutter,
    with_rcs,
    with_regions,
    with_samples,
    with_ues,
)
from isac_torch.evaluation.studies.liesegang_readings import (
    DOMINATING,
    PRINTED,
    STRONG_PILOTS,
    optimal_beats_fractional,
)
from isac_torch.evaluation.studies.liesegang_study import Case, Policy

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from isac_torch.evaluation.studies.liesegang_study import Study


def _median(values: Tensor) -> float:
    return float(values.flatten().quantile(0.5))


def _ratio(study: Study, case: Case) -> float:
    return _median(study.run(case).ratio_db)


def _rate(study: Study, case: Case, quantile: float = 0.5) -> float:
    return float(study.run(case).rate.flatten().quantile(quantile)) / 1e6


def _miss(study: Study, dbsm: float, factor: float, **changes: object) -> float:
    case = with_clutter(factor, **changes)
    case = replace(case, setup=replace(case.setup, rcs_variance_dbsm=dbsm))
    return float(study.run(case, with_miss=True).miss.mean())


def _list(values: list[float], digits: int = 2) -> str:
    return ", ".join(f"{value:.{digits}f}" for value in values)


def _miss_trends(study: Study) -> Verdict:
    over_rcs = [[_miss(study, level, factor) for level in RCS_DBSM] for factor in CLUTTER]
    falls = all(b < a for row in over_rcs for a, b in pairwise(row) if a > 1e-4)
    rises = all(a < b for column in zip(*over_rcs, strict=True) for a, b in pairwise(column) if b > 1e-4)
    steps = [a - b for row in over_rcs for a, b in pairwise(row)]
    words = "; ".join(f"varsigma {factor:g}: {_list(row, 4)}" for factor, row in zip(CLUTTER, over_rcs, strict=True))
    return min(steps), falls and rises, f"mean miss probability at {RCS_DBSM} dBsm: {words}"


def _miss_without_sensing(study: Study) -> Verdict:
    loss = [_miss(study, 0.0, factor, policy=NO_SENSING) - _miss(study, 0.0, factor) for factor in CLUTTER]
    holds = min(loss) > 0 and loss[-1] == max(loss)
    return min(loss), holds, f"added miss probability at 0 dBsm and varsigma {CLUTTER}: {_list(loss, 4)}"


def _miss_noise_only(study: Study) -> Verdict:
    both = [(_miss(study, 10.0, f), _miss(study, 10.0, f, clutter_statistics=False)) for f in CLUTTER]
    factor = min(noise / max(clutter, 1e-12) for clutter, noise in both)
    words = "; ".join(f"varsigma {f:g}: {c:.1e} with, {n:.1e} without" for f, (c, n) in zip(CLUTTER, both, strict=True))
    return factor, factor >= 2.0, f"at 10 dBsm, {words}"


def _good_scnr(study: Study) -> Verdict:
    """Cells of all reflectivities at the baseline clutter: miss probability next to 0 dB, and above."""
    near, above = [], []
    for level in RCS_DBSM:
        result = study.run(with_rcs(level), with_miss=True)
        near.append(result.miss[(result.ratio_db >= 0) & (result.ratio_db < 1)])
        above.append(result.miss[result.ratio_db >= 0])
    close, all_above = torch.cat(near), torch.cat(above)
    edge = float(close.mean()) if len(close) else float("nan")
    baseline = study.run(with_rcs(10.0), with_miss=True)
    good = float((baseline.miss[baseline.ratio_db >= 0] <= 0.1).double().mean())
    words = (
        f"mean miss probability {edge:.3f} in the {len(close)} cells with an SCNR of 0 to 1 dB, {float(all_above.mean()):.3f} "
        f"in all {len(all_above)} cells above 0 dB; at 10 dBsm {good:.1%} of the cells above 0 dB miss at most one in ten"
    )
    return edge, edge <= 0.1, words


def _best_load(study: Study) -> Verdict:
    medians = [_ratio(study, with_ues(count)) for count in UES]
    best = UES[medians.index(max(medians))]
    return float(best), best == 4, f"median SCNR at K = {UES}: {_list(medians)} dB"


def _more_samples(study: Study) -> Verdict:
    medians = [_ratio(study, with_samples(count)) for count in SAMPLES]
    gains = [b - a for a, b in pairwise(medians)]
    low = medians[SAMPLES.index(10)] - medians[0]
    high = medians[-1] - medians[SAMPLES.index(10)]
    holds = min(gains) > 0 and low / 9 > high / 40
    return (
        min(gains),
        holds,
        (f"median SCNR at {SAMPLES} samples: {_list(medians)} dB; {low / 9:.2f} dB a sample below 10, {high / 40:.2f} above"),
    )


def _best_association(study: Study) -> Verdict:
    cases = {kind: with_regions(9, kind) for kind in ("utc", "uc", "tc", "cf")}
    scnr = {kind: _ratio(study, case) for kind, case in cases.items()}
    rates = {kind: _rate(study, case) for kind, case in cases.items()}
    margin = min(
        min(scnr["utc"] - scnr[k] for k in ("uc", "tc", "cf")), min(rates["utc"] - rates[k] for k in ("uc", "tc", "cf"))
    )
    words = "; ".join(f"{kind}: {scnr[kind]:.2f} dB, {rates[kind]:.2f} Mbit/s" for kind in cases)
    return margin, margin >= 0, f"median SCNR and rate, nine regions: {words}"


def _best_regions(study: Study) -> Verdict:
    medians = {count: _ratio(study, with_regions(count, "utc")) for count in (9, 4, 1)}
    best = max(medians, key=lambda count: medians[count])
    words = ", ".join(f"S = {count}: {value:.2f} dB" for count, value in medians.items())
    return float(best), best == 4, f"median SCNR: {words}"


def _rate_of_regions(study: Study) -> Verdict:
    rates = [_rate(study, with_regions(count, "utc")) for count in (1, 4, 9)]
    steps = [a - b for a, b in pairwise(rates)]
    return min(steps), min(steps) > 0, f"median rate at S = 1, 4, 9: {_list(rates)} Mbit/s"


def _directive_beams(study: Study, base: Case) -> tuple[list[float], list[float]]:
    """Gain in median rate (relative) and in median quality (dB) from kappa_s = 0 to 1, for kappa_c = 0 and 1."""
    gain, change = [], []
    for comm in (0.0, 1.0):
        off, on = (replace(base, policy=Policy(comm, sensing)) for sensing in (0.0, 1.0))
        gain.append(_rate(study, on) / _rate(study, off) - 1.0)
        change.append(_ratio(study, on) - _ratio(study, off))
    return gain, change


def _scnr_of_tuples(study: Study) -> Verdict:
    gain, change = _directive_beams(study, Case())
    words = f"rate {100 * gain[0]:+.1f} % and {100 * gain[1]:+.1f} %, SCNR {change[0]:+.2f} and {change[1]:+.2f} dB"
    return min(gain), min(gain) > 0 and min(change) >= -1.0, f"kappa_s from 0 to 1 at kappa_c = 0 and 1: {words}"


def _good_tuple(study: Study) -> Verdict:
    cases = {(c, s): Case(policy=Policy(c, s)) for c in (0.0, 1.0) for s in (0.0, 1.0)}
    rates = {pair: _rate(study, case, 0.1) for pair, case in cases.items()}
    scnr = {pair: _ratio(study, case) for pair, case in cases.items()}
    share, loss = rates[0.0, 1.0] / max(rates.values()), max(scnr.values()) - scnr[0.0, 1.0]
    words = "; ".join(f"({c:g}, {s:g}): {rates[c, s]:.2f} Mbit/s, {scnr[c, s]:.2f} dB" for c, s in cases)
    return share, share >= 0.95 and loss <= 1.0, f"10th percentile of the rate and median SCNR: {words}"


def _saturation(study: Study) -> Verdict:
    medians = [_ratio(study, tracked(with_rcs(level))) for level in RCS_DBSM]
    gains = [b - a for a, b in pairwise(medians)]
    holds = all(b < a for a, b in pairwise(gains))
    return gains[-1] / gains[0], holds, f"median SICNR at {RCS_DBSM} dBsm: {_list(medians)} dB, gains {_list(gains)} dB"


def _loss_without_sensing(study: Study) -> Verdict:
    loss = [
        _ratio(study, tracked(with_rcs(level))) - _ratio(study, tracked(with_rcs(level, policy=NO_SENSING)))
        for level in RCS_DBSM
    ]
    shown = loss[2:]
    return (
        shown[-1] - shown[0],
        all(b < a for a, b in pairwise(shown)),
        f"median SICNR lost without sensing beams at {RCS_DBSM} dBsm: {_list(loss)} dB",
    )


def _fading_clutter(study: Study) -> Verdict:
    def fall(phase: Callable[[Case], Case]) -> float:
        return _ratio(study, phase(with_clutter(CLUTTER[0]))) - _ratio(study, phase(with_clutter(CLUTTER[-1])))

    tracking, detection = fall(tracked), fall(lambda case: case)
    share = tracking / detection
    return (
        share,
        share <= 0.5,
        (f"median lost from varsigma {CLUTTER[0]:g} to {CLUTTER[-1]:g}: {tracking:.2f} dB SICNR, {detection:.2f} dB SCNR"),
    )


def _sicnr_of_tuples(study: Study) -> Verdict:
    gain, change = _directive_beams(study, tracked(Case()))
    words = f"rate {100 * gain[0]:+.1f} % and {100 * gain[1]:+.1f} %, SICNR {change[0]:+.2f} and {change[1]:+.2f} dB"
    return min(gain), min(gain) > 0, f"kappa_s from 0 to 1 at kappa_c = 0 and 1: {words}"


def _what_to_drop(study: Study) -> Verdict:
    both, data, probe = (_ratio(study, tracked(Case(policy=Policy(beams=kind)))) for kind in ("both", "data", "probe"))
    margin = (both - probe) - (both - data)
    return (
        margin,
        margin > 0,
        f"median SICNR at UPC: {both:.2f} dB, without sensing {data:.2f}, without communication {probe:.2f}",
    )


def _priorities(study: Study) -> Verdict:
    comm, sensing = (tracked(Case(policy=name)) for name in ("opc_communication", "opc_sensing"))
    gain = _rate(study, comm) / _rate(study, sensing)
    loss = 10 ** ((_ratio(study, sensing) - _ratio(study, comm)) / 10)
    return (
        gain / loss,
        gain > loss,
        f"communication-prioritised over sensing-prioritised: rate x {gain:.3f}, SICNR / {loss:.3f}",
    )


CLAIMS: tuple[Claim[Study], ...] = (
    Claim(
        "B-2-1",
        "2",
        "2",
        "fewer misses with a larger cross-section, more with more clutter",
        "at every step of both sweeps",
        _miss_trends,
    ),
    Claim(
        "B-2-2",
        "2",
        "2",
        "without sensing beams detection is worse, most at large clutter",
        "more misses at every clutter factor (0 dBsm), and the largest increase at the largest factor",
        _miss_without_sensing,
    ),
    Claim(
        "B-2-3",
        "2",
        "2",
        "a test for thermal noise alone is much worse",
        "at least twice the misses at 10 dBsm",
        _miss_noise_only,
    ),
    Claim(
        "B-3",
        "3",
        "3",
        "an SCNR of 0 dB goes with a miss probability of 0.1 or less",
        "mean over cells at 0 to 1 dB <= 0.1",
        _good_scnr,
    ),
    Claim("B-4-1", "4", "4", "four UEs give the best SCNR", "largest median at K = 4", _best_load),
    Claim(
        "B-4-2",
        "4",
        "4",
        "more samples always help, most below ten",
        "medians increase, and faster per sample up to 10 than above",
        _more_samples,
    ),
    Claim(
        "B-5-1",
        "5",
        "5",
        "user- and target-centric association beats the other three",
        "no smaller median SCNR and rate than any of them",
        _best_association,
    ),
    Claim("B-5-2", "5", "5", "four regions give the best SCNR", "largest median at S = 4", _best_regions),
    Claim(
        "B-5-3",
        "5",
        "5",
        "the rate falls with the number of regions",
        "median rate decreases from S = 1 to 4 to 9",
        _rate_of_regions,
    ),
    Claim(
        "B-6-1",
        "6",
        "6",
        "a larger kappa_s raises the rate at little loss of SCNR",
        "median rate rises for kappa_c = 0 and 1, median SCNR falls by at most 1 dB",
        _scnr_of_tuples,
    ),
    Claim(
        "B-6-2",
        "6",
        "6",
        "(0, 1) is a good choice",
        "10th percentile of the rate within 5 % of the best tuple's, median SCNR within 1 dB",
        _good_tuple,
    ),
    Claim(
        "B-7-1",
        "7",
        "7",
        "the gain of a larger cross-section saturates in tracking",
        "every further 10 dB gain less",
        _saturation,
    ),
    Claim(
        "B-7-2",
        "7",
        "7",
        "the loss without sensing beams shrinks with the cross-section",
        "median loss decreases from 0 to 10 to 20 dBsm",
        _loss_without_sensing,
    ),
    Claim(
        "B-7-3",
        "7",
        "7",
        "in tracking, clutter matters less",
        "median loss over two decades of clutter at most half of the detection phase's",
        _fading_clutter,
    ),
    Claim("B-8-1", "8", "8", "a larger kappa_s raises the rate", "median rate rises for kappa_c = 0 and 1", _sicnr_of_tuples),
    Claim(
        "B-8-2",
        "8",
        "8",
        "dropping communication hurts SICNR more than dropping sensing beams",
        "median SICNR is lower without communication than without sensing",
        _what_to_drop,
    ),
    Claim(
        "B-9-1",
        "9",
        "9",
        "OPC lies above FPC in rate, slightly in SICNR",
        "10th percentile of the rate and median SICNR of both designs above those of every fractional tuple",
        partial(optimal_beats_fractional, reading=PRINTED),
    ),
    Claim(
        "B-9-1b",
        "ours",
        "9",
        "B-9-1 of the OPC that must sense no worse than uniform power, SICNR 1.1 times",
        "10th percentile of the rate and median SICNR above those of every fractional tuple",
        partial(optimal_beats_fractional, reading=DOMINATING),
    ),
    Claim(
        "B-9-1c",
        "ours",
        "9",
        "B-9-1b with pilots of 10 mW, at which every UE has a channel estimate",
        "10th percentile of the rate and median SICNR above those of every fractional tuple",
        partial(optimal_beats_fractional, reading=STRONG_PILOTS),
    ),
    Claim(
        "B-9-2",
        "9",
        "9",
        "communication-prioritised OPC gains more rate than it loses SICNR",
        "ratio of median rates above ratio of median SICNRs",
        _priorities,
    ),
)
"""All claims, in the order of the figures."""
