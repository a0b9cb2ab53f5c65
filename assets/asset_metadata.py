"""What the UI shows of an asset besides its description: group, owner, kinds, columns, freshness."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from datetime import timedelta
from functools import cache
from typing import Any, TypedDict

import dagster as dg
import polars as pl

from pipeline.artifacts.storage import find_project_root, pinned_md5
from pipeline.core.column_docs import column_descriptions
from pipeline.core.contracts import (
    EVENTS,
    IMPRESSIONS,
    OFFLINE_METRICS,
    PARETO_FRONT,
    SESSIONS,
    TARGET_SCORES,
)
from pipeline.core.errors import USER_ERRORS
from pipeline.core.frame_contract import Contract
from pipeline.evaluation.scoring import SCORES
from pipeline.experiment.kpis.contracts import GROUP_KPIS
from pipeline.study import PARAMS_FILE, Study, load_study

WEEKLY = dg.FreshnessPolicy.time_window(
    warn_window=timedelta(days=8), fail_window=timedelta(days=15)
)
"""Of what the weekly schedule keeps fresh: one missed Monday warns, two fail."""

MODELLERS = "team:recommendation"
EXPERIMENTERS = "team:experimentation"

LOG = Contract(
    name="experiment_log",
    row=IMPRESSIONS.row,
    columns={
        **{name: dtype for name, dtype in IMPRESSIONS.columns.items() if name != "experiment"},
        "revenue": pl.Int64,
    },
)
"""The view ``impressions`` of the experiment's database."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of an asset before it is materialised.

    Attributes:
        group: The part of the chain it belongs to; the number orders the parts.
        kind: Its technology, as the UI's icon.
        owner: The team to ask.
        reads: Sections or keys of ``params.yaml`` that determine its content, besides the assets
            upstream. A change of one makes it stale.
        table: The contract of its main table, if it is one.
        weekly: Whether it has to be materialised every week.
    """

    group: str
    kind: str
    owner: str
    reads: tuple[str, ...] = ()
    _: KW_ONLY
    table: Contract | None = None
    weekly: bool = False


ASSETS: Mapping[str, Facts] = {
    "raw_events": Facts("1_data", "dvc", MODELLERS),
    "events": Facts(
        "1_data", "polars", MODELLERS, ("dataset", "sessions.max_rejected_share"), table=EVENTS
    ),
    "sessions": Facts("1_data", "polars", MODELLERS, ("dataset", "sessions"), table=SESSIONS),
    "conditioned_model": Facts(
        "2_model",
        "pytorch",
        MODELLERS,
        ("study.seed", "dataset.item_attributes", "model", "training"),
        weekly=True,
    ),
    SCORES: Facts(
        "3_scores",
        "pytorch",
        MODELLERS,
        ("study.seed", "dataset.item_attributes", "training.objectives", "evaluation"),
        table=TARGET_SCORES,
    ),
    "offline_metrics": Facts(
        "4_evaluation",
        "polars",
        MODELLERS,
        ("study.seed", "dataset.item_attributes", "training.objectives", "evaluation"),
        table=OFFLINE_METRICS,
    ),
    "pareto_front": Facts(
        "4_evaluation",
        "polars",
        MODELLERS,
        ("training.objectives", "evaluation.cutoff"),
        table=PARETO_FRONT,
    ),
    "traffic_plan": Facts(
        "5_experiment",
        "json",
        EXPERIMENTERS,
        ("study.seed", "evaluation.cutoff", "experiment", "regression"),
    ),
    "experiment_log_files": Facts(
        "5_experiment",
        "parquet",
        EXPERIMENTERS,
        ("study.seed", "dataset.path", "synthetic", "experiment", "simulator"),
        table=IMPRESSIONS,
    ),
    "experiment_log": Facts("5_experiment", "duckdb", EXPERIMENTERS, ("experiment",), table=LOG),
    "group_kpis": Facts("5_experiment", "duckdb", EXPERIMENTERS, table=GROUP_KPIS),
    "regression_estimates": Facts(
        "6_inference",
        "python",
        EXPERIMENTERS,
        ("study.seed", "evaluation.cutoff", "experiment", "regression"),
    ),
    "regression_report": Facts(
        "6_inference",
        "html",
        EXPERIMENTERS,
        tuple(Study.__dataclass_fields__),  # the report shows all parameters
        weekly=True,
    ),
}


class AssetKwargs(TypedDict):
    """Arguments of ``dg.asset`` and ``dg.AssetSpec``."""

    group_name: str
    kinds: set[str]
    owners: list[str]
    tags: dict[str, str]
    metadata: dict[str, Any]
    code_version: str | None
    freshness_policy: dg.FreshnessPolicy | None


def asset_kwargs(name: str) -> AssetKwargs:
    """Group, kinds, owner, versions and metadata of an asset; ``name`` is the first part of its key."""
    facts, study = ASSETS[name], load_time_study()
    metadata: dict[str, Any] = {}
    if facts.table is not None:
        metadata["dagster/column_schema"] = column_schema(facts.table)
    if facts.reads:
        metadata["parameters"] = ", ".join(facts.reads)
    return {
        "group_name": facts.group,
        "kinds": {facts.kind},
        "owners": [facts.owner],
        "tags": {f"params/{key}": "" for key in sorted({key.split(".")[0] for key in facts.reads})},
        "metadata": metadata,
        "code_version": code_version(name, study) if study else None,
        "freshness_policy": WEEKLY if facts.weekly else None,
    }


def column_schema(contract: Contract) -> dg.TableSchema:
    """A contract as Dagster shows it: type and description of each column."""
    return dg.TableSchema(
        columns=[
            dg.TableColumn(name, type=str(contract.columns[name]), description=text)
            for name, text in column_descriptions(contract).items()
        ]
    )


@cache
def load_time_study() -> Study | None:
    """The study of ``params.yaml`` when the definitions are loaded.

    None where it is not valid: the assets are shown all the same, and report the error when they run.
    """
    try:
        return load_study(find_project_root() / PARAMS_FILE)
    except USER_ERRORS:
        return None


def code_version(name: str, study: Study) -> str | None:
    """The version of what an asset is derived from, besides the assets upstream.

    Of the raw data, it is the md5 that DVC pins (None if it is not pinned); of all others, a hash of
    the parameters they read and of the study's name, which is that of their folder.
    """
    if name == "raw_events":
        try:
            return pinned_md5(study, find_project_root())
        except USER_ERRORS:
            return None
    parameters = study.as_dict()
    values = {key: _at(parameters, key) for key in ("study.name", *ASSETS[name].reads)}
    text = json.dumps(values, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _at(values: Any, key: str) -> Any:
    for part in key.split("."):
        values = values[part]
    return values
