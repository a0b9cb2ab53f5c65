"""Every number on the pages comes from report.json.

The report is rendered with numbers that remember their place in it, and with filters that mark their
output. Without the marks the text must be, byte for byte, that of the written files; every mark must
be the output of its filter for the number at that place of the file on disk; and numbers outside the
marks must be in a template, or in a string of report.json.
"""

import math
import re
from dataclasses import fields, is_dataclass, replace
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import pytest

import pipeline.reporting
from pipeline.artifacts.storage import read_json
from pipeline.reporting.first_screen.screen import changes_of, first_screen
from pipeline.reporting.render import MARKDOWN, PAGE, jinja_environment, render
from pipeline.reporting.report import page_values, write_report
from pipeline.reporting.text.advice import (
    expected_words,
    measured_briefly,
    moved,
    moved_briefly,
    predicted_words,
    ship_words,
)
from pipeline.reporting.text.diagnostics import diagnostic_rows
from pipeline.reporting.text.formatting import NUMBERS
from pipeline.results.decisions import Advice
from pipeline.results.diagnostics import Diagnostics
from pipeline.results.hypothesis import Elasticity
from pipeline.results.serialization import parse
from pipeline.results.slopes import Change

pytestmark = pytest.mark.slow

OPEN, CLOSE = "\ue000", "\ue001"
DIGITS = re.compile(r"\d+(?:[.,]\d+)*")
ADVICE_WORDS = {
    one.__name__: one
    for one in (ship_words, expected_words, predicted_words, moved, moved_briefly, measured_briefly)
}
"""Filters that write sentences with numbers of the advice; they have tests of their own."""
FORMATS = {PAGE: "index.html", MARKDOWN: "report.md"}
ROOT = Path(pipeline.reporting.__file__).parent


class TracedFloat(float):
    path = ()


class TracedInt(int):
    path = ()


def traced(value, path=()):
    """The same value with numbers that know their place."""
    if is_dataclass(value):
        found = {one.name: getattr(value, one.name) for one in fields(value)}
        return replace(value, **{key: traced(one, (*path, key)) for key, one in found.items()})
    if isinstance(value, dict):
        return {key: traced(one, (*path, key)) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(traced(one, (*path, n)) for n, one in enumerate(value))
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    known = (TracedInt if isinstance(value, int) else TracedFloat)(value)
    known.path = path
    return known


class Recorder:
    """Filters that mark their output and remember the places of their input."""

    def __init__(self, environment):
        self.marks = []
        for name in NUMBERS:
            environment.filters[name] = self._recording(name)
        environment.filters["diagnostic_rows"] = marked_rows
        environment.filters |= {name: marked(words) for name, words in ADVICE_WORDS.items()}
        environment.filters["cost_lines"] = marked_lines(environment.filters["cost_lines"])

    def _recording(self, name):
        def write(value, *arguments):
            text = NUMBERS[name](value, *arguments)
            if value is None:
                return text
            self.marks.append((name, value, arguments, text))
            return f"{OPEN}{text}{CLOSE}"

        return write


def marked(words):
    """A function whose output is marked."""

    def write(*arguments):
        text = words(*arguments)
        return text and f"{OPEN}{text}{CLOSE}"

    return write


def marked_lines(sentences):
    """A function whose sentences are marked; those on the cost of a plan have tests of their own."""
    return lambda *arguments: [f"{OPEN}{line}{CLOSE}" for line in sentences(*arguments)]


def marked_rows(diagnostics):
    """The rows of the diagnostics with marked numbers."""
    rows = diagnostic_rows(diagnostics)
    return [replace(row, numbers=f"{OPEN}{row.numbers}{CLOSE}") for row in rows]


def place_of(value):
    """The place of a value in the report; of a change or an elasticity, that of its object."""
    if isinstance(value, Change | Elasticity):
        first = value.change if isinstance(value, Change) else value.estimate
        path = getattr(first, "path", None)
        return path and path[:-1]
    return getattr(value, "path", None)


def written_by(name, value, arguments):
    """The output of a filter for a value of the file."""
    if isinstance(value, dict):
        value = parse(Elasticity if name == "effect" else Change, value)
    return NUMBERS[name](value, *arguments)


def strings_in(value):
    if isinstance(value, dict):
        for key, one in value.items():
            yield from (str(key), *strings_in(one))
    elif isinstance(value, list):
        for one in value:
            yield from strings_in(one)
    elif isinstance(value, str):
        yield value


class Words(HTMLParser):
    """The visible text of a page, without figures and code."""

    SKIPPED = ("style", "script", "svg", "pre", "title")

    def __init__(self, html):
        super().__init__()
        self.depth, self.text = 0, ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):  # noqa: ARG002 - the parser's signature
        self.depth += tag in self.SKIPPED

    def handle_endtag(self, tag):
        self.depth -= tag in self.SKIPPED

    def handle_data(self, data):
        self.text += "" if self.depth else f"{data} "


