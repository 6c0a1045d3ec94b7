"""Which options of Lightning's `Trainer` the training command honours, and what it says of the others.

Every option is in `TRAINER`. What cannot be honoured is refused in one line before anything is written: an option that is
ignored but stored in config.yaml misleads whoever reads that file.
"""

from __future__ import annotations

import math
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from isac_torch.errors import IsacError


@dataclass(frozen=True)
class Rule:
    """What an option may be.

    Attributes:
        says: the rule and the remedy, for errors and `--help`; empty where every value that Lightning takes is honoured.
        holds: whether a value keeps the rule.
    """

    says: str = ""
    holds: Callable[[Any], bool] = lambda _: True


def _only(values: tuple[Any, ...], says: str) -> Rule:
    return Rule(says, lambda value: any(value is known or (value == known and type(value) is type(known)) for known in values))


HONOURED = Rule()
_PRECISIONS = (None, 32, "32", "32-true", "bf16-mixed", "bf16")
_STRATEGIES = ("auto", "ddp", "ddp_find_unused_parameters_false", "ddp_find_unused_parameters_true")
_ONLY_FITS = "has no meaning: the command trains and validates, it neither tests nor predicts; leave it out"

TRAINER: dict[str, Rule] = {
    "accelerator": HONOURED,
    "strategy": _only(_STRATEGIES, "must be auto or ddp: every process keeps the whole network"),
    "devices": HONOURED,
    "num_nodes": HONOURED,
    "precision": _only(_PRECISIONS, "must be 32-true or bf16-mixed; for double precision set data.init_args.dtype=float64"),
    "logger": HONOURED,
    "callbacks": HONOURED,
    "fast_dev_run": HONOURED,
    "max_epochs": Rule("must be at least 1, or -1 for no limit", lambda value: value is None or value == -1 or value > 0),
    "min_epochs": HONOURED,
    "max_steps": Rule("must be at least 1, or -1 for no limit", lambda value: value == -1 or value > 0),
    "min_steps": HONOURED,
    "max_time": HONOURED,
    "limit_train_batches": Rule("must be above 0: training needs a batch", lambda value: value is None or value > 0),
    "limit_val_batches": HONOURED,
    "limit_test_batches": _only((None,), _ONLY_FITS),
    "limit_predict_batches": _only((None,), _ONLY_FITS),
    "overfit_batches": _only((0, 0.0), "cannot be honoured for batches of shards; use limit_train_batches"),
    "val_check_interval": HONOURED,
    "check_val_every_n_epoch": HONOURED,
    "num_sanity_val_steps": HONOURED,
    "log_every_n_steps": HONOURED,
    "enable_checkpointing": HONOURED,
    "enable_progress_bar": HONOURED,
    "enable_model_summary": HONOURED,
    "accumulate_grad_batches": _only((1,), "must be 1, since the average of the weights follows every batch; set batch_size"),
    "gradient_clip_val": HONOURED,
    "gradient_clip_algorithm": HONOURED,
    "deterministic": HONOURED,
    "benchmark": HONOURED,
    "inference_mode": _only((False,), "must be false: the network reads gradients, also when it validates"),
    "use_distributed_sampler": _only((True,), "has no meaning: the data module deals the drops out itself; leave it out"),
    "profiler": HONOURED,
    "detect_anomaly": HONOURED,
    "barebones": _only((False,), "must be false: the command logs, validates and keeps checkpoints"),
    "plugins": _only((None, []), "cannot be set: the command writes its checkpoints itself"),
    "sync_batchnorm": _only((False,), "has no meaning: the networks have no batch normalisation; leave it out"),
    "reload_dataloaders_every_n_epochs": _only((0,), "has no meaning: the loaders stay the same; leave it out"),
    "default_root_dir": _only((None,), "cannot be set: --output says where everything goes"),
    "enable_autolog_hparams": HONOURED,
    "model_registry": _only((None,), "cannot be set: the command writes model.pt to --output"),
}
"""Rule of each option of `lightning.Trainer`."""


def check_options(trainer: Mapping[str, Any], model: Mapping[str, Any], data: Mapping[str, Any]) -> None:
    """Refuse in one line what the command cannot honour.

    Args:
        trainer: options of Lightning's trainer.
        model: options of the network and its training.
        data: options of the data module.

    Raises:
        IsacError: naming the option, its value, the rule and the remedy.
    """
    for name, value in trainer.items():
        rule = TRAINER.get(name, HONOURED)
        if not rule.holds(value):
            raise IsacError(f"trainer.{name}={value} {rule.says}")
    endless = trainer["max_steps"] == -1 and (
        trainer["max_epochs"] == -1 or (trainer["max_epochs"] is None and trainer["max_time"] is not None)
    )
    if endless and not trainer["fast_dev_run"]:
        raise IsacError(
            "trainer.max_steps is missing: the learning rate falls over a known number of steps; "
            "give max_steps or max_epochs, max_time may end the training sooner"
        )
    if data.get("dtype") == "float64" and trainer["precision"] not in (None, 32, "32", "32-true"):
        raise IsacError(f"trainer.precision={trainer['precision']} does not go with dtype=float64; leave it out")
    for path, value in _leaves(model):
        name = path.rpartition(".")[2]
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if number and not (math.isfinite(value) and value >= (1 if name == "hidden" else 0)):
            raise IsacError(f"model.{path}={value} must be a finite number of at least {1 if name == 'hidden' else 0}")


def _leaves(options: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Names, with the groups that they are in, and values."""
    for name, value in options.items():
        if isinstance(value, Namespace):
            yield from ((f"{name}.{inner}", held) for inner, held in _leaves(vars(value)))
        else:
            yield name, value


def check_monitors(callbacks: list[Any], metrics: tuple[str, ...]) -> None:
    """Refuse a callback that watches what the training does not measure. IsacError, one line."""
    for callback in callbacks:
        monitor = getattr(callback, "monitor", None)
        if monitor is not None and monitor not in metrics:
            name = type(callback).__name__
            raise IsacError(f"{name}: monitor={monitor!r} is not measured; choose from {', '.join(metrics)}")
