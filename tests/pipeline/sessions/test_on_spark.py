"""Sessions prepared on Spark are those of this machine, byte for byte: two workers, real samples, every rule."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
import yaml

from pipeline.artifacts.storage import StudyPaths, write_json
from pipeline.core.contracts import DAY_MS, EVENT_TYPE
from pipeline.core.errors import ClusterError, DataError
from pipeline.core.spark.session import spark_session
from pipeline.datasets.ingest_events import write_events
from pipeline.sessions.on_spark import prepare
from pipeline.sessions.on_spark.cluster import MASTER_VARIABLE
from pipeline.sessions.on_spark.prepare import write_sessions_on_spark
from pipeline.sessions.prepare import write_sessions
from pipeline.sessions.rules import rules_of
from pipeline.steps.data import ingest_events, prepare_sessions
from pipeline.study import (
    BoundaryPolicy,
    DatasetConfig,
    DatasetFormat,
    Duplicates,
    Preset,
    SessionsConfig,
    SupportFilter,
    SyntheticConfig,
    parse_study,
)
from pipeline.synthetic.generate_log import generate_log

needs_spark = pytest.mark.skipif(
    find_spec("pyspark") is None or shutil.which("java") is None,
    reason="Spark needs pyspark and Java; try: pip install 'paretoscope[spark]', apt-get install openjdk-17-jre-headless",
)
CLUSTER = "local-cluster[2,1,1024]"
OTTO = DatasetConfig(format=DatasetFormat.OTTO, path="log")
FILES = {"items.parquet", "sessions.parquet", "summary.json", "tokens.safetensors"}
START = 1_659_304_800_000
ODD_NAME = "a b{c}[d]%20#*?:=ü"
"""A folder whose name would be a pattern, or a part of a URL."""

SETTINGS = """
spark.driver.extraJavaOptions    -XX:TieredStopAtLevel=1
spark.executor.extraJavaOptions  -XX:TieredStopAtLevel=1
spark.sql.files.maxPartitionBytes  65536
"""
"""Compiled once, since the data is small; and files are read in several pieces."""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """The address of a cluster of two workers, which all tests use."""
    folder = tmp_path_factory.mktemp("spark-conf")
    (folder / "spark-defaults.conf").write_text(SETTINGS, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPARK_CONF_DIR", str(folder))
        patch.setenv("SPARK_LOCAL_IP", "127.0.0.1")
        with spark_session("tests", CLUSTER, MASTER_VARIABLE):
            yield CLUSTER


def both(events, folder, rules, master):
    """What this machine and what Spark writes: the bytes by file, and the summary."""
    found = []
    for name in ("here", ODD_NAME):
        target = folder / name
        target.mkdir()
        if name == "here":
            summary = write_sessions(events, target, rules)
        else:
            summary = write_sessions_on_spark(events, target, rules, master=master)
        found.append(({file.name: file.read_bytes() for file in target.iterdir()}, summary))
    return found


def assert_equal(events, folder, rules, master):
    here, there = both(events, folder, rules, master)
    assert set(here[0]) == FILES
    assert there == here
    return here[1]


def in_cache():
    """How many tables the cluster of the tests keeps."""
    from pyspark.sql import SparkSession  # noqa: PLC0415 - an extra

    spark = SparkSession.getActiveSession()
    return spark.sparkContext._jsc.getPersistentRDDs().size()


def ingested(dataset, raw, folder):
    folder.mkdir()
    write_events(dataset, raw, folder, max_rejected_share=0.0)
    return folder


def asked(dataset=OTTO, window=None, **keys):
    section = SessionsConfig(**{"test_days": 3.0, "validation_days": 2.0, **keys})
    return replace(rules_of(section, dataset), order_window_ms=window)


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shop")
    log = folder / "log.jsonl"
    generate_log(SyntheticConfig(items=300, users=300, sessions=3000, days=12), log)
    return ingested(OTTO, log, folder / "events")


@pytest.mark.slow
@needs_spark
@pytest.mark.parametrize(
    "keys",
    [
        {},
        {
            "support_filter": SupportFilter.ITERATED,
            "boundary_sessions": BoundaryPolicy.TRIM,
            "min_item_support": 40,
            "min_session_length": 3,
            "window": 600_000,
        },
        {
            "test_sessions": 0.1,
            "validation_sessions": 50,
            "boundary_sessions": BoundaryPolicy.LATER,
        },
    ],
    ids=["default", "iterated-trim-window", "by-sessions-later"],
)
def test_the_synthetic_shop(shop, cluster, tmp_path, keys):
    counts = assert_equal(shop, tmp_path, asked(**keys), cluster)

    assert counts["items"] > 20
    assert counts["train_ordered_clicks"] > 20
    assert counts["clicks_on_unknown_items"] > 0


def yoochoose(real_data, raw):
    clicks = (real_data / "yoochoose" / "yoochoose-clicks.dat").read_text(encoding="utf-8")
    (raw / "yoochoose-clicks.dat").write_text(clicks, encoding="utf-8")
    # made-up buys: of every seventh click's item, at its own time
    buys = "".join(f"{line.rsplit(',', 1)[0]},100,1\n" for line in clicks.splitlines()[::7])
    (raw / "yoochoose-buys.dat").write_text(buys, encoding="utf-8")


def diginetica(real_data, raw):
    for file in (real_data / "diginetica").glob("train-*.csv"):
        shutil.copy(file, raw)


def otto(real_data, raw):
    """The sample, three sessions of which are in the test file."""
    lines = (real_data / "otto" / "train.jsonl").read_text(encoding="utf-8").splitlines()
    for name, of_test in (("train", False), ("test", True)):
        chosen = [one for one in lines if (json.loads(one)["session"] in OTTO_TEST) == of_test]
        (raw / f"otto-recsys-{name}.jsonl").write_text("\n".join(chosen), encoding="utf-8")


OTTO_TEST = {12899769, 12899771, 12899775}
VALIDATION_DAYS = {yoochoose: 1.0, diginetica: 10.0, otto: 26_118 / DAY_MS}


@pytest.mark.slow
@needs_spark
@pytest.mark.parametrize("make", VALIDATION_DAYS)
def test_real_samples_by_the_reference_preset(make, real_data, cluster, tmp_path):
    (tmp_path / "raw").mkdir()
    make(real_data, tmp_path / "raw")
    dataset = DatasetConfig(format=make.__name__, path="raw", duplicates=Duplicates.KEEP)
    events = ingested(dataset, tmp_path / "raw", tmp_path / "events")
    rules = asked(dataset, preset=Preset.REFERENCE, validation_days=VALIDATION_DAYS[make])

    counts = assert_equal(events, tmp_path, rules, cluster)

    assert counts["test_sessions"] > 2
    assert in_cache() == 0


def hostile(seed):
    """Sessions of ten days with what is rare in a real log, sorted by time as the reader sorts.

    Ties in time, also of a click and its order; duplicates; sessions of one click or none; items that are
    rare in train and frequent later, or not in train at all; ids of every kind; sessions across both boundaries, and events exactly at them.
    """
    rng = np.random.default_rng(seed)
    as_text = seed % 2 == 0
    bounds = [START + day * DAY_MS for day in (0, 8, 9, 10)]
    items = ["", "b", "a", "Z", "ä", "10", "😀", "a\x00", "'", "\\"]
    rows = []
    for number in rng.permutation(150).tolist():
        name = f"ü {number}" if as_text else (number - 75) << (50 * (seed % 3 == 0))
        start = int(rng.choice(bounds)) + int(rng.choice([-1, 0, 0, 3_600_000]))
        steps = rng.choice([0, 0, 1, 60_000, DAY_MS // 4], size=rng.integers(1, 9))
        for ts in (start + np.cumsum(steps)).clip(START, bounds[-1] - 1).tolist():
            late = ts >= bounds[1]
            rare = rng.random() < (0.3 if late else 0.03)
            item = int(5 + rng.integers(4 + late) if rare else rng.integers(4))
            kind = str(rng.choice(["click", "click", "click", "cart", "order"]))
            rows += [(name, ts, items[item] if as_text else item - 3, kind)] * int(
                rng.integers(1, 3)
            )
    return rows


def as_events(rows, folder):
    """``events.parquet`` and ``summary.json`` of (session, ts, item, event type), in groups of 100 rows."""
    folder.mkdir()
    frame = pl.DataFrame(rows, schema=["session", "ts", "item", "event_type"], orient="row")
    frame = frame.with_columns(
        pl.col("event_type").cast(EVENT_TYPE), file=pl.lit(0, dtype=pl.UInt16)
    )
    pq.write_table(frame.to_arrow(), folder / "events.parquet", row_group_size=100)
    numbers = {"events": frame.height, "sessions": frame["session"].n_unique()}
    ends = {"first_ts": frame["ts"].min(), "last_ts": frame["ts"].max()}
    write_json(folder / "summary.json", {"files": {"log": len(rows)}, **numbers, **ends})
    return folder


@pytest.mark.slow
@needs_spark
@pytest.mark.parametrize(
    ("seed", "keys"),
    [
        (1, {"boundary_sessions": BoundaryPolicy.TRIM}),
        (2, {"support_filter": SupportFilter.ITERATED, "window": 1}),
        (3, {"boundary_sessions": BoundaryPolicy.EARLIER, "min_session_length": 4}),
    ],
)
def test_hostile_sessions(seed, keys, cluster, tmp_path):
    rows = hostile(seed)
    lengths = Counter(row[0] for row in rows if row[3] == "click")
    assert 1 in lengths.values()
    assert len(lengths) < len({row[0] for row in rows})
    assert len(set(rows)) < len({(row[0], row[1]) for row in rows}) * 2
    events = as_events(rows, tmp_path / "events")

    counts = assert_equal(
        events,
        tmp_path,
        asked(test_days=1.0, validation_days=1.0, min_item_support=3, **keys),
        cluster,
    )

    assert counts["clicks_on_unknown_items"] > 0
    assert counts["sessions_without_click"] > 0


@pytest.mark.slow
@needs_spark
def test_nothing_left_is_the_same_error(cluster, tmp_path):
    events = as_events(hostile(1), tmp_path / "events")
    rules = asked(test_days=1.0, validation_days=1.0, min_item_support=1_000_000)
    said = []
    for write in (write_sessions, write_sessions_on_spark):
        (folder := tmp_path / write.__name__).mkdir()
        options = {} if write is write_sessions else {"master": cluster}
        with pytest.raises(DataError, match="nothing is left in items, train_sessions") as refused:
            write(events, folder, rules, **options)
        said.append(str(refused.value))

    assert said[0] == said[1]


@pytest.mark.slow
@needs_spark
def test_parts_that_this_machine_does_not_see_are_an_error(shop, cluster, tmp_path, monkeypatch):
    def without_the_first(folder):
        min(folder.glob("part-*.parquet")).unlink()
        return read(folder)

    read = prepare.read_selections
    monkeypatch.setattr(prepare, "read_selections", without_the_first)

    with pytest.raises(
        ClusterError, match=r"this machine sees .* need the project on a shared file"
    ):
        write_sessions_on_spark(shop, tmp_path, asked(), master=cluster)


KILLED = """
import sys
from pathlib import Path

