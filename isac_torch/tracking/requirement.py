"""What power control asks of the radar, as flat parameters in plain Python. docs/requirements.md says how to choose."""

from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Real
from types import MappingProxyType
from typing import Literal

from isac_torch.errors import ScenarioError

KINDS = ("none", "sir", "sicnr", "detection", "position", "dominate")
PLAIN = ("none", "sir")
"""Kinds that need neither the clutter's filter nor the orientation of receive APs."""
_FACTOR, _LENGTH, _DECIBEL, _EXPONENT = (0.0, 1e3), (1e-3, 1e6), (-100.0, 100.0), (-10.0, 10.0)
RANGES: Mapping[str, tuple[float, float]] = MappingProxyType(
    {
        "sicnr_min_db": _DECIBEL,
        "miss": (1e-6, 1.0 - 1e-6),
        "position_error": _LENGTH,
        "scan": _FACTOR,
        "sicnr": _FACTOR,
        "position": _FACTOR,
        "margin": _FACTOR,
        "comm_exponent": _EXPONENT,
        "sensing_exponent": _EXPONENT,
        "enough_db": (-300.0, 300.0),
        "cell": _LENGTH,
        "blocks": (1, 1_000_000),
        "prior_horizontal": _LENGTH,
        "prior_vertical": _LENGTH,
    }
)
"""Smallest and largest value of each number; beyond them arithmetic in double precision, or the question, makes no sense."""


@dataclass(frozen=True)
class Requirement:
    """The sensing constraints of a scenario. docs/requirements.md says which kind to choose.

    =============  ======================================================================================
    `none`         no sensing constraint
    `sir`          expected SIR of every target >= SIR0, the scenario's `sir_min_db` (the paper's); eq. (18) of docs/physics.md
    `sicnr`        expected SICNR of every target >= `sicnr_min_db`; eq. (51) of docs/sensing.md
    `detection`    miss probability of every target <= `miss` at the false-alarm rate of the setup; eq. (64)
    `position`     error bound of every target's horizontal position <= `position_error`; eq. (68)
    `dominate`     not worse than uniform power, an equal split of every AP's budget: (R1) the echo of every cell of a scan
                   grid, (R2) the SICNR and (R3) the position information of every target, each times its factor; eq. (70).
                   `margin` raises R2 where detection is uncertain, eq. (72); `enough_db` bounds R1, eq. (73);
                   `comm_exponent` and `sensing_exponent` compare with fractional power control instead, eq. (22)
    =============  ======================================================================================

    Every kind but `sir` also constrains a single target. With factors of at most 1 and no margin the uniform powers meet
    `dominate`, so that it can always be met.

    Attributes:
        kind: one of the above.
        sicnr_min_db: of `sicnr`: SICNR that every target must reach, dB.
        miss: of `detection`: largest probability of missing a target.
        position_error: of `position`: largest error bound (root of the trace of the horizontal Cramer-Rao matrix), m.
        scan: of `dominate`: factor of R1; 0 leaves R1 out.
        sicnr: of `dominate`: factor of R2; 0 leaves R2 out.
        position: of `dominate`: factor of R3; 0 leaves R3 out.
        margin: of `dominate`: R2 is raised by this share at a target that uniform power misses half the time, by less at one
            that it finds nearly always or nearly never. It covers what the expected SICNR overstates.
        comm_exponent: of `dominate`: kappa_c of the fractional power control that it compares with; 0, with `sensing_exponent`
            0, is uniform power.
        sensing_exponent: of `dominate`: kappa_s of the same.
        enough_db: of `dominate`: ratio of echo to noise (dB) at which a cell of R1 is heard well: where uniform power gives
            more, no more than this is asked for; None: always as much as uniform power gives.
        cell: distance between the cells of the scan grid, m.
        blocks: coherence blocks of one look, which position information adds up.
        prior_horizontal: standard deviation of what is known of a horizontal coordinate before the look, m.
        prior_vertical: the same of the height, m.

    Example:
        >>> from isac_torch import Requirement, TrackingScenario
        >>> scenario = TrackingScenario(requirement=Requirement("sicnr", sicnr_min_db=3.0))   # dB
        >>> scenario.requirement.name
        'sicnr_3'
        >>> Requirement("dominate", sicnr=1.1).name
        'dominate_1_1.1_1'
    """

    kind: Literal["none", "sir", "sicnr", "detection", "position", "dominate"] = "sir"
    sicnr_min_db: float = 0.0
    miss: float = 0.1
    position_error: float = 10.0
    scan: float = 1.0
    sicnr: float = 1.0
    position: float = 1.0
    margin: float = 0.0
    comm_exponent: float = 0.0
    sensing_exponent: float = 0.0
    enough_db: float | None = None
    cell: float = 100.0
    blocks: int = 4
    prior_horizontal: float = 30.0
    prior_vertical: float = 10.0

    def __post_init__(self) -> None:
        """Refuse, in one line each, values that ask for nothing sensible."""
        if self.kind not in KINDS:
            raise ScenarioError(f"requirement.kind={self.kind!r} must be one of {', '.join(map(repr, KINDS))}")
        for name, (least, most) in RANGES.items():
            value = getattr(self, name)
            if value is None and name == "enough_db":
                continue
            if isinstance(value, bool) or not isinstance(value, Real):
                raise ScenarioError(f"requirement.{name}={value!r} must be a number in {least:g}..{most:g}")
            if not least <= float(value) <= most:  # NaN does not
                remedy = "; 0 leaves it out" if (least, most) == _FACTOR else ""
                raise ScenarioError(f"requirement.{name}={value} must lie in {least:g}..{most:g}{remedy}")

    @property
    def name(self) -> str:
        """Kind and its numbers, in short, such as 'sicnr_3' or 'dominate_1_1_1'; 'sir' alone, for SIR0 is the scenario's."""
        numbers = {
            "sicnr": (self.sicnr_min_db,),
            "detection": (self.miss,),
            "position": (self.position_error,),
            "dominate": (self.scan, self.sicnr, self.position, *([self.margin] if self.margin else [])),
        }
        compared = self.compared_exponents
        words = [self.kind, *(f"{number:g}" for number in numbers.get(self.kind, ()))]
        return "_".join([*words, *(["fpc", *(f"{number:g}" for number in compared)] if any(compared) else [])])

    @property
    def compared_exponents(self) -> tuple[float, float]:
        """kappa_c and kappa_s of the powers that `dominate` compares with, eq. (22) of docs/physics.md; else (0, 0)."""
        return (self.comm_exponent, self.sensing_exponent) if self.kind == "dominate" else (0.0, 0.0)
