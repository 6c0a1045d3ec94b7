"""What Liao et al. conclude from their figures, judged on our averages. Ids as in docs/downlink_pilots.md."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING

from isac_torch.evaluation.studies.claims import Claim, Verdict

if TYPE_CHECKING:
    from isac_torch.evaluation.studies.liao_study import Sample


def _at(samples: list[Sample], x: float) -> Sample:
    return min(samples, key=lambda sample: abs(sample.point.x - x))


def _series(samples: list[Sample], scheme: str, quantity: str) -> list[float]:
    return [sample.mean(scheme, quantity) for sample in samples]


def _text(values: list[float], digits: int = 3) -> str:
    return ", ".join(f"{value:.{digits}g}" for value in values)


def _orders(samples: list[Sample]) -> Verdict:
    gains = [
        math.log10(sample.mean("no_dl", "nmse") / sample.mean(scheme, "nmse"))
        for sample in samples
        for scheme in ("full", "sca_paper")
    ]
    mean = sum(gains) / len(gains)
    return mean, mean >= 1.2, f"orders of magnitude, full and SCA over all ratios: {min(gains):.2f} to {max(gains):.2f}"


def _vibrates(samples: list[Sample]) -> Verdict:
    tail = [sample.mean("sca_paper", "nmse") for sample in samples if sample.point.x >= 0.6 - 1e-9]
    rise = max(b / a - 1.0 for a, b in pairwise(tail))
    return rise, rise > 0.0, f"mean largest NMSE of SCA from 6:4 on: {_text(tail)}; largest rise {rise:+.1%}"


def _worse_at_the_end(samples: list[Sample]) -> Verdict:
    last, before = samples[-1].mean("sca_paper", "nmse"), samples[-2].mean("sca_paper", "nmse")
    full = samples[-1].mean("full", "nmse")
    return last / before, last > before and last > full, f"SCA 7:3 {before:.3g}, 8:2 {last:.3g}; full 8:2 {full:.3g}"


def _rate(samples: list[Sample]) -> Verdict:
    gains = [sample.mean("sca_paper", "rate") / sample.mean("no_dl", "rate") - 1.0 for sample in samples]
    mean = sum(gains) / len(gains)
    return mean, 0.05 <= mean <= 0.15, f"rate of SCA over no DL pilots, {min(gains):+.1%} to {max(gains):+.1%}"


def _located(sample: Sample, scheme: str) -> float:
    """Share of drops in which every UE's bound is at most 1 m2: a mean of exactly 1 m2 would be decided by noise."""
    return float((sample.column(scheme, "worst_crb") <= 1.0).double().mean())


def _none_at_first(samples: list[Sample]) -> Verdict:
    schemes = ("full", "sca_paper", "existing", "ours")
    shares = {scheme: _located(samples[0], scheme) for scheme in schemes}
    shown = ", ".join(f"{name} {samples[0].mean(name, 'crb'):.3f}" for name in schemes)
    how = "drops with every UE within 1 m2 at 2:8: " + ", ".join(f"{name} {share:.0%}" for name, share in shares.items())
    best = max(shares[scheme] for scheme in schemes[:3])
    return best, best < 0.5, f"{how}; mean bounds (m2): {shown}"


def _full_best(samples: list[Sample]) -> Verdict:
    tail = [sample for sample in samples if sample.point.x >= 0.4 - 1e-9]
    ratio = max(
        sample.mean("full", "crb") / min(sample.mean("sca_paper", "crb"), sample.mean("existing", "crb")) for sample in tail
    )
    return ratio, ratio <= 1.0, "largest ratio of full power's mean bound to the better of SCA and Existing, 4:6 to 8:2"


def _existing_passes(samples: list[Sample]) -> Verdict:
    ahead = [sample.point.x for sample in samples if sample.mean("existing", "crb") < sample.mean("sca_paper", "crb")]
    start = min(ahead, default=math.nan)
    pairs = "; ".join(f"{s.point.x:.1f} {s.mean('existing', 'crb'):.3f} v {s.mean('sca_paper', 'crb'):.3f}" for s in samples)
    holds = bool(ahead) and abs(start - 0.6) < 0.01
    # The other reading of "the same SNR": the same radar power, split equally.
    same = "; ".join(f"{s.mean('full', 'crb') * s.mean('full', 'power') / s.mean('sca_paper', 'power'):.3f}" for s in samples)
    pairs += f"; with SCA's power instead of its SNR Existing would have {same}"
    return start, holds, f"first DL share at which Existing locates better than SCA; by share, m2: {pairs}"


