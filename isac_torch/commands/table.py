"""The commands of the console script: the one list from which help, dispatch and error lines are made."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True)
class Command:
    """One command.

    Attributes:
        name: one word, or two where the first one is a group.
        function: `module:function` below `isac_torch`; its signature is the command's options.
        summary: one line.
        examples: what follows `isac-torch NAME`.
        words: names of the options that are given as words, without `--`, as help shows them.
        extra: extras of the package that the command needs besides the base installation.
        parses: the function takes the list of arguments and parses it itself.
        scenario: `module:class` of its scenario, where the function takes one of any system.
    """

    name: str
    function: str
    summary: str
    examples: tuple[str, ...]
    words: tuple[str, ...] = ()
    extra: str = "train"
    parses: bool = False
    scenario: str = ""

    def load(self) -> Callable[..., Any]:
        """The function, imported now."""
        loaded: Callable[..., Any] = _imported(self.function)
        return loaded

    def scenario_of(self, declared: Any) -> Any:
        """Class of the scenario, where the function declares one of the type `declared`; None where it takes none."""
        return _imported(self.scenario) if declared is not None and self.scenario else declared

    @property
    def lines(self) -> list[str]:
        """The examples as one types them."""
        return [f"isac-torch {self.name} {example}" for example in self.examples]


def _imported(place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(import_module(f"isac_torch.{module}"), name)


COMMANDS: dict[str, Command] = {
    command.name: command
    for command in (
        Command(
            "generate",
            "commands.tracking:generate",
            "write a labelled data set of random drops",
            (
                "--config configs/demo/generate.yaml --output runs/drops",
                "--scenario.num_aps 32 --num_drops 1000 --seed 7 --output runs/large",
            ),
            scenario="tracking.scenario:TrackingScenario",
        ),
        Command(
            "dataset info",
            "commands.tracking:info",
            "print what a data set holds, of either system",
            ("runs/drops",),
            words=("path",),
        ),
        Command(
            "dataset verify",
            "commands.tracking:verify",
            "check every byte, field and label of a data set",
            ("runs/drops",),
            words=("path",),
        ),
        Command(
            "train",
            "commands.training:train",
            "train a network on labelled or fresh drops",
            ("--config configs/demo/train.yaml --data.init_args.path runs/drops --output runs/training",),
            parses=True,
        ),
        Command(
            "roles train",
            "commands.training:train_roles",
            "train the network that scores sets of receive APs",
            ("--config configs/roles/train.yaml",),
        ),
        Command(
            "distributed train",
            "commands.training:train_distributed",
            "train a policy that runs at the APs, with messages between neighbours and no centre",
            ("--config configs/distributed/train.yaml",),
            parses=True,
        ),
        Command(
            "distributed export",
            "commands.deployment:export_policy",
            "write such a policy as one file that needs no torch",
            ("--checkpoint runs/training/distributed/model.pt --output runs/policy.npz",),
        ),
        Command(
            "evaluate",
            "evaluation.run:evaluate",
            "compare allocators on the same fresh drops: table, CSV, figures, TensorBoard",
            (
                "--config configs/demo/evaluate.yaml --output runs/table",
                "--config configs/evaluate/tracking.yaml --output runs/tracking",
            ),
        ),
        Command(
            "pareto",
            "commands.tracking:pareto",
            "trace the trade-off between rate and sensing: CSV, figure",
            ("--allocators='[opc_batched, upc]' --num_drops 32 --seed 1 --output runs/pareto",),
        ),
        Command(
            "report",
            "commands.tracking:report",
            "put the results of evaluate and train on one HTML page",
            ("runs/demo --output report.html",),
            words=("run",),
        ),
        Command(
            "leaderboard submit",
            "commands.leaderboard:submit",
            "check a run on the public test drops and add its rows",
            ("--run runs/public --author 'A. Name' --board leaderboard.jsonl",),
        ),
        Command(
            "leaderboard show",
            "commands.leaderboard:show",
            "print the rows as a table, the best first",
            ("--board leaderboard.jsonl",),
        ),
        Command(
            "reproduce liesegang",
            "commands.tracking:reproduce_liesegang",
            "figures and claims of the paper on power control for communication and tracking",
            ("--figure 8 --quick --output runs/liesegang",),
        ),
        Command(
            "reproduce liao",
            "commands.tracking:reproduce_liao",
            "figures and claims of the paper on downlink pilots for estimation and localisation",
            ("--figure 4a --quick --output runs/liao",),
        ),
        Command(
            "downlink-pilots generate",
            "commands.tracking:generate",
            "write a labelled data set of random roads for the downlink-pilot system",
            ("--config configs/downlink_pilots/generate_val.yaml --output runs/downlink_pilots/val",),
            scenario="downlink_pilots.scenario:DownlinkPilotScenario",
        ),
        Command(
            "downlink-pilots train",
            "commands.training:train_downlink_pilots",
            "train a network of the downlink-pilot system",
            ("--config configs/downlink_pilots/train.yaml --output runs/downlink_pilots/training",),
            parses=True,
        ),
        Command(
            "downlink-pilots evaluate",
            "commands.downlink_pilots:evaluate",
            "compare allocators of pilot power on the same fresh roads",
            ("--config configs/downlink_pilots/evaluate.yaml --output runs/downlink_pilots/table",),
        ),
        Command(
            "downlink-pilots export",
            "commands.roads:export",
            "write such a network as one file that needs no torch",
            ("--checkpoint runs/downlink_pilots/training/model.pt --output runs/roads.npz",),
        ),
        Command(
            "downlink-pilots allocate",
            "commands.roads:allocate",
            "pilot powers for the roads of a file, without torch",
            ("examples/road.json --output powers.csv", "examples/road.json --model runs/roads.npz --refine true"),
            words=("drop",),
            extra="",
        ),
        Command(
            "downlink-pilots serve",
            "commands.roads:serve",
            "answer the same over HTTP",
            ("shipped --port 8000",),
            words=("model",),
            extra="serve",
        ),
        Command(
            "downlink-pilots import-geometry",
            "commands.roads:import_geometry",
            "turn positions in CSV or GeoJSON into roads for downlink-pilots allocate",
            ("examples/road.csv --output road.json",),
            words=("sites",),
            extra="",
        ),
        Command(
            "downlink-pilots frame",
            "commands.downlink_pilots:frame",
            "choose pilot lengths and powers of a frame for each drop, against fixed splits",
            (
                "--num_drops 300 --seed 940000 --output runs/downlink_pilots/frames",
                "--scenario.num_ues 6 --splits='[[10, 10]]' --num_drops 30 --seed 940000 --output runs/downlink_pilots/frames6",
                "--objective energy --rate_min 2e7 --num_drops 10 --seed 940000 --output runs/downlink_pilots/frames_energy",
            ),
        ),
        Command(
            "export",
            "commands.deployment:export",
            "write a trained one-shot network as a bundle: ONNX, torch.export archive, card",
            ("--checkpoint runs/training/one_shot/model.pt --output runs/bundle",),
        ),
        Command(
            "allocate",
            "commands.deployment:allocate_file",
            "powers for the networks of a file from a deployed allocator, without torch",
            (
                "examples/drop.json --model runs/bundle --output powers.csv",
                "- --model runs/bundle < examples/drop.json",
                "examples/drop.json --policy distributed --rounds 4",
            ),
            words=("drop",),
            extra="runtime",
        ),
        Command(
            "serve",
            "commands.deployment:serve",
            "answer the same over HTTP",
            ("runs/bundle --port 8000", "shipped --policy distributed --rounds 4"),
            words=("bundle",),
            extra="runtime,serve",
        ),
        Command(
            "import-geometry",
            "commands.deployment:import_geometry",
            "turn positions in CSV or GeoJSON into networks for allocate",
            ("examples/sites.csv --output network.json",),
            words=("sites",),
            extra="",
        ),
    )
}
"""Every command by its name, in the order of `isac-torch --help`."""

GROUPS = tuple(dict.fromkeys(name.split()[0] for name in COMMANDS if " " in name))
"""First words of the names of two words."""


def help_text() -> str:
    """What `isac-torch --help` prints."""
    shown = {" ".join([name, *map(str.upper, command.words)]): command for name, command in COMMANDS.items()}
    width = max(map(len, shown))
    commands = [f"  {name:{width}}  {command.summary}" for name, command in shown.items()]
    examples = [f"  {line}" for command in COMMANDS.values() for line in command.lines]
    return "\n".join(
        [
            "usage: isac-torch COMMAND [--config FILE.yaml] [OPTIONS]",
            "",
            "Power allocation for cell-free massive MIMO that communicates and senses at once.",
            "",
            "commands:",
            *commands,
            "",
            "examples:",
            *examples,
            "",
            "`isac-torch COMMAND --help` lists a command's options; options on the command line win over the YAML file.",
            "ISAC_TORCH_TRACEBACK=1 in the environment shows where an error comes from.",
            "",
        ]
    )
