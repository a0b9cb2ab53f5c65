"""The page of past tests: which metric to trust, and what a change of it predicts."""

from functools import partial
from pathlib import Path

from pipeline.reporting.figures.past_tests import proxy_figure
from pipeline.reporting.figures.svg import as_svg
from pipeline.reporting.render import MARKDOWN, PAGE, jinja_environment, render, write_files
from pipeline.reporting.text.launches import (
    deciding_sentence,
    rule_name,
    share,
    share_interval,
)
from pipeline.reporting.text.past_tests import (
    effect,
    effect_interval,
    left_out_sentence,
    name_of,
    probability,
    slope,
    slope_interval,
)
from pipeline.results.past_tests import PastTests
from pipeline.results.serialization import to_dict

PAST_TESTS = "past_tests.json"

_MOST_FIGURES = 6
_MOST_ROWS = 500
"""Of the data table on the page; the JSON document has all."""


def write_past_tests(found: PastTests, folder: Path) -> Path:
    """Write ``past_tests.json``, ``past_tests.md`` and ``index.html``; returns the page.

    Raises:
        DataError: if the folder contains other files, or cannot be written.
    """
    shown = [one for one in found.proxies if one.line][:_MOST_FIGURES]
    values = {
        "title": f"Past tests: {Path(found.source).name}",
        "found": found,
        "shown": shown,
        "most_rows": _MOST_ROWS,
        "figures": [
            as_svg(proxy_figure(one, found.scale, f"tests-{number}"), f"tests-{number}")
            for number, one in enumerate(shown)
        ],
        "effect": partial(effect, scale=found.scale),
        "effect_interval": partial(effect_interval, scale=found.scale),
        "slope": slope,
        "slope_interval": slope_interval,
        "name_of": name_of,
        "probability": probability,
        "share": share,
        "share_interval": share_interval,
        "rule_name": partial(rule_name, words=name_of),
        "deciding_sentence": partial(deciding_sentence, words=name_of),
        "left_out": [left_out_sentence(one) for one in found.left_out],
    }
    return write_files(
        folder,
        {PAST_TESTS: to_dict(found)},
        {
            name: render(jinja_environment(markup, None), markup, "past_tests.j2", values)
            for name, markup in (("index.html", PAGE), ("past_tests.md", MARKDOWN))
        },
    )
