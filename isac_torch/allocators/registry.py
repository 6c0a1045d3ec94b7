"""Allocators of both systems by the short names that tables, configurations and the command line use."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, overload

from isac_torch.errors import AllocationError
from isac_torch.weights import shipped_weights

if TYPE_CHECKING:
    from isac_torch.allocation import Allocator
    from isac_torch.downlink_pilots.problem import MinMaxNmseProblem
    from isac_torch.problem import PowerProblem
    from isac_torch.tracking.problem import MaxMinSinrProblem

ProblemT = TypeVar("ProblemT", bound="PowerProblem")
_NUMBER = r"(-?\d+(?:\.\d+)?)"
_ROUNDS = (0, 1, 2, 4, 8, 16)
"""Rounds of messages after which policies that run at the APs have names."""
_AT_THE_APS = {
    "distributed": ("tracking-distributed", "distributed"),
    "distributed_classical": ("none", "distributed_classical"),  # the shipped weights, whatever else is given
    "unfolded": ("tracking-unfolded", "unfolded"),
    "distributed_kept": ("tracking-distributed", "distributed"),
    "unfolded_kept": ("tracking-unfolded", "unfolded"),
}
"""These policies: the name of each one's system in the files of weights, and that of the shipped weights."""
_EXCHANGES = 2
"""Of promises after these rounds, where a policy's name says that they are kept."""
_FRACTIONAL = re.compile(f"fpc_{_NUMBER}_{_NUMBER}")
_ALPHA_FAIR = re.compile(r"fair_(\d+(?:\.\d+)?)")
_OPTIMAL = re.compile(
    r"opc_(?P<kind>batched|global|paper)(?:_(?P<tie>most_power|lexicographic|fair|none))?(?:_(?P<gap>0\.\d+))?"
    r"(?:_(?P<priority>sensing)(?:_(?P<sensing_slack>0\.\d+))?)?"
)
_OPTIONS = {
    "batched": ("tie", "gap", "priority", "sensing_slack"),
    "global": ("gap", "priority", "sensing_slack"),
    "paper": ("priority", "sensing_slack"),
}
"""What the names of each kind of optimal power control can say."""
_PLACES = {"batched": "batched:BatchedOptimal", "global": "drop_by_drop:GlobalOptimal", "paper": "drop_by_drop:PaperOpc"}


@dataclass(frozen=True)
class Catalogue(Generic[ProblemT]):
    """The allocators of one system.

    Attributes:
        system: whose allocators these are.
        makers: makes each allocator that has no weights, by its name.
        learned: makes each allocator with a trained network inside, from the file of its weights.
        certified: allocators whose answers carry a tight bound, the preferred one first: the certified optimum is theirs.
        slow: allocators that need seconds per drop; an evaluation keeps their answers and may give them its first drops only.
        shipped: learned allocators that take the shipped weights whatever else is given.
        own: learned allocators with weights of another system: its name in the files, and that of the shipped weights.
        family: the allocator behind a name that contains numbers; None for any other name.
        families: how such names look, for messages.
    """

    system: str
    makers: Mapping[str, Callable[[], Any]]
    learned: Mapping[str, Callable[[Path], Any]]
    certified: tuple[str, ...]
    slow: tuple[str, ...] = ()
    shipped: tuple[str, ...] = ()
    own: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    family: Callable[[str], Any] = field(default=lambda _: None)
    families: tuple[str, ...] = ()

    @property
    def known(self) -> str:
        """Every name, for messages."""
        return ", ".join([*self.makers, *self.families, *self.learned, "package.module:Name"])

    def named(self, name: str, checkpoint: str | Path | None = None) -> Allocator[ProblemT]:
        """The allocator called `name`, with its default tolerances.

        Args:
            name: one of `known`; `package.module:Name` is one that the user wrote (`own_allocator`).
            checkpoint: weights of the networks; default those shipped with the package.

        Raises:
            AllocationError: if no allocator has that name.
            CheckpointError: if the weights are missing, corrupt or of another system or feature version.
        """
        made: Allocator[ProblemT] | None
        file = self.weights_file(name, checkpoint)
        if name in self.makers:
            made = self.makers[name]()
        elif name in self.learned and file is not None:
            made = self.learned[name](file)
        elif ":" in name:
            from isac_torch.allocators.own import own_allocator

            made = own_allocator(name, checkpoint, self.system)
        else:
            made = self.family(name)
        if made is None:
            raise AllocationError(f"allocator {name!r} is unknown; choose among {self.known}")
        return made

    def weights_file(self, name: str, checkpoint: str | Path | None) -> Path | None:
        """The file of the weights behind the allocator `name`: `checkpoint`, or those shipped with the package.

        None where it has none; a name `package.module:Name` is taken to have `checkpoint`.
        """
        if name not in self.learned:
            return Path(str(checkpoint)) if ":" in name and checkpoint is not None else None
        if name in self.own:
            from isac_torch.nn.checkpoint import stored_system

            stored, shipped = self.own[name]
            fits = checkpoint is not None and stored_system(Path(checkpoint)) == stored
            return Path(str(checkpoint)) if fits else shipped_weights(shipped)
        shipped_only = checkpoint is None or name in self.shipped
        return shipped_weights(self.system) if shipped_only else Path(str(checkpoint))


