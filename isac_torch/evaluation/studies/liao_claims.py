"""What Liao et al. conclude from their figures, under our reading and under the one that is most favourable to them.

Ids as in docs/downlink_pilots.md; the rules are in `liao_rules`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from isac_torch.evaluation.studies import liao_rules as rules
from isac_torch.evaluation.studies.claims import Claim, Favourable
from isac_torch.evaluation.studies.liao_reading import Reading

if TYPE_CHECKING:
    from isac_torch.evaluation.studies.liao_study import Sample


COARSE = Reading(eps=2e-3)
SHADOWED = Reading(shadowing_db=8.0, eps=5e-4, existing="full")
SAME_AS_FULL = Reading(existing="full")
IGNORANT = Reading(receiver="ignorant")

POWER_MAP: Claim[dict[str, float]] = Claim(
    "A-2",
    "2",
    "power map",
    "power steers toward the weaker UE",
    "SCA gives the weaker of two UEs more than half of its power, mean over drops",
    rules.steers,
    "Reproduced.",
)
"""Judged on the weaker UE's mean share of the power of each scheme."""

STATIONARY: Claim[dict[str, list[float]]] = Claim(
    "A-IIIB",
    "III-B",
    "convergence",
    "Algorithm 1 converges to KKT points",
    "KKT residual at most 0.01 on nine of ten drops",
    lambda found: rules.stationary(found["printed"]),
    "It would hold if a KKT point were one of the last convex programme, or if the expansion bounded the function, which the "
    "paper's footnote denies.",
    Favourable(
        "the bracket of the bisection is opened again in each of 12 passes", lambda found: rules.stationary(found["reopened"])
    ),
)
"""Judged on the KKT residuals at the end of Algorithm 1."""

