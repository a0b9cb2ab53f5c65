"""Diginetica's clock: midnight of the day plus a timeframe, which may pass 24 hours."""

from datetime import date

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.core.contracts import DAY_MS, EARLIEST_TS, LATEST_TS
from pipeline.datasets.raw_rows import Reason
from pipeline.study import DatasetConfig, DatasetFormat

DIGINETICA = DatasetConfig(format=DatasetFormat.DIGINETICA, path="in the test")
HEADER = "session_id;user_id;item_id;timeframe;eventdate\n"
MIDNIGHT = 1_462_752_000_000
"""2016-05-09 00:00:00 UTC."""

HOUR = 3_600_000


@pytest.mark.parametrize(
    ("timeframe", "ts"),
    [
        pytest.param(0, MIDNIGHT, id="midnight"),
        pytest.param(526_309, MIDNIGHT + 526_309, id="the-same-day"),
        pytest.param(25 * HOUR, MIDNIGHT + 25 * HOUR, id="one-o-clock-of-the-next-day"),
        pytest.param(13_245_633_294, MIDNIGHT + 13_245_633_294, id="the-largest-of-the-original"),
        pytest.param(-1, MIDNIGHT - 1, id="before-midnight"),
    ],
)
def test_time_is_midnight_and_the_timeframe(load, tmp_path, timeframe, ts):
    path = tmp_path / "train-item-views.csv"
    path.write_text(f"{HEADER}1;NA;81766;{timeframe};2016-05-09\n")

    assert load(DIGINETICA, path).events.rows() == [(1, ts, 81766, "click", 0)]


TIMEFRAME = st.integers(-(2**63), 2**63 - 1) | st.integers(-(2**42), 2**42)


@pytest.mark.slow
@given(timeframe=TIMEFRAME, day=st.dates())
@example(timeframe=-(2**63), day=date(2200, 1, 1))
@example(timeframe=2**63 - 1, day=date(2016, 5, 9))
@settings(max_examples=30)
def test_a_time_beyond_the_calendar_never_wraps_around_into_it(
    load, tmp_path_factory, timeframe, day
):
    path = tmp_path_factory.mktemp("views") / "train-item-views.csv"
    path.write_text(f"{HEADER}1;NA;5;0;2016-05-09\n2;NA;5;{timeframe};{day.isoformat()}\n")

    _, events, rejected = load(DIGINETICA, path, max_rejected_share=0.5)

    ts = (day - date(1970, 1, 1)).days * DAY_MS + timeframe
    if EARLIEST_TS <= ts < LATEST_TS:
        assert events.filter(session=2)["ts"].to_list() == [ts]
    else:
        assert events["session"].to_list() == [1]
        assert rejected["reason"].to_list() == [Reason.TIME_OUT_OF_RANGE.value]


def test_both_files_are_read_though_they_spell_their_headers_differently(load, tmp_path):
    (tmp_path / "train-item-views.csv").write_text(f"{HEADER}1;NA;5;0;2016-05-09\n")
    (tmp_path / "train-purchases.csv").write_text(
        "sessionId;userId;timeframe;eventdate;ordernumber;itemId\n1;NA;60000;2016-05-09;3;5\n"
    )

    events = load(DIGINETICA, tmp_path).events

    assert events.rows() == [(1, MIDNIGHT, 5, "click", 0), (1, MIDNIGHT + 60_000, 5, "order", 1)]