def _made(place: str, **options: object) -> Callable[[], Any]:
    """A maker of the class at `place`, such as tracking.batched:BatchedOptimal; its module is imported when it is used."""

    def make() -> Any:
        module, _, name = place.partition(":")
        return getattr(import_module(f"isac_torch.allocators.{module}"), name)(**options)

    return make


def _fractional(name: str) -> Any:
    match = _FRACTIONAL.fullmatch(name)
    if match is None:
        return None
    comm, sensing = map(float, match.groups())
    return _made("tracking.heuristics:Fractional", comm_exponent=comm, sensing_exponent=sensing)()


def _alpha_fair(name: str) -> Any:
    match = _ALPHA_FAIR.fullmatch(name)
    return None if match is None else _made("tracking.alpha_fair:AlphaFair", alpha=float(match[1]))()


def _optimal(name: str) -> Any:
    """Optimal power control by a name that tells its second stage, gap and priority; None where it is no such name."""
    match = _OPTIMAL.fullmatch(name)
    if match is None:
        return None
    kind, said = match["kind"], {key: text for key, text in match.groupdict().items() if text is not None and key != "kind"}
    if not said.keys() <= set(_OPTIONS[kind]):
        return None
    options = {key: float(text) if key in ("gap", "sensing_slack") else text for key, text in said.items()}
    return _made(f"tracking.{_PLACES[kind]}", **options)()


def _family(name: str) -> Any:
    return _fractional(name) or _optimal(name) or _alpha_fair(name)


def _network(path: Path) -> Any:
    from isac_torch.allocators.tracking.learned import LearnedAllocator

    return replace(LearnedAllocator.load(path), shares=_shares(shipped_weights("tracking_shares")).network)


def _shares(path: Path, more_steps: int = 60) -> Any:
    from isac_torch.allocators.tracking.shares import ShareAllocator

    return ShareAllocator.load(path, more_steps)


def _distributed(rounds: int, exchanges: int) -> Callable[[Path], Any]:
    def load(path: Path) -> Any:
        from isac_torch.allocators.tracking.distributed import Distributed

        return Distributed.load(path, rounds, exchanges)

    return load


def _repaired(path: Path) -> Any:
    from isac_torch.allocators.tracking.refined import Repaired

    return Repaired(_network(path))


def _refined(path: Path) -> Any:
    from isac_torch.allocators.tracking.refined import Refined

    return Refined(_network(path))


def _pilot_network(**options: bool) -> Callable[[Path], Any]:
    def load(path: Path) -> Any:
        from isac_torch.allocators.downlink_pilots.learned import DownlinkPilotLearned
        from isac_torch.nn.checkpoint import load_network
        from isac_torch.nn.downlink_pilots.network import DownlinkPilotNetwork

        return DownlinkPilotLearned(load_network(path, DownlinkPilotNetwork)[0], **options)

    return load


