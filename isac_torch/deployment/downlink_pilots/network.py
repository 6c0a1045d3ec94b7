"""The network of the downlink-pilot system in numpy: features of a road, message layers, steps; logits out.

The counterpart of `isac_torch.nn.downlink_pilots.network.DownlinkPilotNetwork`, whose weights it reads by their names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from isac_torch.deployment.downlink_pilots.balancing import balanced
from isac_torch.deployment.downlink_pilots.merit import Point, powers, start_logits

if TYPE_CHECKING:
    from collections.abc import Mapping

    from isac_torch.deployment.downlink_pilots.problem import RoadProblem

_LEVEL, _RATIO, _BOUND, _SHARE = (30.0, 15.0), (0.0, 10.0), (0.0, 5.0), (-5.0, 5.0)
"""Mean and spread, dB, of features: of an energy over the noise, of a ratio, of a bound over Gamma, of a share."""
_PART = (-3.0, 7.0)
"""The same of a link's part of a UE's strength or accuracy over the mean part."""
_LINKS = (np.array([30.0, 0.0, 0.0, 0.0, 0.0, 0.0]), np.array([15.0, 10.0, 10.0, 10.0, 10.0, 10.0]))
"""The same of each feature of a link."""
_RANGE, _SIGMAS = 4.0, 3.0
"""Features, and normalised gradients, are held within so many spreads."""
_STEP = 0.2
"""Length of a learned step before training, nepers."""
_TINY, _LEAST_SQUARE, _NOTHING = 1e-20, 1e-12, 1e-30


class Tokens(NamedTuple):
    """Numbers of every link, UE and AP: a state or inputs."""

    link: Float[ndarray, "ue ap link_width"]
    ue: Float[ndarray, "ue ue_width"]
    ap: Float[ndarray, "ap ap_width"]


class Leaks(NamedTuple):
    """How far each link disturbs each UE at full power: E / (1 + E), and E over its sum along the links; [ue, link]."""

    level: Float[ndarray, "ue link"]
    share: Float[ndarray, "ue link"]


class RoadNetwork:
    """The trained network, ready to answer for one road at a time."""

    def __init__(self, weights: Mapping[str, ndarray], shape: Mapping[str, Any]) -> None:
        """From the arrays of a state dictionary and the network's `shape`. KeyError where one is missing."""
        self.shape = {name: int(shape[name]) for name in ("hidden", "layers", "refinements", "steps")}
        self._balances = int(shape["feature_version"]) > 1
        self._w = {name: np.asarray(value, dtype=np.float64) for name, value in weights.items()}
        layers = [f"layers.{i}" for i in range(self.shape["layers"])]
        layers += [f"refinements.{i}" for i in range(self.shape["refinements"])]
        self._layers = [
            _Layer({k[len(name) + 1 :]: v for k, v in self._w.items() if k.startswith(name + ".")}) for name in layers
        ]

    def logits(self, problem: RoadProblem) -> Float[ndarray, "ue ap"]:
        """The best logits that the network passes, by `Point.score`; may be NaN where a road is beyond its numbers."""
        logits = start_logits(problem)
        features, leaks = _features(problem)
        tokens = Tokens(*(_relu(self._dense(f"encode.{n}", f)) for n, f in zip(("link", "ue", "ap"), features, strict=True)))
        extra = self._point_features(problem, Point(problem, powers(problem, logits)))
        first = self.shape["layers"]
        for layer in self._layers[:first]:
            tokens = layer(tokens, leaks, extra)
        logits = logits + self._dense("heads.0", tokens.link)[..., 0]
        for index, layer in enumerate(self._layers[first:], 1):
            tokens = layer(tokens, leaks, self._point_features(problem, Point(problem, powers(problem, logits))))
            logits = logits + self._dense(f"heads.{index}", tokens.link)[..., 0]
        if self._balances:
            return balanced(problem, logits, self._dense("balance.dual", tokens.ue), self._w["balance.pace"])
        return self._climbed(problem, tokens.link, logits)

    def _point_features(self, problem: RoadProblem, point: Point) -> Tokens:
        """What is known at a point, as `isac_torch.nn.downlink_pilots.network` lists it; networks of the first version read the
        gradient instead of the parts.
        """
        power, loss = point.power, point.loss * (10.0 / np.log(10.0))
        ue = np.stack([np.maximum(loss - loss.max(), -10.0) / 3.0, _standardised(np.exp(-point.accuracy), _BOUND)], -1)
        share = _standardised(power / problem.budget, _SHARE)
        if self._balances:
            link = [share, *(_standardised(part * power.shape[1], _PART) for part in point.elasticities)]
        else:
            gradient = point.gradient()
            slope = gradient / (np.sqrt(np.vdot(gradient, gradient) / gradient.size) + 1e-8)
            link = [np.sign(slope) * np.log1p(np.abs(slope)), share]
        return Tokens(np.stack(link, -1), ue, (power.sum(0) / problem.budget)[:, None])

    def _dense(self, name: str, value: ndarray) -> ndarray:
        return value @ self._w[f"{name}.weight"].T + self._w[f"{name}.bias"]

    def _climbed(self, problem: RoadProblem, state: ndarray, logits: Float[ndarray, "ue ap"]) -> Float[ndarray, "ue ap"]:
        """Of networks of the first version: steps along the smoothed, normalised gradient, with lengths of each link's own."""
        state = self._dense("stepper.inner", state)
        first, second = 1.0 / (1.0 + np.exp(-self._w["stepper.decay"]))
        mean = square = np.zeros_like(logits)
        best, highest = logits, -np.inf
        for count in range(1, self.shape["steps"] + 1):
            point = Point(problem, powers(problem, logits))
            gradient, score = point.gradient(), point.score
            if score > highest:
                best, highest = logits, score
            mean = first * mean + (1.0 - first) * gradient
            square = second * square + (1.0 - second) * gradient * gradient
            size = np.sqrt(square / (1.0 - second**count) + _LEAST_SQUARE)
            smooth = _held(mean / (1.0 - first**count) / size, _SIGMAS)
            sharp = _held(gradient / size, _SIGMAS)
            read = np.concatenate([_relu(state + self._w["stepper.time"][count - 1]), smooth[..., None], sharp[..., None]], -1)
            control = self._dense("stepper.outer", read)
            length = _STEP * np.logaddexp(0.0, control[..., 0] + 0.54)
            logits = logits + length * (smooth + control[..., 1])
        return logits if Point(problem, powers(problem, logits)).score > highest else best


