"""Groups of a second axis at the endpoint: their lists, and what the response and the log say."""

from dataclasses import replace

import pytest
from fastapi.testclient import TestClient

from pipeline.artifacts.storage import atomic_folder, write_json
from pipeline.experiment.design.traffic_plan import read_plan
from pipeline.serving.http.app import build_app
from pipeline.serving.http.server import build_service
from pipeline.serving.ranking.rank import rank
from pipeline.serving.ranking.rerank import Candidates, diversify
from pipeline.serving.ranking.snapshot import load_snapshot
from pipeline.study import AxisKind, SecondAxis
from tests.pipeline.serving.shop import (
    log_of,
    name_of,
    rank_request,
    rows_of,
    write_study,
)

DIVERSITY = SecondAxis(kind=AxisKind.DIVERSITY, levels=(0.0, 0.5), candidates=12)
LENGTH = SecondAxis(kind=AxisKind.LIST_LENGTH, levels=(2.0, 5.0))


def write_axis(paths, axis):
    """The plan of two groups: the first at the other level, the second at the neutral one."""
    plan = read_plan(paths)
    levels = (axis.others[0], axis.neutral)
    groups = tuple(replace(one, level=n) for one, n in zip(plan.groups, levels, strict=True))
    plan = replace(plan, groups=groups, second_axis=axis)
    with atomic_folder(paths.artifact("traffic_plan")) as folder:
        write_json(folder / "traffic_plan.json", plan.as_dict())
    return plan


@pytest.fixture
def served(tmp_path, small_params):
    def open_shop(axis, **serving):
        study, paths = write_study(tmp_path, small_params, deadline_ms=60_000.0, **serving)
        return study, paths, write_axis(paths, axis)

    return open_shop


def items_of(found):
    return found.items.tolist()


def test_a_level_re_ranks_the_candidates_that_filters_leave(served):
    study, paths, _ = served(DIVERSITY)
    served = load_snapshot(study, paths).model
    plain = rank_request([1, 5], k=12, excluded=[3, 4])
    diverse = replace(plain, level=0.5, k=6)

    together = rank(served, [plain, diverse, replace(plain, level=0.0, k=6)])

    best = together[0]
    assert items_of(together[2]) == items_of(best)[:6]
    embedding = served.rules.embedding_ID[best.items]
    expected = diversify(best, embedding, method="mmr", strength=0.5, k=6)
    assert items_of(together[1]) == items_of(expected)[:6]
    assert items_of(together[1]) != items_of(best)[:6]
    assert {3, 4}.isdisjoint(items_of(together[1]))
    assert items_of(rank(served, [diverse])[0]) == items_of(together[1])


def test_list_rules_have_the_last_word(served):
    pin = {"rule": "pin", "item": name_of(9), "position": 1}
    study, paths, _ = served(DIVERSITY, rules=[pin])

    (found,) = rank(load_snapshot(study, paths).model, [replace(rank_request([1, 5]), level=0.5)])

    assert items_of(found)[0] == 9


def test_a_list_of_fewer_items_than_candidates(served):
    study, paths, _ = served(DIVERSITY)
    served = load_snapshot(study, paths).model

    (few,) = rank(served, [replace(rank_request([1], excluded=range(2, 40)), level=0.5)])
    (none,) = rank(served, [replace(rank_request([1], excluded=range(40)), level=0.5)])

    assert sorted(items_of(few)) == [0, 1]
    assert none == Candidates(none.items, none.scores)
    assert items_of(none) == []


def client_of(study, paths):
    return TestClient(
        build_app(build_service(load_snapshot(study, paths), study, paths), paths, key=None),
        base_url="http://localhost",
    )


def test_response_log_and_experiment_have_the_level(served):
    study, paths, plan = served(DIVERSITY)
    seen = {}
    with client_of(study, paths) as client:
        for n in range(20):
            user = f"u{n}"
            body = {"user": user, "session": [name_of(1), name_of(5)]}
            answer = client.post("/recommend", json=body).json()
            assert answer["level"] == plan.group_of(user).level
            seen[answer["impression"]] = answer["level"]
        experiment = client.get("/experiment").json()

    logged = {row["impression"]: row["level"] for row in rows_of(log_of(paths), "impressions")}
    assert logged == seen
    assert set(seen.values()) == {0.0, 0.5}
    assert experiment["second_axis"] == "diversity"
    assert [group["level"] for group in experiment["groups"]] == [0.5, 0.0]


def test_lists_are_as_long_as_the_level_says(served):
    study, paths, plan = served(LENGTH)
    lengths = {}
    with client_of(study, paths) as client:
        for n in range(20):
            user = f"u{n}"
            answer = client.post("/recommend", json={"user": user, "session": [name_of(1)]}).json()
            lengths.setdefault(plan.group_of(user).level, set()).add(len(answer["items"]))
        short = next(f"u{n}" for n in range(20) if plan.group_of(f"u{n}").level == 2)
        own = {"user": short, "session": [name_of(1)]}
        refused = client.post("/recommend", json=own | {"k": 5})
        same = client.post("/recommend", json=own | {"k": 2})

    assert lengths == {2.0: {2}, 5.0: {5}}
    assert refused.status_code == 409
    assert refused.json()["detail"] == (
        "k is 5, but experiment spring varies the length of lists; leave k out of the request"
    )
    assert same.status_code == 200
