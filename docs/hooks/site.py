"""What `make docs` adds to the pages of docs/: files of the checkout, references made from the code, formulas as MathML."""

from __future__ import annotations

import contextlib
import io
import posixpath
import re
from html import unescape
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert
from mkdocs.structure.files import File, Files

import isac_torch
from isac_torch.cli import main
from isac_torch.commands.table import COMMANDS

ROOT = Path(__file__).parents[2]
CARRIED = {
    "index.md": "README.md",
    **{f"{name.lower()}.md": f"{name}.md" for name in ("CONTRIBUTING", "SECURITY", "CODE_OF_CONDUCT", "CHANGELOG")},
}
"""Pages of the site that are files of the checkout."""

GROUPS = {
    "Networks and power problems": ("tracking", "downlink_pilots", "systems"),
    "Allocation": ("allocation",),
    "Allocators": ("allocators", "large"),
    "Data sets": ("datasets",),
    "Deployment": ("deployment",),
    "Errors": ("errors",),
}
"""Headings of the Python reference and the rooms of the package whose public names stand below them; the rest comes last."""

_FORMULA = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL)
_NUMBER = re.compile(r"\\tag\{([^}]*)\}")
_LINK = re.compile(r"\[([^\]]*)\]\((?!\w+://)([^)#\s]+)(#[^)\s]*)?\)")


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that no file of docs/ holds."""
    made = {page: (ROOT / name).read_text() for page, name in CARRIED.items()}
    made |= {"commands.md": commands_page(), "api.md": api_page()}
    for page, content in (made | tutorial_pages()).items():
        files.append(File.generated(config, page, content=content))
    return files


def tutorial_pages() -> dict[str, str | bytes]:
    """The executed notebooks of `make notebooks` as pages, with their pictures."""
    from nbconvert import MarkdownExporter

    pages: dict[str, str | bytes] = {}
    for source in sorted((ROOT / "docs/tutorials").glob("*.py")):
        notebook = ROOT / "build/notebooks" / f"{source.stem}.ipynb"
        text, extra = MarkdownExporter().from_filename(str(notebook), {"output_files_dir": f"{source.stem}_files"})
        pages[f"tutorials/{source.stem}.md"] = text
        pages |= {f"tutorials/{name}": picture for name, picture in extra["outputs"].items()}
    return pages


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Let links between files of the checkout lead to pages of the site; what has no page is named without a link."""
    folder = (ROOT / CARRIED.get(page.file.src_uri, f"docs/{page.file.src_uri}")).parent
    place = posixpath.dirname(page.file.src_uri)
    return _LINK.sub(lambda match: _link(folder, place, *match.groups()), markdown)


def _link(folder: Path, place: str, label: str, target: str, anchor: str | None) -> str:
    """A link of a file in `folder`, a page in `place` of the site; a page that is named by its path gets its title."""
    file = (folder / target).resolve()
    pages = {ROOT / name: page for page, name in CARRIED.items()}
    if file.is_relative_to(ROOT / "docs"):
        page = str(file.relative_to(ROOT / "docs"))
    elif file in pages:
        page = pages[file]
    else:
        return f"`{file.relative_to(ROOT)}`" if label in (target, "") else f"{label} (`{file.relative_to(ROOT)}`)"
    title = _title(file) if label.endswith(".md") else label
    return f"[{title}]({posixpath.relpath(page, place or '.')}{anchor or ''})"


def _title(file: Path) -> str:
    """The first heading of a page."""
    return next(line[2:] for line in file.read_text().splitlines() if line.startswith("# "))


def on_page_content(html: str, **_: Any) -> str:
    """Formulas as MathML, which browsers draw without a script."""
    return _FORMULA.sub(_mathml, html)


def _mathml(match: re.Match[str]) -> str:
    """A formula; a numbered one has its number, which links lead to, at the right."""
    number = _NUMBER.search(match[2])
    tex = unescape(_NUMBER.sub("", match[2]))
    if match[1] == "span":
        return convert(tex)
    label = f'<a id="eq-{number[1]}" href="#eq-{number[1]}">({number[1]})</a>' if number else ""
    return f'<div class="equation">{convert(tex, display="block")}{label}</div>'


def commands_page() -> str:
    """Every command with the options that its --help lists."""
    parts = [
        "# Commands",
        "`isac-torch COMMAND --config FILE.yaml` reads any of the options from a file; the command line wins.",
    ]
    for command in COMMANDS.values():
        examples = "\n".join(command.lines)
        parts += [f"## {command.name}", f"{command.summary[0].upper()}{command.summary[1:]}.", f"```console\n{examples}\n```"]
        parts.append(f'??? note "Options"\n\n    ```text\n{_indented(help_of(command.name))}\n    ```')
    return "\n\n".join(parts)


def help_of(command: str) -> str:
    """What `isac-torch COMMAND --help` prints."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
        main([*command.split(), "--help"])
    return said.getvalue().rstrip()


def _indented(text: str) -> str:
    return "\n".join(f"    {line}".rstrip() for line in text.splitlines())


def api_page() -> str:
    """The public names, each with its docstring, below the headings of GROUPS."""
    rooms = {name: getattr(isac_torch, name).__module__.split(".")[1] for name in isac_torch.__all__}
    known = {room for group in GROUPS.values() for room in group}
    groups = GROUPS | {"More": tuple(sorted({*rooms.values()} - known))}
    parts = ["# Python", "`import isac_torch as it` gives these names; `help()` shows the same texts."]
    for heading, members in groups.items():
        names = [name for name in isac_torch.__all__ if rooms[name] in members]
        if names:
            parts.append(f"## {heading}")
            parts += [
                f"::: {getattr(isac_torch, name).__module__}.{name}\n    options:\n      heading_level: 3" for name in names
            ]
    return "\n\n".join(parts)
