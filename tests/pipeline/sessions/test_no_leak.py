"""What happens at or after a cut cannot reach training; where a rule lets it, that is shown.

Under ``drop`` and ``later`` one bit of what follows a cut does decide about a session before it:
that it continues at all, for then it is not a train session. Nothing else does.
"""

import json

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.artifacts.storage import write_json
from pipeline.core.contracts import DAY_MS, EVENT_TYPE, Split
from pipeline.datasets.ingest_events import write_events
from pipeline.sessions.prepare import write_sessions
from pipeline.sessions.rules import rules_of
from pipeline.sessions.token_store import open_times, open_tokens
from pipeline.study import (
    BoundaryPolicy,
    DatasetConfig,
    DatasetFormat,
    Preset,
    SessionsConfig,
    SupportFilter,
    SyntheticConfig,
)
from pipeline.synthetic.generate_log import generate_log

OTTO = DatasetConfig(format=DatasetFormat.OTTO, path="log")
YOOCHOOSE = DatasetConfig(format=DatasetFormat.YOOCHOOSE, path="clicks")
START = 1_659_304_800_000
VALIDATION, TEST, END = (START + day * DAY_MS for day in (8, 9, 10))
"""The data lasts ten days: the validation part is day 8, the test part day 9."""

C, A, O = "click", "cart", "order"  # noqa: E741


def rules(dataset=OTTO, **keys):
    section = {"min_item_support": 2, "test_days": 1.0, "validation_days": 1.0, **keys}
    return rules_of(SessionsConfig(**section), dataset)


def training_of(folder):
    """Everything a model is trained on, as bytes, out of a folder that was written."""
    store = folder / "tokens.safetensors"
    tokens, times = open_tokens(store, Split.TRAIN), open_times(store, Split.TRAIN)
    arrays = {name: getattr(tokens, name) for name in ("items", "ordered", "carted", "offsets")}
    table = pl.read_parquet(folder / "sessions.parquet").filter(split="train")
    return {
        **{name: array.tobytes() for name, array in arrays.items()},
        "ts": times.tobytes(),
        "catalogue with train_clicks": (folder / "items.parquet").read_bytes(),
        "sessions": table.write_ndjson(),
    }


def trained_on(sessions, folder, asked):
    """What training sees of {session: [(ts, item, event_type), …]}."""
    rows = [(name, *event) for name, events in sessions.items() for event in events]
    frame = pl.DataFrame(rows, schema=["session", "ts", "item", "event_type"], orient="row")
    frame = frame.with_columns(
        pl.col("event_type").cast(EVENT_TYPE), file=pl.lit(0, dtype=pl.UInt16)
    )
    (folder / "out").mkdir()
    pq.write_table(frame.to_arrow(), folder / "events.parquet")
    ends = {"first_ts": frame["ts"].min(), "last_ts": frame["ts"].max()}
    write_json(folder / "summary.json", {"files": {"log": len(rows)}, **ends})
    write_sessions(folder, folder / "out", asked)
    return training_of(folder / "out")


def clicks(ts, items):
    return [(ts + place, item, C) for place, item in enumerate(items)]


FIXED = {
    "train": clicks(START, [0, 0, 1, 1]),
    "validation": clicks(VALIDATION, [0, 1]),
    "test": clicks(TEST, [0, 1]),
    "end": [(END - 1, 0, A)],
}
"""They keep the parts from being empty, and the end where it is."""

WHAT = (st.integers(0, 6), st.sampled_from([C, C, C, A, O]))
EARLY = st.tuples(st.integers(START, START + 3) | st.just(VALIDATION - 1), *WHAT)
LATE = st.tuples(
    st.integers(VALIDATION, VALIDATION + 3) | st.integers(TEST - 1, TEST + 2) | st.just(END - 1),
    *WHAT,
)
EARLY_EVENTS = st.lists(EARLY, max_size=6).map(sorted)
LATE_EVENTS = st.lists(LATE, max_size=4).map(sorted)


def joined(early, late):
    sessions = {
        f"s-{n}": [*events, *late[n]] for n, events in enumerate(early) if events or late[n]
    }
    return FIXED | sessions


@st.composite
def poisoned_logs(draw, same_straddlers):
    """Two logs that are the same before the validation cut, and anything after it.

    Args:
        same_straddlers: Whether sessions before the cut that go on behind it must be the same.
    """
    early = draw(st.lists(EARLY_EVENTS, max_size=10))
    late, other = ([draw(LATE_EVENTS) for _ in early] for _ in range(2))
    if same_straddlers:
        other = [
            (events or [(END - 1, 6, O)]) if before and one else [] if before else events
            for before, one, events in zip(early, late, other, strict=True)
        ]
    new = {f"new-{n}": events for n, events in enumerate(draw(st.lists(LATE_EVENTS, max_size=3)))}
    return joined(early, late), joined(early, other) | {n: e for n, e in new.items() if e}


