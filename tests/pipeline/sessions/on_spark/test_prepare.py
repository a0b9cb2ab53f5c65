"""Sessions prepared on Spark are those of this machine, byte for byte: two workers, real samples, every rule."""

import json
import shutil
from collections import Counter

import pytest

from pipeline.core.contracts import DAY_MS
from pipeline.study import BoundaryPolicy, DatasetConfig, Duplicates, Preset, SupportFilter
from tests.pipeline.core.spark.java import needs_spark
from tests.pipeline.sessions.on_spark.comparison import asked, assert_equal, ingested
from tests.pipeline.sessions.on_spark.hostile_sessions import as_events, hostile

pytestmark = [pytest.mark.slow, needs_spark]


def in_cache():
    """How many tables the cluster of the tests keeps."""
    from pyspark.sql import SparkSession  # noqa: PLC0415 - an extra

    spark = SparkSession.getActiveSession()
    return spark.sparkContext._jsc.getPersistentRDDs().size()


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
