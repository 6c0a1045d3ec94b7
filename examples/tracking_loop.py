"""Moving targets followed with power control in the loop: a table with standard errors, tracking.csv and tracking.png.

python examples/tracking_loop.py --output runs/tracking --allocators upc opc_dominate opc_batched --num_worlds 24 --workers 2
python examples/tracking_loop.py --output runs/tracking --num_worlds 2 --num_steps 6

An interrupted run goes on where it stopped: every world has a file of its own in the output folder.
"""

import argparse
from pathlib import Path

from isac_torch.evaluation.studies.tracking_report import report
from isac_torch.evaluation.studies.worlds import Loop
from isac_torch.tracking.scenario import TrackingScenario


def main() -> None:
    """Run the loop for every contender in the same worlds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--allocators", nargs="+", default=["upc", "opc_batched", "first_order"])
    parser.add_argument("--checkpoint", type=Path, help="weights of gnn")
    parser.add_argument("--num_worlds", type=int, default=4)
    parser.add_argument("--num_steps", type=int, default=24)
    parser.add_argument("--seed", type=int, default=Loop.seed, help="world i is drawn from seed + i")
    parser.add_argument("--search_beams", type=int, default=0, help="beams that always search, beside one for each target")
    parser.add_argument("--workers", type=int, default=1, help="processes; the results do not depend on them")
    options = parser.parse_args()
    loop = Loop(options.num_worlds, options.num_steps, seed=options.seed, search_beams=options.search_beams)
    scenario = TrackingScenario(listening_aps=2)
    report(options.output, scenario, loop, options.allocators, options.checkpoint, options.workers)


if __name__ == "__main__":
    main()
