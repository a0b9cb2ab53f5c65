"""Counterfactual evaluation of a finished study: paired lists, estimates, page, and unserved policies."""

import json
from dataclasses import replace
from shutil import copytree

import numpy as np
import polars as pl
import pytest

from pipeline.artifacts.storage import KEPT_MODELS, StudyPaths
from pipeline.cli import main
from pipeline.core.contracts import Kpi
from pipeline.core.errors import DataError, MissingArtifact, StudyError
from pipeline.counterfactual.experiment.paired_table import read_pairs
from pipeline.counterfactual.experiment.stored_estimates import require_current_estimates
from pipeline.experiment.design.traffic_plan import read_plan
from pipeline.experiment.log.reading.shown_lists import UnpairableListsError
from pipeline.reporting.study_report import report_of_study
from pipeline.results.counterfactual import SupportStatus
from pipeline.rollout.gates import Outcome
from pipeline.steps.rollout_gates.counterfactual import check_counterfactual
from pipeline.steps.run import run_step
from pipeline.steps.unserved_policies import UnservedQuestion, evaluate_policies_of
from pipeline.study import PARAMS_FILE, Pin, RuleSet, ServingFilters, load_study
from pipeline.study.rollout import CounterfactualGate
from tests.pipeline.rollout.releases import arm, gated

pytestmark = pytest.mark.slow

ORIGIN = {"origin": "simulated", "how": "simulated"}


@pytest.fixture(scope="module")
def evaluated(finished_study, tmp_path_factory):
    """The finished study with more clicks in its log, and its counterfactual assets; read only."""
    folder = copytree(finished_study, tmp_path_factory.mktemp("policies"), dirs_exist_ok=True)
    study = load_study(folder / PARAMS_FILE)
    paths = StudyPaths.of(study, folder)
    rng = np.random.default_rng(0)
    for file in sorted(paths.artifact("experiment_log_files").glob("*.parquet")):
        with_clicks(pl.read_parquet(file), rng).write_parquet(file)
    assets = (
        *("experiment_log", "group_kpis", "regression_estimates"),
        *("paired_lists", "counterfactual_estimates", "counterfactual_report"),
    )
    return study, paths, {asset: run_step(asset, study, paths) for asset in assets}


def with_clicks(log, rng):
    """The log with clicks by position and item, at most one a list: half of the lists have one."""
    items = np.array(log["items"].to_list())
    attraction = 0.05 + 0.2 * (items.astype(np.int64) % 7) / 6
    clicked = rng.random(items.shape) < attraction * (1.0 + np.arange(items.shape[1])) ** -0.6
    rows, place = clicked.any(axis=1), clicked.argmax(axis=1)
    ordered = rows & (rng.random(len(rows)) < 0.2)
    chosen = pl.Series(items[np.arange(len(rows)), place])
    return log.with_columns(
        clicked=pl.Series(rows),
        ordered=pl.Series(ordered),
        units=pl.Series(ordered.astype(np.int32)),
        clicked_item=chosen.set(pl.Series(~rows), None),
    )


def test_the_counterfactual_gate_needs_a_log_that_supports_both_arms(evaluated):
    study, paths, _ = evaluated
    groups, model = read_plan(paths).groups, read_plan(paths).model

    def arm_of(group):
        return replace(arm(group.preference_id), preference=tuple(group.preference), model=model)

    def gate(candidate, incumbent, margin):
        plan = replace(gated().plan, candidate=arm_of(candidate), incumbent=arm_of(incumbent))
        return check_counterfactual(CounterfactualGate(not_worse=margin), plan, study, paths)

    same, narrow = gate(groups[0], groups[0], 0.5), gate(groups[0], groups[0], 1e-6)
    assert (same.outcome, narrow.outcome) == (Outcome.PASSED, Outcome.FAILED)
    assert same.numbers["ctr"]["change"] == 0
    assert narrow.reason.startswith("ctr +0.0%, at least -")

    revenue = CounterfactualGate(kpi=Kpi.REVENUE_PER_USER, not_worse=0.5)
    plan = replace(gated().plan, candidate=arm_of(groups[0]), incumbent=arm_of(groups[1]))
    unknown = check_counterfactual(revenue, plan, study, paths)
    first = groups[0].preference_id
    assert unknown.reason.startswith(f"the log is without this KPI for revenue_per_user of {first}")


