"""The training command, end to end on tiny runs: what it writes, honours and refuses."""

import inspect
import json
import signal

import pytest
import torch
import yaml
from lightning import Trainer

from isac_torch import cli
from isac_torch.allocation import allocate
from isac_torch.allocators.tracking.learned import LearnedAllocator
from isac_torch.errors import IsacError, OutputError
from isac_torch.files import exclusive_log
from isac_torch.trainers.cli import train
from isac_torch.trainers.folder import LOG
from isac_torch.trainers.options import HONOURED, TRAINER
from tests.trainers.tiny import forked, options, weights

REFUSED = {
    "strategy": "fsdp", "precision": "64-true", "max_epochs": "-5", "max_steps": "0", "limit_train_batches": "0",
    "limit_test_batches": "3", "limit_predict_batches": "3", "overfit_batches": "2", "accumulate_grad_batches": "2",
    "inference_mode": "true", "use_distributed_sampler": "false", "barebones": "true",
    "plugins": "lightning.pytorch.plugins.io.TorchCheckpointIO", "sync_batchnorm": "true",
    "reload_dataloaders_every_n_epochs": "1", "default_root_dir": "elsewhere", "model_registry": "name",
}  # fmt: skip
"""A value of every option that the command cannot honour as it comes."""
HONOURED_RUN = {
    "devices": "1", "num_nodes": "1", "min_epochs": "1", "min_steps": "1", "max_time": "00:00:10:00", "max_steps": "2",
    "limit_train_batches": "2", "limit_val_batches": "1", "val_check_interval": "1", "check_val_every_n_epoch": "null",
    "num_sanity_val_steps": "1", "gradient_clip_val": "0.5", "gradient_clip_algorithm": "value", "deterministic": "true",
    "benchmark": "false", "detect_anomaly": "false", "enable_autolog_hparams": "false", "enable_progress_bar": "true",
    "enable_model_summary": "true", "log_every_n_steps": "1", "accelerator": "cpu", "strategy": "auto",
    "enable_checkpointing": "true", "precision": "bf16-mixed", "profiler": "null", "logger": "true", "callbacks": "null",
}  # fmt: skip


def refused(argv, *words):
    with pytest.raises(IsacError) as caught:
        train(argv)
    message = str(caught.value)
    assert "\n" not in message
    assert all(word in message for word in words), message


def steps_of(path):
    return torch.load(path, weights_only=True)["global_step"]


def test_every_option_of_the_trainer_has_a_rule(capsys):
    names = set(inspect.signature(Trainer).parameters)
    assert set(TRAINER) == names
    assert set(REFUSED) == {name for name, rule in TRAINER.items() if rule is not HONOURED}
    assert set(HONOURED_RUN) | set(REFUSED) | {"fast_dev_run"} == names
    with pytest.raises(SystemExit):
        train(["--help"])
    told = " ".join(capsys.readouterr().out.split())
    assert all(f"--trainer.{name} " in told for name in names)
    assert told.count(" Here: ") == len(REFUSED)
    assert "--optimizer" not in told


@pytest.mark.parametrize("name", REFUSED)
def test_options_that_cannot_be_honoured_are_refused_before_anything_is_written(drops, tmp_path, name):
    refused(options(drops, tmp_path / "out", f"--trainer.{name}={REFUSED[name]}"), f"trainer.{name}=")
    assert not (tmp_path / "out").exists()


