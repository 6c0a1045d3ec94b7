"""Settings of an evaluation, of either system, from names to files."""

from __future__ import annotations

import math
import re
from contextlib import contextmanager
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

import torch

from isac_torch.errors import AllocationError, ScenarioError
from isac_torch.evaluation.benchmark import SENSED_BLOCKS, Case
from isac_torch.evaluation.measure import run_benchmark
from isac_torch.evaluation.results import provenance, write_results, write_settings
from isac_torch.evaluation.settings import Setting
from isac_torch.files import writable_folder
from isac_torch.variants import scenario_variant

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from isac_torch.evaluation.benchmark import OutcomeT
    from isac_torch.evaluation.view import View
    from isac_torch.systems import DropT, ProblemT, ScenarioT

MAX_SEED = 2**32 - 1
"""PyTorch's generator on a CPU uses 32 bits of its seed."""


def run(
    view: View[ScenarioT, DropT, ProblemT, OutcomeT],
    scenario: ScenarioT,
    whole: Setting,
    *,
    seed: int,
    output: str | Path,
    checkpoint: str | Path | None = None,
    max_drops: int | None = None,
    threads: int | None = None,
    tensorboard: bool = True,
    settings: Sequence[Setting] = (),
) -> dict[str, Any]:
    """Judge the allocators of every setting and write its files; see `isac_torch.evaluation.run.evaluate` for the arguments.

    Args:
        view: of the scenario's system.
        scenario: the network that the settings change.
        whole: what a setting leaves open: allocators, numbers of drops.
        seed: of the drops, the same for every setting.
        output: folder of the results.
        checkpoint: weights of the networks; default those shipped with the package.
        max_drops: cap on the drops of every setting.
        threads: of PyTorch; None leaves them as they are.
        tensorboard: whether to write event files too.
        settings: changes of all of these.

    Returns:
        The content of summary.json.

    Raises:
        IsacError: one line, before any work, on unknown names, missing weights or an output that cannot be written.
    """
    from tqdm import tqdm

    for name, value in (("threads", threads), ("max_drops", max_drops)):
        if value is not None and value < 1:
            raise ScenarioError(f"{name}={value} must be at least 1")
    cases = [_case(scenario, seed, whole, setting, max_drops) for setting in settings or (Setting(),)]
    check_names([case.name for case, _ in cases])
    catalogue = view.system.allocators
    wanted = dict.fromkeys(name for _, names in cases for name in names)
    named = {name: view.allocator(name, checkpoint) for name in wanted}
    behind = [view.policies[name].allocator if name in view.policies else name for name in wanted]
    weights = next((file for name in behind if (file := catalogue.weights_file(name, checkpoint))), None)
    folder = writable_folder(output)
    found, summaries, contexts, said = [], {}, {}, ""
    bar = tqdm(cases, unit="setting", disable=not settings)
    for case, names in bar:
        bar.set_description(case.name)
        with _threads(threads):
            benchmark = run_benchmark(view, case, {name: named[name] for name in names}, folder / "optima")
            contexts[case.name] = provenance(view, benchmark, weights)
        summaries[case.name] = view.summarise(benchmark)
        found.append(benchmark)
        if view.leads:  # after every setting, so that a run that is interrupted leaves those that are done
            said = write_results(view, found, folder, contexts, tensorboard and len(found) == len(cases))
        else:
            own = writable_folder(folder / case.name) if settings else folder
            tqdm.write(write_results(view, [benchmark], own, {case.name: contexts[case.name]}, tensorboard))
    if view.leads:
        tqdm.write(said)
    elif not settings:
        return summaries[cases[0][0].name]
    else:
        tqdm.write(write_settings(view, folder, summaries, contexts, tensorboard))
    return {"settings": summaries}


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    """PyTorch on `count` threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _case(
    scenario: ScenarioT, seed: int, whole: Setting, setting: Setting, max_drops: int | None
) -> tuple[Case[ScenarioT], list[str]]:
    """One setting with the defaults of the whole run filled in, checked; and its allocators."""
    own = scenario_variant(scenario, setting.scenario) if setting.scenario else scenario
    both = {field.name: getattr(setting, field.name) for field in fields(Setting)}
    full = replace(whole, **{name: value for name, value in both.items() if value is not None})
    names, count = list(full.allocators or ()), full.num_drops or 0
    check_run(names, count, seed)
    first = {"opc_paper": full.opc_paper_drops, "opc_global": full.opc_global_drops}
    for name, value in first.items():
        if value is not None and value < 1:
            raise ScenarioError(f"{name}_drops={value} must be at least 1")
    if full.sensed_blocks is not None and full.sensed_blocks < 1:
        raise ScenarioError(f"sensed_blocks={full.sensed_blocks} must be at least 1")
    if full.sensed_drops is not None and full.sensed_drops < 0:
        raise ScenarioError(f"sensed_drops={full.sensed_drops} must not be negative")
    below = full.sir_below_best_db
    if below is not None and (getattr(own, "num_targets", 0) < 2 or not 0 <= below < math.inf):
        raise ScenarioError(
            f"sir_below_best_db={below} must be a number of dB, 0 or more, for a scenario of at least 2 targets"
        )
    return (
        Case(
            scenario=own,
            num_drops=count if max_drops is None else min(count, max_drops),
            seed=seed,
            name=full.name or own.name,
            first_drops={name: value for name, value in first.items() if value is not None},
            sensed_drops=full.sensed_drops or 0,
            sir_below_best_db=below,
            sensed_blocks=full.sensed_blocks or SENSED_BLOCKS,
        ),
        names,
    )


def check_names(names: Sequence[str]) -> None:
    """Refuse, in one line, settings whose names repeat or are no names of folders."""
    for name in names:
        if list(names).count(name) > 1:
            raise ScenarioError(f"two settings are called {name!r}; give each a name of its own")
        if not re.fullmatch(r"[\w.+-]*\w[\w.+-]*", name):
            raise ScenarioError(f"setting name {name!r} must consist of letters, digits and any of _ . + -")


def check_run(allocators: Sequence[str], num_drops: int, seed: int) -> None:
    """Refuse, in one line, an empty or repeating list of allocators, a number of drops or a seed out of range."""
    if not allocators:
        raise AllocationError("allocators=[] names nobody to evaluate; list at least one, such as upc")
    twice = {name for name in allocators if list(allocators).count(name) > 1}
    if twice:
        raise AllocationError(f"allocators names {sorted(twice)[0]!r} twice; name each once")
    if num_drops < 1:
        raise ScenarioError(f"num_drops={num_drops} must be at least 1")
    if not 0 <= seed <= MAX_SEED:
        raise ScenarioError(f"seed={seed} must lie in 0..{MAX_SEED}")
