"""Quality of channel knowledge at the UE outside the power problem: without downlink pilots, as printed, and as a rate.

Equations (P9)-(P11) of docs/downlink_pilots.md. The exact NMSE (P4)-(P8) is `MinMaxNmseProblem.nmse`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from isac_torch.downlink_pilots.channel import channel_statistics

if TYPE_CHECKING:
    from isac_torch.downlink_pilots.drop import DownlinkPilotDrop
    from isac_torch.downlink_pilots.problem import MinMaxNmseProblem
    from isac_torch.downlink_pilots.scenario import DownlinkPilotScenario


def blind_nmse(
    drop: DownlinkPilotDrop, scenario: DownlinkPilotScenario, uplink_symbols: int | None = None
) -> Float[Tensor, "drop ue"]:
    """NMSE of a UE that knows only the mean of its channel, no downlink pilots at all, equal power split; eq. (P9).

    `uplink_symbols`: length of its uplink pilots; default all pilot symbols of the scenario, downlink ones included.
    """
    symbols = scenario.pilot_symbols if uplink_symbols is None else uplink_symbols
    statistics = channel_statistics(drop, scenario, symbols)
    share = 1.0 / scenario.num_ues
    spread = (share * statistics.gain).sum(-1)
    mean = (share * statistics.estimate).sqrt().sum(-1)
    return spread / (mean.square() + spread)


def printed_nmse(problem: MinMaxNmseProblem, power: Float[Tensor, "drop link"]) -> Float[Tensor, "drop ue"]:
    """NMSE by eq. 18 of Liao et al. as it is printed (P10): right for orthogonal pilots only. `power` in W.

    It takes another UE's interference at that UE's own gains and leaves contamination out of the error's numerator, so that
    correlated pilots seem to help.
    """
    received = problem.per_ue(power).mul(problem.gain).sum(-1)
    squared = problem.gram_real.square() + problem.gram_imag.square()
    error = received / (1.0 + torch.einsum("dkj,dj->dk", squared, received))
    return error / problem.strength(power)


def downlink_rate(nmse: Float[Tensor, "drop ue"], scenario: DownlinkPilotScenario) -> Float[Tensor, "drop ue"]:
    """Rate of the data that follow, bit/s, eq. (P11): SINR = (1 - NMSE) (M / K) P_d / (P_d + 1)."""
    ratio = scenario.num_aps / scenario.num_ues
    sinr = (1.0 - nmse) * ratio * scenario.data_snr / (scenario.data_snr + 1.0)
    return scenario.bandwidth * torch.log2(1.0 + sinr)
