"""The shop's log: the same bytes from the same seed, visits by their rules, OTTO's format."""

import hashlib
import json
import os
import subprocess
import sys
from dataclasses import asdict, replace
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from scipy.stats import chisquare

from pipeline.artifacts.storage import md5
from pipeline.core.contracts import Split
from pipeline.core.errors import DataError
from pipeline.datasets.ingest_events import write_events
from pipeline.sessions.prepare import write_sessions
from pipeline.sessions.rules import rules_of
from pipeline.sessions.token_store import open_tokens
from pipeline.study import (
    BoundaryPolicy,
    DatasetConfig,
    DatasetFormat,
    SessionsConfig,
    SyntheticConfig,
    parse_study,
)
from pipeline.synthetic.generate_log import (
    _HOUR_WEIGHTS,
    DAY_MS,
    MAX_CLICKS,
    OPENING_TS,
    arrival_times,
    build_shop,
    check_shop_log,
    generate_log,
    item_id,
    simulate_browsing,
)
from pipeline.synthetic.shop import BUY
from pipeline.synthetic.users import make_users

SMALL = {"items": 80, "categories": 6, "users": 40, "sessions": 300, "days": 5}
BUSY = SyntheticConfig(items=300, categories=8, users=500, sessions=20_000)
GENERATE = (
    "import sys; from pathlib import Path; from pipeline.study import SyntheticConfig;"
    "from pipeline.synthetic.generate_log import generate_log;"
    f"generate_log(SyntheticConfig(**{SMALL}), Path(sys.argv[1]))"
)


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    path = tmp_path_factory.mktemp("synthetic") / "log.jsonl"
    assert generate_log(SyntheticConfig(**SMALL), path) == SMALL["sessions"]
    return path


def _dataset(log):
    return DatasetConfig(format=DatasetFormat.OTTO, path=str(log))


@pytest.fixture(scope="module")
def read(log, tmp_path_factory):
    """The folder of the log's events, and their summary."""
    folder = tmp_path_factory.mktemp("events")
    return folder, write_events(_dataset(log), log, folder, max_rejected_share=0.0)


@pytest.fixture(scope="module")
def visits():
    """Many visits to :data:`BUSY` by users who all buy as readily, with what happened in them."""
    rng = np.random.default_rng(11)
    drawn = make_users(BUSY, BUSY.users, rng)
    alike = replace(drawn, thrift=np.full(BUSY.users, 100))
    return simulate_browsing(build_shop(BUSY), alike, BUSY, rng=rng)