CLAIMS: tuple[Claim[list[Sample]], ...] = (
    Claim(
        "A-4a-1",
        "4a",
        "ratio",
        "DL pilots lower the NMSE by about 1.5 orders of magnitude",
        "at least 1.2 orders",
        rules.orders,
        "Reproduced; the gain is larger here than in the paper.",
    ),
    Claim(
        "A-4a-2",
        "4a",
        "ratio",
        "SCA's NMSE vibrates beyond 6:4",
        "it rises between some neighbours beyond 6:4",
        rules.vibrates,
        "It would hold for few drops, or if SCA ended at another point at each ratio; means over many drops fall smoothly.",
        Favourable("eps = 2e-3", reading=COARSE),
    ),
    Claim(
        "A-4a-3",
        "4a",
        "ratio",
        "at 8:2 SCA is worse than at 7:3 and than full power",
        "both",
        rules.worse_at_the_end,
        "A coarse eps, which the paper does not state, makes SCA worse than full power, but no eps makes 8:2 worse than 7:3.",
        Favourable("eps = 2e-3, second half of the claim only", rules.worse_than_full, COARSE),
    ),
    Claim(
        "A-4b",
        "4b",
        "ratio",
        "the rate grows by about 10 %",
        "5 % to 15 % on average",
        rules.rate,
        "Reproduced, but [A 38-39] saturates: any scheme with downlink pilots gains the same 12 %.",
    ),
    Claim(
        "A-5-1",
        "5",
        "ratio",
        "at 2:8 no scheme locates to 1 m2",
        "mean bound of full, SCA and Existing above 1 m2",
        rules.mean_above_at_first,
        "The means lie so close to 1 m2 that the way of averaging decides; the paper does not say how it averages.",
        Favourable("under half of the drops have every UE within 1 m2", rules.none_at_first),
    ),
    Claim(
        "A-5-2",
        "5",
        "ratio",
        "full power locates best from 4:6 on",
        "smallest mean bound at every ratio",
        rules.full_best,
        "Without shadowing the powers of SCA locate better than full power; the paper states neither shadowing nor eps.",
        Favourable("shadowing of 8 dB, eps = 5e-4, Existing at the radar SNR of full power", reading=SHADOWED),
    ),
    Claim(
        "A-5-3",
        "5",
        "ratio",
        "Existing passes SCA at 6:4",
        "first ahead at 6:4",
        rules.existing_passes,
        "The paper leaves open whose radar SNR Existing has; with that of full power the lines cross near its point.",
        Favourable("Existing at the radar SNR of full power", reading=SAME_AS_FULL),
    ),
    Claim(
        "A-6",
        "6",
        "ratio",
        "SCA saves up to 17 % of the power, at 8:2",
        "10 % to 25 %, most at 8:2",
        rules.most_saved,
        "Reproduced.",
    ),
    Claim(
        "A-T",
        "4a",
        "ratio",
        "there is a turning point of DL:UL beyond which the NMSE grows",
        "full and SCA: last mean above the least, 2:8 to 8:2",
        rules.turns,
        "The turning point exists, but only beyond the paper's last ratio, where the UEs begin to share an uplink pilot.",
        Favourable("ratios on to 19:1", study="ratio_to_the_end"),
    ),
    Claim(
        "A-7a",
        "7a",
        "proportion",
        "NMSE improves until 40 % only",
        "falls until 40 %, by < 2 % beyond",
        rules.improves_until,
        "It would hold for the slope on a linear axis: a step beyond 40 % gains less than a tenth of what the first step does.",
    ),
    Claim(
        "A-7b",
        "7b",
        "proportion",
        "more pilots change the rate little",
        "less than 5 %",
        rules.small_rate_effect,
        "Reproduced, for the same reason as A-4b.",
    ),
    Claim(
        "A-8-1",
        "8",
        "proportion",
        "1 m2 is not met below 25 % pilots",
        "mean bound of full and SCA first within 1 m2 at 25 %",
        rules.mean_met_from,
        "As A-5-1: 20 % is the frame of 2:2, whose mean bound is 1.00 m2 and decides nothing.",
        Favourable("met where every UE of most drops is within 1 m2", rules.met_from),
    ),
    Claim(
        "A-8-2",
        "8",
        "proportion",
        "the bound flattens from 40 %",
        "a quarter of the slope before",
        rules.flattens,
        "Reproduced.",
    ),
    Claim(
        "A-9",
        "9",
        "proportion",
        "SCA saves about 10 % on average",
        "5 % to 15 %",
        rules.mean_saved,
        "Reproduced.",
    ),
    Claim(
        "A-10a",
        "10a",
        "correlation_2",
        "contamination hurts SCA more than full power, both beat no DL",
        "both",
        rules.hurt_more,
        "It would hold if it meant the six UEs of Fig. 10b, where the error of SCA grows more than that of full power.",
        Favourable("UEs that do not know the correlation of the pilots", reading=IGNORANT),
    ),
    Claim(
        "A-10b",
        "10b",
        "correlation_6",
        "with 6 UEs SCA falls behind no DL from correlation 0.6",
        "0.5 to 0.7",
        rules.crosses,
        "A receiver that does not know the correlation reproduces the crossing; the paper prints one that knows it.",
        Favourable("UEs that do not know the correlation of the pilots", reading=IGNORANT),
    ),
    Claim(
        "O-1",
        "ours",
        "ratio",
        "ours is never worse than the paper's SCA",
        "ratio of NMSE at most 1",
        rules.never_worse,
        "Ours.",
    ),
    Claim(
        "O-2",
        "ours",
        "ratio",
        "ours at full power's NMSE saves more than SCA",
        "mean over the ratios",
        rules.our_saving,
        "Ours.",
    ),
    Claim(
        "O-3",
        "ours",
        "correlation_2",
        "eq. 18 as printed understates the NMSE (2 UEs)",
        "factor above 1.5",
        rules.printed_error,
        "Ours; the printed formula leaves the interference out of the numerator.",
    ),
    Claim(
        "O-4",
        "ours",
        "correlation_6",
        "eq. 18 as printed understates the NMSE (6 UEs)",
        "factor above 1.5",
        rules.printed_error,
        "Ours; as O-3.",
    ),
)
