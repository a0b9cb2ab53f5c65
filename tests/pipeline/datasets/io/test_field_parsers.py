"""A field's text says the same to Arrow and to Python; and what it says, by hand."""

from datetime import UTC, date, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.datasets.io.delimited import Layout, _read_clean, _read_lines
from pipeline.datasets.io.field_parsers import (
    DATE,
    DECIMAL,
    INSTANT,
    INTEGER,
    INTEGER_ID,
    TEXT,
    UTC_CLOCK,
    WHOLE_NUMBER,
    strptime_type,
)
from pipeline.datasets.raw_rows import Reason

PATTERN = strptime_type("%Y-%m-%d %H:%M:%S UTC")
NOON_NS = int(datetime(2014, 9, 24, 12, tzinfo=UTC).timestamp()) * 10**9
NOON_MS = NOON_NS // 10**6

RIGHT = {
    "number": (INTEGER, "5", 5),
    "leading-zeros": (INTEGER, "00000000000000000000000000007", 7),
    "spaces-around-a-number": (INTEGER, " \t5 ", 5),
    "negative": (INTEGER, "-5", -5),
    "minus-nothing": (INTEGER, "-0", 0),
    "largest": (INTEGER, "9223372036854775807", 2**63 - 1),
    "smallest": (INTEGER, "-9223372036854775808", -(2**63)),
    "id": (INTEGER_ID, " -70 ", -70),
    "id-zero": (INTEGER_ID, "0", 0),
    "whole-number": (WHOLE_NUMBER, "1772445604000", 1_772_445_604_000),
    "whole-number-of-decimals": (WHOLE_NUMBER, "1772445604000.0", 1_772_445_604_000),
    "decimal": (DECIMAL, "1411552712.25", 1411552712.25),
    "exponent": (DECIMAL, "1.5e3", 1500.0),
    "text": (TEXT, " ä😀 ", " ä😀 "),
    "date": (DATE, "2016-02-29", date(2016, 2, 29)),
    "instant": (INSTANT, "2014-09-24T12:00:00Z", NOON_NS),
    "instant-with-a-space": (INSTANT, "2014-09-24 12:00:00Z", NOON_NS),
    "instant-in-milliseconds": (INSTANT, "2014-09-24T12:00:00.124Z", NOON_NS + 124 * 10**6),
    "instant-in-microseconds": (INSTANT, "2014-09-24T12:00:00.124567Z", NOON_NS + 124_567_000),
    "instant-elsewhere": (INSTANT, "2014-09-24T14:00:00+02:00", NOON_NS),
    "instant-elsewhere-without-colon": (INSTANT, "2014-09-24T09:30:00-0230", NOON_NS),
    "instant-without-seconds": (INSTANT, "2014-09-24T12:00Z", NOON_NS),
    "clock": (UTC_CLOCK, "2014-09-24 12:00:00.5", NOON_NS + 5 * 10**8),
    "clock-without-hours": (UTC_CLOCK, "2014-09-24", NOON_NS - 12 * 3600 * 10**9),
    "pattern": (PATTERN, "2014-09-24 12:00:00 UTC", NOON_MS),
    "pattern-of-single-digits": (PATTERN, "2014-9-24 12:0:0 UTC", NOON_MS),
    "pattern-with-a-zone": (
        strptime_type("%d/%b/%Y:%H:%M:%S %z"),
        "24/Sep/2014:14:00:00 +0200",
        NOON_MS,
    ),
    "pattern-of-fractions": (
        *(strptime_type("%Y-%m-%d %H:%M:%S.%f"), "2014-09-24 12:00:00.124567"),
        NOON_MS + 124,
    ),
}


@pytest.mark.parametrize(("field", "text", "value"), RIGHT.values(), ids=RIGHT)
def test_a_right_text_has_its_value(field, text, value):
    assert field.read(text) == value
    assert field.read("") is None


