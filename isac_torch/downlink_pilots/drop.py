"""One random road, or a batch of them: positions, large-scale fading, uplink and downlink pilots."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int
from torch import Tensor

from isac_torch.errors import ScenarioError
from isac_torch.propagation.path_loss import THREE_SLOPE_FAR, three_slope_gain
from isac_torch.propagation.pilots import pilot_gram, round_robin_pilots
from isac_torch.tensors import from_db, map_tensors

if TYPE_CHECKING:
    from isac_torch.downlink_pilots.scenario import DownlinkPilotScenario


@dataclass(frozen=True)
class DownlinkPilotDrop:
    """A batch of roads in the plane.

    Attributes:
        ap_position: m.
        ue_position: m.
        gain: beta[k, m], large-scale fading between UE k and AP m with shadowing, linear.
        pilot: which orthogonal uplink pilot each UE sends.
        gram_real: real part of psi_k^H psi_j, unit-norm downlink pilots; any positive semidefinite matrix of unit diagonal.
        gram_imag: its imaginary part.
    """

    ap_position: Float[Tensor, "drop ap 2"]
    ue_position: Float[Tensor, "drop ue 2"]
    gain: Float[Tensor, "drop ue ap"]
    pilot: Int[Tensor, "drop ue"]
    gram_real: Float[Tensor, "drop ue ue"]
    gram_imag: Float[Tensor, "drop ue ue"]

    @property
    def num_drops(self) -> int:
        """Roads in the batch."""
        return self.ap_position.shape[0]

    def select(self, index: Int[Tensor, " chosen"]) -> DownlinkPilotDrop:
        """The drops at `index`, in that order."""
        return map_tensors(self, lambda t: t[index])

    def to(self, device: torch.device | str) -> DownlinkPilotDrop:
        """The same drops on another device."""
        return map_tensors(self, lambda t: t.to(device))


def sample_drops(scenario: DownlinkPilotScenario, num_drops: int, generator: torch.Generator) -> DownlinkPilotDrop:
    """Random drops of a scenario in float64 on the generator's device. Raises ScenarioError for fewer than one drop."""
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
    scenario: DownlinkPilotScenario, ue_position: Float[Tensor, "drop ue 2"], shadowing_db: Float[Tensor, "drop ue ap"]
) -> DownlinkPilotDrop:
    """Drops from given UE positions (m) and shadowing (dB; it applies beyond 50 m)."""
    num_drops, num_ues, _ = ue_position.shape
    ap_position = roadside(scenario, ue_position).expand(num_drops, -1, -1)
    distance = torch.linalg.vector_norm(ue_position.unsqueeze(2) - ap_position.unsqueeze(1), dim=-1)
    gain = three_slope_gain(distance, scenario.carrier_frequency, scenario.ap_height, scenario.ue_height)
    gain = torch.where(distance > THREE_SLOPE_FAR, gain * from_db(shadowing_db), gain)
    gram = downlink_gram(scenario, ue_position).expand(num_drops, num_ues, num_ues)
    pilot = round_robin_pilots(num_drops, num_ues, scenario.uplink_symbols, ue_position)
    return DownlinkPilotDrop(ap_position, ue_position, gain, pilot, gram, torch.zeros_like(gram))


def roadside(scenario: DownlinkPilotScenario, like: Tensor) -> Float[Tensor, "ap 2"]:
    """Positions (m) of the APs: evenly spaced along both edges of the road, half a spacing from its ends."""
    near = (scenario.num_aps + 1) // 2
    sides = []
    for count, y in ((near, 0.0), (scenario.num_aps - near, scenario.width)):
        x = scenario.length * (torch.arange(count, dtype=like.dtype, device=like.device) + 0.5) / count
        sides.append(torch.stack([x, torch.full_like(x, y)], dim=-1))
    return torch.cat(sides)


def downlink_gram(scenario: DownlinkPilotScenario, like: Tensor) -> Float[Tensor, "ue ue"]:
    """psi_k^H psi_j: 1 for a UE itself and for UEs that must share a pilot, `downlink_correlation` otherwise."""
    share = round_robin_pilots(1, scenario.num_ues, scenario.downlink_symbols, like)
    same = pilot_gram(share)[0].to(like)
    return same + (1.0 - same) * scenario.downlink_correlation
