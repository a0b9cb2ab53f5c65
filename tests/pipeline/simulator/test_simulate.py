"""The experiment of a study by its source, and its provenance."""

import polars as pl
import pytest
from scipy.special import logit

from models.network.configuration import ModelConfig
from models.network.model import build_model
from pipeline.artifacts.storage import StudyPaths, read_json
from pipeline.core.contracts import IMPRESSIONS, OFFLINE_METRICS, EventType
from pipeline.core.errors import DataError, MissingArtifact, StudyError
from pipeline.datasets.ingest_events import write_events
from pipeline.experiment.log.log_files import LISTED_IMPRESSIONS
from pipeline.experiment.log.reading.log_folder import TRUTH
from pipeline.recommender.recommender import Recommender
from pipeline.sessions.catalogue import item_ids, read_catalogue
from pipeline.sessions.prepare import write_sessions
from pipeline.sessions.rules import rules_of
from pipeline.simulator.ground_truth import shop_truth
from pipeline.simulator.shop_experiment import SimulationConfig, simulate_shop
from pipeline.simulator.simulate import log_provenance, simulate_experiment
from pipeline.study import (
    DatasetConfig,
    DatasetFormat,
    GenericLayout,
    LogSource,
    load_study,
)
from pipeline.synthetic.generate_log import generate_log, item_id
from tests.pipeline.experiment.logs import plan_of

SMALL = {
    "study.name": "small",
    "synthetic.items": 60,
    "synthetic.categories": 4,
    "synthetic.neighbours": 5,
    "experiment.users": 30,
    "experiment.days": 3,
    "synthetic.users": 20,
    "synthetic.sessions": 50,
    "simulator.truth_users": 10,
    "sessions.min_item_support": 1,
    "sessions.test_days": 2.0,
    "sessions.validation_days": 2.0,
}
HOUR = 3_600_000
TS = 1_757_000_000_000
PLAN = plan_of(2, list_length=3)


def small_study(project_root, source, **changes):
    path = project_root / "params.yaml"
    return load_study(path, {**SMALL, "experiment.source": source.value, **changes})


def untrained(items):
    config = ModelConfig(hidden_size=8, layers=1, heads=1, dropout=0.0, max_length=10)
    return Recommender.of(build_model(config, n_items=len(items), n_objectives=2, seed=1), items)


def sessions_every(hours, n):
    """Sessions of 2 to 4 clicks, with descending names."""
    rows = [
        (f"s{99 - n}", TS + hours * HOUR * n + 60_000 * click, "abcd"[(n + click) % 4], "click")
        for n in range(n)
        for click in range(2 + n % 3)
    ]
    return pl.DataFrame(rows, schema=["session", "ts", "item", "event_type"], orient="row")


@pytest.fixture
def events():
    """Twelve sessions, one every 12 hours."""
    return sessions_every(12, 12)


@pytest.fixture
def prepared(project_root, tmp_path, events):
    """The study's folder with its sessions, and the catalogue."""
    return prepare(project_root, tmp_path, events)


def prepare(project_root, tmp_path, events):
    study = small_study(project_root, LogSource.HELD_OUT_REPLAY)
    paths = StudyPaths.of(study, tmp_path)
    raw, read, sessions = tmp_path / "log.csv", tmp_path / "events", paths.artifact("sessions")
    events.write_csv(raw)
    layout = GenericLayout(
        session="session",
        item="item",
        time="ts",
        event_type="event_type",
        event_types={"click": EventType.CLICK},
    )
    dataset = DatasetConfig(format=DatasetFormat.GENERIC, path=str(raw), generic=layout)
    for folder in (read, sessions):
        folder.mkdir(parents=True)
    write_events(dataset, raw, read, max_rejected_share=0.0)
    write_sessions(read, sessions, rules_of(study.sessions, dataset))
    return paths, item_ids(read_catalogue(paths))


def simulated(study, paths, recommender):
    """The rows of the log files, and the ground truth."""
    folder = paths.artifact("experiment_log_files")
    folder.mkdir(parents=True, exist_ok=True)
    truth = simulate_experiment(study, paths, PLAN, recommender, folder)
    assert (folder / TRUTH).exists() == (truth is not None)
    return pl.read_parquet(folder / "impressions-*.parquet"), truth


