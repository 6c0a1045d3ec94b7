"""The README's Python runs as it stands, and what it links to exists."""

import re

import pytest

from tests.paths import ROOT

README = (ROOT / "README.md").read_text()


def test_the_python_example_runs(capsys):
    for block in re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL):
        exec(compile(block, "README.md", "exec"), {})
    assert "OPTIMAL" in capsys.readouterr().out


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\(([^)#]+)\)", README))))
def test_links_lead_somewhere(target):
    assert (ROOT / target).exists()


def test_named_configs_exist():
    for config in re.findall(r"--config (\S+)", README):
        assert (ROOT / config).is_file()