from pipeline.artifacts.storage import StudyPaths
from pipeline.steps.data import prepare_sessions
from pipeline.study import load_study

study = load_study(Path(sys.argv[1], "params.yaml"))
prepare_sessions(study, StudyPaths.of(study, Path(sys.argv[1])))
"""


@pytest.mark.slow
@needs_spark
def test_killed_while_writing_and_run_again(cluster, tmp_path, small_params, monkeypatch):
    values = small_params | {"compute": {"sessions": "spark"}}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    here, there = (parse_study(one) for one in (small_params, values))
    paths = StudyPaths.of(here, tmp_path)
    log = tmp_path / here.dataset.path
    log.parent.mkdir(parents=True)
    generate_log(here.synthetic, log)
    ingest_events(here, paths)
    prepare_sessions(here, paths)
    expected = {file.name: file.read_bytes() for file in paths.artifact("sessions").iterdir()}
    shutil.rmtree(paths.artifact("sessions"))
    monkeypatch.setenv(MASTER_VARIABLE, "local[2]")
    killed = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        start_new_session=True,
    )
    try:
        while not any(paths.folder.glob(".sessions.*/sessions/stage/*")):
            assert killed.poll() is None
            time.sleep(0.01)
    finally:
        os.killpg(killed.pid, signal.SIGKILL)
        killed.wait()
    assert not paths.artifact("sessions").exists()

    monkeypatch.setenv(MASTER_VARIABLE, cluster)
    prepare_sessions(there, paths)

    found = {file.name: file.read_bytes() for file in paths.artifact("sessions").iterdir()}
    assert found == expected
    assert {"profile.json", "data_card.md"} | FILES == set(found)
    assert not list(paths.folder.glob(".sessions.*"))
