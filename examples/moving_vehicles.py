"""Vehicles that move: pilots and powers chosen anew for every update, echoes simulated, positions estimated and filtered.

    python examples/moving_vehicles.py --roads 20 --updates 30 --png moving.png

Every 0.1 s the APs predict where the vehicles are, choose how many pilot symbols a frame has and the powers of pilots and
data for these places, by the learned policy for the largest smallest net rate under the localisation bound, and estimate
positions from the echoes of 200 frames that are added up. The picture compares the errors with the Cramer-Rao bound: over the
number of frames that are added up, which shows from where on an estimator comes close to the bound at all, and over time;
and it shows the pilot symbols chosen, and the net rate over that of 10 downlink and 10 uplink pilot symbols.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch
from torch import Tensor

import isac_torch as it
from isac_torch.allocators.downlink_pilots.frame import FramePlan, fixed_frame
from isac_torch.allocators.downlink_pilots.frame_policy import load_scorer, policy_frame
from isac_torch.downlink_pilots.drop import DownlinkPilotDrop, build_drops
from isac_torch.downlink_pilots.echoes import flat_waveform, simulate_echoes
from isac_torch.downlink_pilots.estimators import maximum_likelihood, tdoa
from isac_torch.downlink_pilots.kalman import Track
from isac_torch.downlink_pilots.localisation import error_covariance

SCENARIO = it.DownlinkPilotScenario(num_ues=2)
SECONDS = 0.1
FRAMES = 200
WAVEFORM = flat_waveform(SCENARIO, 128)
POLICY = load_scorer()


def road(position: Tensor) -> DownlinkPilotDrop:
    """The road with vehicles at `position` (m), without shadowing."""
    return build_drops(SCENARIO, position, position.new_zeros(*position.shape[:2], SCENARIO.num_aps))


def plan_at(position: Tensor) -> FramePlan:
    """Pilot lengths and powers for the largest smallest net rate at `position` (m) that meet the localisation bound."""
    return policy_frame(road(position), SCENARIO, POLICY)


def sensing_power(plan: FramePlan, otherwise: Tensor) -> Tensor:
    """Powers (W) that give pilots of the scenario's length the energy of the plan's; `otherwise` where there is no plan."""
    power = plan.power * (plan.downlink / SCENARIO.downlink_symbols)[:, None]
    return torch.where(plan.feasible[:, None], power, otherwise)


def rms(error: Tensor) -> float:
    """Root mean square of position errors (m)."""
    return float(error.square().sum(-1).mean().sqrt())


def drive(roads: int, updates: int, number: torch.Generator) -> list[dict[str, float]]:
    """After every update: errors (m), the bound (m), pilot symbols per frame, and the net rate over that of a fixed frame."""
    start = torch.rand(roads, 2, 2, generator=number, dtype=torch.float64) * torch.tensor([60.0, 50.0]) + torch.tensor(
        [20.0, 25.0]
    )
    speed = torch.tensor([[25.0, 0.0], [18.0, 0.0]], dtype=torch.float64).expand(roads, 2, 2)
    track = Track(torch.cat([start, speed], -1), torch.diag(torch.tensor([4.0, 4.0, 9.0, 9.0])).double().expand(roads, 2, 4, 4))
    truth, rows = start, []
    power = it.allocate(it.power_problem(road(start), SCENARIO), it.BatchedMinMaxNmse(max_boxes=0)).power
    for update in range(1, updates + 1):
        truth = truth + SECONDS * speed
        here = road(truth)
        track = track.predicted(SECONDS)
        plan, fixed = plan_at(track.position), fixed_frame(road(track.position), SCENARIO)
        power = sensing_power(plan, power)
        echo = simulate_echoes(here, SCENARIO, power, WAVEFORM, number, FRAMES)
        seen = maximum_likelihood(echo, here.ap_position, SCENARIO, WAVEFORM)
        track = track.updated(seen, error_covariance(road(seen), SCENARIO, power, FRAMES))
        bound = error_covariance(here, SCENARIO, power, FRAMES).diagonal(dim1=-2, dim2=-1).sum(-1)
        both = plan.feasible & fixed.feasible
        rows.append(
            {
                "seconds": update * SECONDS,
                "ml_m": rms(seen - truth),
                "filter_m": rms(track.position - truth),
                "bound_m": float(bound.mean().sqrt()),
                "downlink": float(plan.downlink[plan.feasible].double().mean()),
                "uplink": float(plan.uplink[plan.feasible].double().mean()),
                "rate_gain": float((plan.rate / fixed.rate)[both].mean()),
            }
        )
    return rows


def sweep(roads: int, number: torch.Generator) -> list[dict[str, float]]:
    """Errors (m) of both estimators and the bound against the number of frames that are added up."""
    drop = SCENARIO.sample(roads, generator=number)
    power = it.allocate(it.power_problem(drop, SCENARIO), it.BatchedMinMaxNmse(max_boxes=0)).power
    rows = []
    for frames in (1, 3, 10, 30, 100, 300, 1000):
        echo = simulate_echoes(drop, SCENARIO, power, WAVEFORM, number, frames)
        bound = error_covariance(drop, SCENARIO, power, frames).diagonal(dim1=-2, dim2=-1).sum(-1)
        row = {"frames": float(frames), "bound_m": float(bound.mean().sqrt())}
        for name, estimator in (("ml_m", maximum_likelihood), ("tdoa_m", tdoa)):
            row[name] = rms(estimator(echo, drop.ap_position, SCENARIO, WAVEFORM) - drop.ue_position)
        rows.append(row)
    return rows


def draw(path: Path, over_frames: list[dict[str, float]], over_time: list[dict[str, float]]) -> None:
    """Both comparisons and the frames chosen as one picture."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11.5, 3.4), dpi=130, layout="constrained")
    left, right, frame = figure.subplots(1, 3)
    styles = {
        "bound_m": ("bound", "#000000", ":"),
        "ml_m": ("maximum likelihood", "#0072B2", "-"),
        "tdoa_m": ("TDOA", "#D55E00", "--"),
        "filter_m": ("Kalman filter on top", "#009E73", "-."),
    }
    for axes, rows, x in ((left, over_frames, "frames"), (right, over_time, "seconds")):
        for key, (label, colour, dash) in styles.items():
            if key in rows[0]:
                axes.plot([row[x] for row in rows], [row[key] for row in rows], dash, color=colour, label=label)
        axes.set(yscale="log", ylabel="rms position error (m)")
        axes.grid(alpha=0.3, linewidth=0.5)
        axes.legend(fontsize=7)
    left.set(xscale="log", xlabel="frames added up")
    right.set(xlabel=f"time (s), {FRAMES} frames added up every {SECONDS:g} s")
    seconds = [row["seconds"] for row in over_time]
    for key, label, colour, dash in (
        ("downlink", "downlink pilot symbols", "#0072B2", "-"),
        ("uplink", "uplink pilot symbols", "#D55E00", "--"),
        ("rate_gain", "net rate / that of 10 + 10 pilot symbols", "#009E73", "-."),
    ):
        frame.plot(seconds, [row[key] for row in over_time], dash, color=colour, label=label)
    frame.set(xlabel="time (s)", ylabel="mean over the roads", ylim=(0.0, None))
    frame.grid(alpha=0.3, linewidth=0.5)
    frame.legend(fontsize=7)
    figure.savefig(path)


def main() -> None:
    """Run both comparisons, print them, draw them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--roads", type=int, default=20, help="roads that are driven at once")
    parser.add_argument("--updates", type=int, default=30, help="updates of 0.1 s")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--png", type=Path, help="picture to write")
    options = parser.parse_args()
    torch.set_num_threads(1)
    number = torch.Generator().manual_seed(options.seed)
    over_frames, over_time = sweep(options.roads, number), drive(options.roads, options.updates, number)
    for rows in (over_frames, over_time):
        sys.stdout.write("  ".join(f"{key:>9}" for key in rows[0]) + "\n")
        for row in rows:
            sys.stdout.write("  ".join(f"{value:9.3f}" for value in row.values()) + "\n")
    if options.png is not None:
        draw(options.png, over_frames, over_time)


if __name__ == "__main__":
    main()
