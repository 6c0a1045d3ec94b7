# %% [markdown]
# # A first allocation and its certificate
#
# Sixteen access points (APs) serve users (UEs) and illuminate targets. How much power does each AP give to each of them?
# This notebook draws eight random networks, computes the optimal powers, and shows how the result proves that they are
# optimal.

# %%
import matplotlib.pyplot as plt
import torch

import isac_torch as it

scenario = it.TrackingScenario.of_size("16x16x4", sir_min_db=-5.0)  # 16 APs, 16 UEs, 4 targets; required SIR in dB
drop = scenario.sample(8, generator=torch.Generator().manual_seed(1))  # 8 networks; positions in m
problem = it.power_problem(drop, scenario)
print(f"{problem.num_drops} drops, {problem.num_aps} transmit APs, {problem.num_links} links")

# %% [markdown]
# Every allocator answers through `allocate`, which judges the powers by the constraints of the problem itself. The value of
# an allocation is the smallest SINR of a drop. The *upper bound* is a number that no allowed powers exceed; the *gap* is
# the relative distance between the two. A gap below the tolerance of the allocator is a proof: the status is then
# `OPTIMAL`.

# %%
best = it.allocate(problem, it.BatchedOptimal(gap=1e-3))
uniform = it.allocate(problem, it.Fractional())
print("status     smallest SINR   upper bound   gap      uniform power")
for i in range(problem.num_drops):
    name = it.Status(int(best.status[i])).name
    print(f"{name:10s} {best.value[i]:13.3f} {best.upper_bound[i]:13.3f} {best.gap[i]:8.1e} {uniform.value[i]:13.3f}")

# %% [markdown]
# The map shows one network from above. A line is a link, and its width grows with the square root of its power: most of the
# power goes to UEs at the edge, and the targets get just what their sensing constraint asks for.

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(11, 5), layout="constrained")
links = problem.num_comm_links
ends = torch.cat([drop.ue_position[0].repeat_interleave(problem.serving, 0), drop.target_position[0].repeat_interleave(4, 0)])
for link, (ap, end, power) in enumerate(zip(problem.link_ap[0], ends, best.power[0], strict=True)):
    start = drop.tx_position[0, ap]
    colour = "tab:blue" if link < links else "tab:orange"
    left.plot([start[0], end[0]], [start[1], end[1]], color=colour, linewidth=4 * float(power) ** 0.5, alpha=0.7)
for name, marker, label in (
    ("tx_position", "^", "transmit AP"),
    ("rx_position", "v", "receive AP"),
    ("ue_position", "o", "UE"),
    ("target_position", "*", "target"),
):
    place = getattr(drop, name)[0]
    left.scatter(place[:, 0], place[:, 1], marker=marker, label=label, s=50, zorder=3)
left.set(xlabel="x, m", ylabel="y, m", title="Optimal powers of the first drop", aspect="equal")
left.legend(fontsize=8)
for result, label in ((best, "optimum"), (uniform, "uniform power")):
    right.plot(10 * problem.sinr(result.power)[0].log10().sort().values, label=label, marker=".")
right.set(xlabel="UE, weakest first", ylabel="SINR, dB", title="The optimum lifts the weakest UEs to one common SINR")
right.grid(alpha=0.3)
right.legend()
plt.show()

# %%
assert bool((best.violation <= 1e-6).all() and (best.gap <= 1e-3).all())
