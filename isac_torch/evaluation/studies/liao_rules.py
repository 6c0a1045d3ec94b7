"""Rules that decide what Liao et al. conclude from their figures, on our averages."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING

from isac_torch.evaluation.studies.claims import Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from isac_torch.evaluation.studies.liao_study import Sample


def _at(samples: list[Sample], x: float) -> Sample:
    return min(samples, key=lambda sample: abs(sample.point.x - x))


def _series(samples: list[Sample], scheme: str, quantity: str) -> list[float]:
    return [sample.mean(scheme, quantity) for sample in samples]


def _text(values: list[float], digits: int = 3) -> str:
    return ", ".join(f"{value:.{digits}g}" for value in values)


def orders(samples: list[Sample]) -> Verdict:
    """Gain of downlink pilots in orders of magnitude."""
    gains = [
        math.log10(sample.mean("no_dl", "nmse") / sample.mean(scheme, "nmse"))
        for sample in samples
        for scheme in ("full", "sca_paper")
    ]
    mean = sum(gains) / len(gains)
    return mean, mean >= 1.2, f"orders of magnitude, full and SCA over all ratios: {min(gains):.2f} to {max(gains):.2f}"


def vibrates(samples: list[Sample]) -> Verdict:
    """Whether the NMSE of SCA rises between neighbours beyond 6:4."""
    tail = [sample.mean("sca_paper", "nmse") for sample in samples if sample.point.x >= 0.6 - 1e-9]
    rise = max(b / a - 1.0 for a, b in pairwise(tail))
    return rise, rise > 0.0, f"mean largest NMSE of SCA from 6:4 on: {_text(tail)}; largest rise {rise:+.1%}"


def worse_at_the_end(samples: list[Sample]) -> Verdict:
    """Whether SCA is worse at the last ratio than before and than full power."""
    last, before = samples[-1].mean("sca_paper", "nmse"), samples[-2].mean("sca_paper", "nmse")
    full = samples[-1].mean("full", "nmse")
    return last / before, last > before and last > full, f"SCA 7:3 {before:.3g}, 8:2 {last:.3g}; full 8:2 {full:.3g}"


def rate(samples: list[Sample]) -> Verdict:
    """Gain in rate."""
    gains = [sample.mean("sca_paper", "rate") / sample.mean("no_dl", "rate") - 1.0 for sample in samples]
    mean = sum(gains) / len(gains)
    return mean, 0.05 <= mean <= 0.15, f"rate of SCA over no DL pilots, {min(gains):+.1%} to {max(gains):+.1%}"


def _located(sample: Sample, scheme: str) -> float:
    """Share of drops in which every UE's bound is at most 1 m2: a mean of exactly 1 m2 would be decided by noise."""
    return float((sample.column(scheme, "worst_crb") <= 1.0).double().mean())


def none_at_first(samples: list[Sample]) -> Verdict:
    """Whether at 2:8 every scheme locates under half of the drops to 1 m2."""
    schemes = [name for name in ("full", "sca_paper", "existing", "ours") if name in samples[0].values]
    shares = {scheme: _located(samples[0], scheme) for scheme in schemes}
    shown = ", ".join(f"{name} {samples[0].mean(name, 'crb'):.3f}" for name in schemes)
    how = "drops with every UE within 1 m2 at 2:8: " + ", ".join(f"{name} {share:.0%}" for name, share in shares.items())
    best = max(shares[scheme] for scheme in ("full", "sca_paper", "existing"))
    return best, best < 0.5, f"{how}; mean bounds (m2): {shown}"


def mean_above_at_first(samples: list[Sample]) -> Verdict:
    """Whether at 2:8 the mean bound of every scheme, as it is plotted, exceeds 1 m2."""
    means = {scheme: samples[0].mean(scheme, "crb") for scheme in ("full", "sca_paper", "existing")}
    least = min(means.values())
    shown = ", ".join(f"{name} {value:.3f}" for name, value in means.items())
    return least, least > 1.0, f"mean bounds at 2:8 as plotted, m2: {shown}"


def full_best(samples: list[Sample]) -> Verdict:
    """Whether the mean bound of full power is the smallest from 4:6 on."""
    tail = [sample for sample in samples if sample.point.x >= 0.4 - 1e-9]
    ratio = max(
        sample.mean("full", "crb") / min(sample.mean("sca_paper", "crb"), sample.mean("existing", "crb")) for sample in tail
    )
    return ratio, ratio <= 1.0, "largest ratio of full power's mean bound to the better of SCA and Existing, 4:6 to 8:2"


