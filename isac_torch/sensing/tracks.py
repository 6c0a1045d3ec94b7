"""Tracks: started by detection, followed by a filter, confirmed and ended by counting hits. See docs/sensing.md."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from isac_torch.errors import ScenarioError
from isac_torch.propagation.geometry import distance
from isac_torch.sensing.localisation import Look, known_echoes, log_likelihood, most_likely
from isac_torch.sensing.motion import Belief, ConstantVelocity, absorb
from isac_torch.tracking.laws import chi_square_threshold

_CANDIDATES = 6
"""Cells that a start looks into."""
_FINE = 5
"""Points of a finer grid along a side of a cell."""
_AROUND = 9
"""Points along a side of the square in which a track's target is looked for when its belief is in doubt."""


@dataclass(frozen=True)
class TrackRules:
    """When tracks start, live and end.

    Attributes:
        false_alarm: probability that a look at an empty position counts as a hit.
        scan_false_alarm: probability that a whole scan of an empty area starts a track.
        confirm_hits: hits that confirm a track ...
        confirm_looks: ... within this many first looks; a tentative track that cannot reach them any more is dropped.
        delete_misses: misses in a row that end a confirmed track.
        starts: tracks that one scan may start at most.
        cell: distance between scanned positions, m; about half a beam of four antennas at 200 m.
        exclusion: horizontal distance within which a known target hides new ones, m.
        speed: standard deviation of a new track's horizontal velocity, m/s.
        climb_speed: of its vertical velocity, m/s.
        start_spread: standard deviation of a new track's position about the scanned one, along each axis, m.
        trust: exponent of the likelihood. Echoes of other targets are taken out where these are believed to be, and what is
            left of them is no noise that the likelihood knows: at 1 the filter believes in errors that are far too small.
        doubt: -log of the probability that a belief is wrong altogether.
        sweeps: rounds in which every track is located with the others where the last round found them.
    """

    false_alarm: float = 1e-3
    scan_false_alarm: float = 0.01
    confirm_hits: int = 3
    confirm_looks: int = 4
    delete_misses: int = 4
    starts: int = 2
    cell: float = 50.0
    exclusion: float = 60.0
    speed: float = 15.0
    climb_speed: float = 2.0
    start_spread: float = 25.0
    trust: float = 0.2
    doubt: float = 15.0
    sweeps: int = 2

    def __post_init__(self) -> None:
        """Refuse rules that start or keep no track."""
        for name in ("false_alarm", "scan_false_alarm"):
            if not 1e-9 <= getattr(self, name) <= 0.5:
                raise ScenarioError(f"{name}={getattr(self, name)} must lie in 1e-9..0.5")
        if not 1 <= self.confirm_hits <= self.confirm_looks:
            raise ScenarioError(f"confirm_hits={self.confirm_hits} must lie in 1..confirm_looks={self.confirm_looks}")
        for name in ("delete_misses", "starts", "cell", "speed", "climb_speed", "start_spread", "trust", "doubt", "sweeps"):
            if getattr(self, name) <= 0:
                raise ScenarioError(f"{name}={getattr(self, name)} must be positive")


@dataclass(frozen=True)
class Track:
    """One followed target.

    Attributes:
        name: number that no other track of the tracker has.
        belief: about its position and velocity.
        confirmed: whether it has had its hits.
        hits: looks that found it.
        looks: looks since its start.
        missed: looks in a row that did not.
        energy: what the last look found at its place beside the other tracks.
    """

    name: int
    belief: Belief
    confirmed: bool = False
    hits: int = 1
    looks: int = 1
    missed: int = 0
    energy: float = 0.0


