"""A scenario with some of its parameters changed, as configurations list them."""

from __future__ import annotations

from dataclasses import asdict
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar, cast

from isac_torch.errors import ScenarioError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from jsonargparse import ArgumentParser

ScenarioT = TypeVar("ScenarioT", bound=Any)


def scenario_variant(scenario: ScenarioT, change: Mapping[str, Any]) -> ScenarioT:
    """`scenario`, of either system, with the parameters in `change`, held to the same types as those of the command line.

    Raises:
        ScenarioError: one line, on an unknown parameter, a value of the wrong type, or parameters that describe no network.
    """
    from argparse import ArgumentError

    parser = _parser(type(scenario))  # type: ignore[arg-type]  # a class is hashable
    try:
        values = parser.parse_object({"scenario": {**asdict(scenario), **change}})
    except ArgumentError as error:
        raise ScenarioError(f"scenario changed by {dict(change)}: {' '.join(str(error).split())}") from None
    return cast("ScenarioT", parser.instantiate(values).scenario)


@cache
def _parser(kind: type[Any]) -> ArgumentParser:
    """Knows the parameters of scenarios of class `kind`; to make one takes as long as to use it."""
    from jsonargparse import ArgumentParser

    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(kind, "scenario")
    return parser


def scenarios_of(kind: type[ScenarioT], given: Sequence[Mapping[str, Any] | ScenarioT] | None) -> list[ScenarioT]:
    """Scenarios of class `kind`, given as such or as changes of the default one, which is the only one where none is given.

    Example:
        >>> from isac_torch import TrackingScenario
        >>> from isac_torch.variants import scenarios_of
        >>> [scenario.num_ues for scenario in scenarios_of(TrackingScenario, [{"num_ues": 12}, TrackingScenario()])]
        [12, 16]
    """
    return [item if isinstance(item, kind) else scenario_variant(kind(), item) for item in given or [kind()]]


def scenario_variants(scenario: ScenarioT, changes: Sequence[Mapping[str, Any]] | None) -> list[ScenarioT]:
    """`scenario` changed in each of these ways; `scenario` itself where no change is listed (None)."""
    return [scenario] if changes is None else [scenario_variant(scenario, change) for change in changes]