def existing_passes(samples: list[Sample]) -> Verdict:
    """Where Existing first locates better than SCA."""
    ahead = [sample.point.x for sample in samples if sample.mean("existing", "crb") < sample.mean("sca_paper", "crb")]
    start = min(ahead, default=math.nan)
    pairs = "; ".join(f"{s.point.x:.1f} {s.mean('existing', 'crb'):.3f} v {s.mean('sca_paper', 'crb'):.3f}" for s in samples)
    holds = bool(ahead) and abs(start - 0.6) < 0.01
    # The other reading of "the same SNR": the same radar power, split equally.
    same = "; ".join(f"{s.mean('full', 'crb') * s.mean('full', 'power') / s.mean('sca_paper', 'power'):.3f}" for s in samples)
    pairs += f"; with SCA's power instead of its SNR Existing would have {same}"
    return start, holds, f"first DL share at which Existing locates better than SCA; by share, m2: {pairs}"


def most_saved(samples: list[Sample]) -> Verdict:
    """Largest saving of power, and where."""
    saved = [1.0 - sample.mean("sca_paper", "power") / sample.mean("full", "power") for sample in samples]
    holds = 0.10 <= max(saved) <= 0.25 and saved.index(max(saved)) == len(saved) - 1
    return max(saved), holds, "saved by SCA, 2:8 to 8:2: " + ", ".join(f"{value:.1%}" for value in saved)


def improves_until(samples: list[Sample]) -> Verdict:
    """Whether the NMSE falls until 40 % pilots and hardly beyond."""
    values = {scheme: _series(samples, scheme, "nmse") for scheme in ("full", "sca_paper")}
    knee = samples.index(_at(samples, 0.4))
    falls = all(b < a for v in values.values() for a, b in pairwise(v[: knee + 1]))
    later = max(min(v[knee + 1 :]) / v[knee] - 1.0 for v in values.values())
    how = "; ".join(f"{name} {_text(v)}" for name, v in values.items())
    holds = falls and later > -0.02
    return later, holds, f"mean largest NMSE, 10 % to 50 %: {how}; change beyond 40 %: {later:+.0%}"


def small_rate_effect(samples: list[Sample]) -> Verdict:
    """Spread of the rate."""
    rates = _series(samples, "sca_paper", "rate")
    spread = max(rates) / min(rates) - 1.0
    other = _series(samples, "no_dl", "rate")
    return (
        spread,
        spread < 0.05,
        f"spread of SCA's rate over all proportions; without DL pilots {max(other) / min(other) - 1:.1%}",
    )


def met_from(samples: list[Sample]) -> Verdict:
    """First proportion at which most drops are located to 1 m2."""
    known = [name for name in ("full", "sca_paper", "ours") if name in samples[0].values]
    shares = {name: [_located(s, name) for s in samples] for name in known}
    found = [
        s.point.x for s, full, sca in zip(samples, shares["full"], shares["sca_paper"], strict=True) if min(full, sca) > 0.5
    ]
    start = min(found, default=math.nan)
    holds = bool(found) and abs(start - 0.25) < 0.01
    how = "; ".join(f"{name} " + ", ".join(f"{share:.0%}" for share in values) for name, values in shares.items())
    return start, holds, f"first proportion at which full and SCA meet it in most drops; shares, 10 % to 50 %: {how}"


def mean_met_from(samples: list[Sample]) -> Verdict:
    """First proportion at which the mean bounds of full power and SCA, as they are plotted, are at most 1 m2."""
    means = {name: _series(samples, name, "crb") for name in ("full", "sca_paper")}
    found = [s.point.x for s, *both in zip(samples, *means.values(), strict=True) if max(both) <= 1.0]
    start = min(found, default=math.nan)
    how = "; ".join(f"{name} {_text(values)}" for name, values in means.items())
    return start, bool(found) and abs(start - 0.25) < 0.01, f"mean bounds as plotted, 10 % to 50 %, m2: {how}"


def turns(samples: list[Sample]) -> Verdict:
    """Whether more downlink pilots at the cost of uplink ones end in a larger NMSE; ratio of the last mean to the least."""
    values = {scheme: _series(samples, scheme, "nmse") for scheme in ("full", "sca_paper")}
    rise = min(v[-1] / min(v) for v in values.values())
    how = "; ".join(f"{name} {_text(v)}" for name, v in values.items())
    return rise, rise > 1.0, f"mean largest NMSE at {samples[0].point.x:.2f} to {samples[-1].point.x:.2f} downlink: {how}"


def flattens(samples: list[Sample]) -> Verdict:
    """Slope of the bound beyond 40 % over that before."""
    values = _series(samples, "full", "crb")
    knee = samples.index(_at(samples, 0.4))
    early = (values[0] - values[knee]) / knee
    late = (values[knee] - values[-1]) / (len(values) - 1 - knee)
    return late / early, late < 0.25 * early, "fall of full power's bound per 5 % step beyond 40 %, over that before"


