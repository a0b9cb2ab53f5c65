"""Figures as SVG elements of a page, with unique ids and focusable marks."""

import io
import re

import matplotlib as mpl
from matplotlib.figure import Figure

from pipeline.reporting.figures.style import INK, MARK, STYLE

_NO_METADATA = dict.fromkeys(("Creator", "Date", "Format", "Type"))


def as_svg(figure: Figure, name: str = "") -> str:
    """The figure as an SVG element in the page's text colour.

    A ``name`` makes ids unique on the page, and marks focusable and labelled by their table rows.
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
    return svg.replace("<svg ", f'<svg role="group" aria-label="figure {name}" ', 1)
