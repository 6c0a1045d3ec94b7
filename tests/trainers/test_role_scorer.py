"""Training of the network that scores sets of receive APs: labels, loss, a tiny run, the command."""

import pytest
import torch
from torch.testing import assert_close

from isac_torch.allocation import allocate
from isac_torch.allocators.tracking.batched import BatchedOptimal
from isac_torch.cli import main
from isac_torch.errors import IsacError
from isac_torch.nn.checkpoint import load_network
from isac_torch.nn.tracking.set_scorer import Outlook, SetScorer
from isac_torch.tracking.drop import all_aps
from isac_torch.tracking.requirement import Requirement
from isac_torch.tracking.scenario import TrackingScenario
from isac_torch.trainers.role_labels import GAP, drawn_sets, held_drops, labelled
from isac_torch.trainers.role_scorer import fit, loss_of, train_scorer
from isac_torch.trainers.role_settings import Block, ScorerSettings

SMALL = TrackingScenario.of_size("6x4x2", requirement=Requirement("dominate"))
ONE = Block("6x4x2", blocks=1, drops=2, sets=5)


@pytest.fixture(scope="module")
def block():
    held, generator = held_drops(SMALL, 3, 7)
    sets = drawn_sets(held, 8, generator, None)
    return held, sets, labelled(held, sets)


def test_labels_are_the_optimum_to_their_gap(block):
    held, sets, labels = block
    default = all_aps(held.drop).receive
    for row in (0, 1, 4):
        receive = default if row == 0 else sets[:, row - 1]
        answer = allocate(held.problem(torch.arange(3), receive)[1], BatchedOptimal(gap=1e-3, tie="none"))
        met = answer.violation <= 1e-6
        assert torch.equal(labels.value[:, row] > 0, met)
        assert_close(labels.value[met, row].double(), answer.value[met], rtol=2 * GAP, atol=0.0)


def test_sets_differ_and_follow_from_the_seed(block):
    _, sets, _ = block
    again, generator = held_drops(SMALL, 3, 7)
    assert torch.equal(drawn_sets(again, 8, generator, None), sets)
    assert all(len({tuple(sorted(row)) for row in rows}) == 8 for rows in sets.tolist())


def test_a_network_labels_its_own_best_sets_and_some_others(block):
    held, _, _ = block
    torch.manual_seed(0)
    sets = drawn_sets(held, 6, torch.Generator().manual_seed(1), SetScorer(hidden=4))
    assert sets.shape == (3, 6, 2)
    default = all_aps(held.drop).receive.tolist()
    for rows, usual in zip(sets.tolist(), default, strict=True):
        assert len({tuple(sorted(row)) for row in rows}) == 6
        assert sorted(usual) not in [sorted(row) for row in rows]


def test_sets_of_networks_that_cannot_be_listed_are_up_to_four_changes_away(block, monkeypatch):
    held, _, _ = block
    monkeypatch.setattr("isac_torch.tracking.roles.MOST_SETS", 0)
    sets = drawn_sets(held, 8, torch.Generator().manual_seed(1), None)
    assert sets.shape == (3, 8, 2)
    assert all(len(set(row)) == 2 for rows in sets.tolist() for row in rows)


def test_a_perfect_outlook_has_no_loss(block):
    _, _, labels = block

    ratio = (labels.value / labels.value[:, :1]).clamp_min(1e-3).log()
    sure = torch.where(labels.value > 0, 50.0, -50.0)
    assert float(loss_of(Outlook(sure, ratio), labels, 3.0)) < 1e-6
    met = labels.value > 0
    assert float(loss_of(Outlook(sure, torch.where(met, ratio, 9.0)), labels, 3.0)) < 1e-6, (
        "no gain to learn where nothing is met"
    )
    # An error of 0.5 nepers in all of them: 0.5 - 0.1 / 2, where the loss is linear.
    assert float(loss_of(Outlook(sure, ratio + 0.5), labels, 3.0)) == pytest.approx(3.0 * 0.45, rel=1e-4)


def test_training_lowers_the_loss_and_is_repeatable(block):
    known = [block[2]]
    short, long = (fit(known, ScorerSettings(hidden=8, epochs=epochs))[1] for epochs in (1, 200))
    assert long < 0.7 * short
    assert fit(known, ScorerSettings(hidden=8, epochs=200))[1] == long


def test_a_run_goes_on_from_its_labels(tmp_path, monkeypatch):
    settings = ScorerSettings(hidden=4, epochs=2)
    train_scorer([[ONE], [ONE]], tmp_path, 3, settings)
    first = (tmp_path / "model.pt").read_bytes()
    assert len(list(tmp_path.glob("*.npz"))) == 2
    monkeypatch.setattr("isac_torch.trainers.role_scorer.labelled", None)
    train_scorer([[ONE], [ONE]], tmp_path, 3, settings)
    network, facts = load_network(tmp_path / "model.pt", SetScorer)
    assert facts["blocks"] == 2
    assert network.shape == {"hidden": 4}
    assert first
    with pytest.raises(IsacError, match="rounds"):
        train_scorer([[ONE], []], tmp_path, 3, settings)


def test_the_command_trains(tmp_path, capsys):
    config = tmp_path / "train.yaml"
    config.write_text("rounds: [[{size: 6x4x2, blocks: 1, drops: 2, sets: 4}]]\nfit: {hidden: 4, epochs: 1}\n")
    assert main(["roles", "train", "--config", str(config), "--output", str(tmp_path / "run")]) == 0
    assert load_network(tmp_path / "run" / "model.pt", SetScorer)[0].shape == {"hidden": 4}
    assert main(["roles", "train", "--rounds", "[]", "--output", str(tmp_path / "none")]) == 2
    assert "rounds=[]" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Block("6x4x2", blocks=0, drops=2, sets=4), "blocks=0 of 6x4x2"),
        (lambda: Block("6x4x2", blocks=1, drops=2, sets=-1), "sets=-1"),
        (lambda: ScorerSettings(epochs=0), "epochs=0"),
    ],
)
def test_settings_of_no_size_are_refused(make, words):
    with pytest.raises(IsacError, match=words):
        make()
