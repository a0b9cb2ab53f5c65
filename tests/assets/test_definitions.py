"""What Dagster is told: assets, checks, job and schedule, written out."""

from datetime import UTC, datetime

import dagster as dg

from assets.definitions import defs
from assets.jobs import retrain_weekly
from pipeline.inference.checks import HEALTH_CHECKS
from pipeline.quality.rules import RULES

SCORES = {f"preference_scores/p{number:02d}" for number in range(11)}
CHAIN = {
    "raw_events": set(),
    "events": {"raw_events"},
    "sessions": {"events"},
    "conditioned_model": {"sessions"},
    **{score: {"conditioned_model", "sessions"} for score in SCORES},
    "offline_metrics": SCORES,
    "pareto_front": {"offline_metrics"},
    "traffic_plan": {"pareto_front", "offline_metrics", "conditioned_model"},
    "experiment_log_files": {"traffic_plan", "conditioned_model"},
    "experiment_log": {"experiment_log_files", "traffic_plan"},
    "group_kpis": {"experiment_log", "traffic_plan"},
    "regression_estimates": {"group_kpis", "offline_metrics"},
    "regression_report": {"regression_estimates", "pareto_front", "conditioned_model"},
}


def test_asset_graph_is_the_designs():
    graph = defs.resolve_asset_graph()

    found = {
        key.to_user_string(): {parent.to_user_string() for parent in graph.get(key).parent_keys}
        for key in graph.get_all_asset_keys()
    }

    assert found == CHAIN


def test_every_asset_says_what_it_holds():
    graph = defs.resolve_asset_graph()

    undescribed = [
        key.to_user_string() for key in graph.get_all_asset_keys() if not graph.get(key).description
    ]

    assert undescribed == []


def test_every_rule_is_an_asset_check_and_so_is_the_health_of_the_experiment():
    graph = defs.resolve_asset_graph()

    found = {(key.asset_key.to_user_string(), key.name) for key in graph.asset_check_keys}

    rules = {(asset, rule.name) for asset, rules in RULES.items() for rule in rules}
    assert found == rules | {("regression_estimates", name) for name in HEALTH_CHECKS}


def test_no_asset_is_partitioned():
    graph = defs.resolve_asset_graph()

    assert not any(graph.get(key).is_partitioned for key in graph.get_all_asset_keys())


def test_weekly_schedule_asks_for_the_whole_study_on_monday():
    instance = dg.DagsterInstance.ephemeral()
    monday = datetime(2026, 11, 23, 3, tzinfo=UTC)
    context = dg.build_schedule_context(instance=instance, scheduled_execution_time=monday)

    tick = retrain_weekly.evaluate_tick(context)

    assert len(tick.run_requests or []) == 1
    assert retrain_weekly.cron_schedule == "0 3 * * 1"
    selected = defs.resolve_job_def("study").asset_layer.executable_asset_keys
    assert {key.to_user_string() for key in selected} == set(CHAIN)
