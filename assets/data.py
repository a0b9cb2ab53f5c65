"""From the pinned raw data to sessions."""

import dagster as dg

from assets.adapting import check_results, check_specs, counts, user_errors
from assets.resources import StudyResource
from pipeline.errors import ParetoscopeError
from pipeline.quality import check_tables, enforce
from pipeline.schemas import Split
from pipeline.sessions.events import read_events
from pipeline.sessions.preparation import prepare_sessions
from pipeline.sessions.store import write_tokens
from pipeline.storage import (
    dataset_path,
    find_root,
    pinned_md5,
    publish_folder,
    read_table,
    require_dataset,
    write_json,
)
from pipeline.study import PARAMS_FILE, load_study


def _pin() -> str | None:
    """The raw data's pinned md5 when the definitions are loaded, so that a new pin shows as stale."""
    try:
        root = find_root()
        return pinned_md5(load_study(root / PARAMS_FILE), root)
    except ParetoscopeError:
        return None


@dg.asset(group_name="data", kinds={"dvc"}, code_version=_pin())
def raw_events(context: dg.AssetExecutionContext, study: StudyResource) -> dg.MaterializeResult:
    """The raw log, as DVC pins it: checked to be there, and to be the pinned bytes."""
    with user_errors(context):
        parameters, _ = study.load()
        md5 = require_dataset(parameters, study.root)
    return dg.MaterializeResult(
        data_version=dg.DataVersion(md5),
        metadata={
            "path": dg.MetadataValue.path(str(dataset_path(parameters, study.root))),
            "md5": md5,
            "pinned": pinned_md5(parameters, study.root) is not None,
        },
    )


@dg.asset(deps=[raw_events], group_name="data", kinds={"polars"}, check_specs=check_specs("events"))
def events(context: dg.AssetExecutionContext, study: StudyResource) -> dg.MaterializeResult:
    """One row an event: session, time (UTC ms), item, kind; rejected rows lie beside, with reasons."""
    with user_errors(context):
        parameters, paths = study.load()
        prepared = read_events(
            dataset_path(parameters, study.root),
            parameters.dataset.format,
            max_rejected_share=parameters.sessions.max_rejected_share,
        )
        with publish_folder(paths.artifact("events")) as folder:
            prepared.events.write_parquet(folder / "events.parquet")
            prepared.rejected.write_parquet(folder / "rejected.parquet")
            write_json(folder / "summary.json", prepared.summary())
            outcomes = enforce(check_tables("events", {"events": folder / "events.parquet"}))
    return dg.MaterializeResult(
        metadata={"dagster/row_count": prepared.events.height, **counts(prepared.summary())},
        check_results=check_results(outcomes),
    )


@dg.asset(deps=[events], group_name="data", kinds={"polars"}, check_specs=check_specs("sessions"))
def sessions(context: dg.AssetExecutionContext, study: StudyResource) -> dg.MaterializeResult:
    """One row a session with its split; beside it the catalogue and the clicks as flat arrays."""
    with user_errors(context):
        parameters, paths = study.load()
        frame = read_table(paths.require("events", "events.parquet"))
        prepared = prepare_sessions(frame, parameters.sessions)
        with publish_folder(paths.artifact("sessions")) as folder:
            tables = {"sessions": prepared.sessions, "items": prepared.items}
            for name, table in tables.items():
                table.write_parquet(folder / f"{name}.parquet")
            tokens = {split: prepared.tokens(split) for split in Split}
            times = {split: prepared.times(split) for split in Split}
            write_tokens(tokens, times, folder / "tokens.safetensors")
            write_json(folder / "summary.json", prepared.counts)
            files = {name: folder / f"{name}.parquet" for name in tables}
            outcomes = enforce(check_tables("sessions", files))
    return dg.MaterializeResult(
        metadata={"dagster/row_count": prepared.sessions.height, **counts(prepared.counts)},
        check_results=check_results(outcomes),
    )
