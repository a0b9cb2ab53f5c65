"""The profile of prepared data: by hand, against the slow way, and with planted drift."""

import json
import math
from collections import Counter

import numpy as np
import polars as pl
import pytest

from pipeline.core.contracts import Split
from pipeline.datasets.ingest_events import write_events
from pipeline.sessions import profile as module
from pipeline.sessions.prepare import write_sessions
from pipeline.sessions.profile import LENGTH_BINS, profile_sessions
from pipeline.sessions.rules import rules_of
from pipeline.sessions.token_store import open_tokens
from pipeline.study import DatasetConfig, DatasetFormat, SessionsConfig

START = 1_659_333_600_000
"""2022-08-01 06:00 UTC."""

DAY, MINUTE = 86_400_000, 60_000
TRAIN, VALIDATION, TEST = 0, 2, 3
"""The days of the parts; a day between train and validation has no events."""

ITEMS = 12
DISTANCES = ("length_distance", "item_distance")


def _session(number, day, clicked, *, carted=(), ordered=()):
    """A line of OTTO's format: a click a minute from six o'clock, then carts, then orders."""
    event_types = {"clicks": clicked, "carts": carted, "orders": ordered}
    happened = [(item, event_type) for event_type, items in event_types.items() for item in items]
    events = [
        {"aid": item, "ts": START + day * DAY + n * MINUTE, "type": event_type}
        for n, (item, event_type) in enumerate(happened)
    ]
    return json.dumps({"session": number, "events": events})


def _prepare(folder, raw, name=DatasetFormat.OTTO, **section):
    """The folders of events and sessions; unless said otherwise, test and validation are a day."""
    events, sessions = folder / "events", folder / "sessions"
    for made in (events, sessions):
        made.mkdir(parents=True)
    if isinstance(raw, list):
        (folder / "raw.jsonl").write_text("\n".join(raw) + "\n", encoding="utf-8")
        raw = folder / "raw.jsonl"
    dataset = DatasetConfig(format=name, path=str(raw))
    rules = {"min_item_support": 1, "test_days": 1.0, "validation_days": 1.0} | section
    write_events(dataset, raw, events, max_rejected_share=0.5)
    write_sessions(events, sessions, rules_of(SessionsConfig(**rules), dataset))
    return events, sessions


@pytest.fixture(scope="module")
def by_hand(tmp_path_factory):
    """Clicks on items 10, 20, 30: in train 2, 2, 1; in test 4, 1, 1."""
    lines = [
        _session(1, TRAIN, [10, 10, 20], ordered=[10]),
        _session(2, TRAIN, [20, 30], carted=[30]),
        _session(3, VALIDATION, [10, 20]),
        _session(4, TEST, [10, 10]),
        _session(5, TEST, [30, 20, 10, 10], ordered=[30]),
        _session(6, TEST, [40, 10]),  # an item train does not know; one click is left
        "not a session",
    ]
    return profile_sessions(*_prepare(tmp_path_factory.mktemp("hand"), lines))


def test_events_are_counted_by_day_and_a_day_without_is_absent(by_hand):
    assert by_hand["events_by_day"] == [
        {"day": "2022-08-01", "click": 5, "cart": 1, "order": 1},
        {"day": "2022-08-03", "click": 2, "cart": 0, "order": 0},
        {"day": "2022-08-04", "click": 8, "cart": 0, "order": 1},
    ]


def test_a_split_is_described_by_its_sessions(by_hand):
    train = dict(by_hand["by_split"]["train"])
    shares = train.pop("length_shares")

    assert train == pytest.approx(
        {
            "sessions": 2,
            "clicks": 5,
            "first_day": "2022-08-01",
            "last_day": "2022-08-01",
            "median_length": (2 + 3) / 2,
            "mean_length": (2 + 3) / 2,
            "p90_length": 2 + 0.9 * (3 - 2),
            "carted_share": 1 / 5,
            "ordered_clicks": 2,
            "ordered_share": 2 / 5,
            # sessions of 3 and 2 clicks with 2 and 0 ordered; 2 / (2 - 1) for two sessions
            "ordered_share_se": math.sqrt(2 * ((2 - 3 * 2 / 5) ** 2 + (0 - 2 * 2 / 5) ** 2)) / 5,
            "sessions_with_order_share": 1 / 2,
        }
    )
    assert list(shares) == list(LENGTH_BINS)
    assert {length: share for length, share in shares.items() if share} == {"2": 0.5, "3": 0.5}


def test_popularity_is_that_of_the_catalogue_in_the_order_of_train(by_hand):
    popularity = by_hand["popularity"]

    assert popularity["items"] == 3
    # mean absolute difference of (2, 2, 1) over twice their mean
    assert popularity["gini"] == pytest.approx((4 / 9) / (2 * 5 / 3))
    top = [[top["per_cent"], top["items"], top["train"]] for top in popularity["top"]]
    np.testing.assert_allclose(top, [[1, 1, 2 / 5], [10, 1, 2 / 5], [50, 2, 4 / 5]])
    curve = [[point["items"], point["train"], point["test"]] for point in popularity["curve"]]
    np.testing.assert_allclose(curve, [[1, 2 / 5, 4 / 6], [2, 4 / 5, 5 / 6], [3, 1, 1]])


