"""What the UI shows of an asset besides its description: group, owner, kinds, columns, freshness."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, TypedDict

import dagster as dg
import polars as pl

from pipeline.artifacts.raw_data import pinned_md5
from pipeline.core.column_docs import column_descriptions
from pipeline.core.contracts import EVENTS, IMPRESSIONS, OFFLINE_METRICS, SESSIONS, TARGET_SCORES
from pipeline.core.errors import USER_ERRORS
from pipeline.core.frame_contract import Contract
from pipeline.core.front_contract import PARETO_FRONT
from pipeline.counterfactual.experiment.paired_table import PAIRED_LISTS
from pipeline.evaluation.scoring import SCORES
from pipeline.experiment.kpis.contracts import GROUP_KPIS
from pipeline.study import SECTIONS, Study

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
        description: What one row is, or what the artifact contains.
        group: The part of the chain it belongs to; the number orders the parts.
        kind: Its technology, as the UI's icon.
        owner: The team to ask.
        reads: Sections or keys of ``params.yaml`` that determine its content; a change makes it stale.
        place: Keys that say where it is computed; its content does not depend on them.
        table: The contract of its main table, if it is one.
        weekly: Whether it has to be materialised every week.
    """

    description: str
    group: str
    kind: str
    owner: str
    reads: tuple[str, ...] = ()
    _: KW_ONLY
    place: tuple[str, ...] = ()
    table: Contract | None = None
    weekly: bool = False


def _gate(what: str) -> Facts:
    """A gate before users get the candidate."""
    reads = ("study.seed", "rollout", "experiment", "synthetic", "simulator", "regression.level")
    text = f"Whether the candidate is not worse than the incumbent: {what}. Skipped if rollout.gates says so."
    return Facts(text, "8_rollout", "json", EXPERIMENTERS, reads)


ASSETS: Mapping[str, Facts] = {
    "raw_events": Facts(
        "The raw log as DVC pins it: checked to exist, and to have the pinned bytes.",
        "1_data",
        "dvc",
        MODELLERS,
    ),
    "events": Facts(
        "One row per event: session, time (UTC ms), item, event type. Rejected rows have their reasons.",
        "1_data",
        "polars",
        MODELLERS,
        ("dataset", "sessions.max_rejected_share"),
        table=EVENTS,
    ),
    "sessions": Facts(
        "One row per session with its split; also the catalogue, and the clicks as flat arrays.",
        "1_data",
        "polars",
        MODELLERS,
        ("dataset", "sessions"),
        place=("compute.sessions",),
        table=SESSIONS,
    ),
    "conditioned_model": Facts(
        "R(x, π), one network for the whole front: weights (safetensors), configuration, learning curves.",
        "2_model",
        "pytorch",
        MODELLERS,
        ("study.seed", "dataset.item_attributes", "model", "training"),
        weekly=True,
    ),
    SCORES: Facts(
        "One row per target of a test session: its rank and losses under this preference. Also one row per session: the list the model recommends.",
        "3_scores",
        "pytorch",
        MODELLERS,
        (
            "study.seed",
            "dataset.item_attributes",
            "training.objectives",
            "evaluation",
            "experiment.second_axis",
        ),
        table=TARGET_SCORES,
    ),
    "offline_metrics": Facts(
        "One row per preference and metric: value, standard error over sessions, and n.",
        "4_evaluation",
        "polars",
        MODELLERS,
        (
            "study.seed",
            "dataset.generic",
            "dataset.item_attributes",
            "training.objectives",
            "evaluation",
            "experiment.second_axis",
        ),
        table=OFFLINE_METRICS,
    ),
    "pareto_front": Facts(
        "One row per preference in metric space, dominated or not; also hypervolume and span.",
        "4_evaluation",
        "polars",
        MODELLERS,
        ("training.objectives", "evaluation.cutoff", "experiment.second_axis"),
        table=PARETO_FRONT,
    ),
    "traffic_plan": Facts(
        "One entry per test group: its preference, share of the users and buckets; also their power.",
        "5_experiment",
        "json",
        EXPERIMENTERS,
        ("study.seed", "evaluation.cutoff", "experiment", "regression"),
    ),
    "experiment_log_files": Facts(
        "One row per impression, in files: your own, simulated, or from a held-out replay.",
        "5_experiment",
        "parquet",
        EXPERIMENTERS,
        (
            "study.seed",
            "dataset.format",
            "dataset.path",
            "synthetic",
            "experiment",
            "compute.warehouse",
            "simulator",
            "serving.exploration",
        ),
        table=IMPRESSIONS,
    ),
    "experiment_log": Facts(
        "One row per impression, in DuckDB; each file is ingested once, however often this runs.",
        "5_experiment",
        "duckdb",
        EXPERIMENTERS,
        ("experiment", "compute.warehouse"),
        table=LOG,
    ),
    "group_kpis": Facts(
        "One row per group and KPI: trials, successes, rate, and per-user sufficient statistics.",
        "5_experiment",
        "duckdb",
        EXPERIMENTERS,
        table=GROUP_KPIS,
    ),
    "regression_estimates": Facts(
        "One entry per hypothesis: slope, standard error, confidence interval, p-value, n, and verdict.",
        "6_inference",
        "python",
        EXPERIMENTERS,
        ("study.seed", "dataset.generic", "evaluation.cutoff", "experiment", "regression"),
    ),
    "regression_report": Facts(
        "The report as HTML (opens offline), Markdown and JSON; also the study's manifest.",
        "6_inference",
        "html",
        EXPERIMENTERS,
        tuple(Study.__dataclass_fields__),  # the report shows all parameters
        weekly=True,
    ),
    "paired_lists": Facts(
        "One row per request: the list of every group for it, and the click. Needs a log with lists.",
        "7_counterfactual",
        "pytorch",
        EXPERIMENTERS,
        ("dataset.item_attributes", "experiment"),
        table=PAIRED_LISTS,
    ),
    "counterfactual_estimates": Facts(
        "One entry per KPI, estimator and group: the group estimated from the other groups, and Recovery.",
        "7_counterfactual",
        "numpy",
        EXPERIMENTERS,
        ("study.seed", "regression.level"),
    ),
    "counterfactual_report": Facts(
        "What could have been known without the experiment, as HTML (opens offline), Markdown and JSON.",
        "7_counterfactual",
        "html",
        EXPERIMENTERS,
    ),
    "candidate_gate_offline": _gate(
        "offline metrics, paired with the incumbent's over the sessions"
    ),
    "candidate_gate_counterfactual": _gate("a KPI, estimated from the finished experiment's log"),
    "candidate_gate_simulation": _gate("KPIs of simulated users, half of whom get the candidate"),
    "rollout_plan": Facts(
        "The release to start: arms, stages, evidence of the gates. Only written if no gate has failed.",
        "8_rollout",
        "json",
        EXPERIMENTERS,
        ("rollout", "experiment"),
    ),
}


