"""The benchmark from names to files: what `isac-torch evaluate` does."""

from __future__ import annotations

import math
import re
from contextlib import contextmanager
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

import torch

from isac_torch.allocators.registry import LEARNED, named_allocator, weights_file
from isac_torch.errors import AllocationError, ScenarioError
from isac_torch.evaluation.benchmark import SENSED_DROPS, Case, run_benchmark
from isac_torch.evaluation.results import provenance, write_results, write_settings
from isac_torch.evaluation.settings import Setting
from isac_torch.files import writable_folder
from isac_torch.variants import scenario_variant

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from isac_torch.tracking.scenario import TrackingScenario

MAX_SEED = 2**32 - 1
"""PyTorch's generator on a CPU uses 32 bits of its seed."""


def evaluate(
    scenario: TrackingScenario,
    *,
    allocators: Sequence[str],
    num_drops: int,
    seed: int,
    output: str | Path,
    checkpoint: str | Path | None = None,
    opc_paper_drops: int = 50,
    opc_global_drops: int | None = None,
    sensed_drops: int = SENSED_DROPS,
    max_drops: int | None = None,
    threads: int = 1,
    tensorboard: bool = True,
    settings: Sequence[Setting] = (),
) -> dict[str, Any]:
    """Run `allocators` on the same drops and write summary.json, drops.csv, provenance.json, figures and event files.

    The ratios are over the certified optimum: the best answer of opc_batched and opc_global, or of opc_batched alone, from
    `output`/optima if it is there, when neither is in the list. docs/evaluation.md defines every number.

    Args:
        scenario: the network.
        allocators: names, see `isac_torch.allocators.registry.KNOWN`.
        num_drops: drops to judge on.
        seed: of the drops; take one that no training set uses.
        output: folder of the results.
        checkpoint: weights of the networks; default those shipped with the package.
        opc_paper_drops: the paper's slow algorithm runs on the first ones only.
        opc_global_drops: the readable reference too; None gives it all drops.
        sensed_drops: drops whose true echoes are judged.
        max_drops: cap on the drops of every setting, for a quick look.
        threads: of PyTorch; with one, times are those of one core and depend least on what else the machine does.
        tensorboard: whether to write event files too.
        settings: changes of all of these; each setting gets a folder of its own below `output` and an entry in summary.json.

    Returns:
        The content of summary.json.

    Raises:
        IsacError: one line, before any work, on unknown names, missing weights or an output that cannot be written.
    """
    from tqdm import tqdm

    for name, value in (("threads", threads), ("max_drops", max_drops)):
        if value is not None and value < 1:
            raise ScenarioError(f"{name}={value} must be at least 1")
    whole = Setting({}, None, None, num_drops, list(allocators), opc_paper_drops, opc_global_drops, sensed_drops)
    cases = [_case(scenario, seed, whole, setting, max_drops) for setting in settings or (Setting(),)]
    check_names([case.name for case, _ in cases])
    wanted = dict.fromkeys(name for _, names in cases for name in names)
    named = {name: named_allocator(name, checkpoint) for name in wanted}
    weights = next((weights_file(name, checkpoint) for name in wanted if name in LEARNED), None)
    folder = writable_folder(output)
    summaries, contexts = {}, {}
    bar = tqdm(cases, unit="setting", disable=not settings)
    for case, names in bar:
        bar.set_description(case.name)
        own = writable_folder(folder / case.name) if settings else folder
        with _threads(threads):
            found = run_benchmark(case, {name: named[name] for name in names}, folder / "optima")
            context = provenance(found, weights)
        tqdm.write(write_results(found, own, context, tensorboard))
        summaries[case.name], contexts[case.name] = found.summary, context
    if not settings:
        return summaries[cases[0][0].name]
    tqdm.write(write_settings(folder, summaries, contexts, tensorboard))
    return {"settings": summaries}


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """PyTorch on `count` threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _case(
    scenario: TrackingScenario, seed: int, whole: Setting, setting: Setting, max_drops: int | None
) -> tuple[Case, list[str]]:
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
    if full.sensed_drops is not None and full.sensed_drops < 0:
        raise ScenarioError(f"sensed_drops={full.sensed_drops} must not be negative")
    below = full.sir_below_best_db
    if below is not None and (own.num_targets < 2 or not 0 <= below < math.inf):
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