@pytest.fixture
def generated(project_root, tmp_path):
    """The folder of a study with the generated log of the shop."""
    study = small_study(project_root, LogSource.SIMULATED_SHOP)
    generate_log(study.synthetic, tmp_path / study.dataset.path)
    return StudyPaths.of(study, tmp_path)


@pytest.mark.parametrize(
    ("source", "origin"),
    [
        ("simulated-shop", "simulated"),
        ("direct", "drawn"),
        ("held-out-replay", "replayed"),
        ("files", "real"),
    ],
)
def test_the_provenance_says_whether_users_saw_the_lists(project_root, source, origin):
    log_path = {"experiment.log_path": "logs"} if source == "files" else {}
    found = log_provenance(small_study(project_root, LogSource(source), **log_path))

    assert found["origin"] == origin
    words = {"real": "recorded by your own system", "drawn": "neither users nor lists"}
    assert words.get(origin, "No real user saw a list") in found["how"]


def test_the_provenance_lists_the_injected_faults(project_root):
    faults = {"simulator.faults.bots": 3, "simulator.faults.lost_users": 0.1}
    found = log_provenance(small_study(project_root, LogSource.SIMULATED_SHOP, **faults))

    assert found["how"].endswith("Faults were injected: lost users 0.1, bots 3.")


def test_users_and_truth_of_the_shop_depend_on_the_study(project_root, generated):
    study = small_study(
        project_root, LogSource.SIMULATED_SHOP, **{"simulator.truth_users": 20, "study.seed": 3}
    )
    recommender = untrained([str(item_id(n)) for n in range(60)])

    log, truth = simulated(study, generated, recommender)

    expected = simulate_shop(recommender, PLAN, SimulationConfig.of(study)).sort("ts", "impression")
    assert log.equals(expected)
    assert set(log["user"]) <= {f"u{n:07d}" for n in range(30)}
    assert truth == shop_truth(recommender, PLAN, SimulationConfig.of(study))
    assert read_json(generated.artifact("experiment_log_files") / TRUTH) == truth


def write_metrics(paths, recall):
    """Offline metrics of the plan's two preferences, order density falling as recall rises."""
    rows = [
        {"preference_id": f"p{n}", "preference": PLAN.groups[n].preference, "segment": "all"}
        | {"metric": metric, "value": value, "higher_is_better": True}
        for n in (0, 1)
        for metric, value in (("recall", recall[n]), ("order_density", 0.1 / (1 + recall[n])))
    ]
    paths.artifact("offline_metrics").mkdir(parents=True)
    table = pl.DataFrame(rows, schema=OFFLINE_METRICS.schema)
    table.write_parquet(paths.artifact("offline_metrics", "offline_metrics.parquet"))


def test_a_direct_log_has_the_known_slopes_on_the_offline_metrics(project_root, tmp_path):
    direct = {
        "ctr": 0.2,
        "cvr": 0.3,
        "ctr_slope": {"metric": "recall", "slope": 0.8},
        "cvr_slope": {"metric": "order_density", "slope": 2.0},
    }
    study = small_study(project_root, LogSource.DIRECT, **{"simulator.direct": direct})
    paths = StudyPaths.of(study, tmp_path)
    write_metrics(paths, (0.40, 0.50))

    log, truth = simulated(study, paths, untrained(["a"]))

    IMPRESSIONS.validate(log)
    groups = truth["groups"]
    # g2 has 25% more recall, g1 has 1.5 / 1.4 times the order density
    assert logit(groups["g1"]["ctr"]["value"]) == pytest.approx(logit(0.2))
    assert logit(groups["g2"]["ctr"]["value"]) == pytest.approx(logit(0.2) + 0.8 * 0.25)
    assert logit(groups["g1"]["cvr"]["value"]) == pytest.approx(logit(0.3) + 2 * (1.5 / 1.4 - 1))
    assert logit(groups["g2"]["cvr"]["value"]) == pytest.approx(logit(0.3))


