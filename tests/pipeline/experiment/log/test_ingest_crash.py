"""A killed ingestion leaves the old or the new database, and the next run completes it."""

import json
import subprocess
import sys
import time

import numpy as np
import polars as pl
import pytest

from pipeline.core.contracts import IMPRESSIONS
from tests.pipeline.experiment.logs import TS, contents, ingest, plan_of

ROWS_PER_FILE, FILES, KILLS = 3_000, 12, 20
PLAN = plan_of(1)
INGEST = """
import json, sys
from pathlib import Path
from tests.pipeline.experiment.logs import ingest
from pipeline.experiment.design.traffic_plan import TrafficPlan

folder = Path(sys.argv[1])
plan = TrafficPlan.from_dict(json.loads(sys.argv[2]))
print("ready", flush=True)
ingest(sorted(folder.glob("*.parquet")), plan, folder / "log.duckdb")
"""


def write_files(folder, *, later_ms=0):
    for day in range(FILES):
        number = pl.int_range(ROWS_PER_FILE, eager=True)
        frame = pl.DataFrame(
            {
                "experiment": ["spring"] * ROWS_PER_FILE,
                "impression": pl.select(pl.format("x{}-{}", day, number)).to_series(),
                "user": pl.select(pl.format("u{}", number % 400)).to_series(),
                "group": ["g1"] * ROWS_PER_FILE,
                "ts": TS + number + later_ms,
                "clicked": number % 3 == 0,
                "ordered": number % 9 == 0,
                "units": (number % 9 == 0).cast(pl.Int32) - (number % 50 == 7).cast(pl.Int32),
            }
        )
        IMPRESSIONS.validate(frame).write_parquet(folder / f"day-{day:02d}.parquet")


def run(folder, project_root, *, kill_after_s=None):
    """Ingest in a separate process; returns its exit code and the duration in seconds."""
    arguments = [sys.executable, "-c", INGEST, str(folder), json.dumps(PLAN.as_dict())]
    with subprocess.Popen(arguments, cwd=project_root, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        started = time.monotonic()
        if kill_after_s is not None:
            time.sleep(kill_after_s)
            process.kill()
        code = process.wait()
        return code, time.monotonic() - started


@pytest.mark.slow
@pytest.mark.parametrize("before", ["no-database", "older-database"])
def test_killed_ingestions_and_a_completed_one_equal_an_undisturbed_one(
    tmp_path, project_root, before
):
    killed, undisturbed = tmp_path / "killed", tmp_path / "undisturbed"
    for folder in (killed, undisturbed):
        folder.mkdir()
        if before == "older-database":
            write_files(folder)
            ingest(sorted(folder.glob("*.parquet")), PLAN, folder / "log.duckdb")
        write_files(folder, later_ms=1)
    database = killed / "log.duckdb"
    old = database.read_bytes() if database.exists() else None
    code, seconds = run(undisturbed, project_root)
    assert code == 0
    delays = np.random.default_rng(5).uniform(0, seconds, 3 * KILLS)
    kills = 0

    for delay in delays:
        if run(killed, project_root, kill_after_s=delay)[0]:
            kills += 1
            now = database.read_bytes() if database.exists() else None
            assert now == old or contents(database) == contents(undisturbed / "log.duckdb")
        elif old is None:
            database.unlink()
        else:
            database.write_bytes(old)
        if kills == KILLS:
            break

    assert kills == KILLS
    assert run(killed, project_root)[0] == 0
    assert contents(database) == contents(undisturbed / "log.duckdb")
    assert [f.name for f in killed.iterdir() if ".new" in f.name] == []
