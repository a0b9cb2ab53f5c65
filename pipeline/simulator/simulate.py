"""Simulate the experiment of a study, by ``experiment.source``."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, assert_never

import numpy as np
import polars as pl

from models.progress import track
from pipeline.artifacts.raw_data import require_dataset
from pipeline.artifacts.storage import StudyPaths, read_table, write_json
from pipeline.core.contracts import ALL_TARGETS, Split
from pipeline.core.errors import StudyError
from pipeline.experiment.design.plan_checks import check_same_preferences
from pipeline.experiment.design.traffic_plan import TrafficPlan
from pipeline.experiment.log.log_files import EXTERNAL_PROVENANCE, write_log
from pipeline.experiment.log.reading.log_folder import TRUTH
from pipeline.inference.hypotheses.inputs import relative_change
from pipeline.recommender.recommender import Recommender
from pipeline.sessions.token_store import open_times, open_tokens
from pipeline.simulator import held_out_replay, planted_slopes, shop_experiment
from pipeline.simulator.click_model import Floats
from pipeline.simulator.fault_injection import write_simulated_log
from pipeline.simulator.ground_truth import shop_truth
from pipeline.simulator.shop_experiment import SimulationConfig
from pipeline.study import LogSource, Study
from pipeline.synthetic.generate_log import check_shop_log

_PROVENANCE = {
    LogSource.SIMULATED_SHOP: shop_experiment.PROVENANCE,
    LogSource.DIRECT: planted_slopes.PROVENANCE,
    LogSource.HELD_OUT_REPLAY: held_out_replay.PROVENANCE,
    LogSource.FILES: EXTERNAL_PROVENANCE,
}


def log_provenance(study: Study) -> dict[str, Any]:
    """Provenance of the study's log with its injected faults, for the report."""
    provenance, faults = _PROVENANCE[study.experiment.source], study.simulator.faults.active()
    if not faults:
        return provenance
    listed = ", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in faults.items())
    return provenance | {"how": f"{provenance['how']} Faults were injected: {listed}."}


def simulate_experiment(
    study: Study, paths: StudyPaths, plan: TrafficPlan, recommender: Recommender, folder: Path
) -> dict[str, Any] | None:
    """Write the log files of a simulated experiment, and its ground truth.

    Returns:
        The content of ``truth.json``, or None for a log without ground truth.
    """
    truth = None
    match study.experiment.source:
        case LogSource.SIMULATED_SHOP:
            check_shop_log(study, require_dataset(study, paths.root))
            config = SimulationConfig.of(study)
            _write([shop_experiment.simulate_shop(recommender, plan, config)], plan, study, folder)
            if study.simulator.truth_users:
                truth = shop_truth(recommender, plan, config)
        case LogSource.DIRECT:
            simulated = _direct_simulation(study, paths, plan)
            days = track(
                simulated.days(),
                study.experiment.days,
                "drawing the log",
                unit="impressions",
                size=len,
            )
            _write(days, plan, study, folder)
            truth = simulated.truth()
        case LogSource.HELD_OUT_REPLAY:
            replayed = _replay(study, paths, plan, recommender)
            write_log(replayed if plan.has_orders else replayed.drop("ordered", "units"), folder)
        case LogSource.FILES:
            msg = (
                "experiment.source = files: the log comes from files, there is nothing to simulate"
            )
            raise StudyError(msg)
        case _:
            assert_never(study.experiment.source)
    if truth is not None:
        write_json(folder / TRUTH, truth)
    return truth


def _write(days: Iterable[pl.DataFrame], plan: TrafficPlan, study: Study, folder: Path) -> None:
    rng = np.random.default_rng([study.study.seed, 5])
    write_simulated_log(days, plan, study.simulator.faults, folder, rng=rng)


def _direct_simulation(
    study: Study, paths: StudyPaths, plan: TrafficPlan
) -> planted_slopes.DirectSimulation:
    """A simulation with slopes on the study's offline metrics."""
    table = read_table(paths.require("offline_metrics", "offline_metrics.parquet"))
    check_same_preferences(plan, table)
    direct = study.simulator.direct
    x_ctr, x_cvr = (
        _relative(table, plan, slope.metric) for slope in (direct.ctr_slope, direct.cvr_slope)
    )
    return planted_slopes.DirectSimulation.of(
        plan, SimulationConfig.of(study), x_ctr=x_ctr, x_cvr=x_cvr
    )


def _relative(table: pl.DataFrame, plan: TrafficPlan, metric: str) -> Floats:
    """Relative change of each group's metric against the worst group."""
    values = table.filter(metric=metric, segment=ALL_TARGETS)
    known: dict[str, float | None] = dict(values.select("preference_id", "value").iter_rows())
    values_G = [known.get(group.preference_id) for group in plan.groups]
    x = relative_change(np.array(values_G, dtype=np.float64))
    if np.isnan(x).any():
        msg = (
            f"simulator.direct: {metric} of the groups is {values_G}, but a slope on it needs "
            "values above 0; choose another metric"
        )
        raise StudyError(msg)
    return x


def _replay(
    study: Study, paths: StudyPaths, plan: TrafficPlan, recommender: Recommender
) -> pl.DataFrame:
    """Replay the test sessions, or a random sample of ``experiment.users`` of them."""
    store = paths.require("sessions", "tokens.safetensors")
    sessions = read_table(paths.require("sessions", "sessions.parquet"))
    names = sessions.filter(pl.col("split") == Split.TEST.value)["session"].cast(pl.String)
    tokens, times, users = (
        open_tokens(store, Split.TEST),
        open_times(store, Split.TEST),
        study.experiment.users,
    )
    if tokens.n_sessions > users:
        rng = np.random.default_rng([study.study.seed, 8])
        rows = np.sort(rng.choice(tokens.n_sessions, users, replace=False))
        times, names = times[tokens.clicks_of(rows)], names[rows]
        tokens = tokens.take(rows)
    return held_out_replay.replay_sessions(
        recommender,
        plan,
        tokens=tokens,
        names=names.to_list(),
        times=times,
        seed=study.study.seed,
    )
