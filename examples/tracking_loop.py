"""Moving targets followed with power control in the loop: a table, tracking.csv and tracking.png.

python examples/tracking_loop.py --output runs/tracking --allocators upc opc_batched first_order
python examples/tracking_loop.py --output runs/tracking --num_worlds 2 --num_steps 6
"""

import argparse
from pathlib import Path

from isac_torch.evaluation.studies.tracking_loop import Loop
from isac_torch.evaluation.studies.tracking_report import report
from isac_torch.tracking.scenario import TrackingScenario


def main() -> None:
    """Run the loop for every allocator on the same worlds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--allocators", nargs="+", default=["upc", "opc_batched", "first_order"])
    parser.add_argument("--checkpoint", type=Path, help="weights of gnn")
    parser.add_argument("--num_worlds", type=int, default=4)
    parser.add_argument("--num_steps", type=int, default=24)
    parser.add_argument("--sicnr_min_db", type=float, help="ask for this expected SICNR instead of the scenario's SIR0")
    options = parser.parse_args()
    scenario = TrackingScenario(listening_aps=2)
    loop = Loop(num_worlds=options.num_worlds, num_steps=options.num_steps, sicnr_min_db=options.sicnr_min_db)
    report(options.output, scenario, loop, options.allocators, options.checkpoint)


if __name__ == "__main__":
    main()