def _most_saved(samples: list[Sample]) -> Verdict:
    saved = [1.0 - sample.mean("sca_paper", "power") / sample.mean("full", "power") for sample in samples]
    holds = 0.10 <= max(saved) <= 0.25 and saved.index(max(saved)) == len(saved) - 1
    return max(saved), holds, "saved by SCA, 2:8 to 8:2: " + ", ".join(f"{value:.1%}" for value in saved)


def _improves_until(samples: list[Sample]) -> Verdict:
    values = {scheme: _series(samples, scheme, "nmse") for scheme in ("full", "sca_paper")}
    knee = samples.index(_at(samples, 0.4))
    falls = all(b < a for v in values.values() for a, b in pairwise(v[: knee + 1]))
    later = max(min(v[knee + 1 :]) / v[knee] - 1.0 for v in values.values())
    how = "; ".join(f"{name} {_text(v)}" for name, v in values.items())
    holds = falls and later > -0.02
    return later, holds, f"mean largest NMSE, 10 % to 50 %: {how}; change beyond 40 %: {later:+.0%}"


def _small_rate_effect(samples: list[Sample]) -> Verdict:
    rates = _series(samples, "sca_paper", "rate")
    spread = max(rates) / min(rates) - 1.0
    other = _series(samples, "no_dl", "rate")
    return (
        spread,
        spread < 0.05,
        f"spread of SCA's rate over all proportions; without DL pilots {max(other) / min(other) - 1:.1%}",
    )


def _met_from(samples: list[Sample]) -> Verdict:
    shares = {name: [_located(s, name) for s in samples] for name in ("full", "sca_paper", "ours")}
    found = [
        s.point.x for s, full, sca in zip(samples, shares["full"], shares["sca_paper"], strict=True) if min(full, sca) > 0.5
    ]
    start = min(found, default=math.nan)
    holds = bool(found) and abs(start - 0.25) < 0.01
    how = "; ".join(f"{name} " + ", ".join(f"{share:.0%}" for share in values) for name, values in shares.items())
    return start, holds, f"first proportion at which full and SCA meet it in most drops; shares, 10 % to 50 %: {how}"


def _flattens(samples: list[Sample]) -> Verdict:
    values = _series(samples, "full", "crb")
    knee = samples.index(_at(samples, 0.4))
    early = (values[0] - values[knee]) / knee
    late = (values[knee] - values[-1]) / (len(values) - 1 - knee)
    return late / early, late < 0.25 * early, "fall of full power's bound per 5 % step beyond 40 %, over that before"


def _mean_saved(samples: list[Sample]) -> Verdict:
    saved = [1.0 - sample.mean("sca_paper", "power") / sample.mean("full", "power") for sample in samples]
    mean = sum(saved) / len(saved)
    return mean, 0.05 <= mean <= 0.15, "10 % to 50 %: " + ", ".join(f"{value:.1%}" for value in saved)


def _hurt_more(samples: list[Sample]) -> Verdict:
    schemes = ("sca_paper", "full", "ours")
    growth = {name: samples[-1].mean(name, "nmse") / samples[0].mean(name, "nmse") for name in schemes}
    below = all(s.mean(scheme, "nmse") < s.mean("no_dl", "nmse") for s in samples for scheme in ("sca_paper", "full"))
    how = "growth of the mean largest NMSE from correlation 0 to 1: " + ", ".join(f"{n} {v:.0f}x" for n, v in growth.items())
    ratio = growth["sca_paper"] / growth["full"]
    return ratio, ratio > 1.0 and below, f"{how}; both below the system without DL pilots everywhere: {below}"


def _crosses(samples: list[Sample]) -> Verdict:
    def first(scheme: str) -> float:
        return min((s.point.x for s in samples if s.mean(scheme, "nmse") > s.mean("no_dl", "nmse")), default=math.nan)

    start = first("sca_paper")
    how = "first correlation at which a scheme's mean largest NMSE exceeds that without DL pilots: " + ", ".join(
        f"{name} {first(name):.1f}" for name in ("sca_paper", "full", "ours")
    )
    return start, abs(start - 0.6) < 0.11, how + " (nan: never)"


def _never_worse(samples: list[Sample]) -> Verdict:
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


