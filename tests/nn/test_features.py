"""What each FEATURE_VERSION means, number by number: features that change without a new version would feed old weights
something else. After a deliberate change raise the version and add its numbers, which the failing test prints."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from isac_torch.downlink_pilots.build import power_problem as pilot_problem
from isac_torch.downlink_pilots.graph import FEATURE_VERSION as PILOT_VERSION
from isac_torch.downlink_pilots.graph import link_graph as pilot_graph
from isac_torch.downlink_pilots.scenario import DownlinkPilotScenario
from isac_torch.nn.downlink_pilots import network as pilot_network
from isac_torch.nn.downlink_pilots.shares import start_logits as pilot_start
from isac_torch.nn.tracking import one_shot, share_network, shares
from isac_torch.nn.tracking.dense import DenseProblem
from isac_torch.nn.tracking.prices import priced_point
from isac_torch.tracking.build import power_problem
from isac_torch.tracking.graph import FEATURE_VERSION, link_graph
from isac_torch.tracking.problem import MaxMinSinrProblem
from isac_torch.tracking.requirement import Requirement
from isac_torch.tracking.scenario import TrackingScenario
from isac_torch.tracking.share_problem import ShareProblem


def column_marks(value):
    """Two numbers a column that see its scale, its offset and the order of its entries."""
    flat = value.double().flatten(0, -2)
    place = torch.arange(1, len(flat) + 1, dtype=torch.float64)[:, None].cos()
    return torch.cat([flat.mean(0), (flat * place).mean(0)]).tolist()


def tracking_problem() -> MaxMinSinrProblem:
    scenario = TrackingScenario.of_size("8x4x2", pilot_length=2)
    return power_problem(scenario.sample(2, generator=torch.Generator().manual_seed(7)), scenario)


def tracking():
    graph = link_graph(tracking_problem())
    return FEATURE_VERSION, {name: column_marks(value) for name, value in vars(graph).items()}


def tracking_one_shot():
    dense = DenseProblem.of(tracking_problem())
    weight = one_shot.start_weights(dense)
    point = priced_point(dense, weight, 4)
    features, relations = one_shot._inputs(dense, weight)
    extra = one_shot._point_features(dense, point)
    values = {"features": features.mT, "link": extra.link, "node": extra.node}
    values |= {f"relation{index}": value for index, value in enumerate(relations)}
    return one_shot.FEATURE_VERSION, {name: column_marks(value) for name, value in values.items()}


def tracking_shares():
    scenario = TrackingScenario.of_size("8x4x2", pilot_length=2, requirement=Requirement("dominate"))
    problem = power_problem(scenario.sample(2, generator=torch.Generator().manual_seed(7)), scenario)
    dense = ShareProblem.of(problem)
    stand = share_network._stand(dense, shares.share_point(dense, shares.start_shares(dense)))
    values = {"features": share_network._link_features(dense), "link": stand.extra.link, "node": stand.extra.node}
    values |= {f"relation{index}": value for index, value in enumerate(stand.relations)}
    return share_network.FEATURE_VERSION, {name: column_marks(value) for name, value in values.items()}


def downlink_pilots():
    scenario = DownlinkPilotScenario()
    problem = pilot_problem(scenario.sample(2, generator=torch.Generator().manual_seed(7)), scenario)
    stand = pilot_network._point_features(problem, pilot_start(problem))
    values = vars(pilot_graph(problem)) | {"point_link": stand.link, "point_node": stand.node, "point_ap": stand.ap}
    return PILOT_VERSION, {name: column_marks(value) for name, value in values.items()}


@pytest.mark.parametrize(
    "features", [tracking, tracking_one_shot, tracking_shares, downlink_pilots], ids=lambda found: found.__name__
)
def test_features_of_a_version_keep_their_meaning(features):
    golden_features = json.loads((Path(__file__).parents[1] / "data" / "features.json").read_text())
    version, found = features()
    key = f"{features.__name__} {version}"
    assert key in golden_features, f"no numbers for {key}; add {found}"
    for name, marks in golden_features[key].items():
        np.testing.assert_allclose(found[name], marks, rtol=1e-5, atol=1e-6, err_msg=f"{name} changed: raise FEATURE_VERSION")
