"""Lists from an index: its recall is measured, not assumed; what it cannot find is ranked exactly."""

import json
import signal
import sys
from dataclasses import replace

import numpy as np
import pytest

from models.checkpoint import checkpoint_fingerprint
from pipeline.core.errors import StorageError, StudyError
from pipeline.experiment.design.traffic_plan import read_plan
from pipeline.reporting.study_report import _approximate_lists
from pipeline.reporting.text.reasons import limitation_sentences
from pipeline.results.served_index import SERVED_INDEX, ServedIndex, read_served_index
from pipeline.rollout.served import Arm
from pipeline.serving.http import watcher
from pipeline.serving.http.watcher import log_served
from pipeline.serving.ranking import snapshot as snapshots
from pipeline.serving.ranking.rank import rank
from pipeline.serving.ranking.snapshot import load_snapshot, model_of_arm, record_index
from pipeline.study import IndexKind, RuleSet, parse_study
from tests.pipeline.serving.shop import (
    log_of,
    name_of,
    post,
    rank_request,
    rows_of,
    scores_of,
    serving,
    with_client,
    write_study,
    write_test_sessions,
)

ITEMS = 2000
SESSIONS = 60
INDEX = "faiss-ivf-sq8"
FILTERS = {"seen": False, "out_of_stock": None, "allow": None, "deny": None}


@pytest.fixture(autouse=True)
def needs_faiss():
    pytest.importorskip("faiss", reason="faiss is not installed")


def sessions():
    rng = np.random.default_rng(4)
    return [rng.integers(ITEMS, size=rng.integers(2, 7)).tolist() for _ in range(SESSIONS)]


@pytest.fixture
def write(tmp_path, small_params):
    """Write the study with some serving keys; returns it with its paths."""

    def write(**serving):
        study, paths = write_study(tmp_path, small_params, items=ITEMS, **serving)
        write_test_sessions(paths, sessions())
        return study, paths

    return write


def best(scores, k):
    return sorted(range(len(scores)), key=lambda n: (-scores[n], n))[:k]


def test_the_recall_is_that_of_the_lists(write):
    snapshot = load_snapshot(*write(index=INDEX))

    assert snapshot.model.index is not None
    assert (snapshot.model.index.lists, snapshot.model.index.probes) == (32, 4)
    for arm in snapshot.arms.values():
        hits = 0
        for session in sessions():
            request = rank_request(session[:-1], preference=arm.preference, k=20)
            (found,) = rank(arm.model, [request])
            scores = scores_of(arm.model, session[:-1], arm.preference)
            hits += len(set(found.items.tolist()) & set(best(scores, 20)))
            assert found.scores == pytest.approx([scores[n] for n in found.items], abs=1e-4)
        assert arm.recall == hits / (20 * SESSIONS)
        assert 0.3 < arm.recall < 1  # a search of all lists would find all


def test_a_list_does_not_depend_on_the_others_of_its_batch(write):
    served = load_snapshot(*write(index=INDEX)).model
    requests = [
        rank_request(session, k=3 + n % 9, excluded=session[: n % 3])
        for n, session in enumerate(sessions())
    ]

    together = rank(served, requests)

    for one, found in zip(requests, together, strict=True):
        (alone,) = rank(served, [one])
        assert found.items.tolist() == alone.items.tolist()
        assert not set(found.items) & set(one.excluded)
        assert len(found.items) == one.k


def test_an_index_that_is_built_again_is_the_same(write):
    study, paths = write(index=INDEX)
    requests = [rank_request(session) for session in sessions()]

    one, other = (rank(load_snapshot(study, paths).model, requests) for _ in range(2))

    assert [found.items.tolist() for found in one] == [found.items.tolist() for found in other]


def test_where_filters_leave_too_few_candidates_the_list_is_exact(write, tmp_path):
    (tmp_path / "allow.txt").write_text("\n".join(name_of(n) for n in range(0, ITEMS, 40)))
    filters = FILTERS | {"allow": "allow.txt"}
    requests = [rank_request(session, k=20, excluded=session) for session in sessions()]

    indexed = rank(load_snapshot(*write(index=INDEX, filters=filters)).model, requests)
    exact = rank(load_snapshot(*write(filters=filters)).model, requests)

    for one, other in zip(indexed, exact, strict=True):
        assert one.items.tolist() == other.items.tolist()
        assert one.scores.tolist() == other.scores.tolist()


def test_an_explored_list_is_drawn_from_all_items(write):
    exploration = {"share": 1.0, "temperature": 1.0}
    request = replace(rank_request(sessions()[0]), explored_as="impression")

    (indexed,) = rank(load_snapshot(*write(index=INDEX, exploration=exploration)).model, [request])
    (exact,) = rank(load_snapshot(*write(exploration=exploration)).model, [request])

    assert indexed.items.tolist() == exact.items.tolist()
    assert indexed.propensities.tolist() == exact.propensities.tolist()


