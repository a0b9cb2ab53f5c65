"""A batch gives the same lists as single requests, after filters and rules."""

import numpy as np
import pytest

from pipeline.core.errors import DataError, LogError, StudyError
from pipeline.serving.ranking.rank import popularity_fallback, rank
from pipeline.serving.ranking.snapshot import load_snapshot
from tests.pipeline.serving.shop import (
    DAY_MS,
    ITEMS,
    name_of,
    rank_request,
    scores_of,
    served_model,
    write_plan,
    write_study,
)

NO_FILTERS = {"seen": False, "out_of_stock": None, "allow": None, "deny": None}


def best(scores, k, without=()):
    allowed = [n for n in range(len(scores)) if n not in without]
    return sorted(allowed, key=lambda n: (-scores[n], n))[:k]


def items_of(found):
    return found.items.tolist()


def test_a_batch_of_all_groups_equals_single_requests(tmp_path, small_params):
    served = served_model(tmp_path, small_params)
    rng = np.random.default_rng(0)
    requests = [
        rank_request(
            rng.integers(ITEMS, size=rng.integers(1, 10)),
            preference=[(0.0, 1.0), (0.3, 0.7), (1.0, 0.0)][n % 3],
            k=int(rng.integers(1, ITEMS + 5)),
            excluded=rng.choice(ITEMS, size=n % 7, replace=False),
        )
        for n in range(60)
    ]

    together = rank(served, requests)

    for one, found in zip(requests, together, strict=True):
        scores = scores_of(served, one.session, one.preference)
        assert items_of(found) == best(scores, one.k, one.excluded)
        assert found.scores == pytest.approx([scores[n] for n in found.items], abs=1e-5)
        assert items_of(rank(served, [one])[0]) == items_of(found)


def test_filters_exclude_the_items_of_their_files(tmp_path, small_params):
    (tmp_path / "stock.txt").write_text("item-1\nitem-2\n\nunknown\n")
    (tmp_path / "allow.txt").write_text("\n".join(name_of(n) for n in range(20)))
    (tmp_path / "deny.txt").write_text("item-3\n")
    files = {"out_of_stock": "stock.txt", "allow": "allow.txt", "deny": "deny.txt"}
    served = served_model(tmp_path, small_params, filters=NO_FILTERS | files)

    (found,) = rank(served, [rank_request([5, 6], k=ITEMS, excluded=[4])])

    expected = best(scores_of(served, [5, 6], (0.5, 0.5)), ITEMS, [1, 2, 3, 4, *range(20, ITEMS)])
    assert items_of(found) == expected
    assert len(expected) == 16
    assert served.rules.unknown_items == 1
    assert sorted(popularity_fallback(served, np.array([4]), ITEMS)) == sorted(expected)


def test_filters_that_exclude_everything_are_rejected(tmp_path, small_params):
    (tmp_path / "allow.txt").write_text("unknown\n")

    with pytest.raises(DataError, match="exclude all 40 items of the catalogue"):
        served_model(tmp_path, small_params, filters=NO_FILTERS | {"allow": "allow.txt"})
    with pytest.raises(DataError, match=r"cannot read .*serving\.filters\.deny"):
        served_model(tmp_path, small_params, filters=NO_FILTERS | {"deny": "absent.txt"})


def test_boosts_and_freshness_apply_to_all_items(tmp_path, small_params):
    """Item n is available since day 20,000 + n; on day 20,030 item 20 is ten days old."""
    rules = [
        {"rule": "boost", "add": 2.0, "categories": ["hats"], "items": ["item-0"]},
        {"rule": "freshness", "add": 3.0, "half_life_days": 10.0},
    ]
    served = served_model(tmp_path, small_params, rules=rules)
    now = 20_030 * DAY_MS

    (found,) = rank(served, [rank_request([7], k=ITEMS, ts=now)])

    expected = np.array(scores_of(served, [7], (0.5, 0.5)))
    for n in range(ITEMS):
        expected[n] += 2.0 * (n % 4 == 1 or n == 0)
        expected[n] += 3.0 * 0.5 ** (max(30 - n, 0) / 10)
    assert items_of(found) == best(expected.tolist(), ITEMS)
    assert found.scores == pytest.approx(expected[found.items], abs=1e-4)


def test_freshness_depends_on_the_time_of_the_request(tmp_path, small_params):
    rules = [{"rule": "freshness", "add": 5.0, "half_life_days": 1.0}]
    served = served_model(tmp_path, small_params, rules=rules)
    days = [(20_000 + n) * DAY_MS for n in range(0, 40, 4)]

    together = rank(served, [rank_request([7], k=ITEMS, ts=ts) for ts in days])

    for ts, found in zip(days, together, strict=True):
        assert items_of(rank(served, [rank_request([7], k=ITEMS, ts=ts)])[0]) == items_of(found)
    assert len({tuple(items_of(found)) for found in together}) == len(days)


