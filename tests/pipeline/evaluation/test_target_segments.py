"""Segments: which targets they hold, on targets a reader can count."""

import numpy as np
import pytest

from models.scoring.target_scores import TargetScores
from pipeline.core.contracts import Segmentation
from pipeline.evaluation.target_segments import HeldOutTargets, segments

DAY = 86_400_000


def held_out(history=None, item=None, ts=None, train_clicks=(1, 1, 1), category=None):
    n = max(len(one) for one in (history or [], item or [], ts or []))
    zeros = np.zeros(n, dtype=np.int64)
    scores = TargetScores(
        session=zeros,
        history=zeros + 1 if history is None else np.array(history),
        item=zeros if item is None else np.array(item),
        ordered=zeros > 0,
        rank=zeros + 1,
        click_loss=None,
        uniformity=None,
        order_loss=zeros / 1,
    )
    category_I = np.array(category or [None] * len(train_clicks), dtype=np.object_)
    ts_P = zeros if ts is None else np.array(ts)
    return HeldOutTargets(scores, np.array(train_clicks), ts_P, category_I)


def names_and_targets(test, kind):
    return {name: np.flatnonzero(mask).tolist() for name, mask in segments(test, [kind])}


def test_targets_are_segmented_by_the_clicks_before_them():
    test = held_out(history=[1, 2, 3, 4, 5, 6, 100, 1])

    assert names_and_targets(test, Segmentation.SESSION_LENGTH) == {
        "session_length=1": [0, 7],
        "session_length=2": [1],
        "session_length=3 to 5": [2, 3, 4],
        "session_length=6 or more": [5, 6],
    }


def test_each_third_of_the_train_clicks_is_a_segment_of_items():
    # 60 clicks: item 3 has a third, items 1 and 4 another, the rest the last
    test = held_out(item=[0, 1, 2, 3, 4, 5, 3], train_clicks=[7, 10, 6, 20, 10, 7])

    assert names_and_targets(test, Segmentation.ITEM_POPULARITY) == {
        "item_popularity=tail": [0, 2, 5],
        "item_popularity=middle": [1, 4],
        "item_popularity=head": [3, 6],
    }


@pytest.mark.parametrize("train_clicks", [[5], [0, 0, 0], [1, 0, 0]])
def test_every_item_is_in_one_segment(train_clicks):
    test = held_out(item=list(range(len(train_clicks))), train_clicks=train_clicks)

    found = names_and_targets(test, Segmentation.ITEM_POPULARITY).values()

    assert sorted(target for part in found for target in part) == list(range(len(train_clicks)))


def test_days_are_those_of_utc():
    test = held_out(ts=[0, DAY - 1, DAY, 19_000 * DAY])

    assert names_and_targets(test, Segmentation.DAY) == {
        "day=1970-01-01": [0, 1],
        "day=1970-01-02": [2],
        "day=2022-01-08": [3],
    }


def test_empty_segments_are_left_out_and_kinds_may_be_several():
    test = held_out(history=[2, 2])

    found = [name for name, _ in segments(test, [Segmentation.DAY, Segmentation.SESSION_LENGTH])]

    assert found == ["day=1970-01-01", "session_length=2"]
    assert list(segments(test, [])) == []


def test_the_largest_categories_are_segments_and_the_rest_is_one():
    # category k has one item with k clicks, c00 two with none
    names = [f"c{number:02d}" for number in range(12)]
    test = held_out(item=[0, 1, 2, 11, 12], train_clicks=[*range(12), 0], category=[*names, "c00"])

    found = names_and_targets(test, Segmentation.CATEGORY)

    assert found == {"category=c02": [2], "category=c11": [3], "category=other": [0, 1, 4]}


def test_items_without_a_category_are_together():
    test = held_out(item=[0, 1, 2], train_clicks=[1, 1, 1], category=["a", None, None])

    assert names_and_targets(test, Segmentation.CATEGORY) == {
        "category=a": [0],
        "category=unknown": [1, 2],
    }
