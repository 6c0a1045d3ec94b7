"""The power problem of a large network: lower bounds of every SINR and sensing SIR, linear cost, no matrix of all pairs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from isac_torch.deployment.snapshot import Snapshot
from isac_torch.errors import DropError
from isac_torch.large.cells import CellGrid, Pairs
from isac_torch.large.echoes import TargetStatistics, target_statistics
from isac_torch.large.gains import MeasuredGains, PairGains, Shadowing, far_bound
from isac_torch.large.lags import ScatteringTable
from isac_torch.large.near import NearLags
from isac_torch.large.network import LargeNetwork
from isac_torch.large.radiation import azimuths, by_sector
from isac_torch.large.statistics import UserStatistics, user_statistics
from isac_torch.outage import OUTAGE_SINR
from isac_torch.propagation.arrays import response_lags
from isac_torch.propagation.geometry import MIN_DISTANCE
from isac_torch.propagation.path_loss import umi_los_gain, umi_nlos_gain


@dataclass(frozen=True)
class Settings:
    """What is exact and what is bounded.

    Attributes:
        ue_radius: horizontal distance (m) within which an AP's beams reach a UE exactly.
        target_radius: the same for targets, receive APs and APs, m: echoes decay slowly.
        ue_reach: cells from the middle to the rim of a UE's neighbourhood; more makes the bounds tighter and slower.
        target_reach: the same for targets.
    """

    ue_radius: float = 1000.0
    target_radius: float = 4000.0
    ue_reach: int = 10
    target_reach: int = 16

    def __post_init__(self) -> None:
        """Refuse radii that describe no neighbourhood."""
        for name in ("ue_radius", "target_radius"):
            if not 0.0 < getattr(self, name) < math.inf:
                raise DropError(f"{name}={getattr(self, name)} must be a positive number of metres")
        for name in ("ue_reach", "target_reach"):
            if not 3 <= getattr(self, name) <= 100:
                raise DropError(f"{name}={getattr(self, name)} must lie in 3..100 cells")


@dataclass(frozen=True)
class FarEchoes:
    """What is bounded of the echoes.

    Attributes:
        least: lower bound on the power with which far APs illuminate each target, W/m2 up to a constant.
        most: upper bound on it.
        heard: upper bound on the echoes of far targets at the receive APs of each target.
    """

    least: Float[ndarray, " target"]
    most: Float[ndarray, " target"]
    heard: Float[ndarray, " target"]


@dataclass(frozen=True)
class LargeProblem:
    """Coefficients of one network; links of UE 0 first, then UE 1, ..., then of target 0, as in `MaxMinSinrProblem`.

    Attributes:
        network: the network, with its pilots and powers filled in.
        gains: deviation of far gains.
        users, targets: sparse coefficients; no targets where there are none.
        link_ap: transmit AP of each link.
        link_gain: large-scale fading of each link, linear (what fractional power control looks at).
        scattered, direct: lags of C of UEs and of targets at `azimuths()`.
    """

    network: LargeNetwork
    gains: PairGains
    users: UserStatistics
    targets: TargetStatistics | None
    link_ap: Int[ndarray, " link"]
    link_gain: Float[ndarray, " link"]
    scattered: Float[ndarray, "azimuth width"]
    direct: Float[ndarray, "azimuth width"]

    @property
    def budget(self) -> Float[ndarray, " ap"]:
        """Power budget of each AP, W."""
        return self.network.ap_power

    @property
    def num_aps(self) -> int:
        """Transmit APs."""
        return len(self.budget)

    @property
    def num_comm_links(self) -> int:
        """Serving links: the first ones of the link axis."""
        return self.users.signal.size

    @property
    def num_constraints(self) -> int:
        """Sensing constraints: one per target, none with fewer than two targets."""
        return self.network.num_targets if self.network.num_targets > 1 else 0

    @cached_property
    def beam(self) -> NearLags:
        """Weights of every link's beam covariance, each at its AP."""
        parts = [self.users.beam] if self.targets is None else [self.users.beam, self.targets.beam]
        link = np.arange(len(self.link_ap) + 1)
        return NearLags(Pairs(link, link[:-1], link[:-1], self.link_ap), np.concatenate(parts), self.num_aps)

    def sent(self, power: Float[ndarray, "*part link"]) -> Float[ndarray, "*part ap width"]:
        """Weights of all that each AP sends, W: with the lags of a pair they give what is received."""
        return self.beam.returned(power)

    def ap_load(self, power: Float[ndarray, " link"]) -> Float[ndarray, " ap"]:
        """Power that each AP sends, W."""
        return np.bincount(self.link_ap, power, self.num_aps)

    def far_interference(self, power: Float[ndarray, " link"]) -> tuple[Float[ndarray, " ue"], Float[ndarray, " ue"]]:
        """Bounds over the noise on what far APs bring each UE: without coherence, and coherently from UEs on its pilot."""
        net, grid, noise = self.network, self.users.grid, self.network.noise_power
        ue, ap = net.ue_position[:, :2], net.tx_position[:, :2]
        height = _height(net.ue_position, net.tx_position)

        def kernel(distance: ndarray) -> ndarray:
            return umi_nlos_gain(np.maximum(distance, MIN_DISTANCE), net.carrier_frequency) / noise

        sector = by_sector(self.sent(power), net.tx_orientation, self.scattered, grid, height)
        plain = grid.far_sum_by_direction(ue, ap, sector, kernel)
        load = self.ap_load(power)[None]
        squared = grid.far_sum(ue, ap, np.concatenate([load, sector.max(0, keepdims=True) ** 2]), lambda d: kernel(d) ** 2)
        serving = self.users.signal.shape[1]
        scale = serving * net.num_antennas**2 * net.pilot_symbols * net.pilot_power
        deviation = self.gains.deviation_db
        if deviation == 0.0:
            return plain, scale * squared[0]
        fourth = grid.far_sum(ue, ap, load**2, lambda d: kernel(d) ** 4)[0]
        return far_bound(plain, squared[1], deviation), scale * far_bound(squared[0], fourth, deviation, 2)

    def interference(
        self, power: Float[ndarray, " link"], far: tuple[Float[ndarray, " ue"], Float[ndarray, " ue"]] | None = None
    ) -> Float[ndarray, " ue"]:
        """Upper bound of each UE's interference plus noise over the noise; `far` from an earlier call saves time."""
        plain, coherent = self.far_interference(power) if far is None else far
        near = np.bincount(self.users.coherent_ue, self.pilot_amplitude(power) ** 2, len(plain))
        # Amplitudes of near and far links add up at worst; so do their Euclidean norms over the UEs that send them.
        together = (np.sqrt(near) + np.sqrt(coherent)) ** 2
        return self.users.hearing.received(self.sent(power)) + plain + together + 1.0

    def pilot_amplitude(self, power: Float[ndarray, " link"]) -> Float[ndarray, " pair"]:
        """Coherent amplitude over the noise of each pair of near UEs on one pilot."""
        return self.users.coherent @ np.sqrt(power[: self.num_comm_links])

    @property
    def outage(self) -> Bool[ndarray, " ue"]:
        """UEs out of reach: with every budget on their own links and no interference, their SINR stays below -30 dB."""
        return self.wanted(self.budget[self.link_ap]) ** 2 < OUTAGE_SINR

    def wanted(self, power: Float[ndarray, " link"]) -> Float[ndarray, " ue"]:
        """Lower bound of each UE's wanted amplitude over the noise."""
        serving = power[: self.num_comm_links].reshape(self.users.signal.shape)
        return (self.users.signal * np.sqrt(serving)).sum(1)

    def sinr(self, power: Float[ndarray, " link"]) -> Float[ndarray, " ue"]:
        """Lower bound of each UE's SINR, linear; `power` in W. Eq. (14)."""
        return self.wanted(power) ** 2 / self.interference(power)

    def far_echoes(self, power: Float[ndarray, " link"]) -> FarEchoes:
        """What far APs and far targets add to echoes."""
        net, echo = self.network, self.targets
        if echo is None:
            return FarEchoes(*(np.zeros(0),) * 3)
        target, ap = net.target_position, net.tx_position
        height = _height(target, ap)

        def kernel(distance: ndarray) -> ndarray:
            return distance**-echo.decay

        def lower_kernel(distance: ndarray) -> ndarray:
            return np.hypot(distance, height) ** -echo.decay

        def illumination(sent: ndarray, *, least: bool) -> ndarray:
            sector = by_sector(sent, net.tx_orientation, self.direct, echo.grid, height, least=least)
            law = lower_kernel if least else kernel
            return echo.grid.far_sum_by_direction(target[:, :2], ap[:, :2], sector, law, least=least)

        sent = self.sent(power)
        most = illumination(sent, least=False)
        heard = echo.grid.far_sum(echo.listener[:, :2], target[:, :2], (echo.lighting.received(sent) + most)[None], kernel)[0]
        return FarEchoes(illumination(self.sent(self.sure(power)), least=True), most, heard.reshape(len(target), -1).sum(1))

    def sure(self, power: Float[ndarray, " link"]) -> Float[ndarray, " link"]:
        """Powers (W) with which `beam` bounds the beams from below instead of above."""
        lower = power.copy()
        lower[: self.num_comm_links] /= self.users.surplus**2
        return lower

    def echoes(
        self, power: Float[ndarray, " link"], far: FarEchoes | None = None
    ) -> tuple[Float[ndarray, " target"], Float[ndarray, " target"]]:
        """Own echo from below, other targets' echoes from above, at each target's listeners; one scale for both."""
        echo = self.targets
        if echo is None:
            return np.zeros(0), np.zeros(0)
        far = self.far_echoes(power) if far is None else far
        least, most = echo.lighting.received(self.sent(np.stack([self.sure(power), power])))
        return echo.own * (least + far.least), echo.cross @ (most + far.most) + far.heard

    def sir(self, power: Float[ndarray, " link"]) -> Float[ndarray, " target"]:
        """Lower bound of each target's sensing SIR, linear; `power` in W; inf with fewer than two targets. Eq. (19)."""
        own, other = self.echoes(power)
        if len(own) < 2:
            return np.full(len(own), np.inf)
        return own / np.maximum(other, np.finfo(float).tiny)


