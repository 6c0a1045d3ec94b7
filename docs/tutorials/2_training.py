# %% [markdown]
# # Train a network and read its curves
#
# The commands `generate`, `train` and `evaluate` do the work; here they are called from Python with small sizes, so that
# the notebook takes about a minute. In a terminal the same lines begin with `isac-torch`.

# %%
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from isac_torch.cli import main
from isac_torch.evaluation.run import evaluate
from isac_torch.tracking.scenario import TrackingScenario

folder = Path(tempfile.mkdtemp())
size = ["--scenario.num_aps", "8", "--scenario.num_ues", "6", "--scenario.num_targets", "2"]
drops = ["--num_drops", "240", "--shard_size", "40", "--seed", "1", "--workers", "1", "--output", f"{folder}/drops"]
assert main(["generate", *size, *drops]) == 0

# %% [markdown]
# Every drop is stored with the powers of the certified optimum. The network starts by imitating them and then raises the
# smallest rate itself (`hybrid`).

# %%
command = ["train", "--config", "demo/train", "--data.init_args.path", f"{folder}/drops", "--output", f"{folder}/training"]
command += ["--model.network.hidden", "16", "--model.network.steps", "4"]
command += ["--data.init_args.batch_size", "32", "--trainer.max_steps", "80"]
command += ["--trainer.val_check_interval", "5", "--trainer.log_every_n_steps", "2", "--trainer.enable_progress_bar", "false"]
assert main(command) == 0

# %% [markdown]
# The curves are TensorBoard files: `tensorboard --logdir FOLDER` shows them in a browser. The same numbers as a picture:

# %%
events = EventAccumulator(str(folder / "training" / "logs"))
events.Reload()
figure, axes = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
for axis, tag, label in ((axes[0], "train/loss", "training loss"), (axes[1], "val/min_rate_ratio", "rate / optimum's")):
    points = events.Scalars(tag)
    axis.plot([point.step for point in points], [point.value for point in points])
    axis.set(xlabel="step", ylabel=label)
    axis.grid(alpha=0.3)
axes[1].set_title("Smallest rate over that of the optimum, validation drops")
plt.show()

# %%
scenario = TrackingScenario(num_aps=8, num_ues=6, num_targets=2)
summary = evaluate(
    scenario,
    ["upc", "gnn", "opc_batched"],
    num_drops=40,
    seed=900_000,
    output=folder / "table",
    checkpoint=folder / "training" / "model.pt",
    sensed_drops=0,
)
ratio = {name: row["min_rate_ratio_mean"] for name, row in summary["allocators"].items()}
print({name: round(value, 3) for name, value in ratio.items()})
assert ratio["upc"] < ratio["gnn"] <= ratio["opc_batched"]
