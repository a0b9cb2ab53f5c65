"""The arms of a rollout: who gets which, two models at once, and how the endpoint follows and leaves them."""

import asyncio
import shutil
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from threading import Event

import pytest
from fastapi import FastAPI

from pipeline.artifacts.storage import StudyPaths
from pipeline.core.errors import LogError
from pipeline.experiment.log.log_files import ArmName
from pipeline.rollout.served import served_file
from pipeline.serving.http import watcher as watcher_module
from pipeline.serving.http.fuse import LEAST_FAILURES
from pipeline.serving.http.schemas import Click, RecommendRequest
from pipeline.serving.http.server import build_service
from pipeline.serving.http.watcher import StudyWatcher
from pipeline.serving.ranking.snapshot import file_fingerprint, load_snapshot, with_rollout
from pipeline.study import Pin, RuleSet, ServingFilters
from tests.pipeline.serving.shop import (
    ITEMS,
    differences,
    log_of,
    name_of,
    rows_of,
    start_rollout,
    write_other_study,
    write_plan,
    write_rollout,
    write_study,
)

CANDIDATE, INCUMBENT = ArmName.CANDIDATE, ArmName.INCUMBENT
OFF = {"enabled": False}
"""Of a plan whose users are all in the rollout."""


@pytest.fixture
def shop(tmp_path, small_params):
    """A study without an experiment, and the study ``next`` with another model."""
    study, paths = write_study(tmp_path, small_params)
    write_plan(paths, **OFF)
    write_other_study(tmp_path, small_params)
    return study, paths


def run(shop, scenario):
    """Run a scenario on a service that follows the rollout; returns its result and the log's rows."""
    study, paths = shop
    snapshot = load_snapshot(study, paths)

    async def main_task():
        service = build_service(snapshot, study, paths)
        watcher = StudyWatcher(service, study, paths, file_fingerprint(study, paths, None))
        service.swap_snapshot(watcher.with_current_rollout(snapshot, study))
        service.event_log.start()
        service.batcher.start()
        try:
            return await scenario(service, watcher)
        finally:
            await asyncio.to_thread(service.batcher.close)
            await asyncio.to_thread(service.event_log.close)

    return asyncio.run(main_task()), rows_of(log_of(paths), "impressions")


def request(n=0):
    return RecommendRequest(user=f"u{n}", session=[name_of(n % ITEMS), name_of(7 * n % ITEMS)])


def test_no_user_changes_arm_while_the_share_rises(shop):
    """10,000 users: a higher share only adds to the candidate's; a lower one marks those that leave."""
    study, paths = shop
    users = [f"u{n}" for n in range(10_000)]
    shares = (0.01, 0.05, 0.25, 0.5, 0.95)

    async def scenario(service, watcher):
        found = []
        for share, peak in [*((one, one) for one in shares), (0.25, 0.95), (0.0, 0.95)]:
            write_rollout(paths, share=share, peak=peak)
            service.swap_snapshot(watcher.with_current_rollout(service.snapshot, study))
            arms = [service.arm_of(user, service.snapshot) for user in users]
            having = {u for u, (arm, _) in zip(users, arms, strict=True) if arm.name is CANDIDATE}
            left = {user for user, (_, is_switched) in zip(users, arms, strict=True) if is_switched}
            found.append((having, left))
        return found

    found, _ = run(shop, scenario)

    rising = found[: len(shares)]
    for (having, left), share in zip(rising, shares, strict=True):
        assert len(having) / 10_000 == pytest.approx(
            share, abs=4 * (share * (1 - share) / 1e4) ** 0.5
        )
        assert not left
    for (fewer, _), (more, _) in pairwise(rising):
        assert fewer < more
    assert found[-2] == (rising[2][0], rising[-1][0] - rising[2][0])
    assert found[-1] == (set(), rising[-1][0])


def test_groups_stay_in_the_experiment_while_a_candidate_is_rolled_out(shop):
    study, paths = shop
    plan = write_plan(paths, traffic_share=0.5)
    write_rollout(paths, share=0.5)
    snapshot = with_rollout(
        load_snapshot(study, paths), study, paths, write_rollout(paths, share=0.5)
    )

    for n in range(500):
        arm, group = snapshot.arm_of(f"u{n}"), plan.group_of(f"u{n}")
        assert arm.group == (group and group.name)
        assert (arm.name is None) == (group is not None)
    names = Counter(snapshot.arm_of(f"u{n}").name for n in range(500))
    assert min(names.values()) > 80


