"""Docstrings as the site's reader of Google style wants them."""

import re
from typing import Any

import griffe


class Examples(griffe.Extension):
    """`Example:` starts a section of doctests as `Examples:` does; the reader knows only the plural."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Change the docstring before it is parsed."""
        if obj.docstring:
            obj.docstring.value = re.sub(r"^Example:$", "Examples:", obj.docstring.value, flags=re.MULTILINE)