def _our_saving(samples: list[Sample]) -> Verdict:
    five = [1.0 - s.mean("ours_slack_5", "power") / s.mean("full", "power") for s in samples]
    same = [1.0 - s.mean("ours_as_full", "power") / s.mean("full", "power") for s in samples]
    sca = [1.0 - s.mean("sca_paper", "power") / s.mean("full", "power") for s in samples]
    count = len(samples)
    how = f"mean saving: at 5 % above the least NMSE {sum(five) / count:.1%}, at full power's NMSE {sum(same) / count:.1%}"
    return sum(same) / count, sum(same) > sum(sca), f"{how}, SCA {sum(sca) / count:.1%}"


def _printed_error(samples: list[Sample]) -> Verdict:
    ratios = [s.mean("full", "nmse") / s.mean("full", "printed_nmse") for s in samples]
    return max(ratios), max(ratios) > 1.5, f"true over printed NMSE at full power, correlation 0 to 1: {_text(ratios)}"


def _steers(share: dict[str, float]) -> Verdict:
    how = "share of the weaker UE: " + ", ".join(f"{name} {value:.3f}" for name, value in share.items())
    return share["sca_paper"], share["sca_paper"] > 0.5, how


POWER_MAP: Claim[dict[str, float]] = Claim(
    "A-2",
    "2",
    "power map",
    "power steers toward the weaker UE",
    "SCA gives the weaker UE more than half of its power",
    _steers,
)
"""Judged on the weaker UE's share of the power of each scheme."""

CLAIMS: tuple[Claim[list[Sample]], ...] = (
    Claim("A-4a-1", "4a", "ratio", "DL pilots lower the NMSE by about 1.5 orders of magnitude", "at least 1.2 orders", _orders),
    Claim("A-4a-2", "4a", "ratio", "SCA's NMSE vibrates beyond 6:4", "it rises between some neighbours beyond 6:4", _vibrates),
    Claim("A-4a-3", "4a", "ratio", "at 8:2 SCA is worse than at 7:3 and than full power", "both", _worse_at_the_end),
    Claim("A-4b", "4b", "ratio", "the rate grows by about 10 %", "5 % to 15 % on average", _rate),
    Claim(
        "A-5-1",
        "5",
        "ratio",
        "at 2:8 no scheme locates to 1 m2",
        "full, SCA, Existing: in under half of the drops",
        _none_at_first,
    ),
    Claim("A-5-2", "5", "ratio", "full power locates best from 4:6 on", "smallest mean bound at every ratio", _full_best),
    Claim("A-5-3", "5", "ratio", "Existing passes SCA at 6:4", "first ahead at 6:4", _existing_passes),
    Claim("A-6", "6", "ratio", "SCA saves up to 17 % of the power, at 8:2", "10 % to 25 %, most at 8:2", _most_saved),
    Claim("A-7a", "7a", "proportion", "NMSE improves until 40 % only", "falls until 40 %, by < 2 % beyond", _improves_until),
    Claim("A-7b", "7b", "proportion", "more pilots change the rate little", "less than 5 %", _small_rate_effect),
    Claim("A-8-1", "8", "proportion", "1 m2 is not met below 25 % pilots", "in most drops first at 25 %", _met_from),
    Claim("A-8-2", "8", "proportion", "the bound flattens from 40 %", "a quarter of the slope before", _flattens),
    Claim("A-9", "9", "proportion", "SCA saves about 10 % on average", "5 % to 15 %", _mean_saved),
    Claim("A-10a", "10a", "correlation_2", "contamination hurts SCA more than full power, both beat no DL", "both", _hurt_more),
    Claim("A-10b", "10b", "correlation_6", "with 6 UEs SCA falls behind no DL from correlation 0.6", "0.5 to 0.7", _crosses),
    Claim("O-1", "ours", "ratio", "ours is never worse than the paper's SCA", "ratio of NMSE at most 1", _never_worse),
    Claim("O-2", "ours", "ratio", "ours at full power's NMSE saves more than SCA", "mean over the ratios", _our_saving),
    Claim("O-3", "ours", "correlation_2", "eq. 18 as printed understates the NMSE (2 UEs)", "factor above 1.5", _printed_error),
    Claim("O-4", "ours", "correlation_6", "eq. 18 as printed understates the NMSE (6 UEs)", "factor above 1.5", _printed_error),
)
