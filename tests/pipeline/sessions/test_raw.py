"""Files as a whole, in every format: harmless differences, and data that cannot be used."""

import json

import pytest

from pipeline.errors import DataError
from pipeline.sessions.events import read_events
from pipeline.sessions.raw import RawRows, Reason, text_lines
from pipeline.study import DatasetFormat

OTTO, JDATA = DatasetFormat.OTTO, DatasetFormat.JDATA
FORMATS = pytest.mark.parametrize("dataset_format", [OTTO, JDATA], ids=["otto", "jdata"])
SUFFIX = {OTTO: ".jsonl", JDATA: ".csv"}
LINES = {
    OTTO: [
        json.dumps({"session": number, "events": [{"aid": 5, "ts": time, "type": "clicks"}]})
        for number, time in ((1, 1_519_862_400_000), (2, 1_519_862_401_000))
    ],
    JDATA: [
        "action_time,user_id,sku_id,type,sessionId,index",
        "2018-03-01 00:00:00,0,5,1,1,0",
        "2018-03-01 00:00:01,0,5,1,2,0",
    ],
}
EVENTS = [("1", 1_519_862_400_000, "5", "click"), ("2", 1_519_862_401_000, "5", "click")]


@FORMATS
@pytest.mark.parametrize(
    "spelling",
    [
        lambda lines: "\n".join(lines) + "\n",
        "\n".join,
        "\r\n".join,
        lambda lines: "\ufeff" + "\n".join(lines),
        lambda lines: "\n\n  \n".join(lines) + "\n\n\r\n\t\n",
    ],
    ids=["plain", "no-final-newline", "crlf", "byte-order-mark", "blank-lines"],
)
def test_how_lines_end_and_begin_makes_no_difference(tmp_path, dataset_format, spelling):
    path = tmp_path / f"log{SUFFIX[dataset_format]}"
    path.write_bytes(spelling(LINES[dataset_format]).encode())

    prepared = read_events(path, dataset_format, max_rejected_share=0.0)

    assert prepared.events.rows() == EVENTS
    assert prepared.rejected.is_empty()


@FORMATS
@pytest.mark.parametrize(
    "content",
    [b"", b"\n", b"\n \r\n\t\n\n", b"\xef\xbb\xbf", b"\xef\xbb\xbf\n\n"],
    ids=["empty", "one-newline", "blank-lines", "byte-order-mark", "mark-and-blank-lines"],
)
def test_a_file_without_rows_says_so(tmp_path, dataset_format, content):
    path = tmp_path / "log"
    path.write_bytes(content)

    with pytest.raises(DataError) as caught:
        read_events(path, dataset_format, max_rejected_share=1.0)

    assert str(caught.value) == (
        f"{path} holds no usable event (no rows at all); is dataset.format right?"
    )


@FORMATS
@pytest.mark.parametrize(
    "content",
    [
        b"\x89PNG\r\x1a\x00\x00\x00\rIHDR\xff\xfe\n",
        b"\x1f\x8b\x08\x00\x00\xff\xfe\x80\x81\n",
        "Größe;Preis\n".encode("latin-1"),
        "clicks".encode("utf-16"),
    ],
    ids=["picture", "gzip", "latin-1", "utf-16"],
)
def test_a_file_that_is_no_text_names_the_reason_and_the_first_place(
    tmp_path, dataset_format, content
):
    path = tmp_path / "log"
    path.write_bytes(content)

    with pytest.raises(DataError) as caught:
        read_events(path, dataset_format, max_rejected_share=1.0)

    message = str(caught.value)
    assert "not UTF-8 text: 1, first in log line 1" in message
    assert message.endswith("is dataset.format right?")


@FORMATS
def test_an_absent_file_is_named(tmp_path, dataset_format):
    with pytest.raises(DataError) as caught:
        read_events(tmp_path / "no.log", dataset_format, max_rejected_share=1.0)

    assert str(caught.value) == f"cannot read {tmp_path / 'no.log'}: No such file or directory"


@FORMATS
def test_a_folder_without_files_of_the_format_says_so(tmp_path, dataset_format):
    (tmp_path / "readme.txt").write_text("nothing here")

    with pytest.raises(DataError, match=r"holds no usable event \(no rows at all\)"):
        read_events(tmp_path, dataset_format, max_rejected_share=1.0)


@FORMATS
def test_a_folder_named_like_a_file_is_named(tmp_path, dataset_format):
    (tmp_path / f"log{SUFFIX[dataset_format]}").mkdir()

    with pytest.raises(DataError, match=r"cannot read .*/log\.\w+: Is a directory"):
        read_events(tmp_path, dataset_format, max_rejected_share=1.0)


@pytest.mark.parametrize(
    ("written", "named"),
    [(OTTO, JDATA), (JDATA, OTTO)],
    ids=["otto-read-as-jdata", "jdata-read-as-otto"],
)
def test_data_of_the_other_format_is_refused(tmp_path, written, named):
    path = tmp_path / "log"
    path.write_text("\n".join(LINES[written]))

    with pytest.raises(DataError, match=r"header lacks|is dataset\.format right"):
        read_events(path, named, max_rejected_share=1.0)


@FORMATS
def test_a_line_that_is_no_text_does_not_cost_the_others(tmp_path, dataset_format):
    path = tmp_path / f"log{SUFFIX[dataset_format]}"
    first, *others = [line.encode() for line in LINES[dataset_format]]
    path.write_bytes(b"\n".join([first, b"\xc3\x28", *others]))

    prepared = read_events(path, dataset_format, max_rejected_share=0.5)

    assert prepared.events.rows() == EVENTS
    assert prepared.rejected.rows() == [(path.name, 2, Reason.NOT_TEXT.value, "b'\\xc3(\\n'")]


def test_lines_keep_their_numbers_over_blank_and_unreadable_ones(tmp_path):
    path = tmp_path / "log"
    path.write_bytes(b"one\n\n\xff\n  \nfive\r\n")
    rows = RawRows()

    lines = list(text_lines(path, rows))

    assert lines == [(1, "one"), (5, "five")]
    assert [(position, reason) for _, position, reason, _ in rows.rejected] == [
        (3, Reason.NOT_TEXT.value)
    ]


def test_a_byte_order_mark_counts_at_the_beginning_alone(tmp_path):
    path = tmp_path / "log"
    path.write_text("\ufeffone\n\ufefftwo\n", encoding="utf-8")

    assert list(text_lines(path, RawRows())) == [(1, "one"), (2, "\ufefftwo")]


def test_content_of_a_rejected_row_is_cut_at_200_characters():
    rows = RawRows()

    rows.reject("log", 1, reason=Reason.UNREADABLE, content="x" * 200 + "y")

    assert rows.rejected_frame()["content"].to_list() == ["x" * 200]