def test_a_pinned_item_is_there_with_its_own_score_unless_it_is_excluded(write):
    rules = [{"rule": "pin", "item": name_of(77), "position": 2}]
    served = load_snapshot(*write(index=INDEX, rules=rules, candidates=20)).model
    session = [5, 6]

    (found,) = rank(served, [rank_request(session)])
    (without,) = rank(served, [rank_request(session, excluded=[77])])

    assert found.items[1] == 77
    own = scores_of(served, session, (0.5, 0.5))[77]
    assert found.scores[1] == pytest.approx(own, abs=1e-4)
    assert 77 not in without.items


@pytest.mark.parametrize(
    "rule",
    [
        {"rule": "boost", "add": 1.0, "items": ["item-1"]},
        {"rule": "freshness", "add": 1.0, "half_life_days": 2.0},
    ],
    ids=str,
)
def test_rules_that_change_scores_are_refused(small_params, rule):
    serving = {**small_params["serving"], "index": INDEX, "rules": [rule]}

    with pytest.raises(StudyError, match=r"serving.index and serving.rules = \['\w+'\]: the index"):
        parse_study(small_params | {"serving": serving})


def test_without_faiss_the_study_is_refused(write, monkeypatch):
    study, paths = write(index=INDEX)
    monkeypatch.setitem(sys.modules, "faiss", None)

    with pytest.raises(StudyError, match=r"needs faiss.* pip install 'paretoscope\[index\]'"):
        load_snapshot(study, paths)


def test_the_index_is_part_of_the_rules_that_a_release_names(write):
    study, paths = write()
    exact = load_snapshot(study, paths).model
    plan = read_plan(paths)
    rules = RuleSet(index=IndexKind(INDEX))
    arm = Arm(
        study=None,
        model=exact.fingerprint,
        preference=(0.5, 0.5),
        preference_id="p1",
        rules=rules,
    )

    indexed = model_of_arm(arm, study, paths, plan, [exact])
    again = model_of_arm(replace(arm, rules=RuleSet()), study, paths, plan, [indexed])

    assert RuleSet().version() == "e50cf44ecc66"  # of releases from before there was an index
    assert indexed.rules.version == rules.version() != RuleSet().version()
    assert indexed.index is not None
    assert again.index is None
    assert again.recommender is indexed.recommender


@pytest.mark.slow
def test_the_endpoint_logs_the_index_and_records_it_for_the_report(write, tmp_path):
    _, paths = write(index=INDEX)

    with serving(tmp_path) as server:
        answer, _ = (
            with_client(
                server.url,
                lambda client, session=session: post(
                    client, "/recommend", {"user": "ada", "session": session}
                ),
            )
            for session in (["item-3"], ["unknown"])
        )
        lines = "\n".join([*server.lines, server.end(signal.SIGTERM)[1]])

    row, fallback = rows_of(log_of(paths), "impressions")
    assert fallback["fallback"] is not None
    assert (fallback["index"], fallback["index_recall"]) == (None, None)
    found = read_served_index(paths)
    assert isinstance(found, ServedIndex)
    assert found.model == checkpoint_fingerprint(paths.artifact("conditioned_model"))
    assert (row["index"], row["index_recall"]) == (INDEX, found.recall[row["group"] or row["arm"]])
    assert found.recall.keys() == {"g1", "g2", "incumbent"}
    assert f"lists from {INDEX}: 2,000 items in 32 lists of which 4 are searched, built in" in lines
    assert f"; recall@20 on {SESSIONS} test sessions: g1 {found.recall['g1']:.3f}, " in lines
    assert answer[0] == 200
    low, high = sorted([found.recall["g1"], found.recall["g2"]])
    (sentence,) = limitation_sentences(list(_approximate_lists(paths, {"g1", "g2"})))
    assert f"had {low:.1%} to {high:.1%} of the 20 best items, by group" in sentence


@pytest.mark.parametrize(("acceptable", "warns"), [(0.0, False), (1.1, True)])
def test_a_low_recall_is_a_warning(write, monkeypatch, caplog, acceptable, warns):
    monkeypatch.setattr(watcher, "_LOW_RECALL", acceptable)

    log_served(load_snapshot(*write(index=INDEX)), "here")

    assert ("recall@20 of the index is" in caplog.text) is warns


def test_a_disk_that_is_full_stops_no_server(write, monkeypatch, caplog):
    study, paths = write(index=INDEX)
    snapshot = load_snapshot(study, paths)

    def full(*_):
        raise StorageError("the disk is full")

    monkeypatch.setattr(snapshots, "write_served_index", full)
    record_index(snapshot, paths)

    assert "the report will not know of the index: the disk is full" in caplog.text


def test_a_record_of_another_model_says_nothing_of_this_report(write):
    _, paths = write()
    record = {"model": "another", "index": INDEX, "sessions": 1, "recall": {"g1": 0.5}}
    paths.artifact(SERVED_INDEX).write_text(json.dumps(record), "utf-8")

    assert list(_approximate_lists(paths, {"g1"})) == []
