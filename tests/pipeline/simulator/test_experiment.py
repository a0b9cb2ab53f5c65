"""A study's own experiment: the users its source names, and what a reader is told of them."""

import polars as pl
import pytest

from models.configuration import ModelConfig
from models.network import build_model
from pipeline.errors import MissingArtifact
from pipeline.experiment.plan import Group, TrafficPlan
from pipeline.recommend import Recommender, read_catalogue
from pipeline.schemas import EXPOSURES, EventKind
from pipeline.sessions.events import write_events
from pipeline.sessions.preparation import write_sessions
from pipeline.sessions.rules import rules_of
from pipeline.simulator.experiment import describe_log, simulate_experiment
from pipeline.simulator.shop import simulate_shop
from pipeline.storage import StudyPaths
from pipeline.study import (
    DatasetFormat,
    DatasetSection,
    GenericLayout,
    LogSource,
    load_study,
)
from pipeline.world.generation import item_id

SMALL = {
    "study.name": "small",
    "world.items": 60,
    "world.categories": 4,
    "world.neighbours": 5,
    "experiment.users": 30,
    "experiment.days": 3,
    "sessions.min_item_support": 1,
    "sessions.test_days": 2.0,
    "sessions.validation_days": 2.0,
}
HOUR = 3_600_000
TS = 1_757_000_000_000
PLAN = TrafficPlan(
    experiment="spring",
    salt="salt",
    list_length=3,
    groups=tuple(
        Group(
            name=f"g{n}",
            preference_id=f"p{n}",
            preference=(float(n), 1.0 - n),
            first_bucket=5000 * n,
            last_bucket=5000 * n + 4999,
        )
        for n in (0, 1)
    ),
)


def small_study(project_root, source, **changes):
    path = project_root / "params.yaml"
    return load_study(path, {**SMALL, "experiment.source": source.value, **changes})


def untrained(items):
    config = ModelConfig(width=8, layers=1, heads=1, dropout=0.0, max_length=10)
    return Recommender.of(build_model(config, n_items=len(items), n_objectives=2, seed=1), items)


@pytest.fixture
def events():
    """Twelve sessions of 2 to 4 clicks, one every 12 hours; the later, the smaller the name."""
    rows = [
        (f"s{99 - n}", TS + 12 * HOUR * n + 60_000 * click, "abcd"[(n + click) % 4], "click")
        for n in range(12)
        for click in range(2 + n % 3)
    ]
    return pl.DataFrame(rows, schema=["session", "ts", "item", "kind"], orient="row")


@pytest.fixture
def prepared(project_root, tmp_path, events):
    """The study's folder with sessions in it, and the catalogue."""
    study = small_study(project_root, LogSource.REPLAY)
    paths = StudyPaths.of(study, tmp_path)
    raw, read, sessions = tmp_path / "log.csv", tmp_path / "events", paths.artifact("sessions")
    events.write_csv(raw)
    layout = GenericLayout(
        session="session", item="item", time="ts", kind="kind", kinds={"click": EventKind.CLICK}
    )
    dataset = DatasetSection(format=DatasetFormat.GENERIC, path=str(raw), generic=layout)
    for folder in (read, sessions):
        folder.mkdir(parents=True)
    write_events(dataset, raw, read, max_rejected_share=0.0)
    write_sessions(read, sessions, rules_of(study.sessions, dataset))
    return paths, read_catalogue(sessions / "items.parquet")


@pytest.mark.parametrize(
    ("source", "origin"),
    [
        (LogSource.SIMULATED_SHOP, "simulated"),
        (LogSource.REPLAY, "replayed"),
        (LogSource.FILES, "real"),
    ],
)
def test_a_reader_is_told_whether_people_saw_the_lists(source, origin):
    found = describe_log(source)

    assert found["origin"] == origin
    assert ("No real person saw a list" in found["how"]) == (origin != "real")


def test_the_shops_users_come_from_the_studys_world_section_and_seed(project_root, tmp_path):
    study = small_study(project_root, LogSource.SIMULATED_SHOP)
    recommender = untrained([str(item_id(n)) for n in range(60)])

    log = simulate_experiment(study, StudyPaths.of(study, tmp_path), PLAN, recommender)

    expected = simulate_shop(
        recommender, PLAN, world=study.world, section=study.experiment, seed=study.study.seed
    )
    assert log.equals(expected)
    assert set(log["unit"]) <= {f"u{n:07d}" for n in range(30)}


@pytest.mark.parametrize("source", [LogSource.SIMULATED_SHOP, LogSource.REPLAY])
def test_the_studys_seed_decides_what_users_do(project_root, prepared, source):
    paths, catalogue = prepared
    shop = [str(item_id(n)) for n in range(60)]
    recommender = untrained(shop if source is LogSource.SIMULATED_SHOP else catalogue)

    def log(seed):
        study = small_study(project_root, source, **{"study.seed": seed})
        return simulate_experiment(study, paths, PLAN, recommender)

    first = log(1)
    assert first.equals(log(1))
    assert any(not first.equals(log(seed)) for seed in (2, 3, 4))


def test_held_out_sessions_and_no_others_are_replayed_at_their_own_times(
    project_root, prepared, events
):
    paths, catalogue = prepared
    study = small_study(project_root, LogSource.REPLAY)

    log = simulate_experiment(study, paths, PLAN, untrained(catalogue))

    # the last two days hold the sessions 8 to 11; a list follows every click but the last
    replayed = {f"s{99 - n}" for n in range(8, 12)}
    shown = events.filter(pl.col("session").is_in(replayed)).sort("ts")
    shown = shown.filter(pl.col("ts") < pl.col("ts").max().over("session"))
    assert log.sort("ts").select("unit", "ts").rows() == shown.select("session", "ts").rows()
    assert log["group"].to_list() == [PLAN.group_of(unit).name for unit in log["unit"]]
    assert set(log["experiment"]) == {"spring"}
    EXPOSURES.check(log)


def test_a_replay_without_sessions_names_the_command_that_makes_them(project_root, tmp_path):
    study = small_study(project_root, LogSource.REPLAY)

    with pytest.raises(MissingArtifact, match=r"tokens\.safetensors is missing.*--select sessions"):
        simulate_experiment(study, StudyPaths.of(study, tmp_path), PLAN, untrained(["a"]))
