"""A simulated experiment with explored lists, from the log to the value of another temperature."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from models.network.configuration import ModelConfig
from models.network.model import build_model
from pipeline.counterfactual.estimators import estimate
from pipeline.counterfactual.exploration import ListPolicy, open_explored, weigh_explored
from pipeline.experiment.design.exploration import Exploration
from pipeline.experiment.log.log_files import LISTED_IMPRESSIONS, write_log
from pipeline.experiment.log.reading.explored_lists import read_explored_lists
from pipeline.experiment.log.reading.log_folder import log_files
from pipeline.recommender.recommender import Recommender
from pipeline.results.counterfactual import Estimator, Weighting
from pipeline.simulator.fault_injection import write_simulated_log
from pipeline.simulator.shop_experiment import SimulationConfig, simulate_shop
from pipeline.study import ExperimentConfig, InjectedFaults, SimulatorConfig, SyntheticConfig
from pipeline.synthetic.generate_log import item_id
from tests.pipeline.experiment.logs import ingest, plan_of

SHOP = SyntheticConfig(seed=3, items=60, categories=4, neighbours=5, users=10, sessions=10, days=3)
SECTION = ExperimentConfig(name="spring", groups=3, list_length=3, days=3, users=1500)
ITEMS = [str(number) for number in item_id(np.arange(SHOP.items))]
PLAN = plan_of(3, salt="pareto-1", list_length=3, model="0123456789abcdef")
HALF = Exploration(share=0.5, temperature=0.5, candidates=8, salt="exploration pareto-1")


def simulated(model, exploration, seed=5):
    config = SimulationConfig(
        synthetic=SHOP, experiment=SECTION, simulator=SimulatorConfig(), seed=seed
    )
    return simulate_shop(model, PLAN, replace(config, exploration=exploration))


@pytest.fixture(scope="module")
def model():
    config = ModelConfig(hidden_size=8, layers=1, heads=1, dropout=0.0, max_length=10)
    network = build_model(config, n_items=len(ITEMS), n_objectives=2, seed=2)
    network.item_embedding.weight.data *= 6
    return Recommender.of(network, ITEMS)


@pytest.fixture(scope="module")
def log(model):
    return simulated(model, HALF)


@pytest.mark.slow
def test_a_share_of_the_lists_is_drawn_and_the_others_are_the_models(model, log):
    assert simulated(model, None).columns == list(LISTED_IMPRESSIONS.columns)
    assert log["explored"].to_list() == [HALF.explores(name) for name in log["impression"]]
    assert log["explored"].mean() == pytest.approx(0.5, abs=0.05)
    of_draw = ["propensity", "position_propensities", "temperature", "candidates"]
    assert log.filter(~pl.col("explored")).select(of_draw).null_count().row(0) == (
        log.filter(~pl.col("explored")).height,
    ) * len(of_draw)
    preferences = {group.name: group.preference for group in PLAN.groups}
    some = log.group_by("explored").head(200)
    sessions = [np.array([ITEMS.index(item) for item in one]) for one in some["session"]]
    each = np.array([preferences[name] for name in some["group"]])
    own = model.recommend(sessions, each, k=3).tolist()
    candidates, scores = next(
        (items, scores) for _, items, scores in model.candidates(sessions, each, n=8)
    )
    for row, one in enumerate(some.iter_rows(named=True)):
        expected = own[row]
        if one["explored"]:
            drawn = HALF.draw(one["impression"], scores[row], 3)
            expected = candidates[row][drawn.indices].tolist()
            assert one["position_propensities"] == pytest.approx(drawn.propensities, rel=1e-3)
        assert one["items"] == [ITEMS[item] for item in expected]


@pytest.mark.slow
def test_the_log_has_the_value_of_another_temperature(tmp_path, model, log):
    """Of the experiment without exploration, its group KPIs; of its explored lists, another policy."""
    folder, database = tmp_path / "log", tmp_path / "log.duckdb"
    folder.mkdir()
    written = write_log(log, folder)

    result = ingest(written, PLAN, database)

    own = log.filter(~pl.col("explored"))
    assert result.impressions == own.height
    assert result.rejected == {"explored list": log.height - own.height}
    explored = read_explored_lists(log_files(folder).files, database)
    assert explored.height == log.height - own.height
    requests = open_explored(explored, PLAN, model)
    assert requests.equal_share == 1
    assert requests.log.reward_NK.sum() == explored["clicked"].sum()
    hotter = simulated(model, replace(HALF, share=1.0, temperature=1.0), seed=6)
    truth, n = hotter["clicked"].mean(), hotter.height
    for weighting in (Weighting.LIST, Weighting.CASCADE, Weighting.POSITION):
        target = ListPolicy(temperature=1.0)
        found = estimate(weigh_explored(requests, model, target, weighting), Estimator.IPS)
        error = np.hypot(found.standard_error, np.sqrt(2 * truth * (1 - truth) / n))
        assert found.value == pytest.approx(truth, abs=3 * error)


def test_faults_leave_the_draws_in_the_log(tmp_path, log):
    faults = InjectedFaults(lost_events=0.1)

    write_simulated_log([log], PLAN, faults, tmp_path, rng=np.random.default_rng(1))

    shown = pl.read_parquet(tmp_path / "impressions-*.parquet")
    kept = log.filter(pl.col("impression").is_in(shown["impression"].implode()))
    same = ["explored", "propensity", "position_propensities"]
    joined = shown.select("impression", *same).sort("impression")
    assert joined.equals(kept.select("impression", *same).sort("impression"))
