# %% [markdown]
# # Deploy: bundle, HTTP, latency
#
# A *bundle* is a folder with the network as an ONNX graph and a card that says what it was trained on. Nothing here needs
# torch: numpy and onnxruntime answer. One bundle comes with the package.

# %%
import json
import subprocess
import sys
import time
import urllib.request

import matplotlib.pyplot as plt
import numpy as np

import isac_torch as it
from isac_torch.deployment.files import encode_json

random = np.random.default_rng(1)


def network(num_ues: int = 16, num_targets: int = 4) -> it.Snapshot:
    """A random network of 12 transmit and 4 receive APs on a square of 700 m."""

    def places(count: int, low: float, high: float) -> np.ndarray:
        return np.concatenate([random.uniform(0, 700, (count, 2)), random.uniform(low, high, (count, 1))], 1)

    return it.Snapshot(
        tx_position=places(12, 10, 10),
        tx_orientation=random.uniform(0, 2 * np.pi, 12),
        rx_position=places(4, 10, 10),
        ue_position=places(num_ues, 1.65, 1.65),
        target_position=places(num_targets, 20, 100),
    )


allocator = it.DeployedAllocator.load()
answer = allocator(network())
print(f"{len(answer.power)} links, answered by the {answer.path}; smallest SINR {10 * np.log10(answer.sinr.min()):.1f} dB")

# %% [markdown]
# Every answer says how it was found: by the network, by the network and a repair, or by a fallback. Whatever the network
# says, powers never exceed a budget. How long does an answer take, from positions to checked powers?

# %%
sizes = (4, 8, 16, 24)
times = {}
for ues in sizes:
    snapshots = [network(ues) for _ in range(12)]
    allocator(snapshots[0])
    marks = [time.perf_counter()]
    for snapshot in snapshots:
        allocator(snapshot)
        marks.append(time.perf_counter())
    times[ues] = 1e3 * np.diff(marks)
figure, axis = plt.subplots(figsize=(7, 3.5), layout="constrained")
axis.boxplot(list(times.values()), tick_labels=[str(ues) for ues in sizes])
axis.set(xlabel="UEs (12 transmit APs, 4 targets)", ylabel="one answer, ms", ylim=(0, None))
axis.grid(alpha=0.3)
plt.show()

# %% [markdown]
# The same over HTTP. In a terminal: `isac-torch serve shipped`. The server here takes a free port and says which.

# %%
command = [sys.executable, "-m", "isac_torch.console", "serve", "shipped", "--port", "0"]
server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
try:
    line = next(line for line in server.stdout if "http://" in line)
    address = next(word for word in line.split() if word.startswith("http://")).rstrip("/.,;()")
    request = urllib.request.Request(
        f"{address}/allocate", encode_json([network(), network(8)]), {"content-type": "application/json"}
    )
    with urllib.request.urlopen(request) as reply:
        drops = json.load(reply)["drops"]
finally:
    server.terminate()
    server.wait()
for drop in drops:
    print(f"{len(drop['power'])} links by the {drop['path']} in {drop['milliseconds']:.1f} ms, {sum(drop['power']):.1f} W")

# %%
assert len(drops) == 2 and all(np.isfinite(drop["power"]).all() for drop in drops)
