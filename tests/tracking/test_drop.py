"""Random drops: where things are, who serves, senses and listens, and what a scenario refuses."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from isac_torch.errors import ScenarioError
from isac_torch.tensors import tensor_fields
from isac_torch.tracking.association import balanced
from isac_torch.tracking.drop import TrackingDrop, build_drops
from isac_torch.tracking.roles import nearest_to_target
from isac_torch.tracking.scenario import TrackingScenario
from tests.oracles import association as loop
from tests.oracles import geometry

PAPER = TrackingScenario()
SMALL = TrackingScenario(num_aps=7, num_receive_aps=2, num_ues=5, num_targets=3, serving_aps=2, sensing_aps=2)


def _seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _layout(scenario: TrackingScenario, num_drops: int, seed: int = 0) -> dict[str, Tensor]:
    """Positions, orientations and shadowing for build_drops."""
    generator = _seeded(seed)

    def uniform(*shape: int) -> Tensor:
        return torch.rand(num_drops, *shape, generator=generator, dtype=torch.float64)

    def placed(count: int, low: float, high: float) -> Tensor:
        return torch.cat([scenario.side * uniform(count, 2), low + (high - low) * uniform(count, 1)], dim=-1)

    return {
        "ap_position": placed(scenario.num_aps, 10.0, 10.0),
        "ap_orientation": 2 * math.pi * uniform(scenario.num_aps),
        "ue_position": placed(scenario.num_ues, 1.65, 1.65),
        "target_position": placed(scenario.num_targets, 20.0, 100.0),
        "shadowing_db": 4.0 * torch.randn(num_drops, scenario.num_ues, scenario.num_aps, generator=generator).double(),
        "lottery": uniform(scenario.num_aps),
    }


def _all_aps(drop: TrackingDrop) -> Tensor:
    return torch.cat([drop.tx_position, drop.rx_position], dim=1)


def test_shapes_and_ranges_of_the_paper_setting() -> None:
    drop = PAPER.sample(50, generator=_seeded())
    assert drop.tx_position.shape == (50, 12, 3)
    assert drop.rx_position.shape == (50, 4, 3)
    assert drop.serving_ap.shape == (50, 16, 4)
    assert drop.sensing_ap.shape == (50, 4, 4)
    assert PAPER.side**2 == pytest.approx(0.5e6)
    for name in ("tx_position", "rx_position", "ue_position", "target_position"):
        flat = getattr(drop, name)[..., :2]
        assert float(flat.min()) >= 0
        assert float(flat.max()) <= PAPER.side
    assert torch.unique(_all_aps(drop)[..., 2]).tolist() == [10.0]
    assert torch.unique(drop.ue_position[..., 2]).tolist() == [1.65]
    heights = drop.target_position[..., 2]
    assert 20.0 <= float(heights.min()) < 30.0
    assert 90.0 < float(heights.max()) <= 100.0


def test_noise_power_by_hand() -> None:
    """-174 dBm/Hz over 20 MHz is -100.99 dBm."""
    assert 10 * math.log10(PAPER.noise_power * 1e3) == pytest.approx(-100.9897, abs=1e-4)
    assert replace(PAPER, noise_figure_db=7.0).noise_power == pytest.approx(PAPER.noise_power * 10**0.7)


def test_same_generator_state_same_drops() -> None:
    first, again, other = (PAPER.sample(3, generator=_seeded(s)) for s in (1, 1, 2))
    for name, value in tensor_fields(first).items():
        assert torch.equal(value, getattr(again, name)), name
    assert not torch.equal(first.ue_position, other.ue_position)


def test_positions_and_shadowing_have_their_distributions() -> None:
    """4000 UEs: mean and variance of a uniform law within four standard errors; shadowing of 4 dB within 1 %."""
    drop = PAPER.sample(250, generator=_seeded(3))
    unit = drop.ue_position[..., :2].flatten() / PAPER.side
    assert unit.mean().item() == pytest.approx(0.5, abs=4 * math.sqrt(1 / 12 / 8000))
    assert unit.var().item() == pytest.approx(1 / 12, rel=0.03)
    gap = torch.cdist(drop.ue_position, drop.tx_position).clamp_min(10.0)
    shadowing = 10 * torch.log10(drop.ue_gain) + 36.7 * torch.log10(gap) + 22.7 + 26 * math.log10(2.0)
    assert shadowing.mean().item() == pytest.approx(0.0, abs=0.05)
    assert shadowing.std().item() == pytest.approx(4.0, rel=0.01)


def test_gains_match_the_loop() -> None:
    layout = _layout(SMALL, 2)
    drop = build_drops(SMALL, **layout)
    for d in range(2):
        aps = layout["ap_position"][d].numpy()
        for m, position in enumerate(drop.tx_position[d].numpy()):
            original = next(i for i in range(len(aps)) if (aps[i] == position).all())
            for k in range(SMALL.num_ues):
                loss = geometry.umi_nlos_loss_db(geometry.distance(layout["ue_position"][d, k].numpy(), position), 2.0)
                loss += float(layout["shadowing_db"][d, k, original])
                assert drop.ue_gain[d, k, m].item() == pytest.approx(10 ** (-loss / 10), rel=1e-12)


def test_roles_and_sets_match_the_loops() -> None:
    layout = _layout(SMALL, 20)
    drop = build_drops(SMALL, **layout)
    centre = [SMALL.side / 2, SMALL.side / 2]
    for d in range(20):
        aps = layout["ap_position"][d].numpy()
        listening = sorted(loop.farthest_points(aps, centre, 2))
        assert_close(drop.rx_position[d], layout["ap_position"][d][listening])
        sending = [i for i in range(7) if i not in listening]
        assert_close(drop.tx_position[d], layout["ap_position"][d][sending])
        assert_close(drop.tx_orientation[d], layout["ap_orientation"][d][sending])
        tx, rx = drop.tx_position[d].numpy(), drop.rx_position[d].numpy()
        for k in range(SMALL.num_ues):
            assert drop.serving_ap[d, k].tolist() == loop.strongest(drop.ue_gain[d, k].numpy(), 2)
        for t, target in enumerate(drop.target_position[d].numpy()):
            assert drop.sensing_ap[d, t].tolist() == loop.closest(target, tx, 2)
            assert drop.listening_ap[d, t].tolist() == loop.closest(target, rx, 1)


def test_balanced_assignment_is_the_cheapest_of_all() -> None:
    scenario = replace(SMALL, num_aps=8, num_receive_aps=3, num_targets=5)
    assert scenario.assignment == "balanced"
    drop = scenario.sample(15, generator=_seeded(4))
    for d in range(15):
        targets, receivers = drop.target_position[d].numpy(), drop.rx_position[d].numpy()
        chosen = drop.listening_ap[d, :, 0].tolist()
        assert max(chosen.count(r) for r in range(3)) <= 2
        assert chosen == loop.balanced_assignment(targets, receivers)


def test_balanced_rounds_give_each_target_different_aps() -> None:
    gap = torch.rand(6, 5, 4, generator=_seeded(5), dtype=torch.float64)
    chosen = balanced(gap, 3)
    for rows in chosen.tolist():
        assert all(len(set(row)) == 3 for row in rows)


def test_nearest_to_target_gives_every_target_its_ap() -> None:
    gap = torch.tensor([[[1.0, 5.0, 9.0, 7.0], [2.0, 6.0, 3.0, 8.0]]], dtype=torch.float64)
    assert nearest_to_target(gap, 2).tolist() == [[0, 2]]
    assert sorted(nearest_to_target(gap, 4).tolist()[0]) == [0, 1, 2, 3]
    scenario = replace(SMALL, receive_selection="nearest_to_target", num_receive_aps=3)
    drop = scenario.sample(10, generator=_seeded(6))
    everyone = torch.cdist(drop.target_position, _all_aps(drop)).argmin(-1)
    # The pair with the smallest distance of all is always chosen.
    gap = torch.cdist(drop.target_position, _all_aps(drop)).flatten(1)
    best = gap.argmin(-1) % 7
    assert bool((best >= scenario.transmit_aps).all())
    assert everyone.shape == (10, 3)


def test_random_selection_follows_the_lottery() -> None:
    scenario = replace(SMALL, receive_selection="random")
    layout = _layout(scenario, 5)
    drop = build_drops(scenario, **layout)
    lowest = layout["lottery"].argsort(dim=1)[:, :2].sort(dim=1).values
    assert_close(drop.rx_position, layout["ap_position"].gather(1, lowest.unsqueeze(-1).expand(-1, -1, 3)))
    del layout["lottery"]
    with pytest.raises(ScenarioError, match="lottery"):
        build_drops(scenario, **layout)


@pytest.mark.parametrize("selection", ["farthest_point", "nearest_to_target", "least_used", "weakest_ue", "random"])
def test_numbering_of_aps_changes_nothing(selection: str) -> None:
    scenario = replace(SMALL, receive_selection=selection, num_targets=5)
    layout = _layout(scenario, 8, seed=7)
    order = torch.randperm(7, generator=_seeded(8))
    shuffled = dict(layout)
    for name in ("ap_position", "ap_orientation", "lottery"):
        shuffled[name] = layout[name][:, order]
    shuffled["shadowing_db"] = layout["shadowing_db"][:, :, order]
    first, second = build_drops(scenario, **layout), build_drops(scenario, **shuffled)

    def at(table: Tensor, index: Tensor) -> Tensor:
        """Positions of the APs in each set."""
        drop = torch.arange(table.shape[0])[:, None, None]
        return table[drop, index]

    assert_close(at(first.tx_position, first.serving_ap), at(second.tx_position, second.serving_ap))
    assert_close(at(first.tx_position, first.sensing_ap), at(second.tx_position, second.sensing_ap))
    assert_close(at(first.rx_position, first.listening_ap), at(second.rx_position, second.listening_ap))


def test_numbering_of_ues_and_targets_only_renumbers() -> None:
    layout = _layout(SMALL, 8, seed=9)
    ue, target = torch.randperm(5, generator=_seeded(10)), torch.randperm(3, generator=_seeded(11))
    shuffled = layout | {
        "ue_position": layout["ue_position"][:, ue],
        "shadowing_db": layout["shadowing_db"][:, ue],
        "target_position": layout["target_position"][:, target],
    }
    first, second = build_drops(SMALL, **layout), build_drops(SMALL, **shuffled)
    assert torch.equal(first.serving_ap[:, ue], second.serving_ap)
    assert torch.equal(first.sensing_ap[:, target], second.sensing_ap)
    assert torch.equal(first.listening_ap[:, target], second.listening_ap)


def test_a_drop_does_not_depend_on_its_batch() -> None:
    layout = _layout(SMALL, 6, seed=12)
    whole = build_drops(SMALL, **layout)
    alone = build_drops(SMALL, **{name: value[2:3] for name, value in layout.items()})
    chosen = whole.select(torch.tensor([2]))
    for name, value in tensor_fields(alone).items():
        assert torch.equal(value, getattr(chosen, name)), name
