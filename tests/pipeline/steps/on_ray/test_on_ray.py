"""Ray on two nodes: workers are killed by SIGKILL, and the results are those of one machine, byte for byte."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from pipeline.artifacts.storage import StudyPaths
from pipeline.core.contracts import ITEMS, Split
from pipeline.evaluation.score_files import score_shard
from pipeline.sessions.token_store_writer import TokenWriter
from pipeline.study import PARAMS_FILE, parse_study
from tests.pipeline.steps.on_ray.nodes import (
    BIN,
    ENVIRONMENT,
    busy_workers,
    process_of_rank,
    two_nodes,
    wait_for,
)

N_ITEMS = 2000
SESSIONS = {Split.TRAIN: 240, Split.VALIDATION: 20, Split.TEST: 1500}
SHARDS = 2
WAIT = 300
"""Seconds, on a machine that is busy; on a quiet one everything takes less than a minute."""

needs_ray = pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed")


@pytest.fixture(scope="module")
def study(small_params):
    changes = {
        "training": {"epochs": 2, "batch_size": 4, "save_every": 20, "negatives": {"uniform": 16}},
        "evaluation": {"shards": SHARDS, "preferences": 3},
        "model": {"dropout": 0.2},
    }
    return parse_study(
        small_params | {name: small_params[name] | keys for name, keys in changes.items()}
    )


@pytest.fixture(scope="module")
def project(study, tmp_path_factory):
    """A project with sessions of 2 to 9 clicks."""
    root = tmp_path_factory.mktemp("project")
    (root / PARAMS_FILE).write_text(json.dumps(study.as_dict()), "utf-8")
    folder = StudyPaths.of(study, root).artifact("sessions")
    folder.mkdir(parents=True)
    rng = np.random.default_rng(1)
    with TokenWriter(folder / "tokens.safetensors") as tokens:
        for split, sessions in SESSIONS.items():
            lengths = rng.integers(2, 10, sessions)
            n = int(lengths.sum())
            columns = {"item": rng.integers(0, N_ITEMS, n), "ts": range(n)}
            labels = {"ordered": rng.random(n) < 0.2, "carted": [False] * n}
            tokens.append(split, pl.DataFrame(columns | labels), lengths)
    items = {"index": range(N_ITEMS), "item": range(N_ITEMS), "train_clicks": 1}
    table = pl.DataFrame(items, schema_overrides={"index": pl.Int32, "train_clicks": pl.Int64})
    ITEMS.validate(table).write_parquet(folder / "items.parquet")
    return root


@pytest.fixture(scope="module")
def cluster():
    with tempfile.TemporaryDirectory(prefix="ray-") as folder:  # Ray's socket names are long
        place = Path(folder) / "s"
        place.mkdir()
        with two_nodes(place) as found:
            yield found


def run(command, root, **variables):
    with (root / "out").open("w") as out, (root / "log").open("w") as log:
        environment = ENVIRONMENT | variables
        return subprocess.Popen(command, cwd=root, env=environment, stdout=out, stderr=log)


def on_ray(arguments, root, address):
    return run([BIN / "paretoscope", *arguments], root, RAY_ADDRESS=address)


def check_done(process, root):
    assert process.wait(WAIT) == 0, (root / "log").read_text("utf-8")


@pytest.mark.slow
@needs_ray
def test_a_killed_rank_begins_again_from_the_saved_state_and_the_weights_are_those_of_torchrun(
    study, project, cluster
):
    address, _ = cluster
    paths = StudyPaths.of(study, project)
    state, log = paths.artifact("conditioned_model.state.safetensors"), project / "log"

    training = on_ray(["train", "--ray", "2", "--json"], project, address)
    second = wait_for(lambda: process_of_rank(log, 1), training, WAIT)
    wait_for(state.exists, training, WAIT)
    os.kill(second, signal.SIGKILL)
    check_done(training, project)

    found = json.loads((project / "out").read_text("utf-8"))
    assert "resumed in epoch" in log.read_text("utf-8")
    assert not list(paths.folder.glob(".ray*"))
    weights = paths.artifact("conditioned_model", "weights.safetensors").read_bytes()
    torchrun = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
    ]
    check_done(run([*torchrun, "-m", "pipeline.cli", "train"], project), project)
    assert paths.artifact("conditioned_model", "weights.safetensors").read_bytes() == weights
    assert f"best epoch {found['best_epoch']}, " in (project / "out").read_text("utf-8")


def shards(paths):
    return {file.name: file.read_bytes() for file in paths.folder.rglob("*-of-*.parquet")}


@pytest.mark.slow
@needs_ray
def test_a_killed_scoring_worker_is_replaced_and_the_bytes_are_those_of_one_process(
    study, project, cluster
):
    address, nodes = cluster
    paths = StudyPaths.of(study, project)

    scoring = on_ray(["evaluate-shard", "--ray"], project, address)
    wait_for(lambda: shards(paths), scoring, WAIT)
    os.kill(wait_for(lambda: busy_workers(nodes, "ray::_work"), scoring, WAIT)[0], signal.SIGKILL)
    check_done(scoring, project)

    found = shards(paths)
    shutil.rmtree(paths.artifact("preference_scores.shards"))
    for number in range(1, SHARDS + 1):
        score_shard(study, paths, number)
    assert len(found) == SHARDS * 3 * 2
    assert found == shards(paths)