@pytest.mark.slow
@pytest.mark.parametrize("filtering", SupportFilter)
@pytest.mark.parametrize(
    "boundary_sessions", [BoundaryPolicy.DROP, BoundaryPolicy.TRIM, BoundaryPolicy.LATER]
)
@given(data=st.data())
@settings(max_examples=12)
def test_poison_after_the_validation_cut_leaves_training_the_same_to_the_bit(
    filtering, boundary_sessions, data, tmp_path_factory
):
    logs = data.draw(poisoned_logs(same_straddlers=boundary_sessions is not BoundaryPolicy.TRIM))
    asked = rules(boundary_sessions=boundary_sessions, support_filter=filtering)

    clean, poisoned = (trained_on(log, tmp_path_factory.mktemp("log"), asked) for log in logs)

    assert poisoned == clean


BOUNDARY = {"s": [*clicks(START + DAY_MS, [2, 2, 0]), (VALIDATION, 3, C)]}
GOES_ON = {"s": [*BOUNDARY["s"], *clicks(TEST, [3, 3]), (TEST + 2, 2, O)]}


@pytest.mark.parametrize(
    ("boundary_sessions", "leaks"),
    [
        (BoundaryPolicy.DROP, False),
        (BoundaryPolicy.TRIM, False),
        (BoundaryPolicy.LATER, False),
        (BoundaryPolicy.EARLIER, True),
    ],
)
def test_boundary_sessions_in_the_earlier_split_leak_later_events_into_train(
    tmp_path, boundary_sessions, leaks
):
    found = []
    for name, log in {"clean": FIXED | BOUNDARY, "goes-on": FIXED | GOES_ON}.items():
        (tmp_path / name).mkdir()
        found.append(trained_on(log, tmp_path / name, rules(boundary_sessions=boundary_sessions)))

    different = {name for name in found[0] if found[0][name] != found[1][name]}
    assert different == (set(found[0]) if leaks else set())


def test_the_reference_preset_leaks_the_test_period_into_train(tmp_path):
    asked = rules(YOOCHOOSE, preset=Preset.REFERENCE)
    # the test part is the day before the last session's first click; five clicks an item needs
    log = {
        "train-1": clicks(START, [1, 1, 1, 1, 1, 2, 2, 2]),
        "validation": clicks(END - DAY_MS - 10, [1, 1]),
        "test-1": clicks(END - 10, [1, 1]),
        "test-2": clicks(END, [1, 1]),
    }
    found = []
    for name, more in {"clean": [1], "two clicks on item 2 in test": [2, 2]}.items():
        (tmp_path / name).mkdir()
        poisoned = log | {"test-1": [*log["test-1"], *clicks(END - 8, more)]}
        found.append(trained_on(poisoned, tmp_path / name, asked))

    assert np.frombuffer(found[0]["items"], dtype=np.int32).tolist() == [0] * 5
    assert np.frombuffer(found[1]["items"], dtype=np.int32).tolist() == [0] * 5 + [1] * 3


def test_poison_before_the_cut_does_change_training(tmp_path):
    """So that the tests above cannot pass by looking away."""
    found = []
    for name, item in {"clean": 0, "poisoned": 1}.items():
        (tmp_path / name).mkdir()
        more = {"s": [*clicks(START, [item, 0, 0]), (START + 9, 0, O), (START + 9, 0, A)]}
        found.append(trained_on(FIXED | more, tmp_path / name, rules()))

    same = {name for name in found[0] if found[0][name] == found[1][name]}
    assert same == {"offsets", "ts"}


def _poisoned_line(line, cut, last, rng):
    """The line, its events from the boundary on redrawn, but for the log's last."""
    session = json.loads(line)
    for event in session["events"]:
        if cut <= event["ts"] < last:
            event["aid"] = int(rng.integers(1000, 1080))  # 1060 and above are new
            event["type"] = str(rng.choice(["clicks", "carts", "orders"]))
            event["ts"] = int(np.clip(event["ts"] + rng.integers(-60_000, 60_000), cut, last - 1))
    return json.dumps(session) + "\n"


@pytest.mark.parametrize("boundary_sessions", [BoundaryPolicy.DROP, BoundaryPolicy.TRIM])
def test_from_the_raw_file_on_poison_after_the_cut_does_not_reach_training(
    tmp_path, boundary_sessions
):
    log, rng = tmp_path / "log.jsonl", np.random.default_rng(5)
    generate_log(SyntheticConfig(items=60, users=50, sessions=500, days=10), log)
    lines = log.read_text(encoding="utf-8").splitlines()
    last = max(event["ts"] for line in lines for event in json.loads(line)["events"])
    poisoned = [_poisoned_line(line, last + 1 - 3 * DAY_MS, last, rng) for line in lines]
    asked = rules(test_days=2.0, boundary_sessions=boundary_sessions)
    found, tests = [], []
    for name, text in {"clean": "\n".join(lines), "poisoned": "".join(poisoned)}.items():
        log.write_text(text, encoding="utf-8")
        events, sessions = tmp_path / f"{name}-events", tmp_path / f"{name}-sessions"
        events.mkdir()
        sessions.mkdir()
        write_events(OTTO, log, events, max_rejected_share=0.0)
        write_sessions(events, sessions, asked)
        found.append(training_of(sessions))
        tests.append(open_tokens(sessions / "tokens.safetensors", Split.TEST).items.tolist())

    assert len(np.frombuffer(found[0]["items"], dtype=np.int32)) > 1000
    assert found[1] == found[0]
    assert tests[1] != tests[0]
