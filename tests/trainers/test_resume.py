"""Checkpoints: a training that was killed ends with the same bits as one that was not; what is no checkpoint is one line."""

import io
import pickle
import signal
import zipfile

import pytest
import torch

from isac_torch.errors import CheckpointError, OutputError
from isac_torch.trainers.cli import train
from isac_torch.trainers.keeping import WholeCheckpoints, read_checkpoint
from tests.trainers.tiny import forked, options, weights

STORED = [
    "--trainer.val_check_interval=1",
    "--trainer.max_steps=6",
    "--data.batch_size=4",
    "--model.loss.sensing_weight_step=0.3",
]
FRESH = [
    "--data.fresh_batches=4", "--data.fresh_uses=2", "--data.fresh_scenarios=[{num_aps: 8, num_ues: 4, num_targets: 2}]",
    "--data.batch_size=2", "--trainer.val_check_interval=3", "--trainer.check_val_every_n_epoch=null", "--trainer.max_steps=7",
]  # fmt: skip
PASSES = ["--trainer.max_steps=-1", "--trainer.max_epochs=3", "--data.batch_size=8", "--model.loss.fair_every=2"]


@pytest.mark.parametrize(
    ("more", "kills"), [(STORED, (2, 4)), (FRESH, (5,)), (PASSES, (3,))], ids=["stored", "fresh", "passes"]
)
def test_a_killed_and_resumed_training_is_the_undisturbed_one_to_the_last_bit(drops, tmp_path, more, kills):
    """Killed within a pass and at its end, on stored and on fresh drops; weights, their average and the optimiser."""
    argv = [text for text in options(drops, tmp_path, *more, "--trainer.logger=false") if not text.startswith("--output")]
    assert forked([*argv, f"--output={tmp_path / 'whole'}"])[0] == 0
    resume: list[str] = []
    for step in kills:
        assert forked([*argv, *resume, f"--output={tmp_path / 'killed'}"], signal.SIGKILL, step)[0] == signal.SIGKILL
        assert not (tmp_path / "killed" / "model.pt").exists()
        resume = ["--ckpt_path=last"]
    assert forked([*argv, *resume, f"--output={tmp_path / 'killed'}"])[0] == 0
    whole, again = weights(tmp_path / "whole"), weights(tmp_path / "killed")
    assert all(torch.equal(value, again[name]) for name, value in whole.items())
    first, second = (read_checkpoint(tmp_path / name / "checkpoints" / "last.ckpt") for name in ("whole", "killed"))
    assert all(torch.equal(value, second["state_dict"][name]) for name, value in first["state_dict"].items())
    moments, others = (content["optimizer_states"][0]["state"] for content in (first, second))
    assert all(torch.equal(state["exp_avg_sq"], others[place]["exp_avg_sq"]) for place, state in moments.items())
    assert first["global_step"] == second["global_step"]


def test_a_finished_training_goes_on_and_its_file_is_written_again(drops, trained, tmp_path):
    folder = tmp_path / "run"
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "checkpoints" / "last.ckpt").write_bytes((trained / "checkpoints" / "last.ckpt").read_bytes())
    train(options(drops, folder, "--ckpt_path=last"))  # killed between the last checkpoint and model.pt
    content = torch.load(folder / "model.pt", weights_only=True)
    assert content["training"]["steps"] == 4
    assert content["training"]["metrics"]["val/min_rate_ratio"] > 0
    assert all(torch.equal(value, weights(trained)[name]) for name, value in content["weights"].items())
    train(options(drops, folder, "--ckpt_path=last", "--trainer.max_steps=6"))
    assert torch.load(folder / "model.pt", weights_only=True)["training"]["steps"] == 6
    with pytest.raises(CheckpointError, match=r"step 6, beyond trainer\.max_steps=5"):
        train(options(drops, folder, "--ckpt_path=last", "--trainer.max_steps=5"))


def test_a_checkpoint_of_another_run_is_not_gone_on_from_as_the_last(drops, trained, tmp_path):
    folder = tmp_path / "run"
    train(options(drops, folder, "--trainer.max_steps=1"))
    (folder / "checkpoints" / "last.ckpt").write_bytes((trained / "checkpoints" / "last.ckpt").read_bytes())
    with pytest.raises(CheckpointError, match="another run"):
        train(options(drops, folder, "--ckpt_path=last"))


class Evil:
    def __reduce__(self):
        return print, ("unpickled",)


def pickled(_):
    return pickle.dumps(Evil())


def hostile(_):
    buffer = io.BytesIO()
    torch.save({"state_dict": Evil()}, buffer)
    return buffer.getvalue()


def compressed(data):
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as new:
        for item in old.infolist():
            new.writestr(item.filename, old.read(item) + b"\0" * 2**14)
    return buffer.getvalue()


def resaved(change):
    def make(data):
        content = torch.load(io.BytesIO(data), weights_only=True)
        change(content)
        buffer = io.BytesIO()
        torch.save(content, buffer)
        return buffer.getvalue()

    return make


def set_weight(content):
    name = next(iter(content["state_dict"]))
    content["state_dict"][name] = content["state_dict"][name] * torch.nan


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda data: data[: len(data) // 2], "no whole checkpoint"),
        (lambda _: b"", "no whole checkpoint"),
        (pickled, "no whole checkpoint"),
        (hostile, "no whole checkpoint"),
        (compressed, "no whole checkpoint"),
        (resaved(lambda content: content.pop("loops")), "not the checkpoint"),
        (resaved(lambda content: content.update(global_step="7")), "not the checkpoint"),
        (resaved(lambda content: content["state_dict"].popitem()), "another network"),
        (resaved(set_weight), "not finite"),
        (resaved(lambda content: content["optimizer_states"].clear()), "not the checkpoint"),
        (resaved(lambda content: content["lr_schedulers"].clear()), "not the checkpoint"),
        (resaved(lambda content: content["loops"].pop("fit_loop")), "cannot go on"),
        (resaved(lambda content: content["callbacks"]["Keeper"].pop("best")), "cannot go on"),
    ],
)  # fmt: skip
def test_what_is_no_checkpoint_is_refused_in_one_line(drops, trained, tmp_path, damage, says, capsys):
    path = tmp_path / "x.ckpt"
    path.write_bytes(damage((trained / "checkpoints" / "last.ckpt").read_bytes()))
    with pytest.raises(CheckpointError, match=says) as caught:
        train(options(drops, tmp_path / "out", f"--ckpt_path={path}", "--trainer.max_steps=8"))
    assert "\n" not in str(caught.value)
    assert "unpickled" not in capsys.readouterr().out
    assert not (tmp_path / "out" / "model.pt").exists()


def test_another_width_and_model_pt_are_named(drops, trained, tmp_path):
    for more, says in (
        (["--model.network.hidden=12", f"--ckpt_path={trained}/checkpoints/last.ckpt"], "hidden=12, the checkpoint has 8"),
        ([f"--ckpt_path={trained}/model.pt"], "the weights alone"),
    ):
        with pytest.raises(CheckpointError, match=says):
            train(options(drops, tmp_path / "out", *more))
        assert not (tmp_path / "out").exists()


def test_a_full_disk_keeps_the_old_checkpoint(tmp_path, monkeypatch):
    path = tmp_path / "last.ckpt"
    WholeCheckpoints().save_checkpoint({"old": 1}, path)
    monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OutputError, match="No space left"):
        WholeCheckpoints().save_checkpoint({"new": 2}, path)
    assert torch.load(path, weights_only=True) == {"old": 1}
    assert [item.name for item in tmp_path.iterdir()] == ["last.ckpt"]