def _sessions(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.slow
def test_the_same_seed_gives_the_same_bytes_in_any_process(log, tmp_path, project_root):
    other = tmp_path / "log.jsonl"
    environment = {**os.environ, "PYTHONHASHSEED": "12345", "PYTHONPATH": str(project_root)}

    subprocess.run([sys.executable, "-c", GENERATE, other], check=True, env=environment)

    assert md5(other) == md5(log) == hashlib.md5(log.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    "change",
    ["seed", "items", "categories", "neighbours", "users", "sessions", "days"],
)
def test_every_parameter_of_the_shop_changes_the_log(log, tmp_path, change):
    one_more = asdict(SyntheticConfig(**SMALL))[change] + 1
    other = tmp_path / "log.jsonl"

    generate_log(SyntheticConfig(**{**SMALL, change: one_more}), other)

    assert md5(other) != md5(log)


@pytest.mark.parametrize("categories", [2, 40, 50])
def test_the_smallest_shop_has_a_log(tmp_path, categories):
    world = SyntheticConfig(items=50, categories=categories, users=10, sessions=10, days=3)

    assert generate_log(world, tmp_path / "log.jsonl") == 10


def test_the_adapter_reads_the_log_without_a_rejected_row(read):
    events, summary = read

    assert (summary["sessions"], summary["rejected"]) == (SMALL["sessions"], 0)
    assert summary["event_types"]["cart"] == summary["event_types"]["order"] > 0
    items = pl.read_parquet(events / "events.parquet", columns=["item"])["item"]
    assert set(items) <= set(item_id(np.arange(SMALL["items"])).tolist())


def test_sessions_are_numbered_by_their_beginning_inside_the_days_of_the_log(log):
    sessions = _sessions(log)

    starts = [session["events"][0]["ts"] for session in sessions]
    assert [session["session"] for session in sessions] == list(range(SMALL["sessions"]))
    # a first click follows the arrival, by which sessions stand, after 4 to 180 seconds
    assert all(later > earlier - 180_000 for earlier, later in pairwise(starts))
    assert min(starts) >= OPENING_TS
    assert max(starts) < OPENING_TS + SMALL["days"] * DAY_MS + 180_000


def test_clicks_come_in_order_of_time_and_orders_after_the_last_of_them(log):
    for session in _sessions(log):
        clicks = [event for event in session["events"] if event["type"] == "clicks"]
        carts = [event for event in session["events"] if event["type"] == "carts"]
        orders = [event for event in session["events"] if event["type"] == "orders"]
        assert session["events"] == [*clicks, *carts, *orders]
        assert all(a["ts"] < b["ts"] for a, b in pairwise(clicks))
        assert all(order["ts"] > clicks[-1]["ts"] for order in orders)
        ordered = [order["aid"] for order in orders]
        assert ordered == [cart["aid"] for cart in carts]
        assert len(set(ordered)) == len(ordered)
        assert set(ordered) <= {click["aid"] for click in clicks}


def test_every_order_of_the_log_labels_the_clicks_on_its_item(log, read, tmp_path):
    keep_all = SessionsConfig(
        min_item_support=1,
        boundary_sessions=BoundaryPolicy.EARLIER,
        test_days=1.0,
        validation_days=1.0,
    )

    write_sessions(read[0], tmp_path, rules_of(keep_all, _dataset(log)))

    labelled = {split: open_tokens(tmp_path / "tokens.safetensors", split) for split in Split}
    kept = set(pl.read_parquet(tmp_path / "sessions.parquet")["session"])
    known = set(pl.read_parquet(tmp_path / "items.parquet")["item"])
    ordered = sum(
        click["type"] == "clicks" and click["aid"] in bought & known
        for session in _sessions(log)
        if session["session"] in kept
        for bought in [{e["aid"] for e in session["events"] if e["type"] == "orders"}]
        for click in session["events"]
    )
    assert sum(int(tokens.ordered.sum()) for tokens in labelled.values()) == ordered > 0


def test_arrivals_follow_the_hours_of_the_day_over_all_days_alike():
    n, days = 50_000, 7

    times = arrival_times(n, [1] * days, np.random.default_rng(6))

    day, inside = np.divmod(times, DAY_MS)
    weights = _HOUR_WEIGHTS / _HOUR_WEIGHTS.sum()
    by_hour = np.bincount(inside // 3_600_000, minlength=24)
    assert chisquare(by_hour, weights * n).pvalue > 1e-3
    assert chisquare(np.bincount(day, minlength=days)).pvalue > 1e-3


def test_more_arrive_on_days_that_weigh_more():
    n, weights = 50_000, np.array([3, 1, 2])

    day = arrival_times(n, weights, np.random.default_rng(6)) // DAY_MS

    assert chisquare(np.bincount(day), weights / weights.sum() * n).pvalue > 1e-3


def test_a_log_of_another_shop_is_rejected(log, small_params):
    world = {"neighbours": 20, "seed": 7, **SMALL}
    study = parse_study(small_params | {"synthetic": world})
    other = parse_study(small_params | {"synthetic": world | {"sessions": 301}})
    brought = {**small_params["experiment"], "source": "held-out-replay"}
    replayed = parse_study(
        small_params | {"synthetic": other.as_dict()["synthetic"], "experiment": brought}
    )

    check_shop_log(study, md5(log))
    check_shop_log(replayed, md5(log))  # its users are those of the log, whatever shop it is from
    with pytest.raises(DataError, match=rf"{md5(log)}, but the shop of .*dvc repro raw_ev"):
        check_shop_log(other, md5(log))


@pytest.mark.parametrize(("intent", "stay"), [(0, 0.82), (1, 0.88)], ids=["browse", "buy"])
def test_visits_are_as_long_as_the_chance_to_go_on_says(visits, intent, stay):
    length = visits.length[visits.intent == intent]

    # P(length ≥ k) = stay^(k - 1) for k up to 60, so the mean is the sum of these
    mean = sum(stay ** (k - 1) for k in range(1, MAX_CLICKS + 1))
    assert abs(length.mean() - mean) < 4 * length.std() / np.sqrt(len(length))
    assert length.min() == 1
    assert length.max() <= MAX_CLICKS


def test_visits_are_filled_to_their_length_and_no_further(visits):
    filled = np.arange(MAX_CLICKS) < visits.length[:, None]

    assert (visits.clicks[filled] >= 0).all()
    assert (visits.clicks[~filled] == -1).all()
    assert not visits.ordered[~filled].any()


def test_thirty_five_of_a_hundred_visits_mean_to_buy(visits):
    n = len(visits.intent)

    assert abs((visits.intent == BUY).mean() - 0.35) < 4 * np.sqrt(0.35 * 0.65 / n)


def test_clicks_go_to_appeal_and_orders_to_quality(visits):
    catalogue = build_shop(BUSY).catalogue
    filled = np.arange(MAX_CLICKS) < visits.length[:, None]
    clicked, ordered = visits.clicks[filled], visits.clicks[visits.ordered]

    assert catalogue.appeal[clicked].mean() > catalogue.appeal.mean() + 5
    assert catalogue.quality[clicked].mean() < catalogue.quality.mean()
    assert catalogue.quality[ordered].mean() > catalogue.quality[clicked].mean() + 5
    assert catalogue.appeal[ordered].mean() < catalogue.appeal[clicked].mean()


@pytest.mark.parametrize("seen_before", [False, True], ids=["first-time", "again"])
@pytest.mark.parametrize("intent", [0, 1], ids=["browse", "buy"])
def test_orders_are_as_many_as_their_chances_add_up_to(visits, intent, seen_before):
    items, ordered = [], []
    for visit in np.flatnonzero(visits.intent == intent):
        clicks = visits.clicks[visit, : visits.length[visit]].tolist()
        for place, item in enumerate(clicks):
            if (item in clicks[:place]) == seen_before:
                items.append(item)
                ordered.append(visits.ordered[visit, place])

    alike = [np.full(len(items), value) for value in (intent, seen_before, 100)]
    p = build_shop(BUSY).order_rate_ppm(np.array(items), *alike) / 1_000_000

    assert p.sum() > 20
    assert abs(sum(ordered) - p.sum()) < 4 * np.sqrt((p * (1 - p)).sum())
