"""The definitions, written out: assets, checks, jobs and schedule."""

from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest
import yaml
from dagster._core.definitions.assets.graph.base_asset_graph import BaseAssetNode

from assets.definitions import build_definitions, defs
from assets.loaded_study import LoadedStudy
from pipeline.artifacts.project import project_studies
from pipeline.core.contracts import SESSIONS
from pipeline.quality.suites import RULES
from pipeline.results.diagnostics import CHECKS
from pipeline.study import PARAMS_FILE

SCORES = {f"preference_scores/p{number:02d}" for number in range(11)}
CHAIN = {
    "raw_events": set(),
    "events": {"raw_events"},
    "sessions": {"events"},
    "conditioned_model": {"sessions"},
    **{score: {"conditioned_model", "sessions"} for score in SCORES},
    "offline_metrics": SCORES | {"conditioned_model", "sessions"},
    "pareto_front": {"offline_metrics"},
    "traffic_plan": {"pareto_front", "offline_metrics", "conditioned_model", "sessions"},
    "experiment_log_files": {"traffic_plan", "conditioned_model", "sessions"},
    "experiment_log": {"experiment_log_files", "traffic_plan"},
    "group_kpis": {"experiment_log", "traffic_plan"},
    "regression_estimates": {
        *("group_kpis", "experiment_log", "traffic_plan", "offline_metrics", "conditioned_model"),
    },
    "regression_report": {
        *("regression_estimates", "group_kpis", "experiment_log", "traffic_plan"),
        *("pareto_front", "offline_metrics", "conditioned_model", "sessions", "events"),
    },
}
COUNTERFACTUAL = {
    "paired_lists": {
        *("experiment_log", "experiment_log_files", "traffic_plan", "conditioned_model"),
        "sessions",
    },
    "counterfactual_estimates": {"paired_lists", "experiment_log", "traffic_plan"},
    "counterfactual_report": {"counterfactual_estimates"},
}
ROLLOUT = {
    "candidate_gate_offline": {"offline_metrics", "pareto_front", "conditioned_model"},
    "candidate_gate_counterfactual": {"candidate_gate_offline", "counterfactual_estimates"},
    "candidate_gate_simulation": {"candidate_gate_counterfactual"},
    "rollout_plan": {"candidate_gate_simulation"},
    "rollout_status": set(),
}

ROLLOUT_CHECKS = (
    *("guardrails", "signals", "sample_ratio", "data_flows"),
    *("incumbent_ready", "events_intact"),
)

GROUPS = {
    "1_data": {"raw_events", "events", "sessions"},
    "2_model": {"conditioned_model"},
    "3_scores": SCORES,
    "4_evaluation": {"offline_metrics", "pareto_front"},
    "5_experiment": {"traffic_plan", "experiment_log_files", "experiment_log", "group_kpis"},
    "6_inference": {"regression_estimates", "regression_report"},
    "7_counterfactual": set(COUNTERFACTUAL),
    "8_rollout": set(ROLLOUT),
}
REPORTING = {"experiment_log", "group_kpis", "regression_estimates", "regression_report"}
JOBS = {
    "study": set(CHAIN),
    "retrain": set.union(*(GROUPS[group] for group in list(GROUPS)[:4])),
    "ingest_and_report": {"experiment_log_files", *REPORTING},
}
TABLES = {
    *("events", "sessions", *SCORES, "offline_metrics", "pareto_front"),
    *("experiment_log_files", "experiment_log", "group_kpis", "paired_lists"),
}


def nodes() -> dict[str, BaseAssetNode]:
    graph = defs.resolve_asset_graph()
    return {key.to_user_string(): graph.get(key) for key in graph.get_all_asset_keys()}


def test_groups_are_the_parts_of_the_chain():
    found = {name: node.group_name for name, node in nodes().items()}

    assert found == {name: group for group, names in GROUPS.items() for name in names}


def test_every_asset_has_an_owner_kinds_and_a_version():
    lacking = [
        name
        for name, node in nodes().items()
        if len(node.owners) != 1 or not node.kinds or not node.code_version
    ]

    assert lacking == []