def test_a_slope_on_a_metric_of_0_is_refused(project_root, tmp_path):
    study = small_study(project_root, LogSource.DIRECT)
    paths = StudyPaths.of(study, tmp_path)
    write_metrics(paths, (0.0, 0.50))

    with pytest.raises(StudyError, match=r"recall of the groups is \[0\.0, 0\.5\].*above 0"):
        simulated(study, paths, untrained(["a"]))


def test_a_log_from_files_is_not_simulated(project_root, tmp_path):
    study = small_study(project_root, LogSource.FILES, **{"experiment.log_path": "logs"})

    with pytest.raises(StudyError, match="there is nothing to simulate"):
        simulated(study, StudyPaths.of(study, tmp_path), untrained(["a"]))


def test_the_truth_is_optional(project_root, generated):
    study = small_study(project_root, LogSource.SIMULATED_SHOP, **{"simulator.truth_users": 0})

    _, truth = simulated(study, generated, untrained([str(item_id(n)) for n in range(60)]))

    assert truth is None


def test_users_of_another_shop_than_the_models_are_refused(project_root, generated):
    study = small_study(project_root, LogSource.SIMULATED_SHOP, **{"synthetic.neighbours": 6})

    with pytest.raises(DataError, match="users of another shop than it was trained on"):
        simulated(study, generated, untrained([str(item_id(n)) for n in range(60)]))


@pytest.mark.parametrize("source", [LogSource.SIMULATED_SHOP, LogSource.HELD_OUT_REPLAY])
def test_the_log_depends_on_the_studys_seed(project_root, prepared, source):
    paths, catalogue = prepared
    shop = [str(item_id(n)) for n in range(60)]
    recommender = untrained(shop if source is LogSource.SIMULATED_SHOP else catalogue)

    def log(seed):
        study = small_study(project_root, source, **{"study.seed": seed})
        if source is LogSource.SIMULATED_SHOP:
            generate_log(study.synthetic, paths.root / study.dataset.path)
        return simulated(study, paths, recommender)[0]

    first = log(1)
    assert first.equals(log(1))
    assert any(not first.equals(log(seed)) for seed in (2, 3, 4))


def test_only_held_out_sessions_are_replayed_at_their_own_times(project_root, prepared, events):
    paths, catalogue = prepared
    study = small_study(project_root, LogSource.HELD_OUT_REPLAY)

    log, truth = simulated(study, paths, untrained(catalogue))

    assert truth is None

    # the last two days have the sessions 8 to 11; a list follows every click but the last
    replayed = {f"s{99 - n}" for n in range(8, 12)}
    shown = events.filter(pl.col("session").is_in(replayed)).sort("ts")
    shown = shown.filter(pl.col("ts") < pl.col("ts").max().over("session"))
    assert log.sort("ts").select("user", "ts").rows() == shown.select("session", "ts").rows()
    assert log["group"].to_list() == [PLAN.group_of(user).name for user in log["user"]]
    assert set(log["experiment"]) == {"spring"}
    LISTED_IMPRESSIONS.validate(log)


def test_a_replay_has_at_most_the_users_of_the_experiment(project_root, tmp_path):
    paths, catalogue = prepare(project_root, tmp_path, sessions_every(2, 72))  # 24 in two days

    def log(users, seed=1):
        changes = {"experiment.users": users, "study.seed": seed}
        study = small_study(project_root, LogSource.HELD_OUT_REPLAY, **changes)
        return simulated(study, paths, untrained(catalogue))[0]

    everybody, some = log(30), log(10)

    assert everybody["user"].n_unique() == 24
    assert some["user"].n_unique() == 10
    shown = ["user", "ts", "group", "session", "items"]  # clicks are drawn anew
    same_users = everybody.filter(pl.col("user").is_in(some["user"].unique().implode()))
    assert some.select(shown).equals(same_users.select(shown))
    assert set(log(10, seed=2)["user"]) != set(some["user"])


def test_a_replay_without_sessions_names_the_command(project_root, tmp_path):
    study = small_study(project_root, LogSource.HELD_OUT_REPLAY)

    with pytest.raises(MissingArtifact, match=r"tokens\.safetensors is missing.*--select sessions"):
        simulated(study, StudyPaths.of(study, tmp_path), untrained(["a"]))