def test_two_models_serve_side_by_side_and_every_list_is_of_its_own(shop):
    _, paths = shop
    rollout = write_rollout(paths, share=0.5, candidate="next")

    async def scenario(service, _):
        answers = await asyncio.gather(*(service.recommend(request(n)) for n in range(60)))
        clicks = [
            Click(event_type="click", event="1", impression=one["impression"]) for one in answers
        ]
        await service.record_events(clicks)
        return answers, service.snapshot, service.metrics.page().decode()

    (answers, snapshot, page), rows = run(shop, scenario)

    models = {arm.model.version: arm.model for arm in snapshot.arms.values()}
    assert len(models) == 2
    counts = Counter(row["arm"] for row in rows)
    assert counts.keys() == {"incumbent", "candidate"}
    for row in rows:
        is_candidate = rollout.arm_of(row["user"]) is CANDIDATE
        arm = rollout.arm(CANDIDATE if is_candidate else INCUMBENT)
        assert row["arm"] == ("candidate" if is_candidate else "incumbent")
        assert (row["group"], row["release"], row["stage"]) == (None, "next", "canary")
        assert arm.model.startswith(row["model"])
        assert tuple(row["preference"]) == arm.preference
        assert row["fallback"] is None
        assert differences(models[row["model"]], row) == []
    assert {one["impression"]: one["arm"] for one in answers} == {
        row["impression"]: row["arm"] for row in rows
    }
    for arm, n in counts.items():
        assert f'paretoscope_lists_total{{arm="{arm}",group=""}} {n}.0' in page
        assert f'paretoscope_events_total{{arm="{arm}",group="",kind="click"}} {n}.0' in page
    assert 'paretoscope_rollout_share{release="next",stage="canary"} 0.5' in page


def test_arms_of_one_model_share_it_in_memory(shop):
    study, paths = shop
    base = load_snapshot(study, paths)
    snapshot = with_rollout(base, study, paths, write_rollout(paths, share=0.5))
    assert {id(arm.model) for arm in snapshot.arms.values()} == {id(base.model)}

    two = with_rollout(base, study, paths, write_rollout(paths, share=0.5, candidate="next"))
    more = with_rollout(two, study, paths, write_rollout(paths, share=0.9, candidate="next"))
    assert more.arms[CANDIDATE].model is two.arms[CANDIDATE].model is not base.model
    assert with_rollout(more, study, paths, None).arms.keys() == base.arms.keys()


def test_a_candidate_has_rules_of_its_own_and_the_same_network(shop):
    """Only its lists have the pinned item first; a denied item leaves them when its file changes."""
    study, paths = shop
    (paths.root / "deny.txt").write_text("", "utf-8")
    pinned = RuleSet(
        filters=ServingFilters(deny="deny.txt"),
        rules=(Pin(rule="pin", item=name_of(7), position=1),),
    )
    rollout = write_rollout(paths, share=0.5, rules=pinned)

    async def scenario(service, _):
        for n in range(60):
            await service.recommend(request(n))
        return service.snapshot

    snapshot, rows = run(shop, scenario)

    candidate, incumbent = snapshot.arms[CANDIDATE].model, snapshot.arms[INCUMBENT].model
    assert candidate.recommender is incumbent.recommender
    for row in rows:
        is_candidate = rollout.arm_of(row["user"]) is CANDIDATE
        assert (row["items"][0] == name_of(7)) or not is_candidate
        assert row["rules"] == (candidate if is_candidate else incumbent).rules.version
        if not is_candidate:
            assert differences(incumbent, row) == []
    again = with_rollout(snapshot, study, paths, rollout)
    assert again.arms[CANDIDATE].model is candidate

    before = file_fingerprint(study, paths, rollout)
    (paths.root / "deny.txt").write_text(f"{name_of(7)}\n", "utf-8")
    assert file_fingerprint(study, paths, rollout) != before
    reloaded = with_rollout(load_snapshot(study, paths), study, paths, rollout)
    assert not reloaded.arms[CANDIDATE].model.rules.eligible_I[7]
    assert reloaded.arms[INCUMBENT].model.rules.eligible_I[7]
    versions = [
        one.model.rules.version for one in (reloaded.arms[CANDIDATE], snapshot.arms[CANDIDATE])
    ]
    assert versions[0] != versions[1]
    assert {one.partition("-")[0] for one in versions} == {pinned.version()}


