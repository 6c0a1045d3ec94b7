"""What a reproduction of Liesegang et al. is made of: plain settings that a YAML file can give. No torch is imported here."""

from dataclasses import dataclass, field, replace
from typing import Any, Literal

from isac_torch.errors import ScenarioError
from isac_torch.sensing.conditions import AntennaCorrelation, Nearby, Pointing
from isac_torch.tracking.scenario import TrackingScenario
from isac_torch.tracking.setup import SensingSetup

Beams = Literal["both", "data", "probe"]
Association = Literal["utc", "tc", "uc", "cf"]


@dataclass(frozen=True)
class Policy:
    """Fractional power control with both kinds of beams, or the whole budget of every AP on one kind.

    Attributes:
        comm_exponent: kappa_c.
        sensing_exponent: kappa_s.
        beams: `both`, only `data` (no sensing), or only `probe` (no communication).
    """

    comm_exponent: float = 0.0
    sensing_exponent: float = 0.0
    beams: Beams = "both"

    @property
    def label(self) -> str:
        """What a legend calls it."""
        suffix = {"both": "", "data": ", no sensing", "probe": ", no comm."}[self.beams]
        return f"FPC ({self.comm_exponent:g}, {self.sensing_exponent:g}){suffix}"


NO_SENSING = Policy(beams="data")
FALSE_ALARMS = (1e-4, 1e-3, 1e-2, 1e-1)
"""Of the receiver operating characteristic."""


_CHOICES = {
    "receivers": ("scenario", "nearest"),
    "averaging": ("drop", "energies", "block"),
    "precision": ("double", "single"),
}


@dataclass(frozen=True)
class Conditions:
    """Choices that the paper's text leaves open, or makes without saying how.

    Attributes:
        receivers: who listens. `scenario`: the APs that the scenario's rule selects, the same number for any number of cells or
            targets. `nearest`: the AP nearest to each cell or target, one for each, at most a quarter of all APs.
        averaging: what enters a distribution. `drop`: the mean over the blocks of a drop of the ratio; `energies`: the ratio of
            the mean energies over the blocks, as (36) and (45) are written; `block`: the ratio of every block.
        pointing: density of the tracked angles' errors, and positions over which the beams' interference is averaged.
        clutter: correlation of the clutter between the antennas of an AP.
        precision: of the blocks' arithmetic. `single` takes two thirds of the time and errs by about 1e-5 dB, by up to 0.3 dB
            where an AP sends nearly what another sends (kappa_c = 1 without sensing beams). Powers and rates are always in
            double precision.
        near: how many transmit APs and other targets a receive AP's test takes into account (footnote 4); all by default.
    """

    receivers: Literal["scenario", "nearest"] = "scenario"
    averaging: Literal["drop", "energies", "block"] = "drop"
    pointing: Pointing = field(default_factory=Pointing)
    clutter: AntennaCorrelation = field(default_factory=AntennaCorrelation)
    precision: Literal["double", "single"] = "double"
    near: Nearby = field(default_factory=Nearby)

    def __post_init__(self) -> None:
        """Refuse unknown choices."""
        for name, allowed in _CHOICES.items():
            if getattr(self, name) not in allowed:
                raise ScenarioError(f"{name}={getattr(self, name)!r} must be one of {', '.join(map(repr, allowed))}")


@dataclass(frozen=True)
class Case:
    """One curve: a network, powers and a detector.

    Attributes:
        phase: `detection` of cells or `tracking` of targets.
        scenario: the network.
        setup: clutter, reflectivities, cells.
        policy: fractional power control, or the name of an allocator: `opc_communication`, `opc_sensing`, or one of `evaluate`;
            `opc_dominate` and `opc_dominate_fair` are asked to sense no worse than uniform power, with the factors of the
            scenario's requirement where that is `dominate`.
        association: who serves and senses: user- and target-centric (utc), only one of both, or neither (cf).
        clutter_statistics: whether the detector knows them.
        form: test of the tracking phase.
        conditions: what the paper leaves open.
    """

    phase: Literal["detection", "tracking"] = "detection"
    scenario: TrackingScenario = field(default_factory=TrackingScenario)
    setup: SensingSetup = field(default_factory=SensingSetup)
    policy: Policy | str = field(default_factory=Policy)
    association: Association = "utc"
    clutter_statistics: bool = True
    form: Literal["paper", "joint"] = "paper"
    conditions: Conditions = field(default_factory=Conditions)


