"""Every number that a reader sees comes from report.json.

The report is rendered with numbers that remember where they stand in it, and with filters that mark
what they write. Without the marks the text must be, byte for byte, that of the written files; every
mark must be what its filter makes of the number at that place of the file on disk; and what stands
outside of the marks must be written so in a template, or be a string of report.json.
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
from pipeline.reporting.render import MARKDOWN, PAGE, jinja_environment, render
from pipeline.reporting.report import page_values, write_report
from pipeline.reporting.text.diagnostics import diagnostic_rows
from pipeline.reporting.text.formatting import NUMBERS
from pipeline.reporting.text.reasons import ANALYSES, evidence_words, limitation_sentences
from pipeline.results.document import Report
from pipeline.results.serialization import parse
from pipeline.results.slopes import Change

OPEN, CLOSE = "\ue000", "\ue001"
DIGITS = re.compile(r"\d+(?:[.,]\d+)*")
FACES = {PAGE: "index.html", MARKDOWN: "report.md"}
ROOT = Path(pipeline.reporting.__file__).parent


class TracedFloat(float):
    path = ()


class TracedInt(int):
    path = ()


def traced(value, path=()):
    """The same value, its numbers knowing their place."""
    if is_dataclass(value):
        return replace(
            value,
            **{f.name: traced(getattr(value, f.name), (*path, f.name)) for f in fields(value)},
        )
    if isinstance(value, dict):
        return {key: traced(one, (*path, key)) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return tuple(traced(one, (*path, n)) for n, one in enumerate(value))
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    known = (TracedInt if isinstance(value, int) else TracedFloat)(value)
    known.path = path
    return known


def words_of(report):
    """What is written of the results of report.json in words."""
    for row in diagnostic_rows(report.diagnostics):
        yield from (row.label, row.outcome, row.numbers)
    for one in report.hypotheses:
        yield evidence_words(report.evidence[one.id], one.verdict)
    yield from limitation_sentences(report.limitations)
    yield from (words for pair in ANALYSES.values() for words in pair)


class Recorder:
    """Filters that mark what they write and remember from which places."""

    def __init__(self, environment):
        self.marks = []
        for name in NUMBERS:
            environment.filters[name] = self._recording(name)

    def _recording(self, name):
        def write(value, *arguments):
            text = NUMBERS[name](value, *arguments)
            if value is None:
                return text
            self.marks.append((name, value, arguments, text))
            return f"{OPEN}{text}{CLOSE}"

        return write


def place_of(value):
    """Where the value stands; of a change, where the change does."""
    of = value.change if isinstance(value, Change) else value
    path = getattr(of, "path", None)
    return path[:-1] if path and isinstance(value, Change) else path


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
    """The text of a page that a reader sees, without pictures and code."""

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


def of_its_own(face, cutoff):
    """Templates whose filters may be changed: not those that every report is rendered with."""
    return jinja_environment.__wrapped__(face, cutoff)


@pytest.fixture(scope="module", params=FACES)
def recorded(request, whole_report, tmp_path_factory):
    """A face of the report: rendered with marks, what was marked, its file, and report.json."""
    folder = tmp_path_factory.mktemp("report")
    write_report(whole_report, folder)
    environment = of_its_own(request.param, whole_report.cutoff)
    recorder = Recorder(environment)
    values = page_values(whole_report) | {"report": traced(whole_report)}
    text = render(environment, request.param, "report.j2", values)
    file = (folder / FACES[request.param]).read_text("utf-8")
    return text, recorder.marks, file, read_json(folder / "report.json")


def test_the_recorded_face_is_the_written_one(recorded):
    text, marks, file, _ = recorded

    assert text.replace(OPEN, "").replace(CLOSE, "") == file
    assert len(marks) > 300


def test_every_marked_number_is_what_its_filter_makes_of_report_json(recorded):
    _, marks, _, document = recorded

    assert [(name, text) for name, value, _, text in marks if place_of(value) is None] == []
    for name, value, arguments, text in marks:
        path = place_of(value)
        known = at(document, path)
        known = parse(Change, known) if isinstance(value, Change) else known
        assert NUMBERS[name](known, *arguments) == text, path


def test_no_number_stands_outside_of_the_marks_but_in_templates_and_strings(recorded):
    text, _, _, document = recorded
    written = Words(text).text if text.startswith("<!doctype") else re.sub(
        r"```.*?```", "", text, flags=re.DOTALL
    )  # fmt: skip

    outside = set(DIGITS.findall(unescape(re.sub(f"{OPEN}[^{CLOSE}]*{CLOSE}", "", written))))

    told = " ".join(strings_in(document)) + f" @{document['cutoff']}"
    sources = (*sorted((ROOT / "templates").iterdir()), ROOT / "text" / "formatting.py")
    told += " ".join(file.read_text("utf-8") for file in sources)
    told += " ".join(words_of(parse(Report, document)))
    assert outside <= set(DIGITS.findall(told))


def test_a_number_that_is_not_in_the_report_would_be_noticed(whole_report):
    environment = of_its_own(MARKDOWN, 20)
    recorder = Recorder(environment)
    template = environment.from_string("{{ (report.hypotheses[0].slope + 1) | number }}")

    template.render(report=traced(whole_report))

    ((_, value, _, _),) = recorder.marks
    assert math.isclose(value, whole_report.hypotheses[0].slope + 1)
    assert place_of(value) is None
