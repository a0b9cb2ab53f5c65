"""Single rows of delimited text by hand: their reasons, their places, their file's header."""

import json

import pytest

from pipeline.core.errors import DataError
from pipeline.datasets.raw_rows import Reason
from pipeline.study import DatasetConfig, DatasetFormat

JDATA = DatasetConfig(format=DatasetFormat.JDATA, path="in the test")
HEADER = "action_time,user_id,sku_id,type,sessionId,index"
GOOD = "2018-03-01 00:00:06,273220,159865,1,42,1519862406.0"
NEXT = "2018-03-01 00:00:11,136591,37315,2,83,1519862411.0"
MIDNIGHT = 1_519_862_400_000
"""2018-03-01 00:00:00 UTC; the file's own index column says so, too."""

EVENTS = [(42, MIDNIGHT + 6_000, 159865, "click", 0), (83, MIDNIGHT + 11_000, 37315, "order", 0)]


def write(path, *lines, newline="\n"):
    encoded = (line if isinstance(line, bytes) else line.encode() for line in lines)
    path.write_bytes(newline.encode().join(encoded))
    return path


def test_browsing_ordering_and_carts_become_events_at_their_time_utc(load, tmp_path):
    path = write(
        *(tmp_path / "a.csv", HEADER),
        "2018-03-01 00:00:06,273220,159865,1,42,1519862406.0",
        "2018-03-01 00:01:00,273220,159865,5,42,1519862460.0",
        "2018-03-01 01:00:00,273220,159865,2,42,1519866000.0",
    )

    _, events, _ = load(JDATA, path)

    assert events.rows() == [
        (42, MIDNIGHT + 6_000, 159865, "click", 0),
        (42, MIDNIGHT + 60_000, 159865, "cart", 0),
        (42, MIDNIGHT + 3_600_000, 159865, "order", 0),
    ]


def test_follow_and_comment_events_are_not_used(load, tmp_path):
    others = ("2018-03-01 00:00:07,1,2,3,4,0", "2018-03-01 00:00:08,1,2,4,4,0")

    summary, *_ = load(JDATA, write(tmp_path / "a.csv", HEADER, GOOD, *others))

    assert summary["rejected_by_reason"] == {Reason.UNUSED_EVENT_TYPE.value: 2}


BAD_ROWS = {
    "no-time": (",273220,159865,1,42,0", Reason.MISSING_FIELD),
    "no-item": ("2018-03-01 00:00:06,273220,,1,42,0", Reason.MISSING_FIELD),
    "no-event_type": ("2018-03-01 00:00:06,273220,159865,,42,0", Reason.MISSING_FIELD),
    "no-session": ("2018-03-01 00:00:06,273220,159865,1,,0", Reason.MISSING_FIELD),
    "quoted-nothing": ('2018-03-01 00:00:06,273220,"",1,42,0', Reason.MISSING_FIELD),
    "too-few-columns": ("2018-03-01 00:00:06,273220,159865,1", Reason.UNREADABLE),
    "too-many-columns": (GOOD + ",0", Reason.UNREADABLE),
    "one-word": ("?", Reason.UNREADABLE),
    "json": ('{"session":1,"events":[]}', Reason.UNREADABLE),
    "quote-without-end": ('2018-03-01 00:00:06,"273220,159865,1,42,0', Reason.UNREADABLE),
    "last-quote-without-end": ('2018-03-01 00:00:06,273220,159865,1,42,"0', Reason.UNREADABLE),
    "text-after-a-quote": ('2018-03-01 00:00:06,"273"220,159865,1,42,0', Reason.UNREADABLE),
    "bare-carriage-return": ("2018-03-01 00:00:06,273\r220,159865,1,42,0", Reason.UNREADABLE),
    "two-rows-by-carriage-return": (GOOD + "\r" + NEXT, Reason.UNREADABLE),
    "two-rows-by-carriage-return-and-a-blank-line": (GOOD + "\r" + NEXT + "\n", Reason.UNREADABLE),
    "endless-field": ("2018-03-01 00:00:06," + "1" * 200_000, Reason.UNREADABLE),
    "header-in-the-middle": (HEADER, Reason.WRONG_TYPE),
    "blank-session": ("2018-03-01 00:00:06,273220,159865,1,  ,0", Reason.WRONG_TYPE),
    "columns-swapped": ("42,273220,159865,1,2018-03-01 00:00:06,0", Reason.WRONG_TYPE),
    "hexadecimal-item": ("2018-03-01 00:00:06,273220,0x27079,1,42,0", Reason.WRONG_TYPE),
    "fractional-item": ("2018-03-01 00:00:06,273220,159865.0,1,42,0", Reason.WRONG_TYPE),
    "item-not-a-number": ("2018-03-01 00:00:06,273220,NaN,1,42,0", Reason.WRONG_TYPE),
    "item-2**63": (f"2018-03-01 00:00:06,273220,{2**63},1,42,0", Reason.WRONG_TYPE),
    "zero-byte": ("2018-03-01 00:00:06,273220,15\x009865,1,42,0", Reason.WRONG_TYPE),
    "time-with-a-zone": ("2018-03-01T00:00:06Z,273220,159865,1,42,0", Reason.WRONG_TYPE),
    "time-in-milliseconds": ("1519862406000,273220,159865,1,42,0", Reason.WRONG_TYPE),
    "impossible-day": ("2018-02-30 00:00:06,273220,159865,1,42,0", Reason.WRONG_TYPE),
    "hour-25": ("2018-03-01 25:00:06,273220,159865,1,42,0", Reason.WRONG_TYPE),
    "year-10000": ("10000-03-01 00:00:06,273220,159865,1,42,0", Reason.WRONG_TYPE),
    "year-1999": ("1999-12-31 23:59:59,273220,159865,1,42,0", Reason.TIME_OUT_OF_RANGE),
    "year-2100": ("2100-01-01 00:00:00,273220,159865,1,42,0", Reason.TIME_OUT_OF_RANGE),
    "event_type-6": ("2018-03-01 00:00:06,273220,159865,6,42,0", Reason.UNKNOWN_EVENT_TYPE),
    "event_type-1.0": ("2018-03-01 00:00:06,273220,159865,1.0,42,0", Reason.UNKNOWN_EVENT_TYPE),
    "event_type-blank": ("2018-03-01 00:00:06,273220,159865,  ,42,0", Reason.UNKNOWN_EVENT_TYPE),
    "bad-utf-8-item": (b"2018-03-01 00:00:06,273220,\xff\xfe,1,42,0", Reason.NOT_TEXT),
    "bad-utf-8-event_type": (b"2018-03-01 00:00:06,273220,159865,\xc0\x80,42,0", Reason.NOT_TEXT),
    "utf-16": (GOOD.encode("utf-16"), Reason.NOT_TEXT),
}


