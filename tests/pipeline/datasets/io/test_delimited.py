"""Any file of delimited text, good lines and bad, is read as Python reads it line by line."""

import csv
import re
from datetime import UTC, date, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.contracts import DAY_MS, EARLIEST_TS, LATEST_TS
from pipeline.datasets.io import delimited
from pipeline.datasets.raw_rows import Reason
from pipeline.study import DatasetConfig, DatasetFormat, GenericLayout

F = DatasetFormat
COLUMNS = ["session", "ts", "item", "event_type"]


def as_text(text):
    text.encode("utf-8")  # bytes that are no UTF-8 are lone surrogates here
    return text


def as_integer(text):
    if not re.fullmatch(r"[ \t]*-?[0-9]+[ \t]*", text) or not -(2**63) <= int(text) < 2**63:
        raise ValueError(text)
    return int(text)


def as_decimal_integer(text):
    """An integer that may have passed through a column of decimals."""
    whole = re.fullmatch(r"([ \t]*-?[0-9]+)(?:\.0*)?([ \t]*)", text)
    return as_integer("".join(whole.groups()) if whole else text)


def as_instant(text, shape=r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:?\d\d)"):
    if not re.fullmatch(shape, text, re.ASCII):
        raise ValueError(text)
    return milliseconds(datetime.fromisoformat(text))


def as_clock(text):
    return as_instant(text + "Z")


def as_rees46(text):
    return milliseconds(datetime.strptime(text, "%Y-%m-%d %H:%M:%S UTC").replace(tzinfo=UTC))


def as_midnight(text):
    if not re.fullmatch(r"[ \t]*\d{4}-\d\d-\d\d[ \t]*", text, re.ASCII):
        raise ValueError(text)
    days = date.fromisoformat(text.strip(" \t")).toordinal() - date(1970, 1, 1).toordinal()
    return days * DAY_MS


def milliseconds(moment):
    if not 1678 <= moment.year < 2262:
        raise ValueError(moment)
    return int(moment.timestamp()) * 1000 + moment.microsecond // 1000


TSV = GenericLayout(session="s", item="i", time="t", separator="\t")
FORMATS = {
    # dataset, file, header, separator; column and type of session, times (added), item, event_type
    "yoochoose": (
        *(F.YOOCHOOSE, "clicks.dat", None, ","),
        ((0, as_integer), [(1, as_instant)], (2, as_integer), "click", 4),
    ),
    "yoochoose-buys": (
        *(F.YOOCHOOSE, "buys.dat", None, ","),
        ((0, as_integer), [(1, as_instant)], (2, as_integer), "order", 5),
    ),
    "diginetica": (
        *(F.DIGINETICA, "views.csv", "session_id;user_id;item_id;timeframe;eventdate", ";"),
        ((0, as_integer), [(3, as_integer), (4, as_midnight)], (2, as_integer), "click", 5),
    ),
    "retailrocket": (
        *(F.RETAILROCKET, "events.csv", "timestamp,visitorid,event,itemid,transactionid", ","),
        ((1, as_integer), [(0, as_integer)], (3, as_integer), 2, 5),
    ),
    "rees46": (
        *(F.REES46, "2019-Oct.csv", "event_time,event_type,product_id,brand,user_session", ","),
        ((4, as_text), [(0, as_rees46)], (2, as_integer), 1, 5),
    ),
    "jdata": (
        *(F.JDATA, "train.csv", "action_time,user_id,sku_id,type,sessionId,index", ","),
        ((4, as_integer), [(0, as_clock)], (2, as_integer), 3, 6),
    ),
    "generic-tsv": (
        *(F.GENERIC, "log.tsv", "s\tx\ti\tt", "\t"),
        ((0, as_text), [(3, as_decimal_integer)], (2, as_text), "click", 4),
    ),
}
GOOD = {
    as_integer: st.sampled_from(["5", "007", "-3", " 8 ", "1436810676034", "9223372036854775807"]),
    as_decimal_integer: st.sampled_from(["5", "1436810676034.0", " 8. "]),
    as_instant: st.sampled_from(["2014-09-24T09:58:32.124Z", "2014-09-24 11:58:32+02:00"]),
    as_clock: st.sampled_from(["2018-03-01 00:00:06", "2018-03-01T00:00:07.25"]),
    as_rees46: st.sampled_from(["2019-10-01 00:00:00 UTC", "2019-10-31 23:59:59 UTC"]),
    as_midnight: st.sampled_from(["2016-05-09", "2016-02-29"]),
    as_text: st.sampled_from(["view", "cart", "0x5", "ä", "😀", "a b"]),
}
EVIL = [
    *(b"", b'""', b'"5"', b'"5', b'5"', b'"5"6', b'"view"', b'"a,b"', b'"a;b"', b'"a""b"', b"a'b"),
    *(
        b'"a\nb"',
        b'"a\rb"',
        b"a\rb",
        b"\r",
        b"\x00",
        b"5\x005",
        b"\xff",
        b"\xc0\x80",
        b"\xed\xa0\x80",
    ),
    *(
        b" ",
        b"0x5",
        b"0XA",
        b"+5",
        b"5.0",
        b"1e3",
        b"NaN",
        b"inf",
        b"-1",
        b"9" * 25,
        b"5;6",
        b"1e30",
    ),
    *(b"9223372036854775808", b"-9223372036854775809", b"-9223372036854775808", "９".encode()),
    *(b"2014-02-30T09:58:32Z", b"2018-02-30 00:00:06", b"2019-02-30 00:00:00 UTC", b"2016-02-30"),
    *(b"2014-09-24T09:58:32", b"2018-03-01 25:00:00", b"2019-10-01 00:00:00 CET", b"10000-01-01"),
    *(b"2014-09-24T09:58:60Z", b"2018-03-01T00:00:06Z", b"1999-12-31 23:59:59 UTC", b"true"),
]
JUNK = st.sampled_from(
    [b"", b"   ", b"\t", b"\xef\xbb\xbf", b",,,", b";;;;", b'"', b'""', b"\x00" * 9, b'{"a":1}']
) | st.binary(max_size=20)


