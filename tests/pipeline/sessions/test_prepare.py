"""Sessions, catalogue, tokens and counts: by hand, and against a slow twin of lists and dicts."""

from collections import Counter
from dataclasses import replace
from itertools import pairwise
from operator import itemgetter

import polars as pl
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.artifacts.storage import read_json, write_json
from pipeline.core.contracts import DAY_MS, EVENT_TYPE, ITEMS, SESSIONS, Split
from pipeline.core.errors import DataError
from pipeline.sessions.prepare import write_sessions
from pipeline.sessions.rules import rules_of
from pipeline.sessions.token_store import open_times, open_tokens
from pipeline.study import (
    BoundaryPolicy,
    DatasetConfig,
    DatasetFormat,
    SessionsConfig,
    SupportFilter,
)

OTTO = DatasetConfig(format=DatasetFormat.OTTO, path="log")
START = 1_659_304_800_000
CLICK, CART, ORDER = "click", "cart", "order"
SHORT_WINDOW = 5


def rules(**keys):
    section = {"min_item_support": 2, "test_days": 1.0, "validation_days": 1.0, **keys}
    return rules_of(SessionsConfig(**section), OTTO)


def write_events(folder, sessions, rows_a_group=1 << 18):
    """``events.parquet`` and ``summary.json`` of {session: [(ts, item, event_type), …]}."""
    rows = [(name, *event) for name, events in sessions.items() for event in events]
    frame = pl.DataFrame(rows, schema=["session", "ts", "item", "event_type"], orient="row")
    frame = frame.with_columns(
        pl.col("event_type").cast(EVENT_TYPE), file=pl.lit(0, dtype=pl.UInt16)
    )
    pq.write_table(frame.to_arrow(), folder / "events.parquet", row_group_size=rows_a_group)
    ends = {"first_ts": frame["ts"].min(), "last_ts": frame["ts"].max()}
    write_json(folder / "summary.json", {"files": {"log": len(rows)}, **ends})
    return folder


def read_back(folder):
    """What was written, as plain values: table, items, and clicks by session, split by split."""
    clicks = {}
    for split in Split:
        tokens = open_tokens(folder / "tokens.safetensors", split)
        times = open_times(folder / "tokens.safetensors", split)
        arrays = (tokens.items, times, tokens.carted, tokens.ordered)
        flat = list(zip(*(array.tolist() for array in arrays), strict=True))
        offsets = tokens.offsets.tolist()
        clicks[split] = [flat[a:b] for a, b in pairwise(offsets)]
    table, items = (pl.read_parquet(folder / f"{n}.parquet") for n in ("sessions", "items"))
    return SESSIONS.validate(table).rows(), ITEMS.validate(items).rows(), clicks


def follows(event_type, events, place, within=None):
    """Whether the item of the event at ``place`` has a later event of ``event_type``, in time."""
    ts, item, _ = events[place]
    later = [t - ts for t, i, k in events[place + 1 :] if (i, k) == (item, event_type)]
    return int(any(within is None or rest <= within for rest in later))


def split_slowly(sessions, rules):
    """[name, split or None, first time, last time, clicks as (item, ts, carted, ordered)]."""
    last_ts = max(ts for events in sessions.values() for ts, _, _ in events)
    test_from = last_ts + 1 - round(rules.test_days * DAY_MS)
    validation_from = test_from - round(rules.validation_days * DAY_MS)

    def part(event):
        return list(Split)[(event[0] >= validation_from) + (event[0] >= test_from)]

    for name, events in sessions.items():
        split = part(events[-1] if rules.boundary_sessions is BoundaryPolicy.LATER else events[0])
        if rules.boundary_sessions is BoundaryPolicy.DROP and part(events[0]) != part(events[-1]):
            split = None
        if rules.boundary_sessions is BoundaryPolicy.TRIM:
            events = [event for event in events if part(event) == split]  # noqa: PLW2901
        clicks = [
            (item, ts, follows(CART, events, n), follows(ORDER, events, n, rules.order_window_ms))
            for n, (ts, item, event_type) in enumerate(events)
            if event_type == CLICK
        ]
        yield name, split, events[0][0], events[-1][0], clicks


def train_counts(found, keep, rules):
    """Clicks of each item that is to be kept, in train sessions that are then long enough."""
    total = Counter()
    for _, split, _, _, clicks in found:
        items = [item for item, *_ in clicks if keep is None or item in keep]
        if split is Split.TRAIN and len(items) >= rules.min_length:
            total.update(items)
    return total


def fate(split, clicks, known, rules):
    """What a session is counted under."""
    if not clicks:
        return "sessions_without_click"
    if split is None:
        return "boundary_sessions"
    if len(clicks) < rules.min_length:
        return "sessions_too_short"
    if len(known) < rules.min_length:
        return "sessions_too_short_without_unknown_items"
    return f"{split}_sessions"


