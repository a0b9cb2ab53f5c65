"""The gates of a candidate: what passes, what fails, and what is left behind."""

import shutil
from dataclasses import replace
from math import log
from types import SimpleNamespace

import polars as pl
import pytest
from scipy import stats

from pipeline.artifacts.storage import KEPT_MODELS, StudyPaths
from pipeline.core.contracts import ALL_TARGETS, Kpi
from pipeline.core.errors import DataError, QualityError, StudyError
from pipeline.results.counterfactual import SupportLimit, SupportReason, SupportStatus
from pipeline.results.counterfactual_estimates import PolicyKpi
from pipeline.rollout.gates import Gate, Outcome, read_evidence, read_gated_plan
from pipeline.steps.rollout_gates import counterfactual as gate_module
from pipeline.steps.rollout_gates.counterfactual import check_counterfactual
from pipeline.steps.rollout_gates.not_worse import Change
from pipeline.steps.rollout_gates.offline import check_offline
from pipeline.steps.rollout_gates.plan import NoRolloutError
from pipeline.steps.rollout_gates.simulation import check_simulation
from pipeline.steps.run import run_step
from pipeline.study import PARAMS_FILE, AxisKind, ExperimentConfig, SecondAxis, load_study
from pipeline.study.rollout import CounterfactualGate, OfflineGate
from tests.pipeline.rollout.releases import arm, gated

VALUES = {"recall": (0.5, 0.4), "novelty": (3.0, 2.0), "gini": (0.7, 0.5), "empty": (0.0, 0.2)}


@pytest.fixture
def paths(tmp_path):
    """A study that keeps two models with metrics of two preferences.

    Variances are 0.0004 each, errors are correlated by 0.9.
    """
    for model in ("0" * 64, "1" * 64):
        kept = StudyPaths(tmp_path, "shop", model=model)
        kept.artifact("conditioned_model").mkdir(parents=True)
        write_metrics(kept.artifact("offline_metrics"))
    return StudyPaths(tmp_path, "shop")


def write_metrics(folder):
    folder.mkdir()
    pl.DataFrame(
        [
            (metric, ALL_TARGETS, one, value, metric != "gini")
            for metric, values in VALUES.items()
            for one, value in zip(("p07", "p04"), values, strict=True)
        ],
        schema=["metric", "segment", "preference_id", "value", "higher_is_better"],
        orient="row",
    ).write_parquet(folder / "offline_metrics.parquet")
    pl.DataFrame(
        [
            (metric, one, other, 0.0004 if one == other else 0.00036)
            for metric in VALUES
            for one in ("p07", "p04")
            for other in ("p07", "p04")
        ],
        schema=["metric", "preference_id", "other_preference_id", "covariance"],
        orient="row",
    ).write_parquet(folder / "offline_metric_covariance.parquet")


def check(paths, *, plan=None, **margins):
    return check_offline(OfflineGate(not_worse=margins), plan or gated().plan, None, paths)


def test_the_bound_of_a_paired_change_by_hand(paths):
    found = check(paths, recall=0.1)

    variance = 0.0004 / 0.25 + 0.0004 / 0.16 - 2 * 0.00036 / 0.2
    bound = log(0.5 / 0.4) - stats.norm.ppf(0.95) * variance**0.5
    assert found.outcome is Outcome.PASSED
    assert found.numbers["recall"]["change"] == pytest.approx(0.25)
    assert log(1 + found.numbers["recall"]["at_least"]) == pytest.approx(bound)


def test_two_models_have_independent_errors(paths):
    plan = gated().plan
    other = replace(plan, candidate=arm("p07", model="1"))

    paired, apart = (check(paths, plan=one, recall=0.1) for one in (plan, other))
    assert apart.numbers["recall"]["at_least"] < paired.numbers["recall"]["at_least"]


def test_one_metric_that_loses_too_much_fails(paths):
    """Of the Gini index lower is better: 0.7 instead of 0.5 is a loss of 1 - 5/7 = 28.6%."""
    found = check(paths, recall=0.1, gini=0.1)

    assert found.outcome is Outcome.FAILED
    assert found.reason.startswith("gini -28.6%, at least -")
    assert "recall" not in found.reason


def test_what_has_no_ratio_or_does_not_exist(paths):
    assert check(paths, empty=0.1).outcome is Outcome.FAILED
    with pytest.raises(StudyError, match="ndcg of p07 is not computed; expected empty, gini"):
        check(paths, ndcg=0.1)


@pytest.fixture
def counterfactual(paths, monkeypatch):
    """The gate with a margin of 10%, where both estimates are given, with intervals of ±0.02 at 80%."""

    def check(*values, candidate="p07", **experiment):
        left = list(values)

        def evaluate(_study, _paths, question):
            assert question.model == paths.folder / KEPT_MODELS / ("0" * 64)
            return policies_of(left.pop(0))

        monkeypatch.setattr(gate_module, "evaluate_policies_of", evaluate)
        study = SimpleNamespace(experiment=ExperimentConfig(**experiment))
        plan = replace(gated().plan, candidate=arm(candidate))
        return check_counterfactual(CounterfactualGate(not_worse=0.1), plan, study, paths)

    return check


def policies_of(value):
    """An estimate of the CTR, as the only one."""
    kpi = PolicyKpi(
        kpi=Kpi.CTR,
        estimator="PBM-DR",
        chosen=True,
        status=SupportStatus.USABLE,
        limits=(),
        value=value,
        interval=(value - 0.02, value + 0.02),
        realised=0.2,
        lift=None,
        lift_interval=None,
        nested_distance=None,
        no_choice=None,
    )
    return SimpleNamespace(level=0.8, policies=(SimpleNamespace(kpis=(kpi,)),))


