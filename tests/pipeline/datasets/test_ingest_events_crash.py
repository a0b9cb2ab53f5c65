"""A kill at any moment of making events and sessions leaves what was there, or all of what is new."""

import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from pipeline.artifacts.storage import StudyPaths, atomic_folder, md5
from pipeline.core.contracts import DAY_MS
from pipeline.datasets.ingest_events import write_events
from pipeline.sessions.prepare import write_sessions
from pipeline.sessions.rules import rules_of
from pipeline.study import DatasetConfig, DatasetFormat, SessionsConfig

SESSIONS = 20_000


def materialise(source, root):
    """What the assets ``events`` and ``sessions`` do, but for the checks."""
    dataset = DatasetConfig(format=DatasetFormat.OTTO, path=str(source))
    paths = StudyPaths(root=root, name="shop")
    with atomic_folder(paths.artifact("events")) as folder:
        write_events(dataset, source, folder, max_rejected_share=0.05)
    events = paths.require("events", "events.parquet").parent
    with atomic_folder(paths.artifact("sessions")) as folder:
        write_sessions(events, folder, rules_of(SessionsConfig(), dataset))


def write_log(path, seed):
    """An OTTO file of 28 days: sessions of 2 to 60 events on 2,000 items."""
    rng = np.random.default_rng(seed)
    length = np.minimum(rng.geometric(0.12, SESSIONS) + 1, 60)
    number = np.repeat(np.arange(SESSIONS), length)
    start = rng.integers(0, 28 * DAY_MS, SESSIONS)[number]
    columns = {
        "session": number,
        "aid": (2_000 * rng.random(len(number)) ** 2).astype(np.int64),
        "ts": 1_659_304_800_000 + start + rng.integers(0, DAY_MS // 24, len(number)),
        "type": rng.choice(["clicks", "carts", "orders"], len(number), p=[0.9, 0.06, 0.04]),
    }
    events = pl.struct("aid", "ts", "type")
    lines = pl.DataFrame(columns).group_by("session", maintain_order=True).agg(events=events)
    lines.write_ndjson(path)
    return path


@contextmanager
def runner(source, project_root):
    """A process that materialises into the given folders, each in a child process.

    A child is forked as soon as everything is imported, which takes longer than the work itself.
    """
    call = "import runpy, sys; runpy.run_path(sys.argv[1], run_name='__main__')"
    command = [sys.executable, "-c", call, __file__, str(source)]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, cwd=project_root, stdin=pipe, stdout=pipe, text=True, bufsize=1
    ) as process:
        yield process


def begin(process, root):
    """Start a child; its id."""
    process.stdin.write(f"{root}\n")
    return int(process.stdout.readline())


def ended(process):
    """Wait for the child; how it ended: 0, or the signal."""
    process.stdin.write("\n")
    return int(process.stdout.readline())


def serve(source):
    """The runner's side: a folder is answered by a child's id, an empty line by how it ended."""
    for line in sys.stdin:
        child = os.fork()
        if not child:
            try:
                materialise(source, Path(line.strip()))
                os._exit(0)
            finally:
                os._exit(1)
        sys.stdout.write(f"{child}\n")
        sys.stdout.flush()
        sys.stdin.readline()  # until then its id belongs to no other process
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{status}\n")
        sys.stdout.flush()


def found(root):
    """The bytes a reader finds: md5 of the events and of the sessions."""
    paths = StudyPaths(root=root, name="shop")
    return tuple(md5(paths.require(asset)) for asset in ("events", "sessions"))


@pytest.mark.slow
def test_a_killed_run_leaves_the_old_artifacts_or_the_new_and_the_next_run_completes(
    tmp_path, project_root
):
    kills = 20
    rng, root = np.random.default_rng(kills), tmp_path / "project"
    before, source = write_log(tmp_path / "old.jsonl", 1), write_log(tmp_path / "new.jsonl", 2)
    materialise(before, tmp_path / "kept")
    old_events, old_sessions = found(tmp_path / "kept")
    torn = 0
    with runner(source, project_root) as process:
        begin(process, tmp_path / "whole")
        began = time.monotonic()
        assert ended(process) == 0
        seconds = time.monotonic() - began
        new_events, new_sessions = new = found(tmp_path / "whole")

        for place in range(kills):
            shutil.rmtree(root, ignore_errors=True)
            shutil.copytree(tmp_path / "kept", root)
            child = begin(process, root)
            time.sleep(seconds * (place + rng.random()) / kills)
            os.kill(child, signal.SIGKILL)
            assert ended(process) in {0, signal.SIGKILL}
            torn += any(root.rglob(".*.new"))
            assert found(root) in {
                (old_events, old_sessions),
                (new_events, old_sessions),
                (new_events, new_sessions),
            }
            materialise(source, root)
            assert found(root) == new
            artifacts = root.glob("data/studies/shop/*")
            assert {path.name for path in artifacts} == {"events", "sessions"}

    assert len({old_events, new_events, old_sessions, new_sessions}) == 4
    assert torn > 0  # at least one kill fell into the writing


if __name__ == "__main__":
    serve(Path(sys.argv[-1]))
