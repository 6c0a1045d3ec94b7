"""The README's Python runs as it stands."""

import re

from tests.paths import ROOT

README = (ROOT / "README.md").read_text()


def test_the_python_example_runs(capsys):
    for block in re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL):
        exec(compile(block, "README.md", "exec"), {})
    assert "OPTIMAL" in capsys.readouterr().out