@pytest.mark.parametrize(("row", "reason"), BAD_ROWS.values(), ids=BAD_ROWS)
def test_a_bad_row_is_counted_under_its_reason_and_spoils_no_other(load, tmp_path, row, reason):
    path = write(tmp_path / "a.csv", HEADER, GOOD, row, NEXT)

    _, events, rejected = load(JDATA, path, max_rejected_share=0.5)

    assert sorted(events.rows()) == EVENTS
    ((source, position, named, _, content),) = rejected.rows()
    assert (source, position, named) == ("a.csv", 3, reason.value)
    assert 0 < len(content) <= 200


HARMLESS = {
    "quotes": '"2018-03-01 00:00:06","273220","159865","1","42","1519862406.0"',
    "quotes-around-separators-and-quotes": '2018-03-01 00:00:06,"a,b ""c""",159865,1,42,0',
    "spaces-and-zeros-around-numbers": "2018-03-01 00:00:06,273220, 0159865 ,1,\t42,0",
    "anything-in-unused-columns": "2018-03-01 00:00:06,0x5,159865,1,42,NaN",
    "a-quote-within-an-unused-column": '2018-03-01 00:00:06,27" screen,159865,1,42,0',
    "bad-utf-8-in-an-unused-column": b"2018-03-01 00:00:06,\xff,159865,1,42,0",
}


@pytest.mark.parametrize("row", HARMLESS.values(), ids=HARMLESS)
def test_equivalent_spellings_of_a_row_are_accepted(load, tmp_path, row):
    _, events, rejected = load(JDATA, write(tmp_path / "a.csv", HEADER, row, NEXT))

    assert sorted(events.rows()) == EVENTS
    assert rejected.is_empty()


SPELLINGS = {
    "plain": lambda lines: "\n".join(lines) + "\n",
    "no-final-newline": "\n".join,
    "crlf": "\r\n".join,
    "two-carriage-returns": "\r\r\n".join,
    "byte-order-mark": lambda lines: "\ufeff" + "\n".join(lines),
    "blank-lines": lambda lines: "\n\n  \n".join(lines) + "\n\n\r\n\t\n",
}


@pytest.mark.parametrize("spelling", SPELLINGS.values(), ids=SPELLINGS)
def test_how_lines_begin_and_end_makes_no_difference(load, tmp_path, spelling):
    path = tmp_path / "a.csv"
    path.write_bytes(spelling([HEADER, GOOD, NEXT]).encode())

    _, events, rejected = load(JDATA, path)

    assert sorted(events.rows()) == EVENTS
    assert rejected.is_empty()


