"""From the pinned raw data to sessions."""

import dagster as dg

from assets.asset_metadata import asset_kwargs
from assets.checks import check_results, check_specs
from assets.materialization import counts_metadata, materialize_result, translate_errors
from assets.resources import StudyResource
from pipeline.artifacts.storage import (
    atomic_folder,
    dataset_path,
    pinned_md5,
    read_json,
    require_dataset,
    write_json,
)
from pipeline.core.contracts import Split
from pipeline.datasets.ingest_events import write_events
from pipeline.quality.runner import check_tables, enforce
from pipeline.reporting.figures.charts import as_markdown
from pipeline.reporting.figures.data_card import data_card_figure
from pipeline.reporting.text.data_card import data_card_markdown
from pipeline.sessions.prepare import write_sessions
from pipeline.sessions.profile import profile_sessions
from pipeline.sessions.rules import rules_of
from pipeline.synthetic.generate_log import check_shop_log


@dg.asset(**asset_kwargs("raw_events"))
def raw_events(context: dg.AssetExecutionContext, study: StudyResource) -> dg.MaterializeResult:
    """The raw log, as DVC pins it: checked to be there, and to be the pinned bytes."""
    with translate_errors(context):
        parameters, _ = study.load()
        md5 = require_dataset(parameters, study.root)
        check_shop_log(parameters, md5)
    return materialize_result(
        "raw_events",
        parameters,
        md5,
        metadata={
            "path": dg.MetadataValue.path(str(dataset_path(parameters, study.root))),
            "md5": md5,
            "pinned": pinned_md5(parameters, study.root) is not None,
        },
    )


@dg.asset(deps=[raw_events], check_specs=check_specs("events"), **asset_kwargs("events"))
def events(context: dg.AssetExecutionContext, study: StudyResource) -> dg.MaterializeResult:
    """One row an event: session, time (UTC ms), item, kind; rejected rows lie beside, with reasons."""
    with translate_errors(context):
        parameters, paths = study.load()
        limit = parameters.sessions.max_rejected_share
        with atomic_folder(paths.artifact("events")) as folder:
            summary = write_events(
                parameters.dataset,
                dataset_path(parameters, study.root),
                folder,
                max_rejected_share=limit,
            )
            tables = {name: folder / f"{name}.parquet" for name in ("events", "rejected")}
            outcomes = enforce(check_tables("events", tables, {"max_rejected_share": limit}))
    return materialize_result(
        "events",
        parameters,
        paths.artifact("events"),
        metadata={"dagster/row_count": summary["events"], **counts_metadata(summary)},
        checks=check_results(outcomes),
    )


@dg.asset(deps=[events], check_specs=check_specs("sessions"), **asset_kwargs("sessions"))
def sessions(context: dg.AssetExecutionContext, study: StudyResource) -> dg.MaterializeResult:
    """One row a session with its split; beside it the catalogue and the clicks as flat arrays."""
    with translate_errors(context):
        parameters, paths = study.load()
        source = paths.require("events", "events.parquet").parent
        rules = rules_of(parameters.sessions, parameters.dataset)
        with atomic_folder(paths.artifact("sessions")) as folder:
            summary = write_sessions(source, folder, rules)
            tables = {name: folder / f"{name}.parquet" for name in ("sessions", "items")}
            waived = () if rules.keeps_apart else {"splits_do_not_overlap_in_time"}
            outcomes = enforce(check_tables("sessions", tables), waived=waived)
            profile = profile_sessions(source, folder)
            write_json(folder / "profile.json", profile)
            card = data_card_markdown(profile, read_json(source / "summary.json"), summary)
            (folder / "data_card.md").write_text(
                f"# Data card: {parameters.study.name}\n\n{card}", "utf-8"
            )
    rows = sum(summary[f"{split}_sessions"] for split in Split)
    return materialize_result(
        "sessions",
        parameters,
        paths.artifact("sessions"),
        metadata={
            "picture": dg.MetadataValue.md(as_markdown(data_card_figure(profile), "the data")),
            "dagster/row_count": rows,
            **counts_metadata(summary),
            "data card": dg.MetadataValue.md(card),
        },
        checks=check_results(outcomes, waived=waived),
    )