def mean_saved(samples: list[Sample]) -> Verdict:
    """Mean saving of power."""
    saved = [1.0 - sample.mean("sca_paper", "power") / sample.mean("full", "power") for sample in samples]
    mean = sum(saved) / len(saved)
    return mean, 0.05 <= mean <= 0.15, "10 % to 50 %: " + ", ".join(f"{value:.1%}" for value in saved)


def hurt_more(samples: list[Sample]) -> Verdict:
    """Whether contamination hurts SCA more than full power."""
    schemes = [name for name in ("sca_paper", "full", "ours") if name in samples[0].values]
    growth = {name: samples[-1].mean(name, "nmse") / samples[0].mean(name, "nmse") for name in schemes}
    below = all(s.mean(scheme, "nmse") < s.mean("no_dl", "nmse") for s in samples for scheme in ("sca_paper", "full"))
    how = "growth of the mean largest NMSE from correlation 0 to 1: " + ", ".join(f"{n} {v:.0f}x" for n, v in growth.items())
    ratio = growth["sca_paper"] / growth["full"]
    return ratio, ratio > 1.0 and below, f"{how}; both below the system without DL pilots everywhere: {below}"


def crosses(samples: list[Sample]) -> Verdict:
    """First correlation at which SCA falls behind no downlink pilots."""

    def first(scheme: str) -> float:
        return min((s.point.x for s in samples if s.mean(scheme, "nmse") > s.mean("no_dl", "nmse")), default=math.nan)

    start = first("sca_paper")
    how = "first correlation at which a scheme's mean largest NMSE exceeds that without DL pilots: " + ", ".join(
        f"{name} {first(name):.1f}" for name in ("sca_paper", "full", "ours") if name in samples[0].values
    )
    return start, abs(start - 0.6) < 0.11, how + " (nan: never)"


def never_worse(samples: list[Sample]) -> Verdict:
    """Our NMSE over that of SCA."""
    ratios = []
    for sample in samples:
        same = (sample.column("sca_paper", "met") > 0) & (sample.column("ours", "met") > 0)
        ratios.append(sample.column("ours", "nmse")[same] / sample.column("sca_paper", "nmse")[same])
    worst = max(float(ratio.max()) for ratio in ratios if len(ratio))
    mean = sum(float(ratio.sum()) for ratio in ratios) / sum(len(ratio) for ratio in ratios)
    return (
        worst,
        worst <= 1.0 + 1e-6,
        f"largest NMSE over SCA's where both meet every constraint: mean {mean:.3f}",
    )


def our_saving(samples: list[Sample]) -> Verdict:
    """Mean saving of ours."""
    five = [1.0 - s.mean("ours_slack_5", "power") / s.mean("full", "power") for s in samples]
    same = [1.0 - s.mean("ours_as_full", "power") / s.mean("full", "power") for s in samples]
    sca = [1.0 - s.mean("sca_paper", "power") / s.mean("full", "power") for s in samples]
    count = len(samples)
    how = f"mean saving: at 5 % above the least NMSE {sum(five) / count:.1%}, at full power's NMSE {sum(same) / count:.1%}"
    return sum(same) / count, sum(same) > sum(sca), f"{how}, SCA {sum(sca) / count:.1%}"


def printed_error(samples: list[Sample]) -> Verdict:
    """True NMSE over the printed one."""
    ratios = [s.mean("full", "nmse") / s.mean("full", "printed_nmse") for s in samples]
    return max(ratios), max(ratios) > 1.5, f"true over printed NMSE at full power, correlation 0 to 1: {_text(ratios)}"


def steers(share: dict[str, float]) -> Verdict:
    """The weaker UE's mean share of the power."""
    how = "mean share of the weaker UE: " + ", ".join(f"{name} {value:.3f}" for name, value in share.items())
    return share["sca_paper"], share["sca_paper"] > 0.5, how


def worse_than_full(samples: list[Sample]) -> Verdict:
    """Whether SCA is worse than full power at the last ratio; the half of the claim that a coarse eps brings."""
    last, full = samples[-1].mean("sca_paper", "nmse"), samples[-1].mean("full", "nmse")
    shown = "; ".join(f"{s.point.x:.1f} {s.mean('sca_paper', 'nmse'):.3g} v {s.mean('full', 'nmse'):.3g}" for s in samples)
    return last / full, last > full, f"SCA over full power at 8:2; by share: {shown}"


def stationary(residuals: Sequence[float]) -> Verdict:
    """Whether nine of ten drops end at a KKT point (residual at most 1 %)."""
    ordered = sorted(residuals)
    median, near = ordered[len(ordered) // 2], sum(value <= 0.01 for value in ordered) / len(ordered)
    return near, near >= 0.9, f"share of drops with a KKT residual of at most 0.01; median residual {median:.2g}"
