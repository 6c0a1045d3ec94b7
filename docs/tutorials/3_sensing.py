# %% [markdown]
# # Requirements beyond the sensing SIR
#
# The sensing SIR of the paper compares the echo of a target with the echoes of the other targets only. Powers that just
# meet it can leave the radar with little energy over clutter and noise. The requirement `dominate` asks for more: sense at
# least as well as uniform power, in scan cells, in the SICNR of every target and in its position information.

# %%
from dataclasses import replace

import matplotlib.pyplot as plt
import torch

import isac_torch as it
from isac_torch.sensing.glrt import Glrt
from isac_torch.sensing.quality import assess
from isac_torch.tracking.communication import rate

scenario = it.TrackingScenario.of_size("16x16x4")
drop = scenario.sample(6, generator=torch.Generator().manual_seed(3))
paper = it.power_problem(drop, replace(scenario, sir_min_db=-6.0))
careful = it.power_problem(drop, replace(scenario, requirement=it.Requirement("dominate")))

# %%
powers = {
    "uniform": it.allocate(paper, it.Fractional()).power,
    "optimum under the SIR": it.allocate(paper, it.BatchedOptimal()).power,
    "optimum under dominate": it.allocate(careful, it.BatchedOptimal()).power,
}

# %% [markdown]
# Now the radar itself judges: blocks with true echoes, clutter and noise are drawn, and a likelihood-ratio test looks for
# every target. The SICNR is the energy of the target's echo after the test, over everything else that is left. The
# requirement holds for expected echoes, so drawn blocks may lie a little on either side.

# %%
test, rows = Glrt("paper"), {}
for name, power in powers.items():
    report = assess(drop, scenario, scenario.sensing, power, test, num_blocks=2, seed=5, with_miss=True)
    rows[name] = (rate(paper.objective(power), scenario) / 1e6, 10 * report.quality.ratio.log10(), report.miss, power.sum(-1))
print("powers                    smallest rate, Mbit/s   mean SICNR, dB   targets missed   power, W")
for name, (smallest, sicnr, miss, watts) in rows.items():
    print(f"{name:24s} {smallest.mean():22.2f} {sicnr.mean():16.2f} {miss.mean():16.1%} {watts.mean():10.1f}")

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
for name, (smallest, sicnr, _, _) in rows.items():
    values = sicnr.flatten().sort().values
    left.plot(values, torch.linspace(0, 1, len(values)), label=name)
    right.plot(smallest.sort().values, marker="o", label=name)
left.set(xlabel="SICNR of a target, dB", ylabel="share of targets below")
right.set(xlabel="drop, in order of its smallest rate", ylabel="smallest rate, Mbit/s")
for axis in (left, right):
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8)
plt.show()

# %%
smallest, sicnr = {name: row[0] for name, row in rows.items()}, {name: row[1].mean() for name, row in rows.items()}
assert bool((smallest["optimum under dominate"] >= smallest["uniform"]).all())
assert sicnr["optimum under dominate"] > sicnr["optimum under the SIR"]
