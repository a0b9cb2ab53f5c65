"""JDATA's CSV: events by hand, and every bad row counted under its reason."""

import csv
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import DataError
from pipeline.sessions.events import read_events
from pipeline.sessions.jdata import read_jdata
from pipeline.sessions.raw import Reason
from pipeline.study import DatasetFormat

HEADER = "action_time,user_id,sku_id,type,sessionId,index"
GOOD = "2018-03-01 00:00:06,273220,159865,1,42,1519862406.0"
NEXT = "2018-03-01 00:00:11,136591,37315,2,83,1519862411.0"
MIDNIGHT = 1_519_862_400_000
"""2018-03-01 00:00:00 UTC; the file's own index column says so, too."""


def _write(path, *lines, newline="\n"):
    path.write_bytes(
        newline.encode().join(
            line if isinstance(line, bytes) else line.encode() for line in (HEADER, *lines)
        )
    )
    return path


def test_browsing_ordering_and_carts_become_events_at_their_time_utc(tmp_path):
    path = _write(
        tmp_path / "a.csv",
        "2018-03-01 00:00:06,273220,159865,1,42,1519862406.0",
        "2018-03-01 00:01:00,273220,159865,5,42,1519862460.0",
        "2018-03-01 01:00:00,273220,159865,2,42,1519866000.0",
    )

    rows = read_jdata(path)

    assert rows.events == [
        ("a.csv", 2, "42", MIDNIGHT + 6_000, "159865", "click"),
        ("a.csv", 3, "42", MIDNIGHT + 60_000, "159865", "cart"),
        ("a.csv", 4, "42", MIDNIGHT + 3_600_000, "159865", "order"),
    ]
    assert rows.rejected == []


def test_following_and_commenting_are_set_aside_on_purpose(tmp_path):
    path = _write(
        tmp_path / "a.csv",
        GOOD,
        "2018-03-01 00:00:07,1,2,3,4,0",
        "2018-03-01 00:00:08,1,2,4,4,0",
    )

    prepared = read_events(path, DatasetFormat.JDATA, max_rejected_share=0.0)

    assert prepared.summary()["rejected_by_reason"] == {Reason.OTHER_KIND.value: 2}


