# %% [markdown]
# # Your own site: from positions and gains to powers
#
# A site is a table of positions: in degrees of latitude and longitude, or in metres. Measured or ray-traced gains between
# UEs and APs are a second table, in dB. Both become a *snapshot*, the description of one network that a deployed allocator
# takes.

# %%
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import isac_torch as it
from isac_torch.cli import main
from isac_torch.deployment.files import read_snapshots

folder = Path(tempfile.mkdtemp())
(folder / "sites.csv").write_text("""name,kind,x,y,height,orientation_deg
north-west,tx,0,300,12,315
north-east,tx,300,300,12,225
south-west,tx,0,0,12,45
south-east,tx,300,0,12,135
roof,rx,150,150,20,90
UE 1,ue,40,60,1.65,
UE 2,ue,250,80,1.65,
UE 3,ue,120,240,1.65,
drone 1,target,200,200,60,
drone 2,target,80,120,40,
""")
(folder / "gains.csv").write_text("""-118,-121,-92,-112,-104
-124,-110,-115,-94,-108
-98,-112,-116,-122,-103
""")

# %% [markdown]
# A row of the gains is a UE, a column an AP, in the order of the table of sites. Without `--gains_db` the path loss of [the
# physics page](../physics.md) takes their place.

# %%
output = folder / "network.json"
assert main(["import-geometry", f"{folder}/sites.csv", "--gains_db", f"{folder}/gains.csv", "--output", str(output)]) == 0
(snapshot,) = read_snapshots(output)
answer = it.DeployedAllocator.load()(snapshot)
print(f"answered by the {answer.path}; {answer.milliseconds:.1f} ms; {answer.reason}")
print("SINR of the UEs, dB:", np.round(10 * np.log10(answer.sinr), 1))
print("power of each AP, W:", np.round(np.bincount(answer.link_ap, answer.power, minlength=4), 3))

# %%
figure, axis = plt.subplots(figsize=(6, 6), layout="constrained")
place = {"ue": snapshot.ue_position, "target": snapshot.target_position}
for ap, kind, index, power in zip(answer.link_ap, answer.owner_kind, answer.owner_index, answer.power, strict=True):
    start, end = snapshot.tx_position[ap], place[kind][index]
    colour = "tab:blue" if kind == "ue" else "tab:orange"
    axis.plot([start[0], end[0]], [start[1], end[1]], color=colour, linewidth=5 * float(power) ** 0.5, alpha=0.7)
for points, marker, label in (
    (snapshot.tx_position, "^", "transmit AP"),
    (snapshot.rx_position, "v", "receive AP"),
    (snapshot.ue_position, "o", "UE"),
    (snapshot.target_position, "*", "target"),
):
    axis.scatter(points[:, 0], points[:, 1], marker=marker, s=80, label=label, zorder=3)
axis.set(xlabel="x, m", ylabel="y, m", title="Powers at the site (width: square root of the power)", aspect="equal")
axis.legend()
plt.show()

# %%
assert bool((np.bincount(answer.link_ap, answer.power) <= 2.0 * (1 + 1e-6)).all())