Tuples = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Sweeps:
    """What the curves of the figures differ in.

    Attributes:
        rcs_dbsm: reflectivity variances of figures 2, 3 and 7, dB over 1 m2.
        clutter: clutter factors (varsigma) of figures 2 and 3; figure 7 goes to 1.
        ues: numbers of UEs of figure 4.
        samples: numbers of sensing samples of figure 4.
        regions: numbers of sensing regions of figure 5; the first is that of the schemes that search one cell after the other.
        tuples: (kappa_c, kappa_s) of figures 6 and 8.
        fair_tuples: (kappa_c, kappa_s) of figure 9.
        optimal: allocators of figure 9, by their names.
    """

    rcs_dbsm: tuple[float, ...] = (-20.0, -10.0, 0.0, 10.0, 20.0)
    clutter: tuple[float, ...] = (1e-3, 1e-2, 1e-1)
    ues: tuple[int, ...] = (2, 4, 8, 16, 32)
    samples: tuple[int, ...] = (1, 2, 5, 10, 20, 50)
    regions: tuple[int, ...] = (9, 4, 1)
    tuples: Tuples = ((0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (1.0, 1.0))
    fair_tuples: Tuples = ((0.0, 0.0), (0.0, 0.5), (0.5, 0.0), (0.5, 0.5))
    optimal: tuple[str, ...] = ("opc_communication", "opc_sensing", "opc_dominate")

    def __post_init__(self) -> None:
        """Refuse empty sweeps, and those without the values that claims are about: 4 UEs, and 10 samples among others."""
        for name in ("rcs_dbsm", "clutter", "ues", "samples", "regions", "tuples", "fair_tuples", "optimal"):
            if not getattr(self, name):
                raise ScenarioError(f"{name} is empty; give at least one value")
        if 4 not in self.ues or len(set(self.ues)) < 2:
            raise ScenarioError(f"ues={list(self.ues)} must hold 4, which a claim is about, and another number")
        if list(self.samples) != sorted(set(self.samples)) or 10 not in self.samples[1:-1]:
            raise ScenarioError(
                f"samples={list(self.samples)} must rise and hold 10, which a claim is about, between two others"
            )


@dataclass(frozen=True)
class Reading:
    """How the paper is read: the network and the setup of its baseline, what it leaves open, and what its figures sweep.

    Attributes:
        scenario: network of the baseline.
        setup: echoes, clutter and cells of the baseline.
        conditions: receivers, averages, errors of the angles, correlation of the clutter.
        sweeps: values of the figures.
    """

    scenario: TrackingScenario = field(default_factory=TrackingScenario)
    setup: SensingSetup = field(default_factory=SensingSetup)
    conditions: Conditions = field(default_factory=Conditions)
    sweeps: Sweeps = field(default_factory=Sweeps)

    def case(self, **changes: Any) -> Case:
        """The baseline with changed fields of the case."""
        return replace(Case(scenario=self.scenario, setup=self.setup, conditions=self.conditions), **changes)

    def tracked(self, **changes: Any) -> Case:
        """The baseline of the tracking phase."""
        return self.case(phase="tracking", **changes)

    def with_setup(self, setup: dict[str, Any], **changes: Any) -> Case:
        """The baseline with changed fields of the setup, and of the case."""
        return self.case(setup=replace(self.setup, **setup), **changes)

    def with_ues(self, num_ues: int) -> Case:
        """The baseline with another number of UEs: the same block length, and no more pilots than in the baseline."""
        block, pilots = self.scenario.block_length, min(num_ues, self.scenario.pilot_symbols)
        return self.case(scenario=replace(self.scenario, num_ues=num_ues, coherence_length=block, pilot_length=pilots))

    def with_pilots(self, power: float) -> "Reading":
        """The same reading with another pilot power of every UE, W."""
        return replace(self, scenario=replace(self.scenario, pilot_power=power))

    def heard_by(self, receivers: Literal["scenario", "nearest"]) -> "Reading":
        """The same reading with other receive APs."""
        return replace(self, conditions=replace(self.conditions, receivers=receivers))
