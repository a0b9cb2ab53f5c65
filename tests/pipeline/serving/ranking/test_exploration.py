"""Explored lists of the ranking: which requests, drawn from what, with which probabilities."""

import numpy as np
import pytest

from pipeline.core.errors import StudyError
from pipeline.experiment.design.exploration import Exploration
from pipeline.recommender.plackett_luce import log_conditionals
from pipeline.serving.ranking.rank import RankRequest, rank
from pipeline.study import parse_study
from tests.pipeline.serving.shop import TS, rank_request, scores_of, served_model

ON = {"share": 0.2, "temperature": 0.5}


def drawn_request(impression, *, k=5, excluded=()):
    one = rank_request([1, 5], k=k, excluded=excluded)
    return RankRequest(
        session=one.session,
        preference=one.preference,
        k=k,
        excluded=one.excluded,
        ts=TS,
        explored_as=impression,
    )


def test_a_share_of_the_impressions_is_explored_always_the_same():
    ids = [f"{n:032x}" for n in range(20_000)]
    keys = {"temperature": 0.5, "candidates": 200}
    small = Exploration(share=0.05, salt="exploration a", **keys)
    large = Exploration(share=0.2, salt="exploration a", **keys)
    other = Exploration(share=0.2, salt="exploration b", **keys)

    chosen = {name for name in ids if small.explores(name)}
    assert len(chosen) / len(ids) == pytest.approx(0.05, abs=0.006)
    more = {name for name in ids if large.explores(name)}
    assert chosen < more  # raising the share changes no list that is explored already
    both = sum(other.explores(name) for name in more) / len(more)
    assert both == pytest.approx(0.2, abs=0.03)


def test_explored_lists_are_drawn_from_the_best_items(tmp_path, small_params):
    """The list can be drawn again from the impression's id and the scores of the candidates."""
    served = served_model(tmp_path, small_params, exploration=ON, candidates=12)
    scores = np.array(scores_of(served, [1, 5], (0.5, 0.5)))
    best = [n for n in np.argsort(-scores) if n != 7][:12]

    names = [f"impression {n}" for n in range(50)]
    lists = rank(
        served,
        [drawn_request(name, excluded=[7], k=3 + n % 3) for n, name in enumerate(names)]
        + [rank_request([1, 5])],
    )

    own = lists.pop()
    assert own.items.tolist() == np.argsort(-scores)[:5].tolist()
    assert own.propensities is None
    for n, (name, found) in enumerate(zip(names, lists, strict=True)):
        assert len(found.items) == 3 + n % 3
        assert set(found.items.tolist()) <= set(best)
        assert found.scores == pytest.approx(scores[found.items], abs=1e-5)
        listed = np.array([[best.index(item) for item in found.items]])
        by_hand = np.exp(log_conditionals(scores[best][None] / 0.5, listed))[0]
        assert found.propensities == pytest.approx(by_hand, rel=1e-3)
        again = served.exploration.draw(name, scores[best], 3 + n % 3)
        assert [best[index] for index in again.indices] == found.items.tolist()
    assert len({tuple(one.items.tolist()) for one in lists}) > 25


def test_few_items_left_are_all_listed(tmp_path, small_params):
    served = served_model(tmp_path, small_params, exploration=ON, candidates=12)

    found = rank(served, [drawn_request("one", k=5, excluded=range(2, 40))])[0]

    assert sorted(found.items.tolist()) == [0, 1]
    assert found.propensities[-1] == 1


@pytest.mark.parametrize(
    ("serving", "experiment", "message"),
    [
        ({"rules": [{"rule": "cap", "max_items": 2}]}, {}, r"serving.rules = \['cap'\]"),
        ({"candidates": 2000}, {}, "serving.candidates = 2000; expected at most 1000"),
        (
            {},
            {"second_axis": {"kind": "diversity", "levels": [0, 0.3]}},
            "experiment.second_axis = diversity changes the lists",
        ),
    ],
)
def test_lists_without_known_probabilities_are_refused(small_params, serving, experiment, message):
    values = small_params | {"serving": small_params["serving"] | {"exploration": ON} | serving}
    values["experiment"] = values["experiment"] | experiment
    values["dataset"] = values["dataset"] | {"item_attributes": "items.csv"}
    with pytest.raises(StudyError, match=message):
        parse_study(values)


@pytest.mark.parametrize("key", [{"share": 0}, {"share": 1.1}, {"temperature": 0}])
def test_impossible_shares_and_temperatures_are_refused(small_params, key):
    values = small_params | {"serving": small_params["serving"] | {"exploration": ON | key}}
    with pytest.raises(StudyError, match=f"serving.exploration.{next(iter(key))}"):
        parse_study(values)
