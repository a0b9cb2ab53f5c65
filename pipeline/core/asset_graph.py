"""The asset graph, for code that does not import Dagster.

``assets`` declares the same graph to Dagster; a test compares the two.
"""

import re

ASSET_GRAPH: dict[str, tuple[str, ...]] = {
    "raw_events": (),
    "events": ("raw_events",),
    "sessions": ("events",),
    "conditioned_model": ("sessions",),
    "preference_scores": ("conditioned_model", "sessions"),
    "offline_metrics": ("preference_scores", "conditioned_model", "sessions"),
    "pareto_front": ("offline_metrics",),
    "traffic_plan": ("pareto_front", "offline_metrics", "conditioned_model", "sessions"),
    "experiment_log_files": ("traffic_plan", "conditioned_model", "sessions"),
    "experiment_log": ("experiment_log_files", "traffic_plan"),
    "group_kpis": ("experiment_log", "traffic_plan"),
    "regression_estimates": (
        *("group_kpis", "experiment_log", "traffic_plan", "offline_metrics", "conditioned_model"),
    ),
    "regression_report": (
        *("regression_estimates", "group_kpis", "experiment_log", "traffic_plan"),
        *("pareto_front", "offline_metrics", "conditioned_model", "sessions", "events"),
    ),
    "paired_lists": (
        *("experiment_log", "experiment_log_files", "traffic_plan", "conditioned_model"),
        "sessions",
    ),
    "counterfactual_estimates": ("paired_lists", "experiment_log", "traffic_plan"),
    "counterfactual_report": ("counterfactual_estimates",),
    "candidate_gate_offline": ("offline_metrics", "pareto_front", "conditioned_model"),
    "candidate_gate_counterfactual": ("candidate_gate_offline", "counterfactual_estimates"),
    "candidate_gate_simulation": ("candidate_gate_counterfactual",),
    "rollout_plan": ("candidate_gate_simulation",),
}
"""The upstream assets of each asset, in topological order: all whose artifacts it reads, so that a run of some
assets takes them in an order that makes sense even where those between them are not selected. The assets that
score one preference each are one entry, ``preference_scores``."""

COUNTERFACTUAL = ("paired_lists", "counterfactual_estimates", "counterfactual_report")
"""Assets that the report does not need: they need a log with lists."""

ROLLOUT = (
    *("candidate_gate_offline", "candidate_gate_counterfactual", "candidate_gate_simulation"),
    "rollout_plan",
)
"""Assets that the report does not need: they need the section ``rollout``."""

OPTIONAL = (*COUNTERFACTUAL, *ROLLOUT)
"""Assets that are skipped where a study has nothing for them."""

OF_MODEL = ("sessions", "conditioned_model", "offline_metrics", "pareto_front")
"""Artifacts that are kept together while a plan or a rollout names the model."""

_WITHOUT_MODEL = tuple(
    asset
    for asset in tuple(ASSET_GRAPH)[list(ASSET_GRAPH).index("traffic_plan") :]
    if asset not in OPTIONAL
)


def assets_of(*, trains: bool) -> dict[str, tuple[str, ...]]:
    """The asset graph of a study; one that trains no model begins with its traffic plan."""
    if trains:
        return ASSET_GRAPH
    return {
        asset: tuple(one for one in ASSET_GRAPH[asset] if one in _WITHOUT_MODEL)
        for asset in _WITHOUT_MODEL
    }


def report_assets(*, trains: bool) -> list[str]:
    """The assets that the report of a study is derived from, in order, and itself."""
    return [asset for asset in assets_of(trains=trains) if asset not in OPTIONAL]


EVERYTHING = "*regression_report"
"""Dagster's asset selection for the whole graph."""


def downstream_selection(asset: str) -> str:
    """Dagster's asset selection for an asset and everything downstream of it."""
    return f'key:"{asset}/*"+' if asset == "preference_scores" else f"{asset}*"


def rematerialize_command(asset: str) -> str:
    """The command that materialises an asset and everything downstream of it."""
    return f"dagster asset materialize --select '{downstream_selection(asset)}'"


_NAMES = "|".join(ASSET_GRAPH)
_CLAUSE = re.compile(rf"([*+]*)((?:{_NAMES})(?:/\w+)?)([*+]*)")
_NAME = re.compile(rf'(?<![\w/"])(?:key:)?("?)((?:{_NAMES})(?:/[\w*]+)?)\1(?![\w/])')
_GROUP = re.compile(r'group:("?)(\w+)\1')


def study_selection(selection: str, prefix: str) -> str:
    """A selection of assets, as of the study whose keys begin with ``prefix``.

    Examples:
        >>> study_selection("*regression_report", "spring")
        '*spring/regression_report'
        >>> study_selection("events or sessions+", "spring")
        'key:"spring/events" or key:"spring/sessions"+'
        >>> study_selection('key:"preference_scores/*"+', "spring")
        'key:"spring/preference_scores/*"+'
    """
    if not prefix:
        return selection
    return ",".join(_clause(one, prefix) for one in selection.split(","))


def _clause(text: str, prefix: str) -> str:
    if found := _CLAUSE.fullmatch(text.strip()):  # Dagster allows * before a single name only
        return f"{found[1]}{prefix}/{found[2]}{found[3]}"
    text = _GROUP.sub(rf'group:"{group_prefix(prefix)}\2"', text)
    return _NAME.sub(rf'key:"{prefix}/\2"', text)


def resource_key(prefix: str) -> str:
    """The key of a study's resource in Dagster: ``study``, or ``study_spring``."""
    return f"study_{prefix.replace('-', '_')}" if prefix else "study"


def group_prefix(prefix: str) -> str:
    """How the groups, jobs and sensors of a study are named in Dagster: ``spring__``."""
    return f"{prefix.replace('-', '_')}__" if prefix else ""