def test_rules_apply_in_order(tmp_path, small_params):
    """The cap keeps one item per category; the pin then puts a second hat on top."""
    scores = scores_of(served_model(tmp_path, small_params), [7], (0.5, 0.5))
    hats = [n for n in best(scores, ITEMS) if n % 4 == 1]
    pinned = {"rule": "pin", "item": name_of(hats[-1]), "position": 1}
    capped = {"rule": "cap", "max_items": 1}

    cap_first = served_model(tmp_path, small_params, rules=[capped, pinned])
    pin_first = served_model(tmp_path, small_params, rules=[pinned, capped])

    (one,) = rank(cap_first, [rank_request([7], k=6)])
    (other,) = rank(pin_first, [rank_request([7], k=6)])
    assert items_of(one)[0] == items_of(other)[0] == hats[-1]
    assert [n % 4 for n in items_of(one)].count(1) == 2
    assert [n % 4 for n in items_of(other)].count(1) == 1
    assert one.scores[0] == pytest.approx(scores[hats[-1]], abs=1e-5)


def test_excluded_items_are_not_pinned(tmp_path, small_params):
    rules = [
        {"rule": "pin", "item": "item-9", "position": 1},
        {"rule": "pin", "item": "gone", "position": 1},
    ]
    served = served_model(tmp_path, small_params, rules=rules)

    free, excluded = rank(served, [rank_request([7], k=3), rank_request([7], k=3, excluded=[9])])

    assert items_of(free)[0] == 9
    assert 9 not in items_of(excluded)
    assert served.rules.unknown_items == 1


@pytest.mark.parametrize(
    "rule",
    [
        {"rule": "diversity", "method": "mmr", "strength": 0.5},
        {"rule": "diversity", "method": "dpp", "strength": 0.5},
        {"rule": "calibration", "strength": 0.8},
    ],
    ids=lambda rule: rule.get("method", rule["rule"]),
)
def test_list_rules_select_among_the_candidates(tmp_path, small_params, rule):
    served = served_model(tmp_path, small_params, rules=[rule], candidates=12)
    plain = best(scores_of(served, [1, 5], (0.5, 0.5)), 12)

    (found,) = rank(served, [rank_request([1, 5], k=6)])

    assert len(set(items_of(found))) == 6
    assert set(items_of(found)) <= set(plain)
    assert items_of(found) != plain[:6]


def test_every_change_of_rules_and_files_changes_the_version(tmp_path, small_params):
    (tmp_path / "deny.txt").write_text("item-3\n")
    versions = [
        served_model(tmp_path, small_params, **serving).rules.version
        for serving in (
            {},
            {"candidates": 100},
            {"filters": NO_FILTERS | {"seen": True}},
            {"filters": NO_FILTERS | {"deny": "deny.txt"}},
            {"rules": [{"rule": "cap", "max_items": 2}]},
            {"rules": [{"rule": "cap", "max_items": 3}]},
        )
    ]
    (tmp_path / "deny.txt").write_text("item-4\n")
    denied = served_model(tmp_path, small_params, filters=NO_FILTERS | {"deny": "deny.txt"})

    assert len({*versions, denied.rules.version}) == 7
    assert served_model(tmp_path, small_params).rules.version == versions[0]


def test_rules_that_require_missing_attributes_are_rejected(tmp_path, small_params):
    study, paths = write_study(tmp_path, small_params, rules=[{"rule": "cap", "max_items": 2}])
    (tmp_path / "items.csv").write_text("item,value\nitem-1,2\n")

    with pytest.raises(
        StudyError, match=r"require the column category of dataset\.item_attributes"
    ):
        load_snapshot(study, paths)


def test_a_plan_with_a_different_number_of_objectives_is_rejected(tmp_path, small_params):
    study, paths = write_study(tmp_path, small_params)
    write_plan(paths, preferences=((0.2, 0.3, 0.5), (1.0, 0.0, 0.0)))

    with pytest.raises(
        LogError, match="g1 of the experiment weights 3 objectives, its model has 2"
    ):
        load_snapshot(study, paths)


def test_popular_items_are_the_most_clicked(tmp_path, small_params):
    """Item n has 7 n modulo 40 clicks in the training split."""
    served = served_model(tmp_path, small_params)

    expected = sorted(range(ITEMS), key=lambda n: -((7 * n) % ITEMS))
    assert popularity_fallback(served, np.array([], dtype=np.int64), 4) == expected[:4]
    assert popularity_fallback(served, np.array(expected[:2]), 2) == expected[2:4]
