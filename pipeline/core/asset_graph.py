"""The asset graph, for code that does not import Dagster.

``assets`` declares the same graph to Dagster; a test compares the two.
"""

ASSET_GRAPH: dict[str, tuple[str, ...]] = {
    "raw_events": (),
    "events": ("raw_events",),
    "sessions": ("events",),
    "conditioned_model": ("sessions",),
    "preference_scores": ("conditioned_model", "sessions"),
    "offline_metrics": ("preference_scores",),
    "pareto_front": ("offline_metrics",),
    "traffic_plan": ("pareto_front", "offline_metrics", "conditioned_model"),
    "experiment_log_files": ("traffic_plan", "conditioned_model"),
    "experiment_log": ("experiment_log_files", "traffic_plan"),
    "group_kpis": ("experiment_log", "traffic_plan"),
    "regression_estimates": ("group_kpis", "offline_metrics"),
    "regression_report": ("regression_estimates", "pareto_front", "conditioned_model"),
}
"""The upstream assets of each asset, in topological order. The assets that score one preference each
are one entry, ``preference_scores``."""

EVERYTHING = "*regression_report"
"""Dagster's asset selection for the whole graph."""


def rematerialize_command(asset: str) -> str:
    """The command that materialises an asset and everything downstream of it."""
    selection = f'key:"{asset}/*"+' if asset == "preference_scores" else f"{asset}*"
    return f"dagster asset materialize --select '{selection}'"