def at(document, path):
    for step in path:
        document = document[step]
    return document


def new_environment(markup, cutoff):
    """Templates with filters that may be changed: not the cached ones."""
    return jinja_environment.__wrapped__(markup, cutoff)


@pytest.fixture(scope="module", params=FORMATS)
def recorded(request, whole_report, tmp_path_factory):
    """A format of the report: rendered with marks, the marks, its file, and report.json."""
    folder = tmp_path_factory.mktemp("report")
    write_report(whole_report, folder)
    environment = new_environment(request.param, whole_report.cutoff)
    recorder = Recorder(environment)
    report = traced(whole_report)
    values = page_values(whole_report) | {"report": report, "s": first_screen(report)}
    text = render(environment, request.param, "report.j2", values)
    file = (folder / FORMATS[request.param]).read_text("utf-8")
    return text, recorder.marks, file, read_json(folder / "report.json")


def test_the_recorded_text_is_the_written_one(recorded):
    text, marks, file, _ = recorded

    assert text.replace(OPEN, "").replace(CLOSE, "") == file
    assert len(marks) > 300


def test_every_marked_number_is_in_report_json(recorded):
    _, marks, _, document = recorded

    assert [(name, text) for name, value, _, text in marks if place_of(value) is None] == []
    for name, value, arguments, text in marks:
        path = place_of(value)
        assert written_by(name, at(document, path), arguments) == text, path


def test_numbers_outside_the_marks_are_in_templates_or_strings(recorded):
    text, _, _, document = recorded
    written = Words(text).text if text.startswith("<!doctype") else re.sub(
        r"```.*?```", "", text, flags=re.DOTALL
    )  # fmt: skip

    outside = set(DIGITS.findall(unescape(re.sub(f"{OPEN}[^{CLOSE}]*{CLOSE}", "", written))))

    known = " ".join(strings_in(document)) + f" @{document['cutoff']}"
    sources = (*(ROOT / "templates").iterdir(), *(ROOT / "text").glob("*.py"))
    known += " ".join(file.read_text("utf-8") for file in sources)
    assert outside <= set(DIGITS.findall(known))


def test_the_numbers_of_the_diagnostics_are_those_of_report_json(recorded):
    text, _, _, document = recorded

    for row in diagnostic_rows(parse(Diagnostics, document["diagnostics"])):
        assert f"{OPEN}{row.numbers}{CLOSE}" in unescape(text)


def test_the_numbers_of_the_advice_are_those_of_report_json(recorded):
    text, _, _, document = recorded
    advice = [parse(Advice, one) for one in document["advice"]]
    changes = [one for each in advice for one in (*each.trade_offs, *each.changes)]

    words = [expected_words(one) for one in advice] + [predicted_words(one) for one in advice]
    words += [moved(one) for one in changes]
    if text.startswith("<!doctype"):
        words += [moved_briefly(one) for each in advice for one in changes_of(each)]
    assert any(words)
    for one in filter(None, words):
        assert f"{OPEN}{one}{CLOSE}" in unescape(text)


def test_a_number_that_is_not_in_the_report_would_be_noticed(whole_report):
    environment = new_environment(MARKDOWN, 20)
    recorder = Recorder(environment)
    template = environment.from_string("{{ (report.hypotheses[0].slope + 1) | number }}")

    template.render(report=traced(whole_report))

    ((_, value, _, _),) = recorder.marks
    assert math.isclose(value, whole_report.hypotheses[0].slope + 1)
    assert place_of(value) is None
