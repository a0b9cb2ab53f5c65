"""How results show themselves in a notebook."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import polars as pl
from matplotlib.figure import Figure as MatplotlibFigure

from pipeline.reporting.figures.svg import as_svg


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure: SVG in a notebook; ``matplotlib`` is the figure itself."""

    matplotlib: MatplotlibFigure

    def svg(self) -> str:
        """The figure as an SVG element."""
        return as_svg(self.matplotlib)

    def _repr_svg_(self) -> str:
        return self.svg()

    def save(self, path: str | Path) -> None:
        """Write the figure to a file; the suffix is the format, such as ``.svg`` or ``.png``."""
        self.matplotlib.savefig(path, facecolor="white")


class Result:
    """Shows the frame of a result, and its figure if it has one."""

    __slots__ = ()
    title: ClassVar[str]

    def to_frame(self) -> pl.DataFrame:
        """The result as a frame."""
        raise NotImplementedError

    def figure(self) -> Figure | None:
        """The result as a figure."""
        return None

    def notes(self) -> Sequence[str]:
        """Sentences that are shown above the table."""
        return ()

    def __repr__(self) -> str:
        frame = self.to_frame()
        lines = [_text_table(frame)] if frame.height else self.notes()
        return "\n".join([f"{type(self).__name__}: {self.title.lower()}", *lines])

    def _repr_html_(self) -> str:
        figure = self.figure()
        return "".join(
            [
                f"<h4>{_escaped(self.title)}</h4>",
                *(f"<p>{_escaped(note)}</p>" for note in self.notes()),
                _html_table(self.to_frame()),
                figure.svg() if figure else "",
            ]
        )


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _text_table(frame: pl.DataFrame) -> str:
    """One line per row, of the first 20."""
    shown = frame[[column.name for column in frame if column.null_count() < frame.height]]
    with pl.Config(
        tbl_formatting="NOTHING",
        tbl_hide_dataframe_shape=True,
        tbl_hide_column_data_types=True,
        tbl_rows=20,
        tbl_cols=-1,
        tbl_width_chars=1_000,
        float_precision=4,
    ):
        return str(shown)


def _html_table(frame: pl.DataFrame) -> str:
    with pl.Config(
        tbl_hide_dataframe_shape=True,
        tbl_hide_column_data_types=True,
        tbl_rows=-1,
        tbl_cols=-1,
        fmt_str_lengths=80,
    ):
        return frame._repr_html_()  # pyright: ignore[reportPrivateUsage] - public for notebooks
