"""Features of sets of receive APs: against loops, and what must not matter."""

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from isac_torch.errors import ScenarioError
from isac_torch.propagation.geometry import array_axis, distance
from isac_torch.roles.features import set_features
from isac_torch.roles.held import Held, default_standard
from isac_torch.tracking.drop import all_aps
from isac_torch.tracking.requirement import Requirement
from isac_torch.tracking.scan import scan_grid
from isac_torch.tracking.scenario import TrackingScenario
from isac_torch.units import SPEED_OF_LIGHT, db_to_linear
from tests.oracles import set_outlook as loop

SMALL = TrackingScenario(
    num_aps=7,
    num_receive_aps=2,
    num_ues=4,
    num_targets=3,
    serving_aps=2,
    sensing_aps=2,
    requirement=Requirement("dominate", enough_db=13.0),
)
SETS = torch.tensor([[[0, 3], [2, 5], [6, 1]]])
_SINGLE = {"rtol": 2e-4, "atol": 2e-4}
"""Features are single precision logarithms of up to some tens of nepers."""


def held(scenario=SMALL, seed=4):
    drop = scenario.sample(1, generator=torch.Generator().manual_seed(seed))
    return Held(drop, scenario, default_standard(drop, scenario))


def world_of(scenario):
    asked = scenario.requirement
    return SimpleNamespace(
        antennas=scenario.num_antennas,
        samples=scenario.sensing.samples(scenario),
        budget=scenario.ap_power,
        noise=scenario.noise_power,
        rcs=scenario.sensing.rcs_variance,
        wavelength=SPEED_OF_LIGHT / scenario.carrier_frequency,
        carrier_ghz=scenario.carrier_frequency / 1e9,
        clutter_factor=scenario.sensing.clutter_factor,
        pilot_energy=scenario.pilot_power * scenario.pilot_symbols,
        blocks=asked.blocks,
        prior_horizontal=asked.prior_horizontal,
        prior_vertical=asked.prior_vertical,
    )


@pytest.fixture(scope="module")
def one():
    """A drop, its sets with the default one first, the features, and the world of the loops."""
    some = held()
    aps = all_aps(some.drop)
    sets = [aps.receive[0].tolist(), *SETS[0].tolist()]
    return SimpleNamespace(held=some, aps=aps, sets=sets, found=set_features(some, SETS), world=world_of(SMALL))


def test_sinrs_are_those_of_a_loop(one):
    gap = distance(one.held.drop.target_position, one.aps.position)
    for row, chosen in enumerate(one.sets):
        loops = loop.equal_split_sinrs(chosen, one.aps.gain[0].numpy(), gap[0].numpy(), 2, 2, one.world)
        assert_close(one.found.ue[0, row, :, 0], torch.tensor(loops).log().float(), **_SINGLE)


def test_cells_are_those_of_a_loop_in_order_of_their_echoes(one):
    position, grid = one.aps.position[0].numpy(), scan_grid(SMALL, one.aps.position).numpy()
    wanted = one.held.standard.scan[0].sort().values
    for row, chosen in enumerate(one.sets):
        echo = sorted(
            sum(loop.echoes(chosen, position, loop.nearest(chosen, position, cell), cell, one.world).values()) for cell in grid
        )
        assert_close(one.found.cell[0, row, :, 0], (torch.tensor(echo) / wanted).log().float(), **_SINGLE)
    most = db_to_linear(13.0) * 5
    assert_close(one.found.cell[0, 0, :, 2], (wanted / most).log().float(), **_SINGLE)


def test_targets_are_those_of_a_loop(one):
    position, places = one.aps.position[0].numpy(), one.held.drop.target_position[0].numpy()
    axes = array_axis(one.aps.orientation[0]).numpy()
    standard = one.held.standard
    for row, chosen in enumerate(one.sets):
        for target, place in enumerate(places):
            listener = loop.nearest(chosen, position, place)
            all_of_them = [sum(loop.echoes(chosen, position, listener, other, one.world).values()) for other in places]
            cross = loop.crossed(all_of_them, target, position[listener], axes[listener], places, one.world, 5)
            by_ap = loop.echoes(chosen, position, listener, place, one.world)
            h = loop.information(by_ap, position, axes, listener, np.asarray(place), one.world)
            own = all_of_them[target]
            expected = [
                math.log(own / 5 / float(standard.sicnr[0, target])),
                math.log(own / (5 + cross) / float(standard.sicnr[0, target])),
                math.log(h / float(standard.information[0, target])),
            ]
            assert_close(one.found.target[0, row, target, :3], torch.tensor(expected), **_SINGLE)


def test_changes_are_counted_from_the_default_roles(one):
    found = one.found
    assert_close(found.ue[..., 5:9], found.ue[..., :4] - found.ue[:, :1, :, :4])
    assert_close(found.target[..., 3:6], found.target[..., :3] - found.target[:, :1, :, :3], **_SINGLE)
    assert_close(found.cell[..., 3], found.cell[..., 0] - found.cell[:, :1, :, 0], **_SINGLE)


def test_factors_of_the_requirement_move_what_is_kept(one):
    asked = replace(SMALL.requirement, scan=0.5, sicnr=0.25, position=2.0)
    eased = set_features(replace(one.held, scenario=replace(SMALL, requirement=asked)), SETS)
    assert_close(eased.cell[..., 0] - one.found.cell[..., 0], torch.full_like(eased.cell[..., 0], math.log(2.0)), **_SINGLE)
    assert_close(eased.target[..., 1] - one.found.target[..., 1], torch.full((1, 4, 3), math.log(4.0)), **_SINGLE)
    assert_close(eased.target[..., 2] - one.found.target[..., 2], torch.full((1, 4, 3), -math.log(2.0)), **_SINGLE)


@pytest.mark.parametrize(
    "change", [{"num_targets": 0}, {"num_ues": 1}, {"num_aps": 2, "num_receive_aps": 1}, {"listening_aps": 2}]
)
def test_any_numbers_give_finite_features(change):
    some = held(replace(SMALL, **change))
    found = set_features(some, all_aps(some.drop).receive[:, None].flip(-1))
    for part in (found.ue, found.target, found.cell):
        assert bool(part.isfinite().all())
        assert_close(part[:, 1], part[:, 0])


def test_a_requirement_that_compares_with_nothing_is_refused(one):
    with pytest.raises(ScenarioError, match="dominate"):
        set_features(replace(one.held, standard=None), SETS)