TRACKING: Catalogue[MaxMinSinrProblem] = Catalogue(
    system="tracking",
    makers={
        "upc": _made("tracking.heuristics:Fractional", comm_exponent=0.0, sensing_exponent=0.0),
        "ppc": _made("tracking.heuristics:Fractional", comm_exponent=1.0, sensing_exponent=1.0),
        "opc_paper": _made("tracking.drop_by_drop:PaperOpc"),
        "opc_global": _made("tracking.drop_by_drop:GlobalOptimal"),
        "opc_batched": _made("tracking.batched:BatchedOptimal"),
        "opc_dominate": _made("tracking.dominating:Dominating"),
        "opc_dominate_fair": _made("tracking.dominating:Dominating", fair=True),
        "opc_clarabel": _made("tracking.conic:ConicOptimal", backend="clarabel"),
        "opc_moreau": _made("tracking.conic:ConicOptimal", backend="moreau"),
        "first_order": _made("tracking.learned:FirstOrder"),
        "newton_dominate": _made("tracking.shares:NewtonSteps"),
        **{f"sinr_tracking_r{rounds}": _made("tracking.sinr_tracking:SinrTracking", rounds=rounds) for rounds in _ROUNDS[1:]},
        **{f"prices_r{rounds}": _made("tracking.distributed:HandTuned", rounds=rounds) for rounds in (*_ROUNDS[1:], 30, 60)},
    },
    learned={
        "gnn": _network,
        "gnn_repaired": _repaired,
        "gnn_refined": _refined,
        "gnn_shipped": _network,
        "gnn_dominate": _shares,
        "gnn_dominate_one_shot": partial(_shares, more_steps=0),
        **{
            f"{kind}_r{rounds}": _distributed(rounds, _EXCHANGES if kind.endswith("_kept") else 0)
            for kind in _AT_THE_APS
            for rounds in _ROUNDS
        },
    },
    certified=("opc_batched", "opc_global", "opc_dominate"),
    slow=("opc_paper", "opc_global", "opc_clarabel", "opc_moreau"),
    shipped=("gnn_shipped",),
    own={
        **dict.fromkeys(("gnn_dominate", "gnn_dominate_one_shot"), ("tracking-shares", "tracking_shares")),
        **{f"{kind}_r{rounds}": weights for kind, weights in _AT_THE_APS.items() for rounds in _ROUNDS},
    },
    family=_family,
    families=(
        "fpc_<kappa_c>_<kappa_s>",
        "fair_<alpha>",
        "opc_batched[_most_power|_lexicographic|_fair|_none][_<gap>][_sensing[_<slack>]]",
    ),
)
DOWNLINK_PILOTS: Catalogue[MinMaxNmseProblem] = Catalogue(
    system="downlink_pilots",
    makers={
        "full": _made("downlink_pilots.classical:FullPower"),
        "full_ngo": _made("downlink_pilots.classical:FullPower", split="estimate"),
        "sca_paper": _made("downlink_pilots.classical:PaperSca"),
        "untrained": _made("downlink_pilots.learned:DownlinkPilotFirstOrder", steps=0),
        "first_order": _made("downlink_pilots.learned:DownlinkPilotFirstOrder"),
        "nmse_optimal": _made("downlink_pilots.classical:MinMaxNmse"),
        "nmse_batched": _made("downlink_pilots.batched:BatchedMinMaxNmse"),
        "nmse_uncertified": _made("downlink_pilots.batched:BatchedMinMaxNmse", max_boxes=0),
    },
    learned={"gnn": _pilot_network(), "gnn_raw": _pilot_network(repair=False)},
    certified=("nmse_batched",),
)


@overload
def named_allocator(
    name: str, checkpoint: str | Path | None = None, system: Literal["tracking"] = "tracking"
) -> Allocator[MaxMinSinrProblem]: ...


@overload
def named_allocator(
    name: str, checkpoint: str | Path | None = None, *, system: Literal["downlink_pilots"]
) -> Allocator[MinMaxNmseProblem]: ...


def named_allocator(
    name: str, checkpoint: str | Path | None = None, system: Literal["tracking", "downlink_pilots"] = "tracking"
) -> Allocator[Any]:
    """The allocator of `system` called `name`, with its default tolerances: `Catalogue.named`.

    Example:
        >>> from isac_torch import named_allocator
        >>> named_allocator("fpc_0.5_0.5").comm_exponent, named_allocator("opc_batched").gap
        (0.5, 0.001)
    """
    return TRACKING.named(name, checkpoint) if system == "tracking" else DOWNLINK_PILOTS.named(name, checkpoint)
