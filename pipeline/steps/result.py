"""What a step returns: its result, the checks it ran, and what to show of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from matplotlib.figure import Figure

from pipeline.artifacts.storage import md5
from pipeline.quality.expectation import CheckResult
from pipeline.reporting.figures.charts import as_markdown
from pipeline.reporting.text.markdown import as_cell
from pipeline.results.diagnostics import Diagnostics

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Markdown:
    """Text that is Markdown, such as a table."""

    text: str

    def markdown(self) -> str:
        """The text."""
        return self.text


@dataclass(frozen=True, slots=True)
class LazyFigure:
    """A figure that is drawn only when it is looked at.

    Attributes:
        title: What it shows, read aloud in its place.
        draw: Draws it.
    """

    title: str
    draw: Callable[[], Figure]

    def markdown(self) -> str:
        """The figure as a Markdown image that carries its bytes."""
        return as_markdown(self.draw(), self.title)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepResult(Generic[T]):
    """One step that has run, and published its artifact.

    Attributes:
        asset: The asset's name.
        value: The result itself, as the library's own type.
        location: The artifact, or the files the step accepted.
        content_version: Version of the content; None for the md5 of ``location``.
        rows: Rows of its main table; None if it is not a table.
        details: Figures, tables and numbers by name, in reading order; None values are unknown.
        checks: Results of the artifact's quality rules.
        waived: Names of blocking rules that the study waives.
        diagnostics: Of the experiment; None of other steps.
    """

    asset: str
    value: T
    location: Path
    content_version: str | None = None
    rows: int | None = None
    details: Mapping[str, Any] = field(default_factory=dict)
    checks: tuple[CheckResult, ...] = ()
    waived: frozenset[str] = frozenset()
    diagnostics: Diagnostics | None = None

    @property
    def version(self) -> str:
        """The same for the same content: results derived from it stay valid."""
        return self.content_version or md5(self.location)

    def _repr_markdown_(self) -> str:
        """The result as a notebook shows it."""
        shown = {"rows": self.rows, **self.details, "data location": self.location}
        parts = [f"### {self.asset}"]
        for name, value in shown.items():
            if isinstance(value, Markdown | LazyFigure):
                parts.append(f"**{name}**\n\n{value.markdown()}")
            elif value is not None:
                parts.append(f"**{name}**: {value}")
        return "\n\n".join(parts)


def spaced(counts: Mapping[str, Any]) -> dict[str, Any]:
    """Counts by readable names: ``click_events`` becomes ``click events``."""
    return {name.replace("_", " "): value for name, value in counts.items()}


def markdown_table(heads: tuple[str, ...], rows: list[tuple[Any, ...]]) -> Markdown:
    """A Markdown table; floats are rounded to four significant digits, None is undefined."""
    lines = [heads, ("---",) * len(heads), *(tuple(map(_cell, row)) for row in rows)]
    return Markdown("\n".join(f"| {' | '.join(line)} |" for line in lines))


def _cell(value: Any) -> str:
    if value is None:
        return "undefined"
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else as_cell(str(value))
