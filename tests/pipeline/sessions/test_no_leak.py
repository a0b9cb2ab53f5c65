"""What happens after the validation cut cannot reach training, and no session is lost uncounted."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.tokens import SessionTokens
from pipeline.errors import DataError
from pipeline.schemas import EVENTS, EventKind, Split
from pipeline.sessions.events import read_events
from pipeline.sessions.preparation import prepare_sessions
from pipeline.study import DatasetFormat, SessionsSection, WorldSection
from pipeline.world.generation import generate_log

DAY = 86_400_000
SECTION = SessionsSection(
    min_item_support=3, min_session_length=2, test_days=2.0, validation_days=1.0
)
WORLD = WorldSection(items=60, categories=5, users=50, sessions=500, days=10)


@pytest.fixture(scope="module")
def events(tmp_path_factory):
    path = tmp_path_factory.mktemp("world") / "log.jsonl"
    generate_log(WORLD, path)
    return read_events(path, DatasetFormat.OTTO, max_rejected_share=0.0).events


def _validation_from(events):
    return int(events["ts"].max()) + 1 - round(3.0 * DAY)


def _poison(events, after, *, share, rng):
    """Give a share of the events from ``after`` on other items, known or new, and other kinds."""
    hit = (events["ts"].to_numpy() >= after) & (rng.random(events.height) < share)
    items = rng.choice([*events["item"].unique().sort(), "new-1", "new-2"], events.height)
    kinds = rng.choice([kind.value for kind in EventKind], events.height)
    return events.with_columns(
        item=pl.when(pl.Series(hit)).then(pl.Series(items)).otherwise("item"),
        kind=pl.when(pl.Series(hit)).then(pl.Series(kinds)).otherwise("kind"),
    )


def _what_training_sees(prepared):
    """Everything a model is trained on, as bytes."""
    tokens = prepared.tokens(Split.TRAIN)
    return {
        "catalogue": prepared.items.write_ndjson(),
        "sessions": prepared.sessions.filter(pl.col("split") == "train").write_ndjson(),
        "items": tokens.items.tobytes(),
        "ordered": tokens.ordered.tobytes(),
        "offsets": tokens.offsets.tobytes(),
        "times": prepared.times(Split.TRAIN).tobytes(),
    }


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_poison_after_the_validation_cut_leaves_training_byte_identical(events, share):
    after = _validation_from(events)
    clean = prepare_sessions(events, SECTION)

    poisoned = _poison(events, after, share=share, rng=np.random.default_rng(5))
    found = prepare_sessions(poisoned, SECTION)

    assert _what_training_sees(found) == _what_training_sees(clean)
    assert found.tokens(Split.TEST).items.tobytes() != clean.tokens(Split.TEST).items.tobytes()


def test_poison_before_the_cut_does_change_training(events):
    """So that the test above cannot pass by looking away."""
    clean = _what_training_sees(prepare_sessions(events, SECTION))

    poisoned = _poison(events, 0, share=0.5, rng=np.random.default_rng(5))
    found = _what_training_sees(prepare_sessions(poisoned, SECTION))

    assert all(found[name] != content for name, content in clean.items() if name != "times")


@pytest.mark.parametrize("split", Split)
def test_tokens_of_many_sessions_equal_those_of_the_slow_way(events, split):
    prepared = prepare_sessions(events, SECTION)
    index = dict(prepared.items.select("item", "index").iter_rows())
    rows = {}
    for session, ts, item, kind in events.iter_rows():
        rows.setdefault(session, []).append((ts, item, kind))

    names = prepared.sessions.filter(pl.col("split") == split.value)["session"].to_list()
    slow = [
        [
            (
                index[item],
                int(any(k == "order" and i == item and t >= ts for t, i, k in rows[name])),
            )
            for ts, item, kind in rows[name]
            if kind == "click" and item in index
        ]
        for name in names
    ]

    found, expected = prepared.tokens(split), SessionTokens.of(slow)
    assert found.items.tolist() == expected.items.tolist()
    assert found.ordered.tolist() == expected.ordered.tolist()
    assert found.offsets.tolist() == expected.offsets.tolist()


def test_sessions_and_items_of_training_are_from_before_the_cut(events):
    after = _validation_from(events)
    whole = prepare_sessions(events, SECTION)
    train = whole.sessions.filter(pl.col("split") == "train")["session"]

    assert train.len() > 200
    assert events.filter(pl.col("session").is_in(train.implode()))["ts"].max() < after
    catalogue = set(whole.items["item"])
    clicks = events.filter((pl.col("ts") < after) & (pl.col("kind") == "click"))
    assert catalogue <= set(clicks["item"])


SESSION = st.lists(
    st.tuples(
        st.integers(0, 10 * DAY - 1),
        st.sampled_from("abcd"),
        st.sampled_from([kind.value for kind in EventKind]),
    ),
    min_size=1,
    max_size=6,
)


@given(sessions=st.lists(SESSION, max_size=25), spread=st.sampled_from([1, 5, 1000]))
@settings(deadline=None, max_examples=100)
def test_counts_add_up_to_the_sessions_that_came_in(sessions, spread):
    # three sessions that keep every part from being empty
    kept = [[(start * DAY, "a", "click")] * 2 for start in (0, 7, 9)]
    rows = [
        (str(number), session[0][0] + (ts - session[0][0]) // spread, item, kind)
        for number, session in enumerate([*kept, *sessions])
        for ts, item, kind in session
    ]
    rows.append(("last", 10 * DAY - 1, "a", "cart"))
    frame = pl.DataFrame(rows, schema=EVENTS.columns, orient="row")
    section = SessionsSection(
        min_item_support=2, min_session_length=2, test_days=2.0, validation_days=1.0
    )

    counts = prepare_sessions(frame.sort("session", "ts", maintain_order=True), section).counts

    assert counts["sessions_in"] == len(kept) + len(sessions) + 1
    assert counts["sessions_in"] == (
        counts["sessions_without_click"]
        + counts["sessions_straddling_a_cut"]
        + counts["sessions_too_short"]
        + counts["sessions_too_short_without_unknown_items"]
        + sum(counts[f"{split}_sessions"] for split in Split)
    )


def test_too_short_a_log_is_refused_before_anything_is_split(events):
    section = SessionsSection(
        min_item_support=3, min_session_length=2, test_days=9.0, validation_days=3.0
    )

    with pytest.raises(DataError, match="shorten them so that training data remains"):
        prepare_sessions(events, section)