def test_every_line_of_a_long_file_keeps_its_number(load, tmp_path):
    bad = {2, 5_000, 5_001, 5_002, 11_111, 29_998, 30_001}  # of lines of 31 bytes in blocks
    lines = [f"2018-03-01 00:00:06,,{n:06},1,{n % 7}" for n in range(30_002)]
    for number in bad:
        lines[number - 1] = "rubbish"
    lines[0] = "action_time,user_id,sku_id,type,sessionId"
    lines[7_000] = ""

    _, events, rejected = load(JDATA, write(tmp_path / "a.csv", *lines), max_rejected_share=0.01)

    assert rejected["position"].to_list() == sorted(bad)
    numbers = set(range(2, 30_003)) - bad - {7_001}
    assert sorted(events["item"]) == sorted(number - 1 for number in numbers)
    assert all(session == item % 7 for session, item in events.select("session", "item").rows())


def test_columns_may_come_in_any_order_with_others_between_and_quoted(load, tmp_path):
    header = '"sessionId","x,y",type,sku_id, action_time '
    path = write(tmp_path / "a.csv", header, "42,?,1,159865,2018-03-01 00:00:06")

    assert load(JDATA, path).events.rows() == EVENTS[:1]


def test_a_folder_is_read_in_order_of_name_each_file_by_its_own_header(load, tmp_path):
    write(tmp_path / "b.csv", "type,sku_id,sessionId,action_time", "2,7,8,2018-03-01 00:00:00")
    write(tmp_path / "a.csv", HEADER, GOOD)
    (tmp_path / "notes.txt").write_text("no events")

    summary, events, _ = load(JDATA, tmp_path)

    assert list(summary["files"].items()) == [("a.csv", 1), ("b.csv", 1)]
    assert sorted(events.select("file", "session").rows()) == [(0, 42), (1, 8)]


WRONG_HEADERS = {
    "no-header": GOOD,
    "no-time": HEADER.replace("action_time", "other"),
    "no-event_type": HEADER.replace("type", "other"),
    "session-twice": HEADER.replace("index", "sessionId"),
    "json": '{"session":1,"events":[]}',
    "quote": '"unclosed',
    "semicolons": HEADER.replace(",", ";"),
    "capitals": HEADER.upper(),
    "endless-word": "x" * 200_000,
    "blank": "",
}


@pytest.mark.parametrize("header", WRONG_HEADERS.values(), ids=WRONG_HEADERS)
def test_a_wrong_header_is_rejected_with_the_expected_and_the_found_one(load, tmp_path, header):
    path = write(tmp_path / "a.csv", header, GOOD)

    with pytest.raises(DataError) as caught:
        load(JDATA, path, max_rejected_share=1.0)

    message = str(caught.value)
    assert message.startswith(
        "a.csv: the header must name ['action_time', 'sku_id', 'type', 'sessionId'] exactly once "
        "each, separated by ','; missing or repeated: '"
    )
    assert f"; got {header[:200]!r}" in message


@pytest.mark.parametrize(
    ("good", "bad", "limit", "refused"),
    [
        (19, 1, 0.05, False),  # 1 / 20 = 0.05: at the limit
        (18, 1, 0.05, True),  # 1 / 19 > 0.05
        (5, 0, 0.0, False),
        (5, 1, 0.0, True),
        (1, 9, 1.0, False),
    ],
)
def test_data_is_refused_above_the_accepted_share_of_bad_rows(
    load, tmp_path, *, good, bad, limit, refused
):
    rows = [f"2018-03-01 00:00:06,1,{item},1,42,0" for item in range(good)]
    path = write(tmp_path / "a.csv", HEADER, *rows, *["?"] * bad)

    if not refused:
        _, events, rejected = load(JDATA, path, max_rejected_share=limit)
        assert (events.height, rejected.height) == (good, bad)
        return
    with pytest.raises(DataError) as caught:
        load(JDATA, path, max_rejected_share=limit)
    assert str(caught.value) == (
        f"{path}: {bad} of {good + bad} rows are rejected (not a row of this format: {bad}, first "
        f"in a.csv line {good + 2}: '?'); at most {limit:.1%} are accepted. Fix the data, correct "
        "dataset.format, or raise sessions.max_rejected_share"
    )


def test_the_content_of_a_rejected_row_is_kept_to_200_characters(load, tmp_path):
    long = json.dumps({"x": "y" * 300})

    _, _, rejected = load(
        JDATA, write(tmp_path / "a.csv", HEADER, GOOD, long), max_rejected_share=0.5
    )

    assert rejected["content"].to_list() == [long[:200]]