class AssetKwargs(TypedDict):
    """Arguments of ``dg.asset`` and ``dg.AssetSpec``."""

    description: str
    group_name: str
    kinds: set[str]
    owners: list[str]
    tags: dict[str, str]
    metadata: dict[str, Any]
    code_version: str | None
    freshness_policy: dg.FreshnessPolicy | None


def asset_key(prefix: str, path: Sequence[str]) -> dg.AssetKey:
    """The key of an asset of the study with this prefix."""
    return dg.AssetKey([prefix, *path] if prefix else list(path))


def asset_name(key: dg.AssetKey) -> str:
    """The name of an asset in the asset graph, whatever its study."""
    return key.path[1 if prefix_of(key) else 0]


def prefix_of(key: dg.AssetKey) -> str:
    """The prefix of the study that an asset is of; empty for the default study."""
    return "" if len(key.path) == 1 or key.path[0] == SCORES else key.path[0]


def sections_of(keys: Iterable[dg.AssetKey]) -> tuple[str, ...]:
    """The sections of ``params.yaml`` that assets read."""
    facts = [ASSETS[name] for key in keys for name in key.path if name in ASSETS]
    read = {part.split(".")[0] for one in facts for part in (*one.reads, *one.place)}
    return tuple(section for section in SECTIONS if section in read)


def column_schema(contract: Contract) -> dg.TableSchema:
    """A contract as Dagster shows it: type and description of each column."""
    return dg.TableSchema(
        columns=[
            dg.TableColumn(name, type=str(contract.columns[name]), description=text)
            for name, text in column_descriptions(contract).items()
        ]
    )


def code_version(name: str, study: Study, root: Path) -> str | None:
    """The version of what an asset is derived from, besides the assets upstream.

    Of the raw data, it is the md5 that DVC pins (None if it is not pinned); of all others, a hash of
    the parameters they read and of the study's name, which is that of their folder.
    """
    if name == "raw_events":
        try:
            return pinned_md5(study, root)
        except USER_ERRORS:
            return None
    parameters = study.as_dict()
    values = {key: _at(parameters, key) for key in ("study.name", *ASSETS[name].reads)}
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:12]


def _at(values: Any, key: str) -> Any:
    for part in key.split("."):
        values = values[part]
    return values
