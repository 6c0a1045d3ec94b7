"""What comes with shipped weights: cards that are of these files, and no path of the machine that trained them."""

import hashlib
import json
import re
from pathlib import Path

import pytest
import torch

from isac_torch.weights import shipped_weights

FOLDER = shipped_weights().parent
CARDS = sorted(FOLDER.glob("*.json"))
ABSOLUTE = re.compile(r'"(/|~|[A-Za-z]:\\)')


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.stem)
def test_a_card_is_of_its_file(card: Path) -> None:
    facts, content = json.loads(card.read_text()), card.with_suffix(".pt").read_bytes()
    assert facts["file"] == f"{card.stem}.pt"
    assert facts["bytes"] == len(content)
    assert facts["sha256"] == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.pt")), ids=lambda path: path.stem)
def test_no_file_of_weights_names_an_absolute_path(path: Path) -> None:
    content = torch.load(path, weights_only=True)
    facts = json.dumps({name: value for name, value in content.items() if name != "weights"}, default=str)
    assert not ABSOLUTE.search(facts)
    assert not ABSOLUTE.search("".join(card.read_text() for card in FOLDER.rglob("*.json")))
