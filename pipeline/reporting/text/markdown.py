"""Text in Markdown: names of groups, items and metrics stay text, whatever they contain."""

import re
from typing import Any

_TAG = re.compile(r"<(?=[A-Za-z/!?])")


def as_text(value: Any) -> Any:
    """A string without HTML tags, links and images; anything else unchanged."""
    if not isinstance(value, str):
        return value
    return _TAG.sub("&lt;", value).replace("](", "]\\(")


def as_cell(value: str) -> str:
    """A string in a cell of a table."""
    return as_text(" ".join(value.splitlines())).replace("|", "\\|")


def as_list(sentences: list[str]) -> str:
    """A list of sentences."""
    return "\n".join(f"- {as_text(sentence)}" for sentence in sentences)