def large_problem(snapshot: Snapshot, gains: PairGains | None = None, settings: Settings | None = None) -> LargeProblem:
    """Coefficients of a network given by positions. Raises DropError where a value describes no network."""
    settings = settings or Settings()
    net = LargeNetwork.of(snapshot)
    gains = _gains(snapshot, gains)
    table = ScatteringTable.build(net.num_antennas, math.radians(net.azimuth_spread_deg))
    plane = np.concatenate([net.tx_position, net.ue_position, net.target_position, net.rx_position])[:, :2]
    users = user_statistics(net, gains, table, CellGrid.over(plane, settings.ue_radius, settings.ue_reach))
    link_ap, link_gain, targets = [users.serving_ap.ravel()], [users.serving_gain.ravel()], None
    if net.num_targets:
        targets = target_statistics(net, CellGrid.over(plane, settings.target_radius, settings.target_reach))
        link_ap.append(targets.sensing_ap.ravel())
        link_gain.append(umi_los_gain(targets.distance, net.carrier_frequency).ravel())
    turn = azimuths()
    return LargeProblem(
        network=net,
        gains=gains,
        users=users,
        targets=targets,
        link_ap=np.concatenate(link_ap),
        link_gain=np.concatenate(link_gain),
        scattered=table.lags(turn, np.ones_like(turn)),
        direct=response_lags(turn, np.zeros_like(turn), net.num_antennas),
    )


def _gains(snapshot: Snapshot, gains: PairGains | None) -> PairGains:
    if gains is not None:
        if isinstance(gains, MeasuredGains):
            gains.check(snapshot.num_ues, snapshot.num_aps)
        return gains
    return Shadowing() if snapshot.ue_gain is None else MeasuredGains(snapshot.ue_gain)


def _height(point: ndarray, other: ndarray) -> float:
    """Largest difference of height between two sets of points, m."""
    return float(max(point[:, 2].max() - other[:, 2].min(), other[:, 2].max() - point[:, 2].min(), 0.0))
