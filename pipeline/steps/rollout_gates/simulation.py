"""The simulation gate: simulated users of the synthetic shop, of which half get the candidate."""

import math
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import polars as pl

from pipeline.artifacts.storage import StudyPaths
from pipeline.core.contracts import Kpi
from pipeline.core.errors import StudyError
from pipeline.experiment.design.assignment import N_BUCKETS
from pipeline.experiment.design.traffic_plan import Group, TrafficPlan
from pipeline.experiment.kpis.contracts import TERMS
from pipeline.recommender.recommender import Recommender
from pipeline.rollout.decisions.comparison import Comparison, compare_kpi
from pipeline.rollout.gates import Gate, GateEvidence
from pipeline.rollout.plan import RolloutPlan
from pipeline.rollout.served import ArmName
from pipeline.rollout.sums import KpiSums, UserSums
from pipeline.serving.ranking.snapshot import paths_of_arm
from pipeline.simulator.shop_experiment import SimulationConfig, simulate_shop
from pipeline.steps.rollout_gates.not_worse import Change, evidence_of, failed
from pipeline.study import LogSource, Study, level_of
from pipeline.study.rollout import SimulationGate


def check_simulation(
    gate: SimulationGate, plan: RolloutPlan, study: Study, paths: StudyPaths
) -> GateEvidence:
    """Simulate an experiment of both arms for every seed, and compare their KPIs over all of them.

    Raises:
        StudyError: if the study is not of the synthetic shop, or the arms have two models or two sets of rules.
    """
    if (
        study.experiment.source is not LogSource.SIMULATED_SHOP
        or plan.candidate.model != plan.incumbent.model
        or plan.candidate.rules != plan.incumbent.rules
    ):
        arms = " and ".join(one.with_model for one in (plan.candidate, plan.incumbent))
        msg = (
            f"rollout.gates.simulation needs experiment.source = simulated-shop and two preferences of one model "
            f"under the same rules, but the source is {study.experiment.source} and the arms are {arms}; set it to "
            "null to skip it"
        )
        raise StudyError(msg)
    own, traffic = paths_of_arm(plan.candidate, paths), _traffic(plan, study)
    recommender = Recommender.load(own).with_axis(traffic.second_axis, study, own)
    config = replace(
        SimulationConfig.of(study),
        experiment=replace(study.experiment, users=gate.users),
        exploration=None,
    )
    logs = [
        simulate_shop(recommender, traffic, replace(config, seed=study.study.seed + seed))
        for seed in range(gate.seeds)
    ]
    changes = list[Change]()
    for kpi, margin in gate.not_worse.items():
        found = [compare_kpi(_sums(log, kpi)) for log in logs]
        known = [one for one in found if one is not None]
        if len(known) < len(found):
            return failed(
                Gate.SIMULATION,
                f"{kpi} is 0 in {len(found) - len(known)} of {len(found)} simulations",
            )
        changes.append(_over_seeds(kpi, known, margin))
    return evidence_of(Gate.SIMULATION, changes, level=plan.config.level)


def _over_seeds(kpi: Kpi, found: list[Comparison], margin: float) -> Change:
    """The mean of independent experiments."""
    errors = np.array([one.standard_error for one in found])
    return Change(
        name=kpi.value,
        log_ratio=float(np.mean([one.difference for one in found])),
        standard_error=math.sqrt(float((errors**2).sum())) / len(found),
        margin=margin,
    )


def _traffic(plan: RolloutPlan, study: Study) -> TrafficPlan:
    """Half of the users for each arm."""
    half, axis = N_BUCKETS // 2, study.experiment.second_axis
    arms = {ArmName.CANDIDATE: plan.candidate, ArmName.INCUMBENT: plan.incumbent}
    groups = [
        Group(
            name=name.value,
            preference_id=arm.preference_id,
            preference=arm.preference,
            first_bucket=number * half,
            last_bucket=(number + 1) * half - 1,
            level=level_of(axis, arm.preference_id),
        )
        for number, (name, arm) in enumerate(arms.items())
    ]
    return TrafficPlan(
        experiment=plan.config.release,
        salt=plan.salt,
        list_length=study.experiment.list_length,
        groups=tuple(groups),
        second_axis=axis,
        model=plan.candidate.model,
    )


def _sums(log: pl.DataFrame, kpi: Kpi) -> KpiSums:
    """The KPI's sums over the users of each arm."""
    users = log.group_by("user", "group").agg(
        users=pl.lit(1),
        impressions=pl.len(),
        clicks=pl.col("clicked").cast(pl.Int64).sum(),
        orders=pl.col("ordered").cast(pl.Int64).sum(),
        units=pl.col("units").cast(pl.Int64).sum(),
    )
    trials, successes = TERMS[kpi]
    if successes not in users.columns:
        msg = f"rollout.gates.simulation.not_worse: {kpi} needs revenue, which simulated logs do not have; remove it"
        raise StudyError(msg)
    own = {name: users.filter(pl.col("group") == name.value) for name in ArmName}
    arms = {
        name: UserSums.of(found.select(trials).to_numpy(), found.select(successes).to_numpy())
        for name, found in own.items()
    }
    return KpiSums(
        candidate=arms[ArmName.CANDIDATE],
        incumbent=arms[ArmName.INCUMBENT],
        until=datetime.now(UTC),
    )
