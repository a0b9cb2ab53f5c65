"""Histograms of sessions and scores: independent values, a fixed reference."""

import math

import numpy as np
import pytest

from pipeline.monitoring.alarms import SMALLEST_DRIFT, drift_alarms, drift_of
from pipeline.monitoring.following.database import Database
from pipeline.monitoring.following.features import FEATURES, FeatureStore, inner_edges
from pipeline.monitoring.following.rows import score_features
from tests.pipeline.monitoring.endpoint_log import HOUR_MS, START, follower_of, impression, write

DAY = START // (24 * HOUR_MS)


def day_of(rng, day, *, shift=0.0, users=1000, model="m1"):
    """One list per user on a day, with a normal first score."""
    top = rng.normal(shift, 1, users)
    return [
        impression(
            f"{day}-{model}-{n}",
            f"u{n}",
            START + day * 24 * HOUR_MS + n,
            model=model,
            session=["a"] * int(rng.integers(1, 9)),
            scores=[float(top[n]), float(top[n] - rng.exponential()), float(top[n] - 3)],
        )
        for n in range(users)
    ]


@pytest.fixture
def database(tmp_path):
    one = Database.open(tmp_path / "monitor.sqlite")
    yield one
    one.close()


def follow(tmp_path, database, rows):
    write(tmp_path / "log", "impressions", rows)
    follower_of(database, tmp_path / "log").look(START / 1000)


def test_scores_of_a_list_by_hand():
    """Scores log 3 and 0: probabilities 3/4 and 1/4."""
    found = score_features([math.log(3), 0.0])

    assert found["top_score"] == math.log(3)
    assert found["score_margin"] == math.log(3)
    assert found["score_entropy"] == pytest.approx(-(0.75 * math.log(0.75) + 0.25 * math.log(0.25)))
    assert score_features([2000.0, -2000.0])["score_entropy"] == 0


def test_the_first_day_is_the_reference_and_the_same_model_does_not_drift(tmp_path, database):
    rng = np.random.default_rng(0)
    for day in range(3):
        follow(tmp_path, database, day_of(rng, day))

    found = {one.feature: one for one in FeatureStore(database).counts(DAY + 2)}

    # every session has known items only: one bin, and nothing to test
    assert set(found) == set(FEATURES) - {"unknown_items"}
    assert found["top_score"].reference.tolist() == [100] * 10
    assert found["top_score"].current.sum() == 1000
    assert found["session_length"].reference.sum() == 1000
    assert drift_alarms([drift_of(one) for one in found.values()], len(FEATURES)) == []


def test_a_shift_of_the_scores_is_found_with_its_size(tmp_path, database):
    rng = np.random.default_rng(1)
    follow(tmp_path, database, day_of(rng, 0))
    follow(tmp_path, database, day_of(rng, 1, shift=0.5))

    drifts = [drift_of(one) for one in FeatureStore(database).counts(DAY + 1)]
    (alarm,) = drift_alarms(drifts, len(FEATURES))

    assert alarm.subject == "top_score"
    assert alarm.value > SMALLEST_DRIFT  # of a shift of half a standard deviation: 0.25
    assert "top_score under model m1 has drifted: PSI 0." in alarm.text


def test_a_small_shift_of_many_users_is_no_alarm(tmp_path, database):
    rng = np.random.default_rng(2)
    follow(tmp_path, database, day_of(rng, 0, users=2000))
    follow(tmp_path, database, day_of(rng, 1, users=2000, shift=0.2))

    drifts = {d.feature: d for d in map(drift_of, FeatureStore(database).counts(DAY + 1))}

    assert drifts["top_score"].p_value < 1e-3
    assert drift_alarms(drifts.values(), len(FEATURES)) == []


def test_only_the_first_list_of_a_user_on_a_day_counts(tmp_path, database):
    rng = np.random.default_rng(3)
    follow(tmp_path, database, day_of(rng, 0))
    later = day_of(rng, 1, users=10)
    again = [row | {"impression": f"again-{n}", "ts": row["ts"] + 9} for n, row in enumerate(later)]
    follow(tmp_path, database, later + again[:5])
    follow(tmp_path, database, again[5:])

    assert FeatureStore(database).counts(DAY + 1)[0].current.sum() == 10


def test_another_model_has_another_reference(tmp_path, database):
    rng = np.random.default_rng(4)
    follow(tmp_path, database, day_of(rng, 0))
    follow(tmp_path, database, day_of(rng, 1, shift=9.0, model="m2"))
    assert FeatureStore(database).counts(DAY + 1) == []

    follow(tmp_path, database, day_of(rng, 2, shift=9.0, model="m2"))

    drifts = [drift_of(one) for one in FeatureStore(database).counts(DAY + 2)]
    assert {one.model for one in drifts} == {"m2"}
    assert drift_alarms(drifts, len(FEATURES)) == []


@pytest.mark.parametrize(
    ("values", "edges"),
    [
        ([1.0] * 9, []),
        ([0.0] * 8 + [1.0] * 2, [1.0]),
        ([0.0] * 5 + [1.0] * 5, [1.0]),
        (list(range(10)), [1, 2, 3, 4, 5, 6, 7, 8, 9]),
    ],
)
def test_bins_have_values(values, edges):
    assert inner_edges(np.array(values, dtype=float)) == edges
