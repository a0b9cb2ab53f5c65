"""What a refused raw log says: file, line, what was found, and what to set."""

import bz2
import gzip
import io
import zipfile

import pytest

from pipeline.core.contracts import EventType
from pipeline.core.errors import DataError
from pipeline.study import DatasetConfig, DatasetFormat, GenericLayout

TS = 1_760_000_000_000
EVENT_TYPES = {"view": EventType.CLICK, "buy": EventType.ORDER, "scroll": None}
HEADER = "visit,product,at,action,price"
GOOD = [f"v{n},p{n},{TS + n},view," for n in range(6)]


def dataset(**changes):
    columns = {"session": "visit", "item": "product", "time": "at", "price": "price"}
    types = {"event_type": "action", "event_types": EVENT_TYPES}
    layout = GenericLayout(**{**columns, **types, **changes})
    return DatasetConfig(format=DatasetFormat.GENERIC, path="in the test", generic=layout)


def text(*rows, header=HEADER):
    return "\n".join([header, *GOOD, *rows, ""]).encode()


def zipped(content):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("a", content)
    return stream.getvalue()


@pytest.fixture
def refusal(load, tmp_path):
    """The message about a folder with these files."""

    def of(**files):
        for name, content in files.items():
            (tmp_path / name.replace("__", ".")).write_bytes(content)
        with pytest.raises(DataError) as caught:
            load(dataset(), tmp_path, max_rejected_share=0.0)
        return str(caught.value)

    return of


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("v,p,soon,view,", "wrong type (at): 1, first in a.csv line 8: 'v,p,soon,view,'"),
        ("v,p,-5,view,", "(at): 1, first in a.csv line 8: 'v,-5,p,view,,1'"),
        (
            "v,p,253402300799000,view,",
            "253402300799000 is not a time in milliseconds between 2000 and",
        ),
        ("v,,5,login,", "unknown event type (action): 1, first in a.csv line 8: 'v,5,,login,,1'"),
        ("v,,5,login,", "Map 'login' to click, cart, order or null in dataset.generic.event_types"),
        ("v,p", "not a row of this format: 1, first in a.csv line 8: 'v,p'"),
        ('"v,p,5,view,', "close quotes, and check dataset.generic.separator"),
        ("v,p\x1b[2J,soon,view,", r"'v,p\x1b[2J,soon,view,'"),
        ("x" * 500, "x" * 100 + "'…"),
    ],
)
def test_a_faulty_row_is_shown_with_its_place_and_the_remedy(refusal, row, says):
    assert says in refusal(a__csv=text(row))


@pytest.mark.parametrize(
    ("header", "says"),
    [
        ("Visit,product,at,action,price", "missing or repeated: 'visit' (did you mean 'Visit'?)"),
        ("visit,product ID,at,action,price", "'product' (did you mean 'product ID'?); got"),
        (HEADER.replace(",", ";"), "it is separated by ';' (dataset.generic.separator)"),
        (HEADER.replace(",", "\t"), r'it is separated by "\t" (dataset.generic.separator)'),
        (HEADER + "\r" + GOOD[0] + "\rx", "it is separated by"),
    ],
)
def test_a_header_that_is_nearly_right_is_understood(refusal, header, says):
    message = refusal(a__csv=text(header=header))

    assert says in message or "its lines end in carriage returns alone" in message


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.csv", gzip.compress(text(), mtime=0), "a.csv is not a CSV file: it is gzip; give it a name that"),
        ("a.csv", text().decode().encode("utf-16"), "it is UTF-16 text; save it as UTF-8"),
        ("a.csv", bytes(range(256)) * 9, "a.csv is not a CSV file: it is binary data, not text"),
        ("a.csv", b"<html>504</html>", "it is a web page, perhaps of a download that failed"),
        ("a.jsonl", bytes(range(256)) * 9, "a.jsonl: it is binary data, not text"),
        ("a.jsonl", b'{"Visit": "v", "product": "p", "at": 5}\n', "(did you mean 'Visit'?)"),
        ("a.jsonl", b"[\n{},\n{}\n]", "convert an array or an indented file to such lines"),
        ("a.zip", zipped(text()), "a.zip does not say what it contains; if that is CSV, rename it to a.csv.zip"),
        ("a.bz2", bz2.compress(text()), "if that is CSV, rename it to a.csv.bz2"),
        ("a.csv", b"", "no usable event (no rows at all)"),
        ("a.csv", text()[: len(HEADER) + 1], "no usable event (no rows at all)"),
    ],
)  # fmt: skip
def test_a_file_that_is_something_else_is_named_for_what_it_is(refusal, name, content, says):
    message = refusal(**{name.replace(".", "__"): content})

    assert says in message
    assert message.replace("…", "").isprintable()


def test_a_file_that_is_there_twice_is_named(refusal):
    message = refusal(**{"a__csv": text(), "a (1)__csv": text()})

    assert "duplicate of another event: 6" in message
    assert "a.csv repeats other files: remove the copy" in message
