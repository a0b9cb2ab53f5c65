"""Figures as SVG elements of a page: its ink, names of their own, and marks that a table explains."""

import io
import re

import matplotlib as mpl
from matplotlib.figure import Figure

from pipeline.reporting.figures.charts import INK, MARK, STYLE

_NO_METADATA = dict.fromkeys(("Creator", "Date", "Format", "Type"))


def as_svg(figure: Figure, name: str = "") -> str:
    """The figure as an SVG element that takes its ink from the page's text colour.

    Args:
        figure: To be drawn.
        name: With a name, marks can be reached by keyboard and are labelled by their rows, and ids
            are those of no other picture on the page.
    """
    stream = io.StringIO()
    with mpl.rc_context(STYLE):
        figure.savefig(stream, format="svg", transparent=True, metadata=_NO_METADATA)
    svg = stream.getvalue()
    svg = svg[svg.index("<svg") :].replace(INK, "currentColor")
    return _for_a_page(svg, name) if name else svg


def _for_a_page(svg: str, name: str) -> str:
    first = True

    def label(found: re.Match[str]) -> str:
        nonlocal first
        stop, first = ("0" if first else "-1"), False
        return f'<g class="mark" tabindex="{stop}" role="img" aria-labelledby="{found[1]}">'

    svg = re.sub(rf'<g id="{MARK}([^"]+)">', label, svg)
    used = set(re.findall(r'(?:xlink:href="#|url\(#)([^")]+)', svg))

    def rename(found: re.Match[str]) -> str:
        return f' id="{name}-{found[1]}"' if found[1] in used else ""

    svg = re.sub(r' id="([^"]+)"', rename, svg)
    svg = re.sub(r'(xlink:href="#|url\(#)', lambda found: f"{found[1]}{name}-", svg)
    return svg.replace("<svg ", f'<svg role="group" aria-label="picture {name}" ', 1)
