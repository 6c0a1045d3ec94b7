"""One random road, or a batch of them: positions, large-scale fading, uplink and downlink pilots."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic

from jaxtyping import Float, Int

from isac_torch.errors import ScenarioError
from isac_torch.propagation.path_loss import THREE_SLOPE_FAR, three_slope_gain
from isac_torch.propagation.pilots import pilot_gram, round_robin_pilots
from isac_torch.tensors import Array, counting, from_db, map_tensors, namespace

if TYPE_CHECKING:
    import torch

    from isac_torch.downlink_pilots.scenario import DownlinkPilotScenario


@dataclass(frozen=True)
class DownlinkPilotDrop(Generic[Array]):
    """A batch of roads in the plane.

    Attributes:
        ap_position: m.
        ue_position: m.
        gain: beta[k, m], large-scale fading between UE k and AP m with shadowing, linear.
        pilot: which orthogonal uplink pilot each UE sends.
        gram_real: real part of psi_k^H psi_j, unit-norm downlink pilots; any positive semidefinite matrix of unit diagonal.
        gram_imag: its imaginary part.
        receives: 1 for APs that receive echoes, 0 for others; None: all do.
        serves: 1 for APs that send to the UE, 0 for others; None: the scenario's `serving_aps`.
        path_cross_section: |zeta|^2 of each path AP - UE - AP (sender, then receiver), m2; None: the scenario's of all.
    """

    ap_position: Float[Array, "drop ap 2"]
    ue_position: Float[Array, "drop ue 2"]
    gain: Float[Array, "drop ue ap"]
    pilot: Int[Array, "drop ue"]
    gram_real: Float[Array, "drop ue ue"]
    gram_imag: Float[Array, "drop ue ue"]
    receives: Float[Array, "drop ap"] | None = None
    path_cross_section: Float[Array, "drop ue ap ap"] | None = None
    serves: Float[Array, "drop ue ap"] | None = None

    @property
    def num_drops(self) -> int:
        """Roads in the batch."""
        return self.ap_position.shape[0]

    def select(self, index: Int[Array, " chosen"]) -> DownlinkPilotDrop[Array]:
        """The drops at `index`, in that order."""
        return map_tensors(self, lambda t: t[index])

    def to(self, device: torch.device | str) -> DownlinkPilotDrop[Array]:
        """The same drops on another device."""
        return map_tensors(self, lambda t: t.to(device))


def sample_drops(scenario: DownlinkPilotScenario, num_drops: int, generator: torch.Generator) -> DownlinkPilotDrop:
    """Random drops of a scenario in float64 on the generator's device. Raises ScenarioError for fewer than one drop."""
    import torch

    if num_drops < 1:
        raise ScenarioError(f"num_drops={num_drops} must be at least 1")
    dtype, device = torch.float64, generator.device
    across = torch.rand(num_drops, scenario.num_ues, 2, generator=generator, dtype=dtype, device=device)
    low = across.new_tensor([0.0, scenario.margin])
    high = across.new_tensor([scenario.length, scenario.width - scenario.margin])
    shape = (num_drops, scenario.num_ues, scenario.num_aps)
    shadowing = torch.randn(shape, generator=generator, dtype=dtype, device=device)
    return build_drops(scenario, low + (high - low) * across, scenario.shadowing_db * shadowing)


def build_drops(
    scenario: DownlinkPilotScenario, ue_position: Float[Array, "drop ue 2"], shadowing_db: Float[Array, "drop ue ap"]
) -> DownlinkPilotDrop[Array]:
    """Drops from given UE positions (m) and shadowing (dB; it applies beyond 50 m)."""
    xp = namespace(ue_position)
    num_drops, num_ues, _ = ue_position.shape
    ap_position = xp.broadcast_to(roadside(scenario, ue_position), (num_drops, scenario.num_aps, 2))
    gram = xp.broadcast_to(downlink_gram(scenario, ue_position), (num_drops, num_ues, num_ues))
    pilot = round_robin_pilots(num_drops, num_ues, scenario.uplink_symbols, ue_position)
    gain = large_scale_gain(scenario, ap_position, ue_position, shadowing_db)
    return DownlinkPilotDrop(ap_position, ue_position, gain, pilot, gram, xp.zeros_like(gram))


def large_scale_gain(
    scenario: DownlinkPilotScenario,
    ap_position: Float[Array, "drop ap 2"],
    ue_position: Float[Array, "drop ue 2"],
    shadowing_db: Float[Array, "drop ue ap"],
) -> Float[Array, "drop ue ap"]:
    """beta[k, m] of (P1), linear, from positions (m) and shadowing (dB), which applies beyond 50 m."""
    xp = namespace(ue_position)
    distance = xp.linalg.vector_norm(ue_position[:, :, None] - ap_position[:, None], axis=-1)
    gain = three_slope_gain(distance, scenario.carrier_frequency, scenario.ap_height, scenario.ue_height)
    return xp.where(distance > THREE_SLOPE_FAR, gain * from_db(shadowing_db), gain)


def serving(drop: DownlinkPilotDrop[Array], scenario: DownlinkPilotScenario) -> Float[Array, "drop ue ap"] | None:
    """1 for APs that send to the UE, 0 for others: the drop's, or the `serving_aps` of the largest gain; None where all do.

    Raises:
        ScenarioError: a UE that no AP serves.
    """
    if drop.serves is None:
        return strongest(drop.gain, scenario)
    if not bool((drop.serves.sum(-1) > 0).all()):
        raise ScenarioError("serves names no AP for some UE; give each UE one AP or more, two to locate it")
    return drop.serves


def strongest(gain: Float[Array, "drop ue ap"], scenario: DownlinkPilotScenario) -> Float[Array, "drop ue ap"] | None:
    """1 for the `serving_aps` APs of the largest gain to each UE, and those of an equal gain, else 0; None: all serve."""
    if scenario.serving_aps is None or scenario.serving_aps >= scenario.num_aps:
        return None
    xp = namespace(gain)
    weakest = xp.sort(gain, axis=-1)[..., -scenario.serving_aps]
    return xp.astype(gain >= weakest[..., None], gain.dtype)


def roadside(scenario: DownlinkPilotScenario, like: Array) -> Float[Array, "ap 2"]:
    """Positions (m) of the APs: evenly spaced along both edges of the road, half a spacing from its ends."""
    xp = namespace(like)
    near = (scenario.num_aps + 1) // 2
    sides = []
    for count, y in ((near, 0.0), (scenario.num_aps - near, scenario.width)):
        x = scenario.length * (xp.astype(counting(count, like), like.dtype) + 0.5) / count
        sides.append(xp.stack([x, xp.full_like(x, y)], axis=-1))
    return xp.concat(sides)


def downlink_gram(scenario: DownlinkPilotScenario, like: Array) -> Float[Array, "ue ue"]:
    """psi_k^H psi_j: 1 for a UE itself and for UEs that must share a pilot, `downlink_correlation` otherwise."""
    share = round_robin_pilots(1, scenario.num_ues, scenario.downlink_symbols, like)
    same = namespace(like).astype(pilot_gram(share)[0], like.dtype)
    return same + (1.0 - same) * scenario.downlink_correlation