def test_paired_lists_are_the_log_s_and_are_read_again(evaluated):
    _, paths, found = evaluated
    stored = read_pairs(paths)
    log = pl.concat(
        pl.read_parquet(file) for file in paths.artifact("experiment_log_files").glob("*.parquet")
    )

    assert stored.summary == found["paired_lists"].value
    assert stored.summary.equal_share > 0.99
    assert stored.summary.requests == log.height
    assert stored.pairs.click_NK.sum() == log["clicked"].sum()
    assert stored.pairs.amount_N("ordered").sum() == log["ordered"].sum()
    assert stored.pairs.amount_N("units").sum() == log["units"].sum()
    items = pl.read_parquet(paths.artifact("sessions", "items.parquet")).sort("index")["item"]
    shown = dict(log.select("impression", "items").iter_rows())
    for row in range(0, log.height, 97):
        own = stored.pairs.log.shown_NK[row]
        impression = stored.pairs.impressions[row]
        assert [str(items[int(item)]) for item in own] == shown[impression]


def test_every_kpi_and_group_has_an_estimate_next_to_its_realised_value(evaluated):
    _, paths, found = evaluated
    estimates = found["counterfactual_estimates"].value
    kpis = pl.read_parquet(paths.artifact("group_kpis", "group_kpis.parquet"))

    assert [one.kpi for one in estimates.kpis] == [
        Kpi.CTR,
        Kpi.CVR,
        Kpi.ORDERS_PER_IMPRESSION,
        Kpi.UNITS_PER_IMPRESSION,
    ]
    for check in estimates.kpis:
        rates = dict(kpis.filter(kpi=check.kpi.value).select("group", "rate").iter_rows())
        for estimator in check.estimators:
            assert {one.group: one.realised for one in estimator.groups} == pytest.approx(rates)
    refused = next(one for one in estimates.kpis[0].estimators if one.name == "IIPS")
    assert not refused.supported
    assert all(one.status is SupportStatus.NO_SUPPORT for one in refused.groups)


def test_every_number_of_recovery_has_a_head(evaluated):
    shown = evaluated[2]["counterfactual_estimates"].details["Recovery"]

    heads, _, *rows = shown.text.splitlines()

    assert rows
    assert {row.count(" | ") for row in rows} == {heads.count(" | ")}


def test_the_report_has_the_section_only_with_estimates_of_its_log(evaluated, tmp_path, caplog):
    study, paths, found = evaluated
    estimates = found["counterfactual_estimates"].value

    assert report_of_study(study, paths, origin=ORIGIN).counterfactual == estimates
    page = paths.artifact("counterfactual_report", "index.html").read_text("utf-8")
    assert 'id="counterfactual-lifts-0"' in page
    copy = StudyPaths(root=copytree(paths.root, tmp_path, dirs_exist_ok=True), name=paths.name)
    file = copy.artifact("counterfactual_estimates", "counterfactual_estimates.json")
    stale = json.loads(file.read_text("utf-8"))
    stale["pairing"]["log_version"] = "older"
    file.write_text(json.dumps(stale), "utf-8")
    assert report_of_study(study, copy, origin=ORIGIN).counterfactual is None
    assert "is of an older log, plan or model and is left out" in caplog.text
    with pytest.raises(DataError, match="of an older log"):
        evaluate_policies_of(study, copy, UnservedQuestion(preference=(0.5, 0.5)))
    with pytest.raises(DataError, match="of an older log"):
        require_current_estimates(copy)
    file.unlink()
    assert report_of_study(study, copy, origin=ORIGIN).counterfactual is None


def test_a_group_s_preference_is_estimated_near_what_the_group_realised(evaluated):
    """With its own rows among others the estimate is close to its own mean; unserved ones have new lists."""
    study, paths, found = evaluated
    check = found["counterfactual_estimates"].value.kpis[0]

    served = evaluate_policies_of(study, paths, UnservedQuestion())

    for policy, group in zip(served.policies, check.headline.groups, strict=True):
        assert policy.policy == group.group
        assert policy.new_lists == 0
        assert policy.diagnostics.support == pytest.approx(1)
        ctr = policy.kpis[0]
        assert ctr.value == pytest.approx(group.realised, rel=0.25)
        assert ctr.interval[0] < ctr.value < ctr.interval[1]


