"""The simulated experiment of a study: which users there are depends on where its sessions come from."""

from typing import Any, assert_never

import polars as pl

from pipeline.errors import StudyError
from pipeline.experiment.plan import TrafficPlan
from pipeline.recommend import Recommender
from pipeline.schemas import Split
from pipeline.sessions.store import open_times, open_tokens
from pipeline.simulator import replay, shop
from pipeline.storage import StudyPaths, read_table
from pipeline.study import LogSource, Study

BROUGHT = {
    "origin": "real",
    "how": "The log was brought as files; what users saw and did was recorded by your own system.",
}


def describe_log(source: LogSource) -> dict[str, Any]:
    """What a reader of the report must know about where the log comes from."""
    match source:
        case LogSource.SIMULATED_SHOP:
            return shop.describe()
        case LogSource.REPLAY:
            return replay.describe()
        case LogSource.FILES:
            return BROUGHT
        case _:
            assert_never(source)


def simulate_experiment(
    study: Study, paths: StudyPaths, plan: TrafficPlan, recommender: Recommender
) -> pl.DataFrame:
    """The exposures of a simulated or replayed experiment, in the log's contract."""
    match study.experiment.source:
        case LogSource.SIMULATED_SHOP:
            return shop.simulate_shop(
                recommender,
                plan,
                world=study.world,
                section=study.experiment,
                seed=study.study.seed,
            )
        case LogSource.REPLAY:
            return _replay(study, paths, plan, recommender)
        case LogSource.FILES:
            msg = "experiment.source = files: the log is brought, there is nothing to simulate"
            raise StudyError(msg)
        case _:
            assert_never(study.experiment.source)


def _replay(
    study: Study, paths: StudyPaths, plan: TrafficPlan, recommender: Recommender
) -> pl.DataFrame:
    store = paths.require("sessions", "tokens.safetensors")
    sessions = read_table(paths.require("sessions", "sessions.parquet"))
    return replay.replay_sessions(
        recommender,
        plan,
        tokens=open_tokens(store, Split.TEST),
        names=sessions.filter(pl.col("split") == Split.TEST.value)["session"]
        .cast(pl.String)
        .to_list(),
        times=open_times(store, Split.TEST),
        seed=study.study.seed,
    )
