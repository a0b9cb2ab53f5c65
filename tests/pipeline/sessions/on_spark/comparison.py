"""Sessions of this machine and of Spark, of the same events."""

from dataclasses import replace

from pipeline.datasets.ingest_events import write_events
from pipeline.sessions.on_spark.prepare import write_sessions_on_spark
from pipeline.sessions.prepare import write_sessions
from pipeline.sessions.rules import rules_of
from pipeline.study import DatasetConfig, DatasetFormat, SessionsConfig

CLUSTER = "local-cluster[2,1,1024]"
OTTO = DatasetConfig(format=DatasetFormat.OTTO, path="log")
FILES = {"items.parquet", "sessions.parquet", "summary.json", "tokens.safetensors"}
ODD_NAME = "a b{c}[d]%20#*?:=ü"
"""A folder whose name would be a pattern, or a part of a URL."""


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


def ingested(dataset, raw, folder):
    folder.mkdir()
    write_events(dataset, raw, folder, max_rejected_share=0.0)
    return folder


def asked(dataset=OTTO, window=None, **keys):
    section = SessionsConfig(**{"test_days": 3.0, "validation_days": 2.0, **keys})
    return replace(rules_of(section, dataset), order_window_ms=window)
