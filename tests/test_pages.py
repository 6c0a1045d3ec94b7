"""What the pages say of the repository is there: links, files, configurations, commands, public names."""

import re

import pytest

from isac_torch.commands.table import COMMANDS, GROUPS
from tests.paths import ROOT

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
FOLDERS = ("", "isac_torch/", "isac_torch/tracking/", "isac_torch/solvers/tracking/", "isac_torch/allocators/tracking/")


def anchors(text: str) -> set[str]:
    """Names by which the headings of a page can be linked."""
    headings = re.findall(r"^#+ (.*)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target, anchor in re.findall(r"\]\(([^)#\s]*)(?:#([^)]*))?\)", page.read_text()):
        if "://" in target:
            continue
        file = page.parent / target if target else page
        assert file.exists(), target
        assert not anchor or anchor in anchors(file.read_text()), f"{target}#{anchor}"


def test_every_page_has_a_place_on_the_site():
    site = (ROOT / "mkdocs.yml").read_text()
    assert [path.name for path in (ROOT / "docs").glob("*.md") if f": {path.name}\n" not in site] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_that_a_page_names_exist(page):
    named = re.findall(r"`([\w/]+/[\w/.-]+\.(?:py|yaml|m|json|csv|pt))`", page.read_text())
    named += re.findall(r"--config ([\w/.-]+\.yaml)", page.read_text())
    for name in named:
        if not name.startswith("runs/") and name == name.replace("NAME", ""):
            assert any((ROOT / folder / name).exists() for folder in FOLDERS), name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_that_a_page_names_exist(page):
    for first, second in re.findall(
        r"(?:^    |`)isac-torch ([a-z][a-z-]+)(?: ([a-z][a-z-]+))?", page.read_text(), flags=re.MULTILINE
    ):
        name = f"{first} {second}" if first in GROUPS and second else first
        assert name in COMMANDS or first in GROUPS, name
