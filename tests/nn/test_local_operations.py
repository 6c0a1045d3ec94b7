"""Operations of a policy at the APs: what torch multiplies, and what the sets of drawn networks say."""

import torch
from torch.testing import assert_close

from isac_torch import TrackingScenario, power_problem
from isac_torch.evaluation.studies.operation_counter import OperationCounter
from isac_torch.nn.tracking.local_network import DistributedNetwork
from isac_torch.nn.tracking.local_operations import drawn_sets, expected_sets, operations
from isac_torch.propagation.geometry import distance
from isac_torch.tracking.local.rounds import neighbourhoods, on_common_scale

SCENARIO = TrackingScenario(num_aps=10, num_ues=7, num_targets=3, pilot_length=4, serving_aps=3, sensing_aps=2)


def test_the_aps_together_multiply_what_torch_multiplies() -> None:
    """But for the means of each AP's links, which torch takes as a product with zeros and ones, and what the air adds up."""
    drop = SCENARIO.sample(2, generator=torch.Generator().manual_seed(1))
    problem = on_common_scale(power_problem(drop, SCENARIO))
    policy = DistributedNetwork(hidden=16, floats=3, prices=1, layers=2).double()
    known, found = neighbourhoods(problem), operations(policy, drawn_sets(problem))
    with OperationCounter() as start:
        state = policy.begin(problem, known)
    with OperationCounter() as round_one:
        policy.advance(problem, known, state, 0)
    mean = 2 * problem.num_aps * problem.num_links * 16
    air = 2 * 7 * (problem.num_links + 7 * 3)
    assert float(found.once.sum()) + 2 * mean == start.products
    assert float(found.each_round.sum()) + mean + air == round_one.products


def test_sets_of_drawn_networks_and_of_the_mean_ap() -> None:
    drop = SCENARIO.sample(3, generator=torch.Generator().manual_seed(2))
    problem, hears = power_problem(drop, SCENARIO), distance(drop.ue_position, drop.tx_position) <= 200.0
    everyone, some = drawn_sets(problem), drawn_sets(problem, hears)
    mean = expected_sets((SCENARIO.transmit_aps, 7, 3), (3, 2), 1.0, 3.0)
    for name in ("serving", "sensing", "heard", "ues", "targets"):
        assert_close(getattr(everyone, name).mean(), getattr(mean, name).mean())
    for d in range(3):
        for m in range(SCENARIO.transmit_aps):
            served = (drop.serving_ap[d] == m).any(-1)
            assert int(some.heard[d, m]) == int((hears[d, :, m] | served).sum())
            assert int(some.serving[d, m]) == int(served.sum())
    assert bool(
        (operations(DistributedNetwork(), some).of_rounds(4) <= operations(DistributedNetwork(), everyone).of_rounds(4)).all()
    )
