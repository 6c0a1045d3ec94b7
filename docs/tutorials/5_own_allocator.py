# %% [markdown]
# # Write an allocator of your own and compare it
#
# An allocator is anything with `propose(problem) -> Proposal`, or just a function from the problem to powers. The benchmark
# finds it by `module:Name`; in this notebook the module is `__main__`. [Your own parts](../own.md) explains networks and
# channels too.

# %%
import tempfile
from dataclasses import dataclass

import matplotlib.pyplot as plt
import torch

import isac_torch as it
from isac_torch.evaluation.run import evaluate


@dataclass(frozen=True)
class WeakestFirst:
    """Raise the share of the UE that is worst off, a few times; links of targets keep a fixed share of each budget."""

    rounds: int = 60
    step: float = 0.05
    name: str = "weakest_first"
    gap: float = 0.0

    def propose(self, problem: it.MaxMinSinrProblem) -> it.Proposal:
        """Powers of every link, W, [drop, link]."""
        weight = torch.ones_like(problem.link_budget)
        for _ in range(self.rounds):
            sinr = problem.sinr(self.powers(problem, weight))
            worse = (sinr / sinr.mean(-1, keepdim=True)).pow(-self.step).repeat_interleave(problem.serving, -1)
            weight = torch.cat([weight[:, : problem.num_comm_links] * worse, weight[:, problem.num_comm_links :]], -1)
        return it.Proposal(self.powers(problem, weight))

    @staticmethod
    def powers(problem: it.MaxMinSinrProblem, weight: torch.Tensor) -> torch.Tensor:
        """Every AP divides its budget in proportion to the weights of its links, W."""
        return weight / problem.ap_load(weight).gather(1, problem.link_ap) * problem.link_budget


# %% [markdown]
# Try it on a few drops first. `allocate` says what the powers are worth and whether they keep all constraints.

# %%
scenario = it.TrackingScenario.of_size("8x6x2", sir_min_db=-10.0)
problem = it.power_problem(scenario.sample(16, generator=torch.Generator().manual_seed(2)), scenario)
mine, uniform = it.allocate(problem, WeakestFirst()), it.allocate(problem, it.Fractional())
print("smallest SINR over that of uniform power:", [round(float(x), 2) for x in mine.value / uniform.value])

# %%
names = ["upc", "__main__:WeakestFirst", "first_order", "opc_batched"]
summary = evaluate(scenario, names, num_drops=60, seed=1, output=tempfile.mkdtemp(), sensed_drops=0)
rows = summary["allocators"]

# %% [markdown]
# The ratio is the smallest rate of a drop over that of the certified optimum; the strict one has 0 for every drop that
# breaks a constraint.

# %%
figure, axis = plt.subplots(figsize=(7, 3.5), layout="constrained")
labels = [name.partition(":")[2] or name for name in names]
for offset, key, label in ((-0.2, "min_rate_ratio_mean", "ratio"), (0.2, "min_rate_ratio_valid_mean", "strict ratio")):
    axis.bar([i + offset for i in range(len(names))], [rows[name][key] for name in names], width=0.4, label=label)
axis.set_xticks(range(len(names)), labels)
axis.set(ylabel="smallest rate / optimum's", ylim=(0, 1.05))
axis.legend()
plt.show()

# %%
assert rows["upc"]["min_rate_ratio_mean"] < rows["__main__:WeakestFirst"]["min_rate_ratio_mean"] <= 1.0