def test_drift_is_the_distance_of_distributions_and_the_change_of_conversion(by_hand):
    drift = by_hand["drift"]

    # half of train's sessions have 2 clicks and half 3, half of test's 2 and half 4
    assert drift["length_distance"]["value"] == pytest.approx((1 / 2 + 1 / 2) / 2)
    items = abs(2 / 5 - 4 / 6) + abs(2 / 5 - 1 / 6) + abs(1 / 5 - 1 / 6)
    assert drift["item_distance"]["value"] == pytest.approx(items / 2)
    # test: 0 of 2 and 1 of 4 clicks are ordered
    train = 2 * ((2 - 3 * 2 / 5) ** 2 + (0 - 2 * 2 / 5) ** 2) / 5**2
    test = 2 * ((0 - 2 * 1 / 6) ** 2 + (1 - 4 * 1 / 6) ** 2) / 6**2
    assert drift["conversion"]["difference"] == pytest.approx(1 / 6 - 2 / 5)
    assert drift["conversion"]["z"] == pytest.approx((1 / 6 - 2 / 5) / math.sqrt(train + test))


def test_every_session_is_in_a_split_or_dropped_for_a_reason(by_hand):
    dropped = by_hand["dropped"]
    left = sum(split["sessions"] for split in by_hand["by_split"].values())

    assert by_hand["rejected_by_reason"] == {"not a row of this format": 1}
    assert dropped["sessions_too_short_without_unknown_items"] == 1
    assert dropped["clicks_on_unknown_items"] == 1
    assert left + sum(n for name, n in dropped.items() if name.startswith("sessions")) == 6


def test_the_profile_is_json(by_hand):
    assert json.loads(json.dumps(by_hand, allow_nan=False)) == by_hand


ERRORS = {"ordered_share_se", "standard_error", "z"}
ORDERS = {"ordered_clicks", "ordered_share", "sessions_with_order_share", "difference"}


@pytest.mark.parametrize(
    ("sessions_a_part", "bought", "undefined"),
    [
        pytest.param(2, [], ERRORS | ORDERS | {"carted_share"}, id="nothing-bought"),
        pytest.param(1, [1], ERRORS, id="one-session"),
        # 1 of 3 and 2 of 6: in floating point, 1/3 leaves a spread that is not exactly 0
        pytest.param(2, [1], {"z"}, id="no-spread"),
    ],
)
def test_undefined_values_are_none_and_not_zero(tmp_path, sessions_a_part, bought, undefined):
    lines = [
        _session(10 * day + n, day, [1, 2, 3] * (n + 1), carted=bought, ordered=bought)
        for day in (TRAIN, VALIDATION, TEST)
        for n in range(sessions_a_part)
    ]
    profile = profile_sessions(*_prepare(tmp_path, lines))

    found = profile["by_split"]["train"] | profile["drift"]["conversion"]
    assert {name for name, value in found.items() if value is None} == undefined


def _draw(rng, sessions, day, *, clicks=2.0, reverse=False, order=0.1):
    """Sessions of 2 + Poisson(clicks) clicks, item i with weight i + 1; clicks are often ordered."""
    weights = np.arange(1, ITEMS + 1)[:: -1 if reverse else 1]
    for number in range(1000 * day, 1000 * day + sessions):
        items = rng.choice(ITEMS, 2 + rng.poisson(clicks), p=weights / weights.sum()).tolist()
        ordered = [item for item in dict.fromkeys(items) if rng.random() < order]
        yield _session(number, day, items, carted=items[:1], ordered=ordered)


def _world(seed, *, train=120, test=60, **drift):
    """Train and test alike but for ``drift``."""
    rng = np.random.default_rng(seed)
    parts = _draw(rng, train, TRAIN), _draw(rng, test, TEST, **drift)
    return [*parts[0], _session(-1, VALIDATION, [10, 11]), *parts[1]]


def _slow(sessions):
    """Numbers of the profile in plain Python over every session, click and item."""
    table = pl.read_parquet(sessions / "sessions.parquet").rows(named=True)
    parts, counts, shares = [], [], []
    for split in (Split.TRAIN, Split.TEST):
        pairs = [(row["clicks"], row["ordered_clicks"]) for row in table if row["split"] == split]
        m, y = (sum(column) for column in zip(*pairs, strict=True))
        variance = sum((b - y / m * a) ** 2 for a, b in pairs) * len(pairs) / (len(pairs) - 1)
        parts.append({"lengths": [a for a, _ in pairs], "share": y / m, "error": variance**0.5 / m})
        counts.append(Counter(open_tokens(sessions / "tokens.safetensors", split).items.tolist()))
        bins = Counter(min(a, 21) for a, _ in pairs)
        shares.append([bins[length] / len(pairs) for length in range(2, 22)])
    train, test = ([count[item] for item in range(max(counts[0]) + 1)] for count in counts)
    top = sorted(range(len(train)), key=lambda item: (-train[item], item))[:1000]
    pairs = zip(train, test, strict=True)
    return {
        "quantiles": [np.quantile(part["lengths"], q) for part in parts for q in (0.5, 0.9)],
        "shares": [share for part in shares for share in part],
        "gini": sum(abs(a - b) for a in train for b in train) / (2 * len(train) * sum(train)),
        "lengths": sum(abs(a - b) for a, b in zip(*shares, strict=True)) / 2,
        "items": sum(abs(a / sum(train) - b / sum(test)) for a, b in pairs) / 2,
        "top": [sum(of[item] for item in top) / sum(of) for of in (train, test)],
        "z": (parts[1]["share"] - parts[0]["share"])
        / math.hypot(parts[0]["error"], parts[1]["error"]),
    }