def test_the_other_options_are_honoured_and_stored(drops, tmp_path):
    train(options(drops, tmp_path / "a", *(f"--trainer.{name}={value}" for name, value in HONOURED_RUN.items())))
    stored = yaml.safe_load((tmp_path / "a" / "config.yaml").read_text())["trainer"]
    differ = {name for name, value in HONOURED_RUN.items() if str(yaml.safe_load(value)) != str(stored[name])}
    assert differ <= {"max_time"}  # stored as YAML writes durations
    assert torch.load(tmp_path / "a" / "model.pt", weights_only=True)["training"]["steps"] == 2
    train(
        ["--config", str(tmp_path / "a" / "config.yaml"), f"--output={tmp_path / 'b'}", "--trainer.enable_progress_bar=false"]
    )
    first, second = weights(tmp_path / "a"), weights(tmp_path / "b")
    assert all(torch.equal(value, second[name]) for name, value in first.items())


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--trainer.max_steps=-1", "--trainer.max_time=00:00:00:05"], ["max_steps is missing"]),
        (["--trainer.max_steps=-1"], ["max_steps is missing"]),
        (["--data.dtype=float64", "--trainer.precision=bf16-mixed"], ["precision", "float64"]),
        (["--model.optimiser.learning_rate=-1"], ["learning_rate=-1"]),
        (["--model.network.hidden=0"], ["hidden=0"]),
        (["--model.network.steps=-1"], ["steps=-1"]),
        (["--model.optimiser.average_decay=2"], ["average_decay"]),
        (["--ckpt_path=/nowhere/x.ckpt"], ["no such checkpoint"]),
        (["--ckpt_path=last"], ["no such checkpoint"]),
        (["--data.path=/nowhere"], ["no such folder"]),
        (["--data=isac_torch.datasets.module.DownlinkPilotDataModule"], ["downlink_pilots"]),
        (["--trainer.callbacks=EarlyStopping", "--trainer.callbacks.monitor=val/nothing"], ["EarlyStopping", "val/nothing"]),
    ],
)
def test_bad_options_are_one_line_and_leave_nothing(drops, tmp_path, more, words):
    refused(options(drops, tmp_path / "out", *more), *words)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("old", "new"),
    [("--model.hidden=8", "--model.network.hidden"), ("--model.row_weight=2", "--model.loss.sensing_weight"),
     ("--model.network=shares", "--model.network.kind"), ("--model.learning_rate=0.1", "--model.optimiser.learning_rate")],
)  # fmt: skip
def test_options_of_the_former_flat_list_are_refused_with_their_new_place(drops, tmp_path, old, new):
    refused(options(drops, tmp_path / "out", old), old.partition("=")[0], f"{new} now")
    key, value = old.removeprefix("--model.").split("=")
    (tmp_path / "old.yaml").write_text(f"model: {{{key}: {value}}}\n")
    refused(["--config", f"{tmp_path / 'old.yaml'}", *options(drops, tmp_path / "out")], f"old.yaml: model.{key}", new[2:])
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "more",
    [
        "model.network.hiden=3",
        "model.network.hidden=many",
        "model.optimiser.learning_rate=nan",
        "optimizer=SGD",
        "trainer.max_steps=x",
        "data.dtype=x",
    ],
)
def test_unknown_options_and_wrong_types_are_refused(drops, tmp_path, more, capsys):
    assert cli.main(["train", *options(drops, tmp_path / "out", f"--{more}")]) == 2
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("isac-torch")]
    assert len(told) == 1
    assert more.partition("=")[0].partition(".")[2].split(".")[-1] in told[0]
    assert not (tmp_path / "out").exists()


def test_data_without_a_usable_drop_are_refused(infeasible, tmp_path, capsys):
    assert cli.main(["train", *options(infeasible, tmp_path / "out")]) == 2
    assert "infeasible: none of its 6 drops meets its constraints" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_finished_training_is_whole(trained, problem):
    assert {path.name for path in trained.iterdir()} == {"checkpoints", "config.yaml", "logs", "model.pt", LOG}
    assert {path.name for path in (trained / "checkpoints").iterdir()} == {"last.ckpt", "best.ckpt"}
    content = torch.load(trained / "model.pt", weights_only=True)
    assert content["training"]["steps"] == 4
    assert content["training"]["metrics"]["val/min_rate_ratio"] > 0
    allocator = LearnedAllocator.load(trained / "model.pt")
    assert bool(allocate(problem, allocator).power.isfinite().all())


def test_the_last_checkpoint_is_the_last(drops, tmp_path):
    """Also where the quality never improves after the first validation."""
    train(
        options(
            drops, tmp_path, "--trainer.val_check_interval=1", "--model.optimiser.learning_rate=1e-12", "--trainer.max_steps=5"
        )
    )
    assert steps_of(tmp_path / "checkpoints" / "last.ckpt") == 5
    assert steps_of(tmp_path / "checkpoints" / "best.ckpt") < 5


def test_callbacks_and_loggers_of_the_user_are_honoured(drops, tmp_path):
    stop = ["--trainer.callbacks=EarlyStopping", "--trainer.callbacks.monitor=val/min_rate_ratio"]
    stop += ["--trainer.callbacks.patience=0", "--trainer.callbacks.mode=min", "--trainer.max_steps=30"]
    logger = ["--trainer.logger=CSVLogger", f"--trainer.logger.save_dir={tmp_path / 'csv'}"]
    train(options(drops, tmp_path / "a", *stop, *logger, "--model.optimiser.learning_rate=1e-2"))
    assert torch.load(tmp_path / "a" / "model.pt", weights_only=True)["training"]["steps"] < 30
    table = next((tmp_path / "csv").rglob("metrics.csv")).read_text()
    assert "val/min_rate_ratio" in table.splitlines()[0]
    assert not (tmp_path / "a" / "logs").exists()
    train(
        options(
            drops, tmp_path / "b", "--trainer.logger=false", "--trainer.max_steps=1", "--trainer.enable_checkpointing=false"
        )
    )
    assert {path.name for path in (tmp_path / "b").iterdir()} == {"config.yaml", "model.pt", LOG}


