"""The tutorials run from top to bottom, and their own checks hold."""

import runpy

import matplotlib.pyplot as plt
import pytest

from tests.paths import ROOT

TUTORIALS = sorted((ROOT / "docs" / "tutorials").glob("*.py"))


@pytest.mark.slow
@pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.stem)
def test_the_tutorial_runs(path, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(plt, "show", lambda: plt.close("all"))
    plt.switch_backend("agg")
    runpy.run_path(str(path), run_name="__main__")


def test_every_tutorial_is_a_page_with_a_title_and_a_check():
    pages = (ROOT / "mkdocs.yml").read_text()
    assert len(TUTORIALS) == 7
    for path in TUTORIALS:
        text = path.read_text()
        assert text.startswith("# %% [markdown]\n# # ")
        assert "assert " in text
        assert "plt.show()" in text
        assert f"tutorials/{path.stem}.md" in pages
