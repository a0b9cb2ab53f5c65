"""Several studies in one code location: their names never meet, and a run is of one study."""

import csv

import dagster as dg
import pytest

from assets.definitions import build_definitions
from assets.loaded_study import LoadedStudy
from pipeline.artifacts.project import project_studies
from pipeline.artifacts.storage import read_json
from pipeline.scaffold.init import add_study, create_project
from pipeline.scaffold.templates import NewStudy, Template

CLICKS = {"shop": {"control": 40, "treatment": 60}, "spring-sale": {"control": 70, "treatment": 30}}
"""Users with a click, of 100 per variant."""


def write_log(folder, clicks):
    with (folder / "impressions.csv").open("w", encoding="utf-8", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(["user", "variant", "timestamp", "clicked", "ordered", "units"])
        for variant, n in clicks.items():
            for user in range(100):
                minute = f"2026-03-0{2 + user % 7}T10:{user % 60:02d}:00"
                rows.writerow([f"{variant}-{user}", variant, minute, int(user < n), 0, 0])


@pytest.fixture
def studies(tmp_path, monkeypatch) -> dg.Definitions:
    """The definitions of a project with two A/B tests."""
    name, further = CLICKS
    folder = create_project(NewStudy(name=name, template=Template.AB_TEST), tmp_path)
    add_study(NewStudy(name=further, template=Template.AB_TEST, is_added=True), folder)
    monkeypatch.chdir(folder)
    for data, clicks in zip(("data/log", f"data/{further}"), CLICKS.values(), strict=True):
        write_log(folder / data, clicks)
    return build_definitions(LoadedStudy.of(one) for one in project_studies(folder))


def test_a_further_study_has_its_name_before_its_assets_jobs_and_groups(studies):
    graph = studies.resolve_asset_graph()
    keys = {key.to_user_string() for key in graph.get_all_asset_keys()}

    own = {"traffic_plan", "group_kpis", "regression_estimates", "regression_report"}
    assert own | {f"spring-sale/{name}" for name in own} <= keys
    assert not any("conditioned_model" in key for key in keys)  # variants train no model
    groups = {graph.get(key).group_name for key in graph.get_all_asset_keys()}
    assert groups == {
        *("5_experiment", "6_inference", "8_rollout"),
        *("spring_sale__5_experiment", "spring_sale__6_inference", "spring_sale__8_rollout"),
    }
    assert {job.name for job in studies.jobs or ()} == {
        *("study", "ingest_and_report", "watch_rollout", "roll_back"),
        *("spring_sale__study", "spring_sale__ingest_and_report"),
        *("spring_sale__watch_rollout", "spring_sale__roll_back"),
    }
    assert {one.name for one in studies.schedules or ()} == {
        "retrain_weekly",
        "spring_sale__retrain_weekly",
    }
    assert {one.name for one in studies.sensors or ()} == {
        *("new_log_files", "spring_sale__new_log_files"),
        *("send_result", "send_failure"),  # of both
        *("rollout_watch", "spring_sale__rollout_watch"),
    }
    spring = dg.AssetKey(["spring-sale", "group_kpis"])
    parents = {key.to_user_string() for key in graph.get(spring).parent_keys}
    assert parents == {"spring-sale/experiment_log", "spring-sale/traffic_plan"}


@pytest.mark.slow
def test_runs_of_two_studies_write_their_own_artifacts_and_say_their_study(studies, tmp_path):
    instance = dg.DagsterInstance.ephemeral()

    for job, (name, clicks) in zip(("study", "spring_sale__study"), CLICKS.items(), strict=True):
        result = studies.resolve_job_def(job).execute_in_process(instance=instance)
        assert result.success
        run = instance.get_run_by_id(result.run_id)
        assert run is not None
        assert run.tags["study"] == name
        report = read_json(tmp_path / "shop/data/studies" / name / "report/report.json")
        ctr = {r["group"]: r["successes"] for r in report["group_kpis"] if r["kpi"] == "ctr"}
        assert ctr == clicks
        assert report["study"] == name
        text = (tmp_path / "shop/data/studies" / name / "report/report.md").read_text("utf-8")
        assert (
            "## Groups" in text
        )  # without a metric there are no slopes, and no empty tables of them
        assert not any(f"## {one}" in text for one in ("Table 1", "Figure 1", "Robustness"))
    spring = instance.get_latest_materialization_event(dg.AssetKey(["spring-sale", "group_kpis"]))
    default = instance.get_latest_materialization_event(dg.AssetKey("group_kpis"))
    assert spring is not None
    assert default is not None
    assert spring.run_id != default.run_id


def test_a_run_of_two_studies_is_refused_before_any_work(studies, tmp_path):
    both = [dg.AssetKey("traffic_plan"), dg.AssetKey(["spring-sale", "traffic_plan"])]

    result = studies.resolve_implicit_global_asset_job_def().execute_in_process(
        asset_selection=both, raise_on_error=False
    )

    failures = [one for one in result.all_events if one.is_step_failure]
    assert len(failures) == 2
    for one in failures:
        assert "a run is of one study" in one.step_failure_data.error_display_string
    assert not (tmp_path / "shop/data/studies").exists()


def test_an_override_of_a_further_study_may_not_rename_it(studies):
    instance = dg.DagsterInstance.ephemeral()
    config = {"resources": {"study_spring_sale": {"config": {"overrides": {"study.name": "shop"}}}}}

    result = studies.resolve_job_def("spring_sale__study").execute_in_process(
        instance=instance, run_config=config, raise_on_error=False
    )

    assert not result.success
    (failure,) = [one for one in result.all_events if one.is_step_failure]
    assert (
        "study.name = shop, expected spring-sale" in failure.step_failure_data.error_display_string
    )


@pytest.mark.slow
def test_a_run_says_what_it_takes_from_the_rates_of_the_last_run(studies):
    instance = dg.DagsterInstance.ephemeral()
    job = studies.resolve_job_def("spring_sale__study")
    said = []
    for _ in range(2):
        run = job.execute_in_process(instance=instance)
        entries = instance.all_logs(run.run_id)
        said.append([one.user_message for one in entries if one.user_message])
        records = run.asset_materializations_for_node("spring_sale__group_kpis")

    first, second = (
        [line for line in lines if line.startswith("the run will take ")] for lines in said
    )
    assert len(first) == len(second) == 1
    assert first[0].endswith("(no earlier run to go by)")
    assert second[0].endswith("(from the rates of the last run)")
    done = [line for line in said[1] if line.startswith("done in ")]
    assert len(done) == 6
    assert all(line.endswith(" left") for line in done[:-1])
    assert " left" not in done[-1]
    for record in records:
        assert record.metadata["seconds"].value > 0