def test_a_filter_file_that_goes_leaves_what_is_served(shop, caplog):
    """The candidate keeps its users and the items that were denied; a server that starts has nothing to keep."""
    study, paths = shop
    file = paths.root / "deny.txt"
    file.write_text(f"{name_of(7)}\n", "utf-8")
    rollout = write_rollout(
        paths, share=0.5, rules=RuleSet(filters=ServingFilters(deny="deny.txt"))
    )

    async def scenario(service, watcher):
        file.unlink()
        service.swap_snapshot(watcher.with_current_rollout(load_snapshot(study, paths), study))
        return service.snapshot

    snapshot, _ = run(shop, scenario)

    assert "deny.txt" in caplog.text
    assert snapshot.rollout == rollout
    assert not snapshot.arms[CANDIDATE].model.rules.eligible_I[7]


def test_rules_that_cannot_be_loaded_leave_the_incumbent(shop, caplog):
    """A filter's file is missing: nobody gets the candidate, everybody else is served as before."""
    _, paths = shop
    write_rollout(paths, share=0.5, rules=RuleSet(filters=ServingFilters(deny="absent.txt")))

    async def scenario(service, _):
        return {str((await service.recommend(request(n)))["arm"]) for n in range(40)}

    arms, _ = run(shop, scenario)

    assert arms == {"incumbent"}
    assert "absent.txt" in caplog.text


def test_a_rollback_needs_no_model_of_the_candidate(shop, caplog):
    """Checkpoint gone or replaced: no candidate at the start, and a rollback is followed all the same."""
    study, paths = shop
    rollout = write_rollout(paths, share=1.0, candidate="next")
    other = StudyPaths(paths.root, "next")

    async def scenario(service, _):
        before = service.snapshot.arm_of("u1").name
        shutil.rmtree(other.artifact("conditioned_model"))
        rolled_back = replace(rollout, share=0.0, seq=4)
        return before, with_rollout(service.snapshot, study, paths, rolled_back)

    (before, after), _ = run(shop, scenario)

    assert before is CANDIDATE
    assert after.arm_of("u1").name is INCUMBENT
    (gone, switched), _ = run(shop, lambda service, _: _arm_of(service))
    assert (gone.name, switched) == (INCUMBENT, True)
    assert "an arm of the rollout is not served" in caplog.text


async def _arm_of(service):
    return service.arm_of("u1", service.snapshot)


def test_a_candidate_that_was_trained_again_is_refused(shop, small_params):
    study, paths = shop
    rollout = write_rollout(paths, share=0.5, candidate="next")
    write_other_study(paths.root, small_params, seed=9)

    with pytest.raises(LogError, match=r"of model .*'conditioned_model' of study next is now"):
        with_rollout(load_snapshot(study, paths), study, paths, rollout)


def test_a_preference_of_other_objectives_needs_a_new_release(shop):
    study, paths = shop
    rollout = write_rollout(paths, share=0.5)
    other = replace(rollout, candidate=replace(rollout.candidate, preference=(0.2, 0.3, 0.5)))

    message = "candidate of the rollout weights 3 objectives, its model has 2; start a new release"
    with pytest.raises(LogError, match=message):
        with_rollout(load_snapshot(study, paths), study, paths, other)


def test_the_event_of_a_replaced_release_is_not_that_of_the_next_fuse(shop, monkeypatch):
    """A reload brings another release while the fuse of the first is being written."""
    study, paths = shop
    start_rollout(paths)
    write, entered, go_on = watcher_module.blow_fuse, Event(), Event()

    def write_slowly(*fuse):
        after = write(*fuse)
        entered.set()
        assert go_on.wait(30)
        return after

    monkeypatch.setattr(watcher_module, "blow_fuse", write_slowly)

    def blow(service):
        for _ in range(LEAST_FAILURES):
            service.fuse.record(is_error=True, is_late=False)

    async def scenario(service, watcher):
        async with watcher.run(FastAPI()):
            blow(service)
            await asyncio.to_thread(entered.wait, 30)
            write_rollout(paths, share=0.5, release="later")
            replaced = watcher.with_current_rollout(service.snapshot, study)
            service.swap_snapshot(replaced)
            go_on.set()
            while service.snapshot is replaced:  # until the watcher follows the file again
                await asyncio.sleep(0.01)
            blow(service)
            return service.fuse.is_unwritten

    is_unwritten, _ = run(shop, scenario)

    assert is_unwritten


def test_a_damaged_rollout_file_leaves_what_is_served(shop, caplog):
    study, paths = shop
    write_rollout(paths, share=1.0)

    async def scenario(service, watcher):
        served_file(paths).write_text("{", encoding="utf-8")
        service.swap_snapshot(watcher.with_current_rollout(service.snapshot, study))
        return await service.recommend(request())

    answer, _ = run(shop, scenario)

    assert answer["arm"] == "candidate"
    assert "the rollout stays as it is served" in caplog.text
