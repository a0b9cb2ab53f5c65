"""The assignment hash against GrowthBook's published vectors, and as a source of randomness."""

import numpy as np
import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import stats

from pipeline.experiment.design.assignment import (
    BATCHES,
    N_BUCKETS,
    batches_of,
    bucket_of,
    buckets_of,
)


@pytest.fixture(scope="module")
def million_users():
    """Typical user ids: a letter and a counter."""
    return pl.Series([f"u{number:07d}" for number in range(1_000_000)])


@pytest.mark.parametrize(
    ("salt", "user", "fraction"),
    [
        ("seed", "a", 0.0505),
        ("seed", "b", 0.2696),
        ("foo", "ab", 0.2575),
        ("foo", "def", 0.2019),
        ("89123klj", "8952klfjas09ujkasdf", 0.124),
        ("90850943850283058242805", "123", 0.7516),
        ("()**(%$##$%#$#", '___)((*":&', 0.0128),
    ],
)
def test_published_vectors_of_growthbook_hash_version_2(salt, user, fraction):
    assert bucket_of(user, salt) / N_BUCKETS == fraction


@settings(max_examples=50)
@given(user=st.text(max_size=20), salt=st.text(max_size=20))
def test_every_user_has_one_stable_bucket_per_salt(user, salt):
    bucket = bucket_of(user, salt)

    assert 0 <= bucket < N_BUCKETS
    assert bucket_of(user, salt) == bucket


@pytest.mark.parametrize("bins", [5, N_BUCKETS], ids=["five-groups", "every-bucket"])
def test_a_million_users_are_uniform_over_the_buckets(million_users, bins):
    counts = np.bincount(buckets_of(million_users, "pareto-1") * bins // N_BUCKETS, minlength=bins)

    # two-sided: neither uneven nor more even than random
    assert 0.001 < stats.chisquare(counts).pvalue < 0.999


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("pareto-1", "pareto-1 coverage"),
        pytest.param("spring", "autumn", marks=pytest.mark.slow),
        pytest.param("pareto-1", "holdout", marks=pytest.mark.slow),
    ],
)
def test_buckets_under_two_salts_are_independent(million_users, one, other):
    first, second = (buckets_of(million_users, salt) * 10 // N_BUCKETS for salt in (one, other))
    table = np.bincount(first * 10 + second, minlength=100).reshape(10, 10)

    assert 0.001 < stats.chi2_contingency(table).pvalue < 0.999


@given(users=st.lists(st.text(max_size=12), min_size=1, max_size=20), salt=st.text(max_size=5))
@example(users=["u\0", "u", "", "\0"], salt="")
@example(users=["é", "買い物", "🛒", "a" * 40], salt="spring")
def test_vectorised_buckets_equal_single_ones(users, salt):
    assert buckets_of(pl.Series(users, dtype=pl.String), salt).tolist() == [
        bucket_of(user, salt) for user in users
    ]


def test_chunks_of_users_keep_their_order():
    users = pl.Series([f"u{number}" for number in range(140_000)])

    found = buckets_of(users, "spring")

    assert [found[n] for n in (0, 131_071, 131_072, 139_999)] == [
        bucket_of(users[n], "spring") for n in (0, 131_071, 131_072, 139_999)
    ]


@pytest.mark.parametrize("salt", ["pareto-1", "holdout", "batches"])
def test_batches_are_uniform_and_independent_of_the_groups(million_users, salt):
    batches = batches_of(million_users)
    groups = buckets_of(million_users, salt) * 5 // N_BUCKETS

    table = np.zeros((BATCHES, 5))
    np.add.at(table, (batches, groups), 1)

    assert stats.chisquare(table.sum(axis=1)).pvalue > 1e-4
    assert stats.chi2_contingency(table).pvalue > 1e-4
