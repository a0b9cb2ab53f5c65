"""Sums over users: any users' sums pass, sums of something else are refused with row and numbers."""

import re

import numpy as np
import polars as pl
import pytest

from pipeline.core.contracts import Kpi
from pipeline.core.errors import DataError
from pipeline.experiment.kpis.contracts import TERMS
from pipeline.inference.counts.columns import CountsOptions
from pipeline.inference.counts.counts_table import read_counts


def read(table, /, **options):
    return read_counts(pl.DataFrame(table, strict=False), CountsOptions(**options))


BASE = {"group": ["a", "b"], "impressions": [1000, 1000], "clicks": [100, 120], "auc": [0.6, 0.7]}


def sums(kpi, users, mm, my, yy):
    names = ("users", "sum_mm", "sum_my", "sum_yy")
    return {f"{kpi}_{n}": v for n, v in zip(names, (users, mm, my, yy), strict=True)}


CTR = sums("ctr", [500, 500], [3000, 3000], [300, 360], [130, 150])


@pytest.mark.slow
def test_the_sums_of_any_users_pass():
    rng = np.random.default_rng(5)
    for _ in range(100):
        users = int(rng.integers(1, 40))
        impressions = 1 + rng.poisson(rng.choice([0.2, 3, 50]), users)
        clicks = rng.binomial(impressions, rng.uniform())
        orders = rng.binomial(clicks, rng.uniform())
        revenue = np.round(orders * rng.lognormal(3, 1, users) * rng.choice([1, -1], users), 2)
        y = {
            "users": np.ones(users, int),
            "impressions": impressions,
            "clicks": clicks,
            "orders": orders,
            "units": 2 * orders,
            "revenue": revenue,
        }
        row = {"group": "a", "auc": 0.6} | {name: one.sum().item() for name, one in y.items()}
        for kpi, (trials, successes) in TERMS.items():
            m, of = y[trials], y[successes]
            row |= sums(kpi, (m > 0).sum(), (m * m).sum(), (m * of).sum(), (of * of).sum())
        frame = {name: [value, value] for name, value in row.items()} | {"group": ["a", "b"]}

        assert read(frame).users_unknown == ()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        # of one day's users, as if each of them were another one
        ({"ctr_sum_mm": [1000, 3000]}, r"ctr_sum_mm is 1000, less than impressions² / ctr_users"),
        ({"ctr_users": [5000, 500]}, "ctr_users is 5000, more than the 1000 impressions"),
        ({"ctr_users": [0, 500]}, "ctr_users is 0, and impressions is 1000; expected none or both"),
        ({"users": [400, 500]}, "ctr_users is 500, more than the 400 users"),
        ({"ctr_sum_mm": [10**7, 3000]}, "more than 500 users with 1000 impressions can have"),
        ({"ctr_sum_my": [99, 360]}, "ctr_sum_my is 99, less than the 100 clicks"),
        ({"ctr_sum_my": [3001, 360]}, "ctr_sum_my is 3001, more than ctr_sum_mm, 3000"),
        ({"ctr_sum_yy": [99, 150]}, "ctr_sum_yy is 99, less than the 100 clicks"),
        ({"ctr_sum_yy": [301, 150]}, "ctr_sum_yy is 301, more than ctr_sum_my, 300"),
        ({"ctr_sum_my": [700, 360]}, "ctr_sum_yy · ctr_sum_mm is 130 · 3000, less than ctr_sum_my²"),
        ({"ctr_sum_mm": [2001, 3000], "ctr_sum_my": [140, 360], "ctr_sum_yy": [130, 150]},
         "no users have these sums"),
        ({"ctr_sum_mm": [-1, 3000]}, r"row 1 \(group a\): ctr_sum_mm is -1; expected an integer"),
        ({"ctr_sum_mm": [3000, None]}, r"row 2 \(group b\): ctr_sum_mm is missing"),
        ({"ctr_sum_mm": [3000.5, 3000]}, r"ctr_sum_mm is 3000\.5; expected an integer"),
    ],
    ids=str,
)  # fmt: skip
def test_sums_of_something_else_are_refused(changes, words):
    assert read(BASE | CTR)

    with pytest.raises(DataError, match=r"the frame: row \d \(group \w\): ") as error:
        read(BASE | CTR | changes)
    assert re.search(words, str(error.value))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"clicks_per_user_users": [999, 1000]}, "clicks_per_user_users is 999, and users is 1000"),
        ({"clicks_per_user_sum_mm": [1001, 1000]}, "clicks_per_user_sum_mm is 1001, and users is 1000"),
        ({"clicks_per_user_sum_my": [50, 120]}, "clicks_per_user_sum_my is 50, and clicks is 100"),
        ({"clicks_per_user_sum_yy": [9, 150]}, "clicks_per_user_sum_yy is 9, less than clicks²"),
    ],
)  # fmt: skip
def test_of_a_kpi_per_user_the_users_are_the_trials(changes, words):
    table = BASE | {"users": [1000, 1000]}
    known = table | sums("clicks_per_user", [1000, 1000], [1000, 1000], [100, 120], [130, 150])

    assert Kpi.CLICKS_PER_USER not in read(known).users_unknown
    with pytest.raises(DataError, match=words):
        read(known | changes)