@st.composite
def files(draw, header, separator, plan):
    """The bytes of a file: good lines, lines with evil fields, lines cut short, and junk."""
    session, times, item, _, width = plan
    typed = dict([session, *times, item])
    lines = []
    for what in draw(st.lists(st.sampled_from("gggesdj"), max_size=12)):
        good = [draw(GOOD[typed.get(place, as_text)]).encode() for place in range(width)]
        if what == "e":
            good[draw(st.integers(0, width - 1))] = draw(st.sampled_from(EVIL))
        if what == "s":  # columns swapped
            good[0], good[-1] = good[-1], good[0]
        line = separator.encode().join(good)
        if what == "d":  # cut short
            line = line[: draw(st.integers(0, len(line)))]
        lines.append(draw(JUNK) if what == "j" else line)
    ends = [draw(st.sampled_from([b"\n", b"\n", b"\r\n", b"\r\r\n"])) for _ in lines]
    body = b"".join(line + end for line, end in zip(lines, ends, strict=True))
    if draw(st.booleans()):
        body = body.removesuffix(b"\n")
    mark = draw(st.sampled_from([b"", b"\xef\xbb\xbf"])) if header else b""
    return mark + (f"{header}\n".encode() if header else b"") + body


def bounded(ts):
    """A time out of the calendar is out of it, however far."""
    return None if ts is None else max(EARLIEST_TS - 1, min(ts, LATEST_TS))


def twin(data, header, separator, plan):
    """Rows with their lines, and the other lines with their reasons, by csv, int and datetime."""
    session, times, item, event_type, width = plan
    rows, refused = [], []
    blank = b" \t\r\v\f".replace(separator.encode(), b"")
    lines = data.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    for position, line in enumerate(lines, start=1):
        if not line.strip(blank) or (header and position == 1):
            continue
        text = line.strip(b"\r").decode("utf-8", "surrogateescape")
        try:
            fields = next(csv.reader([text], delimiter=separator, strict=True))
        except csv.Error:
            fields = []
        reason = Reason.UNREADABLE if len(fields) != width else None
        try:
            used = () if reason else (session, *times, item)
            of = {place: read(fields[place]) if fields[place] else None for place, read in used}
            word = (
                event_type if isinstance(event_type, str) or reason else as_text(fields[event_type])
            )
        except ValueError:
            reason = Reason.WRONG_TYPE
        if reason is None:
            added = [of[place] for place, _ in times]
            ts = None if None in added else sum(added)
            rows.append((position, of[session[0]], bounded(ts), of[item[0]], word or None))
        else:
            foul = line.decode("utf-8", "replace").encode() != line
            refused.append((position, Reason.NOT_TEXT if foul else reason))
    return rows, refused


@pytest.mark.parametrize("few_lines", [1, 3, 256])
@pytest.mark.parametrize("case", FORMATS.values(), ids=FORMATS)
def test_a_file_is_read_as_python_reads_it_line_by_line(
    raw_rows, tmp_path_factory, case, few_lines
):
    dataset_format, name, header, separator, plan = case
    path = tmp_path_factory.mktemp("delimited") / name
    layout = TSV if dataset_format is F.GENERIC else None
    dataset = DatasetConfig(format=dataset_format, path=name, generic=layout)

    @given(data=files(header, separator, plan))
    @settings(max_examples=20)
    def same(data):
        path.write_bytes(data)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(delimited, "_MIN_ARROW_LINES", few_lines)
            pieces = raw_rows(dataset, path)

        rows, refused = twin(data, header, separator, plan)

        read = [
            (int(position), session, bounded(ts), item, event_type)
            for piece in pieces
            for position, (session, ts, item, event_type) in zip(
                piece.positions, piece.frame.select(COLUMNS).iter_rows(), strict=True
            )
        ]
        assert read == rows
        found = [(line.position, line.reason) for piece in pieces for line in piece.errors]
        assert found == refused

    same()
