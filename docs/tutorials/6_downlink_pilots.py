# %% [markdown]
# # Downlink pilots that also locate
#
# In the second system, APs along a road send pilots to vehicles. The pilots serve twice: the vehicles estimate their
# channels from them, and the echoes tell the APs where the vehicles are. The question is how much pilot power each AP gives
# to each vehicle, so that the worst channel estimate is as good as possible while every vehicle is located well enough.

# %%
from dataclasses import replace

import matplotlib.pyplot as plt
import torch

import isac_torch as it

scenario = it.DownlinkPilotScenario(num_aps=8, num_ues=2, downlink_symbols=10)
drop = scenario.sample(12, generator=torch.Generator().manual_seed(4))
problem = it.power_problem(drop, scenario)

# %% [markdown]
# `nmse` is the error of the channel estimate over the power of the channel, `crb` the bound on the squared position error
# in m2, and `Gamma` (`crb_max`) the largest bound that is allowed.

# %%
full = it.allocate(problem, it.named_allocator("full", system="downlink_pilots"))
best = it.allocate(problem, it.BatchedMinMaxNmse())
for name, result in (("full power", full), ("optimum", best)):
    nmse, crb = problem.nmse(result.power), problem.crb(result.power)
    status = [it.Status(int(s)).name for s in result.status.unique()]
    print(f"{name:11s} worst NMSE {10 * nmse.amax(-1).log10().mean():6.2f} dB, largest CRB {crb.max():.3f} m2, {status}")

# %% [markdown]
# A tighter Gamma costs estimation quality: the APs must send power where it locates, not where it helps the estimate. Below
# some Gamma a drop becomes infeasible, which the allocator proves.

# %%
limits = [1.0, 0.7, 0.5, 0.4, 0.3, 0.25, 0.2, 0.15]
worst, reached = [], []
for limit in limits:
    tight = it.power_problem(drop, replace(scenario, crb_max=limit))
    found = it.allocate(tight, it.BatchedMinMaxNmse())
    usable = found.status <= it.Status.FEASIBLE
    reached.append(float(usable.double().mean()))
    worst.append(10 * tight.nmse(found.power).amax(-1)[usable].log10().mean() if bool(usable.any()) else float("nan"))

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
left.plot(limits, worst, marker="o")
left.set(xlabel="Gamma, m2", ylabel="worst NMSE, dB, mean over feasible drops", title="What localisation costs")
twin = left.twinx()
twin.plot(limits, reached, color="tab:orange", linestyle="--")
twin.set(ylabel="share of feasible drops (dashed)", ylim=(0, 1.05))
right.scatter(*drop.ap_position[0].T, marker="^", s=80, label="AP")
right.scatter(*drop.ue_position[0].T, marker="s", s=80, label="vehicle")
for link, power in enumerate(best.power[0]):
    ap, ue = int(problem.link_ap[0, link]), link // problem.num_aps
    ends = torch.stack([drop.ap_position[0, ap], drop.ue_position[0, ue]])
    right.plot(*ends.T, color=f"C{2 + ue}", linewidth=12 * float(power) ** 0.5, alpha=0.6, zorder=0)
right.set(xlabel="along the road, m", ylabel="across, m", title="Optimal pilot powers of one road")
right.legend()
plt.show()

# %%
assert bool((best.value >= full.value * (1 - 1e-6))[best.status <= it.Status.FEASIBLE].all())
