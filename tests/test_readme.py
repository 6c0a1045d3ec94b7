"""The Python of the pages runs as it stands."""

import re

import pytest

from tests.paths import ROOT


@pytest.mark.parametrize(
    ("page", "says"), [("README.md", "OPTIMAL"), ("docs/downlink_pilots.md", ""), ("docs/scalability.md", "")]
)
def test_the_python_example_runs(page, says, capsys):
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), flags=re.DOTALL)
    assert blocks
    for block in blocks:
        exec(compile(block, page, "exec"), {})
    assert says in capsys.readouterr().out