def test_columns_may_come_in_any_order_and_with_others_between(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("sessionId,x,type,sku_id,action_time\n42,?,1,159865,2018-03-01 00:00:06\n")

    assert read_jdata(path).events == [("a.csv", 2, "42", MIDNIGHT + 6_000, "159865", "click")]


def test_a_folder_is_read_in_order_of_name_each_file_by_its_own_header(tmp_path):
    (tmp_path / "b.csv").write_text("type,sku_id,sessionId,action_time\n2,7,8,2018-03-01 00:00:00")
    _write(tmp_path / "a.csv", GOOD)
    (tmp_path / "notes.txt").write_text("no events")

    rows = read_jdata(tmp_path)

    assert [(source, session) for source, _, session, *_ in rows.events] == [
        ("a.csv", "42"),
        ("b.csv", "8"),
    ]


BAD_ROWS = {
    "too-few-columns": ("2018-03-01 00:00:06,273220,159865,1", Reason.MISSING_FIELD),
    "one-word": ("?", Reason.MISSING_FIELD),
    "no-time": (",273220,159865,1,42,0", Reason.MISSING_FIELD),
    "no-item": ("2018-03-01 00:00:06,273220,,1,42,0", Reason.MISSING_FIELD),
    "no-kind": ("2018-03-01 00:00:06,273220,159865,,42,0", Reason.MISSING_FIELD),
    "no-session": ("2018-03-01 00:00:06,273220,159865,1,,0", Reason.MISSING_FIELD),
    "blank-session": ("2018-03-01 00:00:06,273220,159865,1,  ,0", Reason.MISSING_FIELD),
    "quoted-nothing": ('2018-03-01 00:00:06,273220,"",1,42,0', Reason.MISSING_FIELD),
    "header-in-the-middle": (HEADER, Reason.WRONG_TYPE),
    "time-with-a-zone": ("2018-03-01T00:00:06Z,273220,159865,1,42,0", Reason.WRONG_TYPE),
    "time-in-milliseconds": ("1519862406000,273220,159865,1,42,0", Reason.WRONG_TYPE),
    "time-1e30": ("1e30,273220,159865,1,42,0", Reason.WRONG_TYPE),
    "negative-time": ("-2018-03-01 00:00:06,273220,159865,1,42,0", Reason.WRONG_TYPE),
    "impossible-day": ("2018-02-30 00:00:06,273220,159865,1,42,0", Reason.WRONG_TYPE),
    "hour-25": ("2018-03-01 25:00:06,273220,159865,1,42,0", Reason.WRONG_TYPE),
    "year-10000": ("10000-03-01 00:00:06,273220,159865,1,42,0", Reason.WRONG_TYPE),
    "year-1": ("0001-01-01 00:00:00,273220,159865,1,42,0", Reason.TIME_OUT_OF_RANGE),
    "year-1999": ("1999-12-31 23:59:59,273220,159865,1,42,0", Reason.TIME_OUT_OF_RANGE),
    "year-2100": ("2100-01-01 00:00:00,273220,159865,1,42,0", Reason.TIME_OUT_OF_RANGE),
    "kind-6": ("2018-03-01 00:00:06,273220,159865,6,42,0", Reason.UNKNOWN_KIND),
    "kind-1.0": ("2018-03-01 00:00:06,273220,159865,1.0,42,0", Reason.UNKNOWN_KIND),
    "kind-true": ("2018-03-01 00:00:06,273220,159865,True,42,0", Reason.UNKNOWN_KIND),
    "quote-without-end": ('2018-03-01 00:00:06,"273220,159865,1,42,0', Reason.UNREADABLE),
    "text-after-a-quote": ('2018-03-01 00:00:06,"273"220,159865,1,42,0', Reason.UNREADABLE),
    "bare-carriage-return": ("2018-03-01 00:00:06,273\r220,159865,1,42,0", Reason.UNREADABLE),
    "endless-field": ("2018-03-01 00:00:06," + "1" * 200_000, Reason.UNREADABLE),
    "bad-utf-8": (b"2018-03-01 00:00:06,273220,\xff\xfe,1,42,0", Reason.NOT_TEXT),
    "duplicate": (GOOD, Reason.DUPLICATE),
    "duplicate-but-for-an-unused-column": (GOOD.replace("273220", "9"), Reason.DUPLICATE),
}


@pytest.mark.parametrize(("row", "reason"), BAD_ROWS.values(), ids=BAD_ROWS)
def test_a_bad_row_is_counted_under_its_reason_and_spoils_no_other(tmp_path, row, reason):
    path = _write(tmp_path / "a.csv", GOOD, row, NEXT)

    prepared = read_events(path, DatasetFormat.JDATA, max_rejected_share=0.5)

    assert prepared.events.rows() == [
        ("42", MIDNIGHT + 6_000, "159865", "click"),
        ("83", MIDNIGHT + 11_000, "37315", "order"),
    ]
    (rejected,) = prepared.rejected.iter_rows(named=True)
    assert (rejected["source"], rejected["position"]) == ("a.csv", 3)
    assert rejected["reason"] == reason.value
    assert 0 < len(rejected["content"]) <= 200


@pytest.mark.parametrize("missing", ["action_time", "sku_id", "type", "sessionId"])
def test_a_header_without_a_needed_column_names_it(tmp_path, missing):
    path = tmp_path / "a.csv"
    path.write_text(f"{HEADER.replace(missing, 'other')}\n{GOOD}\n")

    with pytest.raises(DataError) as caught:
        read_jdata(path)

    message = str(caught.value)
    assert f"a.csv: header lacks ['{missing}']; got '" in message
    assert "expected ['action_time', 'sku_id', 'type', 'sessionId']" in message


@pytest.mark.parametrize(
    "first",
    [
        pytest.param(GOOD, id="no-header"),
        pytest.param('{"session":1,"events":[]}', id="json"),
        pytest.param('"unclosed', id="quote"),
        pytest.param(HEADER.replace(",", ";"), id="semicolons"),
        pytest.param(HEADER.upper(), id="capitals"),
        pytest.param("x" * 100_000, id="endless-word"),
    ],
)
def test_a_file_that_does_not_begin_with_the_header_is_refused(tmp_path, first):
    path = tmp_path / "a.csv"
    path.write_text(f"{first}\n{GOOD}\n")

    with pytest.raises(DataError, match=r"a\.csv: header lacks \['action_time'") as caught:
        read_jdata(path)
    assert len(str(caught.value)) < 400


@given(
    table=st.lists(
        st.lists(
            st.sampled_from(["2018-03-01 00:00:06", "1", "2", "3", "42", "", " "])
            | st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
            max_size=7,
        ),
        max_size=8,
    ),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
)
@settings(deadline=None, max_examples=100)
def test_every_line_that_is_not_blank_ends_as_an_event_or_as_a_rejection(
    table, quoting, tmp_path_factory
):
    out = io.StringIO()
    csv.writer(out, quoting=quoting, lineterminator="\n").writerows(table)
    path = _write(tmp_path_factory.mktemp("jdata") / "a.csv", out.getvalue().encode(), GOOD)

    rows = read_jdata(path)

    lines = path.read_bytes().decode().split("\n")
    rows_in = sum(1 for line in lines if line.strip()) - 1  # the header is no row
    assert len(rows.events) + len(rows.rejected) == rows_in