def test_of_a_kpi_per_user_only_the_squares_are_needed():
    found = read(BASE | {"users": [1000, 1000], "clicks_per_user_sum_yy": [130, 150]})

    assert found.sums.known[Kpi.CLICKS_PER_USER] == {
        "users": [1000, 1000],
        "sum_mm": [1000, 1000],
        "sum_my": [100, 120],
        "sum_yy": [130, 150],
    }


def test_the_reason_names_the_columns_that_are_missing():
    table = BASE | {"users": [1000, 1000], "orders": [9, 9], "revenue": [500, 600]}

    missing = read(table).sums.missing

    assert missing[Kpi.REVENUE_PER_USER] == ("revenue_per_user_sum_yy",)
    # each user has one impression: the amounts' squares are all that is not known
    assert missing[Kpi.REVENUE_PER_IMPRESSION] == ("revenue_per_impression_sum_yy",)
    assert Kpi.CTR not in missing
    partly = read(BASE | {name: CTR[name] for name in ("ctr_users", "ctr_sum_mm")})
    assert partly.sums.missing == {Kpi.CTR: ("ctr_sum_my", "ctr_sum_yy")}


def test_squares_of_the_same_successes_are_shared():
    table = BASE | {"users": [1000, 1000], "orders": [9, 9], "revenue": [500.5, 600.0]}

    found = read(table | {"revenue_per_user_sum_yy": [90_000.25, 95_000.0]})

    assert found.sums.known[Kpi.REVENUE_PER_IMPRESSION]["sum_yy"] == [90_000.25, 95_000]


@pytest.mark.parametrize(
    ("columns", "options"),
    [
        ({"users": [1000, 1000]}, {}),
        ({"ctr_users": [1000, 1000]}, {}),
        ({}, {"one_trial_per_user": True}),
        ({"users": [1200, 1000]}, {"one_trial_per_user": True}),  # some saw nothing
        ({"views": [1000, 1000]}, {"columns": {"users": "impressions"}}),
    ],
    ids=str,
)
def test_with_one_impression_per_user_the_sums_are_exact(columns, options):
    found = read(BASE | columns, **options)

    assert Kpi.CTR not in found.users_unknown
    assert found.sums.known[Kpi.CTR] == {
        "users": [1000, 1000],
        "sum_mm": [1000, 1000],
        "sum_my": [100, 120],
        "sum_yy": [100, 120],
    }


def test_users_who_are_not_one_per_impression_stay_unknown():
    assert Kpi.CTR in read(BASE | {"users": [1000, 999]}).users_unknown
    assert Kpi.CTR in read(BASE).users_unknown


def test_a_declaration_that_the_users_contradict_is_refused():
    with pytest.raises(DataError, match=r"500 users and 1000 impressions.*--one-trial-per-user"):
        read(BASE | {"users": [1000, 500]}, one_trial_per_user=True)
    with pytest.raises(DataError, match="each user has one trial"):
        read(BASE | CTR, one_trial_per_user=True)


def test_integers_beyond_64_bits_are_exact():
    revenue = [250_000_000_000, 252_000_000_000]
    squares = [14388047084486858280, 3 * 2**90]
    users = {"users": [15000, 15000], "impressions": [15000, 15000]}
    exact = pl.Series(squares, dtype=pl.Int128)
    table = read(BASE | users | {"revenue": revenue, "revenue_per_user_sum_yy": exact})

    kpis = table.group_kpis().filter(kpi="revenue_per_user")

    assert kpis["sum_yy"].to_list() == squares
    assert kpis["successes"].to_list() == revenue