def _fast(profile):
    """The same numbers, read off."""
    drift, parts = profile["drift"], [profile["by_split"][name] for name in ("train", "test")]
    return {
        "quantiles": [part[name] for part in parts for name in ("median_length", "p90_length")],
        "shares": [share for part in parts for share in part["length_shares"].values()],
        "gini": profile["popularity"]["gini"],
        "lengths": drift["length_distance"]["value"],
        "items": drift["item_distance"]["value"],
        "top": [drift["test_clicks_on_top_items"][name] for name in ("train", "value")],
        "z": drift["conversion"]["z"],
    }


def _assert_as_the_slow_way(events, sessions):
    slow = {name: pytest.approx(value) for name, value in _slow(sessions).items()}
    assert _fast(profile_sessions(events, sessions)) == slow


def test_the_profile_equals_that_of_the_slow_way(tmp_path):
    lines = _world(1, clicks=18.0, order=0.3)  # some sessions are longer than the histogram
    _assert_as_the_slow_way(*_prepare(tmp_path, lines, min_item_support=5))


def test_the_profile_of_real_clicks_equals_that_of_the_slow_way(tmp_path, real_data):
    section = {"name": DatasetFormat.JDATA, "min_item_support": 2, "validation_days": 0.5}
    _assert_as_the_slow_way(*_prepare(tmp_path, real_data / "jdata", **section))


@pytest.mark.parametrize("clicks_a_slice", [1, 7, 100])
def test_slices_do_not_show(tmp_path, monkeypatch, clicks_a_slice):
    folders = _prepare(tmp_path, _world(2))
    whole = profile_sessions(*folders)
    monkeypatch.setattr(module, "_CLICKS_PER_SLICE", clicks_a_slice)

    assert profile_sessions(*folders) == whole


def test_the_seed_decides_the_random_divisions_and_nothing_else(tmp_path):
    folders = _prepare(tmp_path, _world(3))
    first, again, other = (profile_sessions(*folders, seed=seed) for seed in (0, 0, 1))

    assert first == again
    assert first["drift"]["item_distance"] != other["drift"]["item_distance"]
    assert _fast(first) == _fast(other)


@pytest.mark.slow
def test_without_drift_chance_is_exceeded_as_rarely_as_it_should(tmp_path):
    worlds, exceeded = 40, Counter()
    for n in range(worlds):
        folders = _prepare(tmp_path / str(n), _world([4, n]))
        drift = profile_sessions(*folders)["drift"]
        exceeded["conversion"] += abs(drift["conversion"]["z"]) > 1.96
        for name in DISTANCES:
            exceeded[name] += drift[name]["value"] > drift[name]["by_chance"]["largest"]

    for name, chance in {**dict.fromkeys(DISTANCES, 1 / 11), "conversion": 0.05}.items():
        error = math.sqrt(chance * (1 - chance) * worlds)
        assert abs(exceeded[name] - chance * worlds) < 3.3 * error, name


@pytest.mark.parametrize(
    ("planted", "found"),
    [
        pytest.param({"clicks": 4.0}, "length_distance", id="longer-sessions"),
        pytest.param({"reverse": True}, "item_distance", id="other-items"),
        pytest.param({"order": 0.3}, "conversion", id="more-orders"),
    ],
)
def test_planted_drift_is_found_where_it_was_planted_and_only_there(tmp_path, planted, found):
    folders = _prepare(tmp_path, _world(5, train=400, test=200, **planted))

    drift = profile_sessions(*folders)["drift"]

    beyond = [n for n in DISTANCES if drift[n]["value"] > 2 * drift[n]["by_chance"]["mean"]]
    assert beyond + ["conversion"] * (abs(drift["conversion"]["z"]) > 3.3) == [found]


def test_the_most_clicked_items_of_train_lose_their_clicks_when_taste_turns(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_TOP_ITEMS", 3)  # of 12, item i with weight i + 1
    folders = _prepare(tmp_path, _world(6, train=400, test=200, reverse=True))

    top = profile_sessions(*folders)["drift"]["test_clicks_on_top_items"]

    assert top["items"] == 3
    assert top["train"] == pytest.approx((12 + 11 + 10) / (12 * 13 / 2), abs=0.05)
    assert top["value"] == pytest.approx((1 + 2 + 3) / (12 * 13 / 2), abs=0.05)
    assert top["value"] < top["by_chance"]["smallest"]