WRONG = [
    (INTEGER, ["x", "+5", "5.0", "1e3", "1_0", "0x5", "0X5", " ", "NaN", "5\x00", "９", "\xa05"]),
    (INTEGER, ["9223372036854775808", "-9223372036854775809", "9" * 5000, "5 5", "--5", "true"]),
    (INTEGER_ID, ["007", "-07", "00", "-00", "7.0", " 07", "0x7", "x", "9223372036854775808"]),
    (WHOLE_NUMBER, ["1.5", "1e3", ".0", "1.0.0", "x", "9223372036854775808.0"]),
    (DECIMAL, ["x", "1_0", "0x5", "0x1p3", " ", "1e", ".", "1,5", "５", "true"]),
    (TEXT, ["\udcff", "a\udce4b"]),
    (DATE, ["2015-02-29", "2016-2-3", "20160203", "2016-13-01", "2016-02-03T00", "2016-W05-3"]),
    (INSTANT, ["2014-09-24T12:00:00", "2014-09-24Z", "2014-09-24", "2014-09-24T24:00:00Z"]),
    (INSTANT, ["2014-09-24T12:00:60Z", "2014-09-31T12:00:00Z", "2014-09-24T12:00:00+24:00"]),
    (INSTANT, ["2014-09-24T12:00:00.Z", "2014-09-24T12:00:00.1234567890Z", "1411560000"]),
    (INSTANT, ["2014-09-24T12:00:00 Z", "2014-09-24t12:00:00z", " 2014-09-24T12:00:00Z"]),
    (INSTANT, ["1600-01-01T00:00:00Z", "2300-01-01T00:00:00Z", "20140924T120000Z", "1e30"]),
    (UTC_CLOCK, ["2014-09-24T12:00:00Z", "2014-09-24 12:00:00+00:00", "2014-09-24 "]),
    (UTC_CLOCK, ["-2014-09-24 12:00:00", "10000-01-01 00:00:00", "2018-02-30 00:00:06"]),
    (PATTERN, ["2014-09-24 12:00:00", "2014-02-30 12:00:00 UTC", "2014-09-24 12:00:60 UTC", " "]),
    (PATTERN, ["14-09-24 12:00:00 UTC", "2014-09-2412:00:00UTC", "2014-09-24 12:00:00 CET"]),
]


@pytest.mark.parametrize(
    ("field", "text"),
    [
        pytest.param(field, text, id=f"{field.arrow}-{text.encode(errors='replace')[:30]}")
        for field, texts in WRONG
        for text in texts
    ],
)
def test_a_wrong_text_is_refused_whoever_reads_it(field, text):
    with pytest.raises(ValueError):  # noqa: PT011 - what it says is shown to nobody
        field.read(text)

    line = f'"{text}",5\n'.encode("utf-8", "surrogateescape")
    layout = Layout(columns={"value": field}, names=("value", "other"))
    assert _read_clean(line, 1, layout) is None
    table, _, (refusal,) = _read_lines(1, line, layout)
    is_text = field is not TEXT
    assert (len(table), refusal.reason) == (0, Reason.WRONG_TYPE if is_text else Reason.NOT_TEXT)


TWO = st.integers(0, 99).map("{:02}".format)
DAY = st.builds("{}-{}-{}".format, st.sampled_from(["2014", "2016", "1900", "0001"]), TWO, TWO)
FRACTION = st.just("") | st.from_regex(r"\.[0-9]{1,10}", fullmatch=True)
ZONE = st.sampled_from(["", "Z", "+02", "-0230", "+05:30", "+2", "-24:00", "+00:60", " Z", "z"])
TIME = (
    st.builds("{}:{}:{}{}".format, TWO, TWO, TWO, FRACTION)
    | TWO
    | st.builds("{}:{}".format, TWO, TWO)
)
MOMENT = st.builds("{}{}{}{}".format, DAY, st.sampled_from([" ", "T", "", "t", "  "]), TIME, ZONE)
NUMBER = st.from_regex(r"[ \t]?[+-]?0?[xX]?[0-9]{0,25}(\.[0-9]*)?([eE][+-]?[0-9]{1,3})?[ \t\v]?")
ANY = st.text(
    st.sampled_from("0123456789-+:.TZ xXeE\t_\"',;\r\x00naifuä\U0001f600\ud800"), max_size=12
)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("field", "near"),
    [
        pytest.param(INTEGER, NUMBER | st.integers(-(2**64), 2**64).map(str), id="integer"),
        pytest.param(INTEGER_ID, NUMBER | st.integers(-(2**64), 2**64).map(str), id="id"),
        pytest.param(WHOLE_NUMBER, NUMBER | st.integers(0, 2**64).map("{}.0".format), id="whole"),
        pytest.param(DECIMAL, NUMBER | st.floats().map(repr), id="decimal"),
        pytest.param(TEXT, st.text(max_size=5), id="text"),
        pytest.param(DATE, DAY | DAY.map(" {} ".format), id="date"),
        pytest.param(INSTANT, MOMENT, id="instant"),
        pytest.param(UTC_CLOCK, MOMENT | DAY, id="clock"),
        pytest.param(PATTERN, MOMENT.map("{} UTC".format), id="pattern"),
    ],
)
def test_arrow_and_python_accept_the_same_fields(field, near):
    layout = Layout(columns={"value": field, "other": INTEGER}, names=("value", "other"))

    @given(text=near | ANY, quoted=st.booleans())
    @settings(max_examples=30)
    def same(text, quoted):
        line = f'"{text}",5\n' if quoted else f"{text},5\n"
        data = line.encode("utf-8", "surrogatepass")
        fast = _read_clean(data, data.count(b"\n"), layout)

        slow, places, errors = _read_lines(1, data, layout)

        if fast is not None:
            assert not errors
            assert places.tolist() == [1]
            assert repr(fast.to_pydict()) == repr(slow.to_pydict())  # nan is nan

    same()
