"""Parameters of the downlink-pilot system, validated, in plain Python so that the command line starts fast."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Literal

from isac_torch.errors import ScenarioError
from isac_torch.units import dbm_to_watt

if TYPE_CHECKING:
    import torch

    from isac_torch.downlink_pilots.drop import DownlinkPilotDrop

RECEIVERS = ("lmmse", "projection", "ignorant")
CRB_READINGS = ("mean_power", "expected", "outage", "per_block")
_SIZE = re.compile(r"(\d+)x(\d+)")
_POSITIVE = (
    "length", "width", "ap_height", "ue_height", "pilot_power", "bandwidth", "rms_bandwidth", "carrier_frequency",
    "cross_section", "crb_max", "data_snr", "payload_power",
)  # fmt: skip


@dataclass(frozen=True)
class DownlinkPilotScenario:
    """Single-antenna full-duplex APs along a road send pilots to vehicles, which are also the targets. Section "Scenario"
    of docs/downlink_pilots.md.

    Attributes:
        num_aps: APs, all of which transmit and receive (M), half of them on each side of the road.
        num_ues: vehicles (K), each served by `serving_aps` APs and located by the echoes of their pilots at every AP.
        length: of the road, m.
        width: of the road, m; the APs stand at its two edges.
        margin: vehicles keep this distance from the edges, m.
        ap_height: m, enters the path loss only.
        ue_height: m, enters the path loss only.
        uplink_symbols: uplink pilot symbols, also the number of orthogonal uplink pilots (tau_u).
        downlink_symbols: downlink pilot symbols (tau_d).
        frame_symbols: symbols of a whole frame, pilots and data.
        downlink_correlation: |psi_k^H psi_j| of different UEs' downlink pilots, amplitude in [0, 1].
        pilot_power: power of a pilot symbol: of each UE uplink, budget of each AP downlink, W.
        noise_density_dbm_hz: noise density at UEs and APs, dBm/Hz.
        bandwidth: Hz, sets the noise power.
        rms_bandwidth: root-mean-square (Gabor) bandwidth of the pilot waveform, Hz, sets the accuracy of delays.
        carrier_frequency: Hz.
        cross_section: |zeta|^2 of every vehicle, m2.
        crb_max: largest allowed localisation bound of each vehicle (Gamma), m2.
        crb: which bound Gamma limits: of the mean beam power ("mean_power", as in the paper), its mean over the fading
            ("expected"), what `crb_outage_percent` of the blocks exceed ("outage"), or that of every block ("per_block"):
            every AP then divides its beams by the size of the block's uplink estimates. Needs orthogonal pilots, up and down.
        crb_outage_percent: share of the blocks that may exceed Gamma, %; for "outage" only.
        receiver: how a vehicle estimates its channel: from the whole received pilot ("lmmse"), from its correlation with its
            own pilot ("projection", as in the paper), or from that as if the pilots were orthogonal ("ignorant"). All are the
            same where they are.
        serving_aps: APs that send to each vehicle, those of the largest gain to it; None: all.
        shadowing_db: standard deviation of log-normal shadowing beyond 50 m, dB.
        data_snr: normalised power P_d of the downlink payload in the paper's rate (P11), linear.
        payload_power: budget of each AP in a data symbol, W; its beams have the proportions that they have in the pilots.

    Example:
        >>> import torch
        >>> from isac_torch import DownlinkPilotScenario
        >>> scenario = DownlinkPilotScenario(num_aps=8, num_ues=3)
        >>> drop = scenario.sample(2, generator=torch.Generator().manual_seed(1))
        >>> tuple(drop.ue_position.shape)                              # m
        (2, 3, 2)
    """

    num_aps: int = 8
    num_ues: int = 2
    length: float = 300.0
    width: float = 100.0
    margin: float = 20.0
    ap_height: float = 10.0
    ue_height: float = 1.65
    uplink_symbols: int = 10
    downlink_symbols: int = 10
    frame_symbols: int = 40
    downlink_correlation: float = 0.0
    pilot_power: float = 0.2
    noise_density_dbm_hz: float = -164.0
    bandwidth: float = 20e6
    rms_bandwidth: float = 20e6
    carrier_frequency: float = 2.4e9
    cross_section: float = 0.85
    crb_max: float = 1.0
    crb: Literal["mean_power", "expected", "outage", "per_block"] = "mean_power"
    crb_outage_percent: int = 5
    receiver: Literal["lmmse", "projection", "ignorant"] = "lmmse"
    serving_aps: int | None = None
    shadowing_db: float = 0.0
    data_snr: float = 10.0
    payload_power: float = 0.2

    def __post_init__(self) -> None:
        """Refuse parameters that describe no network, in one line each."""
        for item in fields(self):
            value = getattr(self, item.name)
            if isinstance(value, float) and not math.isfinite(value):
                raise ScenarioError(f"{item.name}={value} must be a finite number")
        for name, least in (("num_aps", 2), ("num_ues", 1), ("uplink_symbols", 1), ("downlink_symbols", 1)):
            if getattr(self, name) < least:
                raise ScenarioError(f"{name}={getattr(self, name)} must be at least {least}")
        for name in _POSITIVE:
            if getattr(self, name) <= 0:
                raise ScenarioError(f"{name}={getattr(self, name)} must be positive")
        if self.crb not in CRB_READINGS:
            raise ScenarioError(f"crb={self.crb!r} must be one of {', '.join(CRB_READINGS)}")
        if self.receiver not in RECEIVERS:
            raise ScenarioError(f"receiver={self.receiver!r} must be one of {', '.join(RECEIVERS)}")
        if not 1 <= self.crb_outage_percent <= 50:
            raise ScenarioError(f"crb_outage_percent={self.crb_outage_percent} must lie in 1 to 50")
        if self.serving_aps is not None and not 2 <= self.serving_aps <= self.num_aps:
            raise ScenarioError(
                f"serving_aps={self.serving_aps} must lie in 2 to num_aps={self.num_aps}; two APs or more locate a vehicle"
            )
        if self.shadowing_db < 0:
            raise ScenarioError(f"shadowing_db={self.shadowing_db} is a standard deviation and must not be negative")
        if not 0 <= self.downlink_correlation <= 1:
            raise ScenarioError(f"downlink_correlation={self.downlink_correlation} is an amplitude; choose it in [0, 1]")
        if not 0 < self.margin < self.width / 2:
            raise ScenarioError(f"margin={self.margin} must be positive and below half of width={self.width}")
        if self.pilot_symbols >= self.frame_symbols:
            raise ScenarioError(
                f"{self.pilot_symbols} pilot symbols leave no data symbol in frame_symbols={self.frame_symbols}; "
                "shorten the pilots or lengthen the frame"
            )

    @classmethod
    def of_size(cls, size: str, **parameters: object) -> DownlinkPilotScenario:
        """The scenario named by its size, 'MxK' such as '8x2'; other parameters by keyword."""
        match = _SIZE.fullmatch(size)
        if match is None:
            raise ScenarioError(f"size {size!r} must look like 8x2: APs x UEs")
        aps, ues = (int(group) for group in match.groups())
        return cls(num_aps=aps, num_ues=ues, **parameters)  # type: ignore[arg-type]

    @property
    def name(self) -> str:
        """Short name of the size class: APs x UEs, downlink and uplink pilot symbols, Gamma, such as '8x2_dl10_ul10_crb1'."""
        name = f"{self.num_aps}x{self.num_ues}_dl{self.downlink_symbols}_ul{self.uplink_symbols}_crb{self.crb_max:g}"
        name += "" if self.crb == "mean_power" else f"_{self.crb}"
        name += "" if self.downlink_correlation == 0 else f"_r{self.downlink_correlation:g}"
        name += "" if self.receiver == "lmmse" else f"_{self.receiver}"
        name += "" if self.serving_aps is None else f"_by{self.serving_aps}"
        return name if self.shadowing_db == 0 else f"{name}_shadow{self.shadowing_db:g}"

    @property
    def pilot_symbols(self) -> int:
        """Pilot symbols of a frame, uplink and downlink."""
        return self.uplink_symbols + self.downlink_symbols

    @property
    def noise_power(self) -> float:
        """Noise power in the bandwidth, W."""
        return dbm_to_watt(self.noise_density_dbm_hz) * self.bandwidth

    def sample(self, num_drops: int, *, generator: torch.Generator) -> DownlinkPilotDrop:
        """Random drops: positions, shadowing, pilots. Same generator state, same drops."""
        from isac_torch.downlink_pilots.drop import sample_drops

        return sample_drops(self, num_drops, generator)