class _Layer:
    """One exchange of messages between links, UEs and APs, as `isac_torch.nn.layers.MessageLayer` without targets."""

    def __init__(self, weights: Mapping[str, ndarray]) -> None:
        self._w = weights

    def __call__(self, tokens: Tokens, leaks: Leaks, extra: Tokens) -> Tokens:
        link, ue, ap = (self._norm(name, part) for name, part in zip(("link", "owner", "ap"), tokens, strict=True))
        flat = link.reshape(-1, link.shape[-1])
        count, ues = len(flat), len(ue)
        ap = _relu(self._dense("to_ap", np.concatenate([ap, link.sum(0) / 8.0, extra.ap], -1)))
        heard = [leaks.level @ flat / count, leaks.share @ flat]
        ue = _relu(
            self._dense("to_ue", np.concatenate([ue, extra.ue, np.add.reduce(link, 1) * (1.0 / link.shape[1]), *heard], -1))
        )
        answer = (ue @ self._w["from_owner.ue.weight"].T)[:, None] + (ap @ self._w["from_ap.weight"].T)[None]
        level = leaks.level.T @ (ue @ self._w["from_victim.level.weight"].T) / ues
        share = leaks.share.T @ (ue @ self._w["from_victim.share.weight"].T) * (count / ues)
        answer = answer + (level + share).reshape(answer.shape)
        new = self._dense("mix", _relu(self._dense("from_link", np.concatenate([link, extra.link], -1)) + answer))
        return Tokens(tokens.link + new, tokens.ue + ue, tokens.ap + ap)

    def _dense(self, name: str, value: ndarray) -> ndarray:
        return value @ self._w[f"{name}.weight"].T + self._w[f"{name}.bias"]

    def _norm(self, name: str, value: ndarray) -> ndarray:
        width = value.shape[-1]
        centred = value - np.add.reduce(value, -1, keepdims=True) * (1.0 / width)  # half the time of mean
        spread = np.sqrt(np.vecdot(centred, centred)[..., None] * (1.0 / width) + 1e-5)
        return centred / spread * self._w[f"norm.{name}.weight"] + self._w[f"norm.{name}.bias"]


def _relu(value: ndarray) -> ndarray:
    return np.maximum(value, 0.0)


def _standardised(value: ndarray, scale: tuple[Any, Any]) -> ndarray:
    return _held((10.0 * np.log10(np.maximum(value, _TINY)) - scale[0]) / scale[1], _RANGE)


def _held(value: ndarray, most: float) -> ndarray:
    """Held within plus and minus `most`; a third of the time of clip."""
    return np.minimum(np.maximum(value, -most), most)


def _features(problem: RoadProblem) -> tuple[Tokens, Leaks]:
    """What the network reads of a road, in the order of `isac_torch.downlink_pilots.graph.link_graph`."""
    energy = problem.estimate * problem.budget
    trace = (problem.fisher[0] + problem.fisher[1]) * problem.budget
    ues, aps = energy.shape
    links = np.stack(
        [
            energy,
            energy / np.maximum(energy.mean(1, keepdims=True), _NOTHING),
            energy / np.maximum(energy.mean(0), _NOTHING),
            problem.gain / problem.estimate - 1.0,
            trace / np.maximum(trace.mean(1, keepdims=True), _NOTHING),
            0.5 * trace * problem.crb_max[:, None],
        ],
        -1,
    )
    links = _standardised(links, _LINKS)
    bound = np.exp(-problem.quality(problem.even).value)
    node = [
        _standardised(energy.sum(-1), _LEVEL),
        _standardised(bound, _BOUND),
        _standardised(problem.weight, _RATIO),
        np.full(ues, ues / 4.0),
    ]
    peak = energy.max(0) / np.maximum(energy.mean(0), _NOTHING)
    ap = np.stack([np.full(aps, ues / 4.0), _standardised(peak, _RATIO)], -1)
    squared = (problem.gram**2).sum(0) * (1.0 - np.eye(ues))
    leak = (squared[..., None] * (problem.gain * problem.budget)[:, None]).reshape(ues, -1)
    share = leak / np.maximum(leak.sum(-1, keepdims=True), 1e-30)
    return Tokens(links, np.stack(node, -1), ap), Leaks(leak / (1.0 + leak), share)