def test_fast_dev_run_does_one_step_and_keeps_nothing(drops, tmp_path, capsys):
    train(options(drops, tmp_path / "out", "--trainer.fast_dev_run=true"))
    assert "nothing was kept" in capsys.readouterr().out
    assert not (tmp_path / "out").exists()


def test_the_network_follows_the_data_into_double_precision(drops, tmp_path):
    train(options(drops, tmp_path / "double", "--data.dtype=float64"))
    train(options(drops, tmp_path / "single"))
    state = torch.load(tmp_path / "double" / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    assert {value.dtype for value in state.values() if value.is_floating_point()} == {torch.float64}
    double, single = weights(tmp_path / "double"), weights(tmp_path / "single")
    for name, value in single.items():
        torch.testing.assert_close(double[name], value, rtol=1e-2, atol=1e-3, msg=name)  # the same steps, other rounding
    refused(options(drops, tmp_path / "double", "--ckpt_path=last", "--trainer.max_steps=8"), "float64")


def test_no_step_in_time_is_no_model(drops, tmp_path):
    refused(options(drops, tmp_path, "--trainer.max_time=00:00:00:00"), "no training step")
    assert not (tmp_path / "model.pt").exists()


def test_a_folder_belongs_to_one_training(drops, trained, tmp_path):
    before = {path: path.read_bytes() for path in trained.rglob("*") if path.is_file()}
    refused(options(drops, trained), "holds a training already", "--ckpt_path last")
    assert before == {path: path.read_bytes() for path in trained.rglob("*") if path.is_file()}
    (tmp_path / "out").mkdir()
    with exclusive_log(tmp_path / "out" / LOG), pytest.raises(OutputError, match="another run is writing"):
        train(options(drops, tmp_path / "out"))


def test_an_interrupted_training_says_what_it_keeps(drops, tmp_path):
    argv = options(drops, tmp_path / "a", "--trainer.val_check_interval=1", "--trainer.max_steps=8")
    argv = [text for text in argv if not text.startswith("--output")] + [f"--output={tmp_path / 'a'}"]
    status, said = forked(argv, signal.SIGINT, 2)
    assert status >> 8 == 130
    lines = [line for line in said.splitlines() if line.startswith("isac-torch")]
    assert lines == [
        f"isac-torch: interrupted; {tmp_path / 'a'}/checkpoints/last.ckpt keeps step 1, go on with --ckpt_path last"
    ]
    assert "Traceback" not in said
    assert not (tmp_path / "a" / "model.pt").exists()


def test_the_log_names_the_run_of_every_start(trained):
    records = [json.loads(line) for line in (trained / LOG).read_text().splitlines()]
    assert [(record["event"], record["step"]) for record in records] == [("start", 0)]
    state = torch.load(trained / "checkpoints" / "last.ckpt", weights_only=True)["callbacks"]["Keeper"]
    assert state["run"] == records[0]["run"]


def test_the_command_logs_physical_names_and_hyperparameters(trained):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams import plugin_data_pb2

    events = EventAccumulator(str(trained / "logs"))
    events.Reload()
    names = set(events.Tags()["scalars"])
    expected = {"val/min_rate_ratio", "val/min_rate_ratio_p5", "val/sir_violation_rate", "val/min_sinr_db"}
    expected |= {"train/loss", "train/min_sinr_db", "train/sir_violation_rate", "train/row_multiplier", "train/learning_rate"}
    assert expected <= names
    ratio = [event.value for event in events.Scalars("val/min_rate_ratio")]
    assert len(ratio) == 2
    assert all(0.0 < value <= 1.0 for value in ratio)
    start = events.summary_metadata["_hparams_/session_start_info"].plugin_data.content
    known = plugin_data_pb2.HParamsPluginData.FromString(start).session_start_info.hparams
    assert known["model/hidden"].number_value == 8
    assert known["data/batch_size"].number_value == 8
    assert known["trainer/max_steps"].number_value == 4


def test_the_same_seed_trains_the_same_network(drops, trained, tmp_path):
    train(options(drops, tmp_path, "--trainer.val_check_interval=2", "--trainer.check_val_every_n_epoch=null"))
    first, second = weights(trained), weights(tmp_path)
    assert all(torch.equal(first[name], second[name]) for name in first)