def test_every_table_s_columns_are_typed_and_explained():
    schemas = {
        name: node.metadata["dagster/column_schema"]
        for name, node in nodes().items()
        if "dagster/column_schema" in node.metadata
    }

    assert set(schemas) == TABLES
    assert [c.name for c in schemas["sessions"].columns] == list(SESSIONS.columns)
    assert [
        f"{name}.{column.name}"
        for name, schema in schemas.items()
        for column in schema.columns
        if not column.description or not column.type
    ] == []


def test_model_and_report_have_a_weekly_freshness_policy():
    windows = {
        name: (policy.warn_window.to_timedelta(), policy.fail_window.to_timedelta())
        for name, node in nodes().items()
        if (policy := node.freshness_policy)
    }

    week = (timedelta(days=8), timedelta(days=15))
    assert windows == {"conditioned_model": week, "regression_report": week}


@pytest.mark.parametrize("job", JOBS)
def test_a_job_is_a_part_of_the_chain(job):
    selected = defs.resolve_job_def(job).asset_layer.executable_asset_keys

    assert {key.to_user_string() for key in selected} == JOBS[job]


def test_asset_graph_is_the_designs():
    graph = defs.resolve_asset_graph()

    found = {
        key.to_user_string(): {parent.to_user_string() for parent in graph.get(key).parent_keys}
        for key in graph.get_all_asset_keys()
    }

    assert found == CHAIN | COUNTERFACTUAL | ROLLOUT


def test_every_asset_has_a_description():
    graph = defs.resolve_asset_graph()

    undescribed = [
        key.to_user_string() for key in graph.get_all_asset_keys() if not graph.get(key).description
    ]

    assert undescribed == []


def test_every_rule_and_diagnostic_is_an_asset_check():
    graph = defs.resolve_asset_graph()

    found = {(key.asset_key.to_user_string(), key.name) for key in graph.asset_check_keys}

    rules = {(asset, rule.name) for asset, rules in RULES.items() for rule in rules}
    of_rollout = {("rollout_status", name) for name in ROLLOUT_CHECKS}
    assert found == rules | {("regression_estimates", name) for name in CHECKS} | of_rollout


def test_no_asset_is_partitioned():
    graph = defs.resolve_asset_graph()

    assert not any(graph.get(key).is_partitioned for key in graph.get_all_asset_keys())


def test_weekly_schedule_requests_the_whole_study_on_monday():
    instance = dg.DagsterInstance.ephemeral()
    monday = datetime(2026, 11, 23, 3, tzinfo=UTC)
    context = dg.build_schedule_context(instance=instance, scheduled_execution_time=monday)

    (retrain_weekly,) = defs.schedules or ()
    tick = retrain_weekly.evaluate_tick(context)

    assert len(tick.run_requests or []) == 1
    assert retrain_weekly.cron_schedule == "0 3 * * 1"
    assert retrain_weekly.job_name == "study"
    assert retrain_weekly.default_status is dg.DefaultScheduleStatus.STOPPED


def test_with_a_rollout_the_schedule_leaves_what_is_served_as_it_is(project):
    """It trains and checks the candidate; the traffic plan, which the endpoint follows, is not made again."""
    file = project / PARAMS_FILE
    arms = {"candidate": {"preference": "p05"}, "incumbent": {"preference": "p04"}}
    rollout = {"rollout": {"release": "spring", **arms}}
    file.write_text(yaml.safe_dump(yaml.safe_load(file.read_text()) | rollout), encoding="utf-8")

    own = build_definitions([LoadedStudy.of(one) for one in project_studies(project)])

    (weekly,) = own.schedules or ()
    assert weekly.job_name == "retrain"
    keys = own.resolve_job_def("retrain").asset_layer.executable_asset_keys
    names = {key.to_user_string() for key in keys if key.path[0] != "preference_scores"}
    assert names == JOBS["retrain"] - SCORES | set(ROLLOUT) - {"rollout_status"}