def slowly(sessions, rules):
    """Table, items, clicks and counts, one rule of docs/datasets.md after another."""
    found = list(split_slowly(sessions, rules))
    keep, before = None, set()
    while keep is None or (rules.iterated and keep != before):
        before, total = keep, train_counts(found, keep, rules)
        keep = {item for item, n in total.items() if n >= rules.min_support}
    train_clicks = train_counts(found, keep, rules)
    catalogue = sorted(train_clicks, key=lambda item: (-train_clicks[item], item))
    table, tokens, counts = [], {split: [] for split in Split}, Counter(items=len(catalogue))
    for name, split, first, last, clicks in found:
        known = [(catalogue.index(i), *rest) for i, *rest in clicks if i in train_clicks]
        ending = fate(split, clicks, known, rules)
        counts.update(["sessions_in", ending])
        if ending in {f"{split}_sessions", "sessions_too_short_without_unknown_items"}:
            counts["clicks_on_unknown_items"] += len(clicks) - len(known)
        if ending == f"{split}_sessions":
            sums = len(known), sum(click[2] for click in known), sum(click[3] for click in known)
            table.append((name, split.value, first, last, *sums))
            tokens[split].append(known)
            for what, n in zip(("clicks", "carted_clicks", "ordered_clicks"), sums, strict=True):
                counts[f"{split}_{what}"] += n
    items = [(index, item, train_clicks[item]) for index, item in enumerate(catalogue)]
    return (table, items, tokens), counts


IDS = {
    "integers": lambda n: n - 3,
    "integers-far-apart": lambda n: (n - 3) << 50,
    "texts": lambda n: ["b", "a", "Z", "ä", "10", "😀"][n],
}
CUTS = [START + day * DAY_MS for day in (0, 1, 7, 8, 9)]
"""The data lasts ten days: the validation part is day 8, the test part day 9."""

MOMENT = st.sampled_from(CUTS).flatmap(
    lambda cut: st.integers(max(START, cut - 1), cut + 3 * SHORT_WINDOW)
)
EVENT = st.tuples(MOMENT, st.integers(0, 5), st.sampled_from([CLICK, CLICK, CLICK, CART, ORDER]))
SESSION = st.lists(EVENT, min_size=1, max_size=8).map(
    lambda events: sorted(events, key=itemgetter(0))
)


@st.composite
def logs(draw):
    """Sessions with three that mostly keep every part from being empty, in ten whole days."""
    full = [[(START + day * DAY_MS, item, CLICK) for item in (0, 0, 1, 1)] for day in (0, 8, 9)]
    end = [(START + 10 * DAY_MS - 1, 0, CART)]
    name = IDS[draw(st.sampled_from(list(IDS)))]
    session_name = draw(st.sampled_from([lambda n: 7 * n, lambda n: f"s-{n}"]))
    drawn = draw(st.lists(SESSION, max_size=14))
    return {
        session_name(n): [(ts, name(item), event_type) for ts, item, event_type in events]
        for n, events in enumerate([*drawn, *full, end])
    }


KEYS = st.fixed_dictionaries(
    {"min_item_support": st.integers(1, 4), "min_session_length": st.integers(2, 3)}
)


@pytest.mark.parametrize("boundary_sessions", BoundaryPolicy)
@pytest.mark.parametrize("filtering", SupportFilter)
@pytest.mark.parametrize("window", [None, SHORT_WINDOW])
@given(sessions=logs(), keys=KEYS, rows_a_group=st.sampled_from([5, 1000]))
@settings(max_examples=8)
def test_everything_written_equals_the_slow_way(
    filtering, boundary_sessions, window, tmp_path_factory, **drawn
):
    asked = rules(boundary_sessions=boundary_sessions, support_filter=filtering, **drawn["keys"])
    asked = replace(asked, order_window_ms=window)
    folder = tmp_path_factory.mktemp("log")
    write_events(folder, drawn["sessions"], drawn["rows_a_group"])
    (folder / "out").mkdir()

    expected, counts = slowly(drawn["sessions"], asked)

    empty = [f"{split}_sessions" for split in Split if not counts[f"{split}_sessions"]]
    if empty:
        with pytest.raises(DataError, match=f"nothing is left in .*{empty[0]}"):
            write_sessions(folder, folder / "out", asked)
        return
    returned = write_sessions(folder, folder / "out", asked)
    assert read_back(folder / "out") == expected
    assert returned == read_json(folder / "out" / "summary.json")
    assert {name: n for name, n in returned.items() if n} == {n: c for n, c in counts.items() if c}


def _clicks(day, items):
    """One click a millisecond, from the beginning of ``day``."""
    return [(START + round(day * DAY_MS) + place, item, CLICK) for place, item in enumerate(items)]


