"""OTTO's format with seconds or with ids that are text: the message says what to set."""

import json

import pytest

from pipeline.core.errors import DataError
from pipeline.study import DatasetConfig, DatasetFormat

OTTO = DatasetConfig(format=DatasetFormat.OTTO, path="in the test")
T = 1_756_684_800


def line(session=1, aid=2, ts=T * 1000, event_type="clicks"):
    event = {"aid": aid, "ts": ts, "type": event_type}
    return json.dumps({"session": session, "events": [event]}) + "\n"


@pytest.mark.parametrize(
    ("lines", "found", "words"),
    [
        (line(ts=T), "2000-01-01 to 2100-01-01 (ts): 1", "The times look like seconds, but"),
        (line(ts=T * 10**6), "2100-01-01 (ts): 1", "The times look like microseconds, but"),
        (line(ts=T * 10**9), "2100-01-01 (ts): 1", "The times look like nanoseconds, but"),
        (line(session="ab"), "wrong type (session): 1", "for ids that are text, or times in"),
        (line(session="12"), "wrong type (session): 1", "set dataset.format: generic"),
        (line(aid="x-1"), "wrong type (aid): 1", "set dataset.format: generic"),
        (line(aid=1965.0), "wrong type (aid): 1", "dataset.format = otto has integer ids"),
        (line(ts="2025-09-01"), "wrong type (ts): 1", "times in another unit"),
        (line(event_type="view"), "unknown event type (type): 1", "Check dataset.format"),
        (line().replace('"events"', '"e"'), "missing (session, events): 1", "dataset.format"),
    ],
    ids=str,
)
def test_a_log_in_another_form_names_the_field_and_what_to_set(load, tmp_path, lines, found, words):
    (tmp_path / "log.jsonl").write_text(lines)

    with pytest.raises(DataError) as caught:
        load(OTTO, tmp_path / "log.jsonl")

    assert found in str(caught.value)
    assert words in str(caught.value)
