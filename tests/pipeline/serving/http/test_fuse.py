"""The endpoint goes back to the incumbent: by its own fuse, and by a person's rollback."""

import os
import shutil
import signal
import time

import pytest

from pipeline.artifacts.storage import StudyPaths
from pipeline.experiment.log.log_files import ArmName
from pipeline.rollout.operations import resume, roll_back
from pipeline.rollout.served import read_served
from pipeline.rollout.states import State
from pipeline.rollout.store import current_rollout
from pipeline.serving.http.fuse import LEAST_FAILURES, Fuse
from pipeline.study import FuseConfig
from tests.pipeline.rollout.releases import ANNA
from tests.pipeline.serving.shop import (
    log_of,
    name_of,
    post,
    rows_of,
    serving,
    start_rollout,
    with_client,
    write_other_study,
    write_plan,
    write_rollout,
    write_study,
)

RELOAD_SECONDS = 0.3


@pytest.fixture
def rollout(tmp_path, small_params):
    """A study that rolls out the model of ``next``; its paths, and users who get the candidate."""
    _, paths = write_study(tmp_path, small_params, reload_seconds=RELOAD_SECONDS)
    write_plan(paths, enabled=False)
    write_other_study(tmp_path, small_params)
    served = start_rollout(paths, "next")
    users = [f"u{n}" for n in range(3000) if served.arm_of(f"u{n}") is ArmName.CANDIDATE]
    return paths, users


async def recommended(session, user):
    body = {"user": user, "session": [name_of(3), name_of(7)]}
    status, answer = await post(session, "/recommend", body)
    assert status == 200, answer
    return answer["arm"], answer["fallback"]


async def until(session, user, arm):
    """Ask until the user gets an arm; when that was."""
    end = time.monotonic() + 30
    while (await recommended(session, user))[0] != arm:
        assert time.monotonic() < end
    return time.monotonic()


_FAILS = """
from pipeline.serving.ranking import micro_batcher
ranked = micro_batcher.rank
def rank(served, requests):
    assert served.version != {version!r}
    return ranked(served, requests)
micro_batcher.rank = rank
"""


@pytest.mark.slow
def test_a_failing_candidate_is_out_of_service_until_a_person_resumes_and_rolled_back_for_good(
    rollout,
):
    """Nobody else is alive, and the server is killed and started again before a person comes.

    The rollback comes with a reload in its way, and the candidate's checkpoint is gone.
    """
    paths, users = rollout
    candidate = read_served(paths).candidate

    async def fail(session):
        answers = [await recommended(session, user) for user in users[: LEAST_FAILURES + 20]]
        end = time.monotonic() + 30
        while current_rollout(paths).state is not State.HOLDING:
            assert time.monotonic() < end
            await recommended(session, users[0])
        return answers

    async def repair_and_roll_back(session):
        restarted = await recommended(session, users[0])
        resume(paths, ANNA, "repaired")
        await until(session, users[0], "candidate")
        shutil.rmtree(StudyPaths(paths.root, "next").artifact("conditioned_model"))
        os.utime(paths.params_file)
        began = time.monotonic()
        roll_back(paths, ANNA, "a test")
        gone = await until(session, users[0], "incumbent") - began
        after = {await recommended(session, user) for user in users[:40]}
        return restarted, gone, after

    with serving(paths.root, first=_FAILS.format(version=candidate.model[:12])) as server:
        answers = with_client(server.url, fail)
        server.end(signal.SIGKILL)
    event = current_rollout(paths).events[-1]
    with serving(paths.root) as server:
        restarted, gone, after = with_client(server.url, repair_and_roll_back)
        server.end(signal.SIGTERM)

    assert answers[:LEAST_FAILURES] == [("candidate", "model error")] * LEAST_FAILURES
    assert answers[LEAST_FAILURES:] == [("incumbent", None)] * 20
    assert (event.by, event.action, event.to, event.share) == (
        *("endpoint", "hold", "holding", 0.0),
    )
    assert f"{LEAST_FAILURES} of {LEAST_FAILURES} lists of the candidate failed" in event.reason
    assert event.evidence["errors"] == LEAST_FAILURES
    assert restarted == ("incumbent", None)
    assert gone < RELOAD_SECONDS + 1
    assert after == {("incumbent", None)}
    rows = [row for row in rows_of(log_of(paths), "impressions") if row["arm"] == "incumbent"]
    assert {row["switched"] for row in rows} == {True}


class Clock:
    """Seconds that pass when they are told to."""

    now = 1000.0

    def __call__(self):
        return self.now


def fuse_of(**limits):
    clock = Clock()
    return Fuse(FuseConfig(**limits), clock=clock), clock


@pytest.mark.parametrize(
    ("failures", "lists", "is_blown"),
    [
        (LEAST_FAILURES - 1, LEAST_FAILURES - 1, False),
        (LEAST_FAILURES, LEAST_FAILURES, True),
        (20, 400, False),
        (21, 400, True),
    ],
    ids=["too few to say", "all of ten", "exactly 5%", "more than 5%"],
)
@pytest.mark.parametrize("kind", ["is_error", "is_late"])
def test_the_fuse_blows_above_its_limit(failures, lists, is_blown, kind):
    fuse, _ = fuse_of(errors=0.05, late=0.05)
    blown = []
    fuse.on_blow = lambda: blown.append(fuse.blown_by)
    outcome = {"is_error": False, "is_late": False}

    for n in range(lists):
        fuse.record(**outcome | {kind: n >= lists - failures})

    assert (fuse.blown_by is not None) == is_blown
    assert len(blown) == is_blown
    if is_blown:
        assert {"is_error": "failed", "is_late": "were late"}[kind] in blown[0]


def test_the_fuse_forgets_what_is_older_than_its_window():
    fuse, clock = fuse_of(errors=0.5, window_seconds=60.0)
    for n in range(40):
        fuse.record(is_error=n % 3 == 0, is_late=False)
    clock.now += 61
    for _ in range(LEAST_FAILURES - 1):
        fuse.record(is_error=True, is_late=False)
    assert fuse.blown_by is None
    fuse.record(is_error=True, is_late=False)
    assert fuse.blown_by is not None


def test_a_blown_fuse_holds_again_only_after_its_event_and_a_later_one(rollout):
    paths, _ = rollout
    fuse, _ = fuse_of()
    fuse.follow(write_rollout(paths, share=0.5, seq=3))

    def blow():
        for _ in range(LEAST_FAILURES):
            fuse.record(is_error=True, is_late=False)

    blow()
    fuse.follow(write_rollout(paths, share=0.6, seq=4))
    assert fuse.blown_by is not None  # someone who did not know of it
    fuse.written(5)
    fuse.follow(write_rollout(paths, share=0.0, seq=5))
    fuse.follow(write_rollout(paths, share=0.0, seq=6))
    assert (fuse.blown_by is None, fuse.is_unwritten) == (False, False)
    fuse.follow(write_rollout(paths, share=0.5, seq=7))
    assert fuse.blown_by is None
    blow()
    assert fuse.is_unwritten
    fuse.follow(write_rollout(paths, share=0.01, release="other"))
    assert fuse.blown_by is None