def test_rules_change_the_lists_and_refuse_without_support(evaluated):
    study, paths, _ = evaluated
    items = pl.read_parquet(paths.artifact("sessions", "items.parquet")).sort("index")["item"]
    shown = np.bincount(read_pairs(paths).pairs.log.lists_GNK.ravel(), minlength=len(items))
    rarest = [str(items[int(index)]) for index in shown.argsort(stable=True)[:2]]
    pins = (Pin(rule="pin", item=item, position=n) for n, item in enumerate(rarest, start=1))
    rules = RuleSet(rules=tuple(pins))
    preference = read_preference(paths)

    plain = evaluate_policies_of(study, paths, UnservedQuestion(preference=preference))
    pinned = evaluate_policies_of(
        study, paths, UnservedQuestion(preference=preference, rules=rules)
    )

    assert plain.policies[0].diagnostics.support > pinned.policies[0].diagnostics.support
    assert pinned.policies[0].new_lists > 0.9
    # the first two positions are a large part of what is examined
    assert pinned.policies[0].kpis[0].status is SupportStatus.NO_SUPPORT
    assert pinned.policies[0].kpis[0].value is None
    question = UnservedQuestion(
        preference=preference, rules=RuleSet(filters=ServingFilters(deny="none.txt"))
    )
    (paths.root / "none.txt").touch()
    nothing = evaluate_policies_of(study, paths, question)
    assert nothing.policies[0].kpis[0].value == pytest.approx(
        plain.policies[0].kpis[0].value, rel=0.02
    )


def test_requests_that_filters_leave_without_an_item_are_left_out(evaluated, tmp_path):
    """Two items are allowed, and what the session has seen is not: who has seen both gets no list."""
    study, paths, _ = evaluated
    items = pl.read_parquet(paths.artifact("sessions", "items.parquet")).sort("index")["item"]
    pairs = read_pairs(paths).pairs
    allowed = next(two for one in pairs.session_N if len(two := sorted(set(one.tolist()))) == 2)
    (tmp_path / "allow.txt").write_text("\n".join(map(str, items[allowed])), "utf-8")
    rules = RuleSet(filters=ServingFilters(seen=True, allow=str(tmp_path / "allow.txt")))
    question = UnservedQuestion(preference=read_preference(paths), rules=rules)

    found = evaluate_policies_of(study, paths, question).policies[0]

    seen_both = sum(set(allowed) <= set(one.tolist()) for one in pairs.session_N)
    assert found.left_out == seen_both > 0
    assert found.requests == len(pairs.users) - seen_both
    assert 0 <= found.diagnostics.support < 0.8
    assert found.is_refused


def read_preference(paths):
    plan = json.loads(paths.artifact("traffic_plan", "traffic_plan.json").read_text("utf-8"))
    return tuple(plan["groups"][1]["preference"])


def test_the_study_s_own_model_is_a_second_model(evaluated):
    study, paths, _ = evaluated
    preference = read_preference(paths)

    own = evaluate_policies_of(study, paths, UnservedQuestion(preference=preference))
    kept = paths.folder / KEPT_MODELS / read_plan(paths).model

    for folder in (paths.folder, kept):
        question = UnservedQuestion(preference=preference, model=folder)
        other = evaluate_policies_of(study, paths, question)
        assert other.policies[0].kpis == own.policies[0].kpis


@pytest.mark.parametrize(
    ("question", "error", "words"),
    [
        ({"preference": (1.0,)}, StudyError, "expected 2 weights of 0 or more"),
        ({"preference": (-1.0, 2.0)}, StudyError, "expected 2 weights of 0 or more"),
        ({"model": "absent"}, DataError, "has no conditioned_model"),
    ],
)
def test_bad_questions_have_one_line(evaluated, tmp_path, question, error, words):
    study, paths, _ = evaluated
    files = {name: tmp_path / value for name, value in question.items() if isinstance(value, str)}

    with pytest.raises(error, match=words):
        evaluate_policies_of(study, paths, UnservedQuestion(**{**question, **files}))


def test_the_command_prints_lines_and_json(evaluated, monkeypatch, capsys):
    _, paths, _ = evaluated
    monkeypatch.chdir(paths.root)

    assert main(["counterfactual"]) == 0
    assert "requests of" in capsys.readouterr().out
    assert main(["counterfactual", "--preference", ".5,.5", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["policies"][0]["preference"] == [0.5, 0.5]
    assert main(["counterfactual", "--policy", "new.csv"]) == 1
    assert "use it with --log" in capsys.readouterr().err


def test_a_log_without_lists_says_so(evaluated, tmp_path):
    study, paths, _ = evaluated
    copy = StudyPaths(root=copytree(paths.root, tmp_path, dirs_exist_ok=True), name=paths.name)
    for file in copy.artifact("experiment_log_files").glob("*.parquet"):
        pl.read_parquet(file).drop("session", "items", "clicked_item", "model").write_parquet(file)
    copy.artifact("experiment.duckdb").unlink()
    run_step("experiment_log", study, copy)

    with pytest.raises(UnpairableListsError, match=r"the log has no lists: .* paretoscope serve"):
        run_step("paired_lists", study, copy)


def test_estimates_need_paired_lists(finished_study):
    study = load_study(finished_study / PARAMS_FILE)

    with pytest.raises(MissingArtifact, match="--select paired_lists"):
        run_step("counterfactual_estimates", study, StudyPaths.of(study, finished_study))
