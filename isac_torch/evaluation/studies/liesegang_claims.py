"""What Liesegang et al. conclude from their figures, each with the rule that decides it. Ids as in docs/reproduction.md."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from isac_torch.evaluation.studies import liesegang_readings as readings
from isac_torch.evaluation.studies import liesegang_rules as rules
from isac_torch.evaluation.studies.claims import Claim, Favourable

if TYPE_CHECKING:
    from isac_torch.evaluation.studies.liesegang_cases import Reading
    from isac_torch.evaluation.studies.liesegang_study import Study

_REGION, _PILOTS = "configs/reproduce/liesegang_region.yaml", "configs/reproduce/liesegang_pilots.yaml"
"""What the favourable readings change, as configurations."""


def nearest(reading: Reading) -> Reading:
    """Receive APs nearest to the cells or targets."""
    return reading.heard_by("nearest")


def spread(reading: Reading) -> Reading:
    """Receive APs of the scenario's rule, by default four that are spread over the area."""
    return reading.heard_by("scenario")


def strong_pilots(reading: Reading) -> Reading:
    """Pilots with which every UE has a channel estimate."""
    return reading.with_pilots(readings.ESTIMABLE_PILOT)


CLAIMS: tuple[Claim[Study], ...] = (
    Claim(
        "B-2-1",
        "2",
        "2",
        "fewer misses with a larger cross-section, more with more clutter",
        "at every step of both sweeps",
        rules.miss_trends,
    ),
    Claim(
        "B-2-2",
        "2",
        "2",
        "without sensing beams detection is worse, most at large clutter",
        "more misses at every clutter factor (0 dBsm), and the largest increase at the largest factor",
        rules.miss_without_sensing,
    ),
    Claim(
        "B-2-3",
        "2",
        "2",
        "a test for thermal noise alone is much worse",
        "at least twice the misses at 10 dBsm",
        rules.miss_noise_only,
    ),
    Claim(
        "B-3",
        "3",
        "3",
        "at the reference values an SCNR of 0 dB or more suffices for a miss probability of 0.1 or less",
        "at 10 dBsm and varsigma 0.01, at least 95 % of the cells above 0 dB miss at most one in ten",
        rules.good_scnr,
        fault="the paper speaks of its reference values alone: over all cross-sections, cells at 0 to 1 dB miss more often",
    ),
    Claim(
        "B-4-1",
        "4",
        "4",
        "four UEs give the best SCNR",
        "largest median at K = 4",
        rules.best_load,
        fault="open: with 2 UEs every AP spends its budget already, so that fewer UEs leave more power to the sensing beams",
        favourable=Favourable("receive APs nearest to the cells, as printed", rules.best_load, nearest),
    ),
    Claim(
        "B-4-2",
        "4",
        "4",
        "more samples always help, most below ten",
        "medians increase, and faster per sample up to 10 than above",
        rules.more_samples,
    ),
    Claim(
        "B-5-1",
        "5",
        "5",
        "user- and target-centric association beats the other three",
        "no smaller median SCNR and rate than any of them",
        rules.best_association,
        fault="nine simultaneous beams are set against schemes that search one cell at a time; with one cell and one receive "
        "AP, the beams of all APs bring more than those of four",
        favourable=Favourable(
            "one region, so that all four search one cell at a time; four receive APs spread over the area",
            partial(rules.best_association, regions=1),
            spread,
            config=_REGION,
        ),
    ),
    Claim(
        "B-5-2",
        "5",
        "5",
        "four regions give the best SCNR",
        "largest median at S = 4",
        rules.best_regions,
        fault="four receive APs spread over the area do not confirm it, whatever S; the paper takes those nearest to the cells",
        favourable=Favourable("receive APs nearest to the cells: 4, 4 and 1 of them", rules.best_regions, nearest),
    ),
    Claim(
        "B-5-3",
        "5",
        "5",
        "the rate falls with the number of regions",
        "median rate decreases from S = 1 to 4 to 9",
        rules.rate_of_regions,
    ),
    Claim(
        "B-6-1",
        "6",
        "6",
        "a larger kappa_s raises the rate at little loss of SCNR",
        "median rate rises for kappa_c = 0 and 1, median SCNR falls by at most 1 dB",
        rules.scnr_of_tuples,
    ),
    Claim(
        "B-6-2",
        "6",
        "6",
        "(0, 1) is a good choice",
        "10th percentile of the rate within 5 % of the best tuple's, median SCNR within 1 dB",
        rules.good_tuple,
    ),
    Claim(
        "B-7-1",
        "7",
        "7",
        "the gain of a larger cross-section saturates in tracking",
        "every further 10 dB gain less",
        rules.saturation,
    ),
    Claim(
        "B-7-2",
        "7",
        "7",
        "the loss without sensing beams shrinks with the cross-section",
        "median loss decreases from 0 to 10 to 20 dBsm",
        rules.loss_without_sensing,
    ),
    Claim(
        "B-7-3",
        "7",
        "7",
        "in tracking, clutter matters less",
        "median loss over two decades of clutter at most half of the detection phase's",
        rules.fading_clutter,
    ),
    Claim(
        "B-8-1", "8", "8", "a larger kappa_s raises the rate", "median rate rises for kappa_c = 0 and 1", rules.sicnr_of_tuples
    ),
    Claim(
        "B-8-2",
        "8",
        "8",
        "dropping communication hurts SICNR more than dropping sensing beams",
        "median SICNR is lower without communication than without sensing",
        rules.what_to_drop,
    ),
    Claim(
        "B-9-1",
        "9",
        "9",
        "OPC lies above FPC in rate, slightly in SICNR",
        "10th percentile of the rate and median SICNR of both designs above those of every fractional tuple",
        readings.optimal_beats_fractional,
        fault="the text: its pilot power leaves far UEs without an estimate, and its SIR knows neither noise nor clutter",
        favourable=Favourable(
            "pilots of 10 mW: the rates hold, the SICNR does not",
            readings.optimal_beats_fractional,
            strong_pilots,
            config=_PILOTS,
        ),
    ),
    Claim(
        "B-9-1b",
        "ours",
        "9",
        "B-9-1 of the OPC that must sense no worse than uniform power, SICNR 1.2 times",
        "10th percentile of the rate and median SICNR above those of every fractional tuple",
        partial(readings.optimal_beats_fractional, designs=(readings.DOMINATING,)),
        fault="the printed pilot power, as in B-9-1",
        favourable=Favourable(
            "pilots of 10 mW",
            partial(readings.optimal_beats_fractional, designs=(readings.DOMINATING,)),
            strong_pilots,
            config=_PILOTS,
        ),
    ),
    Claim(
        "B-9-2",
        "9",
        "9",
        "communication-prioritised OPC gains more rate than it loses SICNR",
        "the sensing-prioritised design senses better, and the ratio of median rates exceeds that of median SICNRs",
        readings.priorities,
        fault="the printed SIR: a larger one does not make the SICNR larger, so that nothing is traded",
        favourable=Favourable(
            "pilots of 10 mW, and the sensing-prioritised design raises the smallest SICNR in place of the SIR",
            partial(readings.priorities, designs=(readings.COMMUNICATION, readings.SENSING_SICNR)),
            strong_pilots,
            config=_PILOTS,
        ),
    ),
)
"""All claims, in the order of the figures."""
