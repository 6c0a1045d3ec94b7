"""Folders of the checkout that tests read."""

from pathlib import Path

ROOT = Path(__file__).parents[1]
CONFIGS = ROOT / "configs"
EXAMPLES = ROOT / "examples"
DATA = ROOT / "tests" / "data"