def test_the_error_of_an_estimate_is_that_of_its_own_interval(counterfactual):
    """±0.02 at 80% is 1.28 standard errors."""
    found = counterfactual(0.25, 0.2)

    error = 0.02 / stats.norm.ppf(0.9)
    bound = log(0.25 / 0.2) - stats.norm.ppf(0.95) * error * (1 / 0.25**2 + 1 / 0.2**2) ** 0.5
    assert log(1 + found.numbers["ctr"]["at_least"]) == pytest.approx(bound)


@pytest.mark.parametrize("values", [(-0.01, 0.2), (0.2, -0.01), (0.0, 0.2)])
def test_estimates_at_or_below_0_have_no_ratio(counterfactual, values):
    found = counterfactual(*values)

    assert found.outcome is Outcome.FAILED
    assert "which have no ratio" in found.reason


def test_estimates_are_not_taken_for_those_of_another_level(counterfactual):
    """``p07+diversity0.3`` has the preference of p07, and other lists."""
    axis = SecondAxis(kind=AxisKind.DIVERSITY, levels=(0.0, 0.3))

    found = counterfactual(0.2, 0.2, candidate="p07+diversity0.3", second_axis=axis)

    assert found.outcome is Outcome.FAILED
    assert found.reason.startswith("p07+diversity0.3 differs from its preference in diversity")


def test_a_change_that_is_not_known_does_not_pass():
    change = Change(name="ctr", log_ratio=0.0, standard_error=0.0304, margin=0.05)

    assert change.passes(0.95) is (1 - 2.718281828 ** (-1.6448536 * 0.0304) < 0.05)
    assert not replace(change, standard_error=0.2).passes(0.95)


def test_the_counterfactual_gate_says_what_limits_the_support(paths, monkeypatch):
    limit = SupportLimit(
        reason=SupportReason.SUPPORT, value=0.9, limit=0.95, status=SupportStatus.WEAK
    )
    weak = PolicyKpi(
        kpi=Kpi.CTR, estimator="PBM-DR", chosen=True, status=SupportStatus.WEAK, limits=(limit,),
        value=0.02, interval=(0.01, 0.03), realised=0.02, lift=0.0, lift_interval=(-0.1, 0.1),
        nested_distance=0.1, no_choice=None,
    )  # fmt: skip
    monkeypatch.setattr(gate_module, "_estimate", lambda *_: (weak, 0.8))
    study = SimpleNamespace(experiment=ExperimentConfig())

    found = check_counterfactual(CounterfactualGate(not_worse=0.1), gated().plan, study, paths)

    assert found.outcome is Outcome.FAILED
    assert (
        found.reason
        == "the log is weak for ctr of p07; expected usable. support 90.0% is below 95%"
    )


@pytest.mark.slow
def test_the_gates_of_a_finished_study(finished_study, tmp_path):
    """The better preference passes and its plan is written; a worse one fails and takes the plan away."""
    paths = StudyPaths(tmp_path, "synthetic-shop")
    shutil.copytree(finished_study, tmp_path, dirs_exist_ok=True)
    front = pl.read_parquet(paths.artifact("pareto_front", "pareto_front.parquet")).sort("recall")
    worst, best = front["preference_id"][0], front["preference_id"][-1]

    def study(candidate, incumbent):
        gates = {
            "offline": {"not_worse": {"recall": 0.01}},
            "simulation": {"not_worse": {Kpi.CTR.value: 0.9}, "seeds": 2, "users": 200},
        }
        arms = {"candidate": {"preference": candidate}, "incumbent": {"preference": incumbent}}
        return load_study(
            tmp_path / PARAMS_FILE, {"rollout": {"release": "spring", **arms, "gates": gates}}
        )

    gates = [gate.asset for gate in Gate]
    good, bad = study(best, worst), study(worst, best)
    for asset in gates:
        run_step(asset, good, paths)
    plan = run_step("rollout_plan", good, paths).value
    assert [one.outcome for one in plan.gates] == ["passed", "skipped", "passed"]
    assert read_gated_plan(paths) == plan
    assert plan.gates[2].numbers["ctr"]["at_least"] > -0.9

    axis = SecondAxis(kind=AxisKind.DIVERSITY, levels=(0.0, 0.9))
    wide = replace(good, experiment=replace(good.experiment, second_axis=axis))
    cell = replace(plan.plan.candidate, preference_id=f"{best}+diversity0.9")
    changes = [
        check_simulation(good.rollout.gates.simulation, one, wide, paths).numbers["ctr"]["change"]
        for one in (plan.plan, replace(plan.plan, candidate=cell))
    ]
    assert changes[0] == plan.gates[2].numbers["ctr"]["change"]
    assert changes[1] != changes[0]  # its lists are re-ranked

    with pytest.raises(QualityError, match=f"candidate {worst} fails the offline gate: recall -"):
        run_step("candidate_gate_offline", bad, paths)
    assert not paths.artifact("rollout_plan").exists()
    assert read_evidence(Gate.OFFLINE, paths)[1].outcome is Outcome.FAILED
    for asset in gates[1:]:
        run_step(asset, bad, paths)
    with pytest.raises(QualityError, match="No rollout_plan is written"):
        run_step("rollout_plan", bad, paths)
    with pytest.raises(DataError, match="of another candidate"):
        run_step("rollout_plan", good, paths)
    with pytest.raises(NoRolloutError, match="rollout is null"):
        run_step("rollout_plan", load_study(tmp_path / PARAMS_FILE), paths)