def _at(day, item, event_type):
    return (START + round(day * DAY_MS), item, event_type)


SHOP = {
    "train-1": _clicks(0, "aab"),
    "test-z": [*_clicks(9, "aaz"), (START + 10 * DAY_MS - 1, "a", ORDER)],
    "train-2": [*_clicks(1, "bar"), _at(1.5, "a", ORDER)],
    "train-0": [*_clicks(2, "rcr"), _at(2.5, "r", CART)],
    "one-click": _clicks(3, "c"),
    "rare-item": _clicks(4, "xc"),
    "no-click": [_at(5, "a", CART)],
    "boundary_sessions": [*_clicks(7.99, "ab"), _at(8.5, "a", ORDER)],
    "boundary_sessions-without-click": [_at(7, "a", CART), _at(9, "a", ORDER)],
    "validation-1": [*_clicks(8, "abx"), _at(8.2, "b", ORDER)],
    "test-a": _clicks(9.2, "ba"),
}
"""Ten days of events that meet every filter; their fate is in the tests below."""


@pytest.fixture
def shop(tmp_path):
    (tmp_path / "events").mkdir()
    (tmp_path / "sessions").mkdir()
    write_events(tmp_path / "events", SHOP)
    return tmp_path / "events", tmp_path / "sessions"


def test_every_session_and_click_that_is_dropped_is_counted(shop):
    counts = write_sessions(*shop, rules())

    assert counts == counts | {
        "sessions_in": 11,
        "sessions_without_click": 2,  # no-click, boundary_sessions-without-click
        "boundary_sessions": 1,
        "sessions_too_short": 1,  # one-click
        "clicks_on_unknown_items": 3,  # x of rare-item and of validation-1, z of test-z
        "sessions_too_short_without_unknown_items": 1,  # rare-item: c alone remains
        "items": 4,  # a, b, c, r
        "train_sessions": 3,
        "validation_sessions": 1,
        "test_sessions": 2,
        "train_clicks": 3 + 3 + 3,
        "train_carted_clicks": 2,
        "train_ordered_clicks": 1,
    }


def test_the_most_clicked_item_is_first_and_tokens_follow_the_table(shop):
    write_sessions(*shop, rules())

    table, items, clicks = read_back(shop[1])

    # c had two clicks when items were filtered, before rare-item was found too short
    assert items == [(0, "a", 3), (1, "r", 3), (2, "b", 2), (3, "c", 1)]
    names = [name for name, *_ in table]
    assert names == ["train-1", "test-z", "train-2", "train-0", "validation-1", "test-a"]
    untimed = {split: [[(i, c, o) for i, _, c, o in s] for s in clicks[split]] for split in Split}
    assert untimed == {
        Split.TRAIN: [
            [(0, 0, 0), (0, 0, 0), (2, 0, 0)],
            [(2, 0, 0), (0, 0, 1), (1, 0, 0)],
            [(1, 1, 0), (3, 0, 0), (1, 1, 0)],
        ],
        Split.VALIDATION: [[(0, 0, 0), (2, 0, 1)]],
        Split.TEST: [[(0, 0, 1), (0, 0, 1)], [(2, 0, 0), (0, 0, 0)]],
    }


def test_iterated_filters_go_on_until_every_item_has_its_clicks(shop):
    write_sessions(*shop, rules(support_filter=SupportFilter.ITERATED))

    _, items, clicks = read_back(shop[1])

    assert items == [(0, "a", 3), (1, "r", 3), (2, "b", 2)]
    assert [len(session) for session in clicks[Split.TRAIN]] == [3, 3, 2]  # train-0 without c


@pytest.mark.parametrize(
    ("keys", "empty"),
    [
        ({"min_item_support": 3}, "validation_sessions"),  # b is gone: a alone remains
        ({"min_session_length": 3}, "validation_sessions, test_sessions"),
        ({"min_session_length": 5}, "items, train_sessions, validation_sessions, test_sessions"),
    ],
)
def test_an_empty_result_is_an_error_with_all_counts(shop, keys, empty):
    with pytest.raises(DataError) as caught:
        write_sessions(*shop, rules(**keys))

    message = str(caught.value)
    assert message.startswith(f"nothing is left in {empty} after filtering; sessions_in: 11, ")
    assert "Lower sessions.min_item_support, or change sessions.test_days and" in message


def test_an_empty_result_of_a_split_by_sessions_names_their_keys(shop):
    asked = rules(test_sessions=2, validation_sessions=2, min_item_support=3)
    with pytest.raises(DataError, match="nothing is left in validation_sessions") as caught:
        write_sessions(*shop, asked)
    assert "change sessions.test_sessions and sessions.validation_sessions" in str(caught.value)
