"""What the tests of the adapters share: data written to a file and read to its end."""

import shutil
from typing import NamedTuple

import polars as pl
import pytest

from pipeline.core.contracts import EVENTS, PRICED_EVENTS, REJECTED
from pipeline.datasets.formats.registry import list_inputs
from pipeline.datasets.ingest_events import write_events


class Loaded(NamedTuple):
    """What ``write_events`` leaves."""

    summary: dict
    events: pl.DataFrame
    rejected: pl.DataFrame


@pytest.fixture(scope="session")
def load(tmp_path_factory):
    """Reads a dataset by ``write_events``."""

    def loaded(dataset, path, *, max_rejected_share=0.0):
        folder = tmp_path_factory.mktemp("events")
        summary = write_events(dataset, path, folder, max_rejected_share=max_rejected_share)
        frames = (pl.read_parquet(folder / f"{name}.parquet") for name in ("events", "rejected"))
        events, rejected = frames
        contract = PRICED_EVENTS if "revenue" in events.columns else EVENTS
        shutil.rmtree(folder)
        return Loaded(summary, contract.validate(events), REJECTED.validate(rejected))

    return loaded


@pytest.fixture(scope="session")
def raw_rows():
    """Reads a dataset as its adapter does: the pieces of all its files, in their order."""

    def read(dataset, path):
        return [task() for file in list_inputs(dataset, path) for task in file.tasks()]

    return read
