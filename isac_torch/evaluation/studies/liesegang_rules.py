"""The rules that decide what Liesegang et al. conclude from their figures, on our averages: one function for each claim.

The paper gives no numbers in its text, and its curves are not at hand: each claim is a statement with a rule that decides it.
"Median" is over all cells (or targets) of all drops, of values averaged over the blocks; rates are over all UEs of all drops.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

import torch

from isac_torch.evaluation.studies.claims import Verdict
from isac_torch.evaluation.studies.liesegang_cases import NO_SENSING, Case, Policy

if TYPE_CHECKING:
    from torch import Tensor

    from isac_torch.evaluation.studies.liesegang_cases import Association
    from isac_torch.evaluation.studies.liesegang_study import Study


_NEARLY_ALL = 0.95
"""Share of cells that counts as a sufficient SCNR in B-3."""


def _median(values: Tensor) -> float:
    return float(values.flatten().quantile(0.5))


def _ratio(study: Study, case: Case) -> float:
    return _median(study.run(case).ratio_db)


def _rate(study: Study, case: Case, quantile: float = 0.5) -> float:
    return float(study.run(case).rate.flatten().quantile(quantile)) / 1e6


def _miss(study: Study, dbsm: float, factor: float, **changes: object) -> float:
    case = study.reading.with_setup({"rcs_variance_dbsm": dbsm, "clutter_factor": factor}, **changes)
    return float(study.run(case, with_miss=True).miss.mean())


def _with_rcs(study: Study, rcs_dbsm: float, **changes: object) -> Case:
    """The baseline of the tracking phase at another reflectivity variance, dB over 1 m2."""
    return study.reading.with_setup({"rcs_variance_dbsm": rcs_dbsm}, phase="tracking", **changes)


def _list(values: list[float], digits: int = 2) -> str:
    return ", ".join(f"{value:.{digits}f}" for value in values)


def miss_trends(study: Study) -> Verdict:
    """B-2-1: misses fall with the cross-section and rise with the clutter, at every step of both sweeps."""
    over_rcs = [
        [_miss(study, rcs_dbsm, factor) for rcs_dbsm in study.reading.sweeps.rcs_dbsm]
        for factor in study.reading.sweeps.clutter
    ]
    falls = all(b < a for row in over_rcs for a, b in pairwise(row) if a > 1e-4)
    rises = all(a < b for column in zip(*over_rcs, strict=True) for a, b in pairwise(column) if b > 1e-4)
    steps = [a - b for row in over_rcs for a, b in pairwise(row)]
    words = "; ".join(
        f"varsigma {factor:g}: {_list(row, 4)}" for factor, row in zip(study.reading.sweeps.clutter, over_rcs, strict=True)
    )
    return min(steps), falls and rises, f"mean miss probability at {study.reading.sweeps.rcs_dbsm} dBsm: {words}"


def miss_without_sensing(study: Study) -> Verdict:
    """B-2-2: without sensing beams there are more misses, most at the largest clutter factor."""
    loss = [_miss(study, 0.0, factor, policy=NO_SENSING) - _miss(study, 0.0, factor) for factor in study.reading.sweeps.clutter]
    holds = min(loss) > 0 and loss[-1] == max(loss)
    return min(loss), holds, f"added miss probability at 0 dBsm and varsigma {study.reading.sweeps.clutter}: {_list(loss, 4)}"


def miss_noise_only(study: Study) -> Verdict:
    """B-2-3: a test for thermal noise alone misses at least twice as often."""
    both = [(_miss(study, 10.0, f), _miss(study, 10.0, f, clutter_statistics=False)) for f in study.reading.sweeps.clutter]
    factor = min(noise / max(clutter, 1e-12) for clutter, noise in both)
    words = "; ".join(
        f"varsigma {f:g}: {c:.1e} with, {n:.1e} without" for f, (c, n) in zip(study.reading.sweeps.clutter, both, strict=True)
    )
    return factor, factor >= 2.0, f"at 10 dBsm, {words}"


def good_scnr(study: Study) -> Verdict:
    """B-3: at the reference values, nearly all cells above 0 dB miss at most one in ten; cells at 0 to 1 dB as a remark."""
    result = study.run(study.reading.case(), with_miss=True)
    good = float((result.miss[result.ratio_db >= 0] <= 0.1).double().mean())
    close = []
    for rcs_dbsm in study.reading.sweeps.rcs_dbsm:
        other = study.run(study.reading.with_setup({"rcs_variance_dbsm": rcs_dbsm}), with_miss=True)
        close.append(other.miss[(other.ratio_db >= 0) & (other.ratio_db < 1)])
    edge = torch.cat(close)
    words = (
        f"{good:.1%} of the cells above 0 dB miss at most one in ten at the reference values; cells with an SCNR of 0 to 1 dB, "
        f"of all cross-sections ({len(edge)} of them), miss {float(edge.mean()) if len(edge) else float('nan'):.3f} in the mean"
    )
    return good - _NEARLY_ALL, good >= _NEARLY_ALL, words


def best_load(study: Study) -> Verdict:
    """B-4-1: four UEs give the best median SCNR."""
    counts = study.reading.sweeps.ues
    medians = {count: _ratio(study, study.reading.with_ues(count)) for count in counts}
    margin = medians[4] - max(value for count, value in medians.items() if count != 4)
    return margin, margin > 0, f"median SCNR at K = {counts}: {_list([*medians.values()])} dB"


def more_samples(study: Study) -> Verdict:
    """B-4-2: the median SCNR rises with the samples, faster per sample up to ten than above."""
    counts = study.reading.sweeps.samples
    medians = [_ratio(study, study.reading.with_setup({"sensing_samples": count})) for count in counts]
    gains, ten = [b - a for a, b in pairwise(medians)], counts.index(10)
    low = (medians[ten] - medians[0]) / (10 - counts[0])
    high = (medians[-1] - medians[ten]) / (counts[-1] - 10)
    words = f"median SCNR at {counts} samples: {_list(medians)} dB; {low:.2f} dB a sample below 10, {high:.2f} above"
    return min(gains), min(gains) > 0 and low > high, words


def best_association(study: Study, regions: int | None = None) -> Verdict:
    """B-5-1: user- and target-centric association has no smaller median SCNR and rate than the other three.

    `uc` and `cf` search one cell at a time. With nine `regions`, the first of the sweep, they are set against nine simultaneous
    beams; with one region all four search one cell.
    """
    regions = study.reading.sweeps.regions[0] if regions is None else regions
    kinds: tuple[Association, ...] = ("utc", "uc", "tc", "cf")
    cases = {kind: study.reading.with_setup({"num_regions": regions}, association=kind) for kind in kinds}
    scnr = {kind: _ratio(study, case) for kind, case in cases.items()}
    rates = {kind: _rate(study, case) for kind, case in cases.items()}
    margin = min(min(scnr["utc"] - scnr[k] for k in kinds[1:]), min(rates["utc"] - rates[k] for k in kinds[1:]))
    words = "; ".join(f"{kind}: {scnr[kind]:.2f} dB, {rates[kind]:.2f} Mbit/s" for kind in cases)
    return margin, margin >= 0, f"median SCNR and rate, {regions} region{'s' if regions > 1 else ''}: {words}"


def best_regions(study: Study) -> Verdict:
    """B-5-2: four sensing regions give the best median SCNR."""
    medians = {count: _ratio(study, study.reading.with_setup({"num_regions": count})) for count in (9, 4, 1)}
    margin = medians[4] - max(medians[9], medians[1])
    words = ", ".join(f"S = {count}: {value:.2f} dB" for count, value in medians.items())
    return margin, margin > 0, f"median SCNR: {words}"


def rate_of_regions(study: Study) -> Verdict:
    """B-5-3: the median rate falls with the number of regions."""
    rates = [_rate(study, study.reading.with_setup({"num_regions": count})) for count in (1, 4, 9)]
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


def scnr_of_tuples(study: Study) -> Verdict:
    """B-6-1: a larger kappa_s raises the rate and costs at most 1 dB of SCNR."""
    gain, change = _directive_beams(study, study.reading.case())
    words = f"rate {100 * gain[0]:+.1f} % and {100 * gain[1]:+.1f} %, SCNR {change[0]:+.2f} and {change[1]:+.2f} dB"
    return min(gain), min(gain) > 0 and min(change) >= -1.0, f"kappa_s from 0 to 1 at kappa_c = 0 and 1: {words}"


def good_tuple(study: Study) -> Verdict:
    """B-6-2: (0, 1) is within 5 % of the best rate (10th percentile) and within 1 dB of the best SCNR."""
    cases = {(c, s): study.reading.case(policy=Policy(c, s)) for c in (0.0, 1.0) for s in (0.0, 1.0)}
    rates = {pair: _rate(study, case, 0.1) for pair, case in cases.items()}
    scnr = {pair: _ratio(study, case) for pair, case in cases.items()}
    share, loss = rates[0.0, 1.0] / max(rates.values()), max(scnr.values()) - scnr[0.0, 1.0]
    words = "; ".join(f"({c:g}, {s:g}): {rates[c, s]:.2f} Mbit/s, {scnr[c, s]:.2f} dB" for c, s in cases)
    return share, share >= 0.95 and loss <= 1.0, f"10th percentile of the rate and median SCNR: {words}"


def saturation(study: Study) -> Verdict:
    """B-7-1: every further 10 dB of cross-section gain less SICNR."""
    medians = [_ratio(study, _with_rcs(study, rcs_dbsm)) for rcs_dbsm in study.reading.sweeps.rcs_dbsm]
    gains = [b - a for a, b in pairwise(medians)]
    holds = all(b < a for a, b in pairwise(gains))
    return (
        gains[-1] / gains[0],
        holds,
        f"median SICNR at {study.reading.sweeps.rcs_dbsm} dBsm: {_list(medians)} dB, gains {_list(gains)} dB",
    )


def loss_without_sensing(study: Study) -> Verdict:
    """B-7-2: the SICNR lost without sensing beams falls from 0 to 10 to 20 dBsm."""
    loss = [
        _ratio(study, _with_rcs(study, rcs_dbsm)) - _ratio(study, _with_rcs(study, rcs_dbsm, policy=NO_SENSING))
        for rcs_dbsm in study.reading.sweeps.rcs_dbsm
    ]
    shown = loss[2:]
    return (
        shown[-1] - shown[0],
        all(b < a for a, b in pairwise(shown)),
        f"median SICNR lost without sensing beams at {study.reading.sweeps.rcs_dbsm} dBsm: {_list(loss)} dB",
    )


def fading_clutter(study: Study) -> Verdict:
    """B-7-3: two decades of clutter cost tracking at most half of the decibels that they cost detection."""
    low, high = study.reading.sweeps.clutter[0], study.reading.sweeps.clutter[-1]

    def fall(**phase: str) -> float:
        few, much = (study.reading.with_setup({"clutter_factor": factor}, **phase) for factor in (low, high))
        return _ratio(study, few) - _ratio(study, much)

    tracking, detection = fall(phase="tracking"), fall()
    share = tracking / detection
    return (
        share,
        share <= 0.5,
        (f"median lost from varsigma {low:g} to {high:g}: {tracking:.2f} dB SICNR, {detection:.2f} dB SCNR"),
    )


def sicnr_of_tuples(study: Study) -> Verdict:
    """B-8-1: a larger kappa_s raises the rate."""
    gain, change = _directive_beams(study, study.reading.tracked())
    words = f"rate {100 * gain[0]:+.1f} % and {100 * gain[1]:+.1f} %, SICNR {change[0]:+.2f} and {change[1]:+.2f} dB"
    return min(gain), min(gain) > 0, f"kappa_s from 0 to 1 at kappa_c = 0 and 1: {words}"


def what_to_drop(study: Study) -> Verdict:
    """B-8-2: the SICNR is lower without communication than without sensing beams."""
    both, data, probe = (_ratio(study, study.reading.tracked(policy=Policy(beams=kind))) for kind in ("both", "data", "probe"))
    margin = (both - probe) - (both - data)
    return (
        margin,
        margin > 0,
        f"median SICNR at UPC: {both:.2f} dB, without sensing {data:.2f}, without communication {probe:.2f}",
    )
