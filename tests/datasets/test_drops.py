"""Data sets for plain PyTorch and for PyTorch Geometric."""

import importlib.util

import pytest
import torch
from torch.utils.data import DataLoader

import isac_torch as it
from isac_torch.datasets.drops import DropDataset
from isac_torch.datasets.hetero import to_hetero_data
from isac_torch.errors import DatasetError
from isac_torch.tracking.graph import link_graph

SMALL = it.TrackingScenario.of_size("6x3x2")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drops")
    it.generate_dataset([SMALL], num_drops=6, output=folder, seed=5, shard_size=3, workers=1)
    return folder


def test_a_loader_of_torch_gives_every_drop_once(folder):
    drops = DropDataset(folder, dtype=torch.float64)
    batches = list(DataLoader(drops, batch_size=4, shuffle=True, collate_fn=drops.collate))
    value = torch.cat([problem.objective(label["power"]) for problem, label in batches])
    assert len(value) == len(drops) == drops.problem.num_drops
    torch.testing.assert_close(value.sort().values, drops.label["value"].sort().values, rtol=1e-6, atol=0.0)
    with pytest.raises(DatasetError, match="scenario=1"):
        DropDataset(folder, scenario=1)
    with pytest.raises(IndexError):
        drops[len(drops)]


@pytest.mark.skipif(importlib.util.find_spec("torch_geometric") is None, reason="needs torch_geometric")
def test_hetero_data_says_what_the_graph_says():
    problem = it.power_problem(SMALL.sample(2, generator=torch.Generator().manual_seed(2)), SMALL)
    data, graph = to_hetero_data(problem, drop=1), link_graph(problem)
    assert data.validate()
    for node in ("link", "ue"):
        torch.testing.assert_close(data[node].x, getattr(graph, node)[1])
    assert (data["target"].num_nodes, data["ap"].num_nodes) == (problem.num_targets, problem.num_aps)
    link, ap = data["link", "sent_by", "ap"].edge_index
    assert torch.equal(problem.link_ap[1][link], ap)
    link, ue = data["link", "serves", "ue"].edge_index
    assert torch.equal(ue, link // problem.serving)
    link, target = data["link", "illuminates", "target"].edge_index
    assert len(link) == problem.num_links - problem.num_comm_links
    assert torch.equal(target.bincount(), torch.full((2,), len(link) // 2))
    (row, column), weight = data["link", "disturbs", "ue"].edge_index, data["link", "disturbs", "ue"].edge_attr
    torch.testing.assert_close(weight[:, 0], graph.disturbance_share[1][column, row])
