"""Statistics of zero-forcing and partial-MMSE beams, from drawn channel estimates. Eqs. (86)-(91) of docs/physics.md.

Everything is turned (`propagation.arrays`): covariances are real, estimates complex. APs are independent of each other, so that
one AP is worked off at a time, and all of them may use the same draws: statistics of a network do not depend on its batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic

from array_api_compat import device
from jaxtyping import Float

from isac_torch.tensors import Array, all_but_own, constant, namespace
from isac_torch.tracking.beam_moments import null_moments, sampled_moments
from isac_torch.tracking.drawn_estimates import estimation, served_by, white_observations

if TYPE_CHECKING:
    from isac_torch.tracking.drop import TrackingDrop
    from isac_torch.tracking.physics import Physics


@dataclass(frozen=True)
class BeamStatistics(Generic[Array]):
    """Moments of the beams of UEs.

    Attributes:
        covariance: turned E[w w^H] of every serving link, unit trace.
        norm: root of the mean energy of the beams before they were normalised.
        energy: |E h^H w|^2 at the UE that the link serves.
        coherent: E[h_k^H w_js] for the s-th link of UE j on the pilot of another UE k, else 0; None where no UEs share one.
        spread: E|h_k^H w_e|^2 - |E h_k^H w_e|^2 of UE k and link e; None where that is tr(C X), with the covariance X.
    """

    covariance: Float[Array, "drop ue serving antenna antenna"]
    norm: Float[Array, "drop ue serving"]
    energy: Float[Array, "drop ue serving"]
    coherent: Float[Array, "drop ue ue serving"] | None
    spread: Float[Array, "drop ue link"] | None


def beam_statistics(
    drop: TrackingDrop[Array], physics: Physics, lags: Float[Array, "drop ap ue lag"], gram: Float[Array, "drop ue ue"]
) -> BeamStatistics[Array]:
    """Moments of the beams of `physics.beams`; `lags` are those of C of every UE at every AP."""
    xp, setup, size = namespace(lags), physics.beams, physics.num_antennas
    known = estimation(drop, physics, lags, gram)
    table = white_observations(physics.pilot_symbols, size, setup.draws, setup.seed)
    white = constant(table.real, lags), constant(table.imag, lags)
    drops, ues, serving = drop.serving_ap.shape

    def empty(*shape: int) -> Array:
        return xp.zeros((drops, *shape), dtype=lags.dtype, device=device(lags))

    covariance, norm = empty(ues * serving, size, size), empty(ues * serving)
    mean, spread = empty(ues, ues * serving), empty(ues, ues * serving)
    for some in served_by(drop):
        real, imag = (known.root[some.drop, some.ap] @ part[drop.pilot[some.drop]] for part in white)
        estimates = real + 1j * imag
        if setup.kind == "zf":
            found = null_moments(some, estimates, known, setup)
        else:
            found = sampled_moments(some, estimates, known, drop, physics)
        link = some.ue * serving + some.place
        norm[some.drop, link], covariance[some.drop, link] = found.norm, found.covariance
        mean[some.drop][:, link], spread[some.drop][:, link] = found.mean, found.spread
    by_ue = (drops, ues, serving)
    mean = mean.reshape(drops, ues, ues, serving)
    own = mean.diagonal(0, 1, 2).mT
    shared = mean * all_but_own(ues, mean)[..., None] if bool((gram.sum(-1) > 1.0).any()) else None
    return BeamStatistics(covariance.reshape(*by_ue, size, size), norm.reshape(by_ue), own * own, shared, spread)
