"""From the pinned raw data to sessions."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from pipeline.artifacts.raw_data import (
    dataset_path,
    pinned_md5,
    raw_data_errors,
    require_dataset,
)
from pipeline.artifacts.storage import (
    StudyPaths,
    atomic_file,
    atomic_folder,
    read_json,
    read_table,
    write_json,
)
from pipeline.core.contracts import Split
from pipeline.core.errors import DataError
from pipeline.core.labels import counted
from pipeline.core.object_urls import local_copy
from pipeline.datasets.ingest_counts import RefusedDataError
from pipeline.datasets.ingest_events import write_events
from pipeline.datasets.item_attributes import coverage
from pipeline.quality.runner import check_tables, enforce
from pipeline.reporting.figures.data_card import data_card_figure
from pipeline.reporting.text.data_card import data_card_markdown
from pipeline.sessions.catalogue import check_catalogue_size
from pipeline.sessions.on_spark.cluster import spark_master
from pipeline.sessions.on_spark.prepare import write_sessions_on_spark
from pipeline.sessions.prepare import write_sessions
from pipeline.sessions.profile import profile_sessions
from pipeline.sessions.rules import Rules, rules_of
from pipeline.steps.result import LazyFigure, Markdown, StepResult, spaced
from pipeline.study import Study
from pipeline.study.compute import SessionsBackend
from pipeline.synthetic.generate_log import check_shop_log

REFUSED_ROWS = "refused_rows.jsonl"
"""In the study's folder: rejected rows of raw data that was refused."""

_SPLITS_APART = "splits_do_not_overlap_in_time"
"""The rule that studies waive whose sessions may cross a split boundary."""


def check_raw_events(study: Study, paths: StudyPaths) -> StepResult[str]:
    """Check that the raw data exists and has the pinned bytes; the value is its md5.

    Raises:
        MissingArtifact: if it does not exist.
        DataError: if its bytes are not the pinned ones.
    """
    md5 = require_dataset(study, paths.root)
    check_shop_log(study, md5)
    return StepResult(
        asset="raw_events",
        value=md5,
        location=dataset_path(study, paths.root),
        content_version=md5,
        details={"md5": md5, "pinned": pinned_md5(study, paths.root) is not None},
    )


def ingest_events(study: Study, paths: StudyPaths) -> StepResult[dict[str, Any]]:
    """Read the raw data into canonical events; the value counts events and rejected rows.

    Raises:
        DataError: if the raw data cannot be read, or too much of it is rejected.
        QualityError: if the events break a blocking rule.
    """
    limit = study.sessions.max_rejected_share
    target, raw = paths.artifact("events"), dataset_path(study, paths.root)
    with atomic_folder(target) as folder:
        with _rejected_rows_kept(paths.artifact(REFUSED_ROWS)), raw_data_errors(study, paths.root):
            counts = write_events(study.dataset, raw, folder, max_rejected_share=limit)
        tables = {name: folder / f"{name}.parquet" for name in ("events", "rejected")}
        checks = enforce(check_tables("events", tables, {"max_rejected_share": limit}))
    return StepResult(
        asset="events",
        value=counts,
        location=target,
        rows=counts["events"],
        details=spaced(counts),
        checks=tuple(checks),
    )


@contextmanager
def _rejected_rows_kept(file: Path) -> Iterator[None]:
    """If the data is refused, leave the rejected rows in a file that the message names.

    JSON lines, because a spreadsheet would run a row that is a formula.
    """
    file.unlink(missing_ok=True)
    try:
        yield
    except RefusedDataError as error:
        if not error.rejected.height:
            raise
        with atomic_file(file) as fresh:
            error.rejected.write_ndjson(fresh)
        rows = counted(error.rejected.height, "rejected row")
        msg = f"{error}. The first {rows} are in {file}"
        raise DataError(msg) from error


def prepare_sessions(study: Study, paths: StudyPaths) -> StepResult[dict[str, Any]]:
    """Filter, split and label the events, and describe them; the value counts what is left.

    Raises:
        MissingArtifact: if there are no events.
        DataError: if no session is left.
        ClusterError: if they are to be prepared on a cluster that cannot be reached or fails.
        QualityError: if the sessions break a blocking rule.
    """
    source = paths.require("events", "events.parquet").parent
    rules = rules_of(study.sessions, study.dataset)
    waived = frozenset[str]() if rules.keeps_apart else frozenset({_SPLITS_APART})
    with atomic_folder(paths.artifact("sessions")) as folder:
        counts = _write_sessions(study, source, folder, rules)
        check_catalogue_size(study, counts["items"])
        tables = {name: folder / f"{name}.parquet" for name in ("sessions", "items")}
        limits = {"attributes_coverage": _attributes_coverage(study, paths, tables["items"])}
        checks = enforce(check_tables("sessions", tables, limits), waived=waived)
        profile = profile_sessions(source, folder, time_zone=study.dataset.time_zone)
        write_json(folder / "profile.json", profile)
        card = data_card_markdown(profile, read_json(source / "summary.json"), counts)
        page = f"# Data card: {study.study.name}\n\n{card}"
        (folder / "data_card.md").write_text(page, "utf-8")
    return StepResult(
        asset="sessions",
        value=counts,
        location=paths.artifact("sessions"),
        rows=sum(counts[f"{split}_sessions"] for split in Split),
        details={
            "figure": LazyFigure("the data", partial(data_card_figure, profile)),
            **spaced(counts),
            **(spaced(limits) if study.dataset.item_attributes else {}),
            "data card": Markdown(card),
        },
        checks=tuple(checks),
        waived=waived,
    )


def _write_sessions(study: Study, events: Path, folder: Path, rules: Rules) -> dict[str, Any]:
    """Prepare the sessions where the study says so."""
    if study.compute.sessions is SessionsBackend.SPARK:
        return write_sessions_on_spark(events, folder, rules, master=spark_master())
    return write_sessions(events, folder, rules)


def _attributes_coverage(study: Study, paths: StudyPaths, items: Path) -> float:
    """Share of the items that have attributes; 1 if the study has no file of them."""
    file = study.dataset.item_attributes
    return coverage(paths.root / local_copy(file), read_table(items)) if file else 1.0