@dataclass
class Tracker:
    """All tracks of one network.

    Attributes:
        motion: how targets move.
        area: side of the square, m.
        heights: lowest and highest target, m.
        rules: of starts and ends.
        tracks: at present, oldest first.
        ended: confirmed tracks that have ended.
    """

    motion: ConstantVelocity
    area: float
    heights: tuple[float, float]
    rules: TrackRules = field(default_factory=TrackRules)
    tracks: list[Track] = field(default_factory=list)
    ended: list[Track] = field(default_factory=list)
    _named: int = 0
    _residue: float = 1.0

    @property
    def confirmed(self) -> list[Track]:
        """Tracks that have been confirmed."""
        return [track for track in self.tracks if track.confirmed]

    def predict(self) -> None:
        """One step of time."""
        self.tracks = [replace(track, belief=self.motion.predict(track.belief)) for track in self.tracks]

    def look(self, look: Look, listening: int) -> None:
        """Update every track by what was heard, end those that were missed, and scan for new ones.

        Args: listening, receive APs that listen for a position: the nearest ones.
        """
        self._update(look, listening)
        kept = [track for track in self.tracks if self._alive(track)]
        self.ended += [track for track in self.tracks if track.confirmed and not self._alive(track)]
        self.tracks = kept
        self._scan(look, listening)

    def scan_cells(self, like: Tensor) -> Float[Tensor, "cell 3"]:
        """Positions that a scan tests: a horizontal grid at the middle height, m."""
        count = max(1, round(self.area / self.rules.cell))
        line = (torch.arange(count, dtype=like.dtype, device=like.device) + 0.5) * (self.area / count)
        east, north = torch.meshgrid(line, line, indexing="ij")
        height = torch.full_like(east, 0.5 * sum(self.heights))
        return torch.stack([east, north, height], -1).flatten(0, 1)

    def _alive(self, track: Track) -> bool:
        if track.confirmed:
            return track.missed < self.rules.delete_misses
        return track.looks - track.hits <= self.rules.confirm_looks - self.rules.confirm_hits

    @property
    def _places(self) -> list[Tensor]:
        """Where all tracks are believed to be, m."""
        return [track.belief.position for track in self.tracks]

    def _threshold(self, look: Look, listening: int, false_alarm: float) -> float:
        """Threshold that the energy at an empty position exceeds with this probability: chi-square, as (44)."""
        return float(chi_square_threshold(torch.tensor(self._freedom(look, listening)), false_alarm))

    def _freedom(self, look: Look, listening: int) -> int:
        """Mean energy at an empty position: one a block, receive AP and transmit AP."""
        blocks, _, aps = look.gram.shape[:3]
        return blocks * listening * aps

    def _score(self, look: Look, others: list[Tensor], at: Tensor, listening: int) -> Callable[[Tensor], Tensor]:
        """Log likelihood of positions beside targets at `others`, with the receive APs nearest to `at` listening."""
        receiver = nearest_receivers(look, at.unsqueeze(0), listening)
        known = known_echoes(look, _stacked(others, look), receiver[0].tolist())
        trust = self.rules.trust
        return lambda place: trust * log_likelihood(look, place, receiver.expand(len(place), -1), known)

    def _update(self, look: Look, listening: int) -> None:
        """Locate all tracks, a few rounds; then a hit moves a track, a miss leaves its prediction."""
        beliefs = [track.belief for track in self.tracks]
        place = [belief.position for belief in beliefs]
        information, energy = [torch.zeros_like(belief.spread) for belief in beliefs], [0.0] * len(beliefs)
        limit = self._residue * self._threshold(look, listening, self.rules.false_alarm)
        for sweep in range(self.rules.sweeps):
            for i, belief in enumerate(beliefs):
                score = self._score(look, place[:i] + place[i + 1 :], belief.position, listening)
                begin = place[i] if sweep else belief.position
                place[i], information[i] = most_likely(score, belief.position, torch.linalg.inv(belief.spread), begin)
                if sweep == 0 and (found := self._elsewhere(score, belief, place[i])) is not None:
                    beliefs[i] = self._new(found, belief.mean[3:])
                    place[i], information[i] = most_likely(score, found, torch.linalg.inv(beliefs[i].spread))
                energy[i] = float(score(place[i].unsqueeze(0))) / self.rules.trust
        self.tracks = [
            self._counted(
                replace(track, energy=energy[i]),
                absorb(beliefs[i], place[i], information[i]) if energy[i] > limit else track.belief,
                energy[i] > limit,
            )
            for i, track in enumerate(self.tracks)
        ]

    def _elsewhere(
        self, score: Callable[[Tensor], Tensor], belief: Belief, place: Float[Tensor, "3"]
    ) -> Float[Tensor, "3"] | None:
        """Where around a track its target is so much likelier than at `place` that the belief must have been wrong; else None.

        A belief is wrong with probability exp(-doubt): then its target may be anywhere nearby, as that of a new track.
        """
        line = torch.linspace(-1.0, 1.0, _AROUND, dtype=place.dtype) * self.rules.exclusion
        across = torch.cartesian_prod(line, line)
        around = belief.position + torch.cat([across, torch.zeros_like(across[:, :1])], 1)
        value = score(torch.cat([place.unsqueeze(0), around]))
        off = place - belief.position
        expected = value[0] - 0.5 * off @ torch.linalg.solve(belief.spread, off)
        return around[int(value[1:].argmax())] if float(value[1:].max() - expected) > self.rules.doubt else None

    def _new(self, place: Float[Tensor, "3"], velocity: Float[Tensor, "3"]) -> Belief:
        """Belief about a target that was just found near a place."""
        rules = self.rules
        spread = [rules.start_spread] * 3 + [rules.speed, rules.speed, rules.climb_speed]
        return Belief(torch.cat([place, velocity]), torch.diag(place.new_tensor(spread).square()))

    def _counted(self, track: Track, belief: Belief, hit: bool) -> Track:
        """The track after a look."""
        hits = track.hits + hit
        return replace(
            track,
            belief=belief,
            confirmed=track.confirmed or hits >= self.rules.confirm_hits,
            hits=hits,
            looks=track.looks + 1,
            missed=0 if hit else track.missed + 1,
        )

    def _scan(self, look: Look, listening: int) -> None:
        """Start tracks where the grid's largest energy exceeds the threshold, one after the other.

        Near a track only more energy than the track itself has counts: then it was at a wrong place, and moves.
        """
        cells = self.scan_cells(look.network.tx_position)
        limit = self._threshold(look, listening, self.rules.scan_false_alarm / len(cells))
        for _ in range(self.rules.starts):
            energy = self._energy(look, cells, listening)
            self._residue = max(1.0, float(energy.median()) / self._freedom(look, listening))
            if float(energy.max()) <= limit:
                return
            place, peak = self._peak(look, cells[energy.topk(min(_CANDIDATES, len(cells))).indices], listening)
            if peak <= self._residue * limit:
                return
            self._start(look, place, listening)

    def _near(self, track: Track, place: Float[Tensor, "*point 3"]) -> Bool[Tensor, "*point"]:
        """Whether a known target hides new ones at these places."""
        return (place - track.belief.position)[..., :2].norm(dim=-1) < self.rules.exclusion

    def _energy(self, look: Look, place: Tensor, listening: int) -> Float[Tensor, " point"]:
        """Energy at each place beside the echoes of all tracks."""
        receiver = nearest_receivers(look, place, listening)
        known = known_echoes(look, _stacked(self._places, look), receiver.unique().tolist())
        return log_likelihood(look, place, receiver, known)

    def _peak(self, look: Look, cells: Float[Tensor, "cell 3"], listening: int) -> tuple[Float[Tensor, "3"], float]:
        """The place of the largest energy on a finer grid within some cells, and that energy.

        The peak of an echo is narrower than a cell, which sees a strong one from far away.
        """
        line = torch.linspace(-0.4, 0.4, _FINE, dtype=cells.dtype) * self.rules.cell
        rise = torch.linspace(-0.3, 0.3, 3, dtype=cells.dtype) * (self.heights[1] - self.heights[0])
        place = (cells.unsqueeze(1) + torch.cartesian_prod(line, line, rise)).flatten(0, 1)
        energy = self._energy(look, place, listening)
        for track in self.tracks:
            energy = torch.where(self._near(track, place) & (energy < track.energy), 0.0, energy)
        best = int(energy.argmax())
        return place[best], float(energy[best])

    def _start(self, look: Look, cell: Tensor, listening: int) -> None:
        """A new track, or a track nearby that has found less, at the most likely place around a cell."""
        prior = self._new(cell, torch.zeros_like(cell))
        score = self._score(look, self._places, cell, listening)
        place, information = most_likely(score, cell, torch.linalg.inv(prior.spread))
        energy, belief = float(score(place.unsqueeze(0))) / self.rules.trust, absorb(prior, place, information)
        for i, track in enumerate(self.tracks):
            if bool(self._near(track, cell)) and track.energy < energy:
                self.tracks[i] = replace(track, belief=belief, energy=energy)
                return
        self._named += 1
        self.tracks.append(Track(self._named, belief, energy=energy))


def _stacked(place: list[Tensor], look: Look) -> Float[Tensor, "point 3"]:
    return torch.stack(place) if place else look.network.tx_position.new_zeros(0, 3)


def nearest_receivers(look: Look, position: Float[Tensor, "point 3"], listening: int) -> Int[Tensor, "point listening"]:
    """The receive APs nearest to each position."""
    gap = distance(position, look.network.rx_position[0])
    return gap.topk(listening, dim=-1, largest=False).indices
