"""Values of other policies from explored lists, against every permutation by hand, and refusals."""

from itertools import permutations

import numpy as np
import polars as pl
import pytest

from models.network.configuration import ModelConfig
from models.network.model import build_model
from pipeline.core.errors import DataError, LogError
from pipeline.counterfactual.estimators import estimate
from pipeline.counterfactual.exploration import ListPolicy, open_explored, weigh_explored
from pipeline.experiment.design.exploration import Exploration
from pipeline.experiment.log.reading.explored_lists import EXPLORED_LISTS
from pipeline.recommender.recommender import Recommender
from pipeline.results.counterfactual import Estimator, Weighting
from tests.pipeline.experiment.logs import plan_of

ITEMS = [f"i{n}" for n in range(30)]
K, POOL, USERS, VISITS = 3, 6, 300, 5
PLAN = plan_of(2, list_length=K, model="0123456789abcdef")
EXPLORATION = Exploration(share=1.0, temperature=0.4, candidates=POOL, salt="exploration salt")
THETA = np.array([0.5, 0.3, 0.2])
"""Of the positions; they sum to 1, so that a list has at most one click."""
ATTRACTION = np.random.default_rng(8).uniform(0.05, 0.95, len(ITEMS))
LISTS = np.array(list(permutations(range(POOL), K)))
WEIGHTINGS = (Weighting.LIST, Weighting.CASCADE, Weighting.POSITION)


def untrained(seed):
    config = ModelConfig(hidden_size=8, layers=1, heads=1, dropout=0.0, max_length=10)
    model = build_model(config, n_items=len(ITEMS), n_objectives=2, seed=seed)
    with_scores = Recommender.of(model, ITEMS)
    with_scores.model.item_embedding.weight.data *= 6
    return with_scores


MODEL = untrained(4)


def scored(sessions, preferences):
    """The best items of each request, and their scores."""
    parts = list(MODEL.candidates(sessions, preferences, n=POOL))
    return np.concatenate([items for _, items, _ in parts]), np.concatenate(
        [scores for *_, scores in parts]
    )


class World:
    """Requests of users whose click on an item depends on the item and its position alone."""

    def __init__(self, seed):
        rng = np.random.default_rng(seed)
        n = USERS * VISITS
        self.users = np.repeat(np.arange(USERS), VISITS)
        self.sessions = [rng.integers(0, len(ITEMS), rng.integers(1, 5)) for _ in range(n)]
        self.groups = [PLAN.group_of(f"u{user}") for user in self.users]
        self.own = np.array([group.preference for group in self.groups])
        self.taste = np.repeat(rng.uniform(0.5, 1.0, USERS), VISITS)
        items, scores = scored(self.sessions, self.own)
        rows = []
        for row in range(n):
            drawn = EXPLORATION.draw(f"{seed}-{row}", scores[row], K)
            shown = items[row, drawn.indices]
            chance = THETA * ATTRACTION[shown] * self.taste[row]
            at = rng.choice(K + 1, p=[*chance, 1 - chance.sum()])
            rows.append(
                {
                    "impression": f"{seed}-{row}",
                    "user": f"u{self.users[row]}",
                    "group": self.groups[row].name,
                    "ts": row,
                    "clicked": bool(at < K),
                    "session": [ITEMS[item] for item in self.sessions[row]],
                    "items": [ITEMS[item] for item in shown],
                    "clicked_item": ITEMS[shown[at]] if at < K else None,
                    "model": "0123456789ab",
                    "propensity": float(drawn.propensities.prod()),
                    "position_propensities": drawn.propensities.tolist(),
                    "temperature": EXPLORATION.temperature,
                    "candidates": POOL,
                }
            )
        self.log = pl.DataFrame(rows, schema=EXPLORED_LISTS.schema)

    def exact(self, policy):
        """Expected clicks of the policy, over every list that it may show."""
        preferences = self.own
        if policy.preference is not None:
            preferences = np.tile(policy.preference, (len(self.own), 1))
        items, scores = scored(self.sessions, preferences)
        gain = (THETA * ATTRACTION[items][:, LISTS]).sum(axis=2) * self.taste[:, None]
        if policy.temperature is None:
            return gain[:, 0].mean()  # the first permutation is the list of the best items
        worth = np.exp((scores - scores.max(axis=1, keepdims=True)) / policy.temperature)
        left, chance = worth.sum(axis=1)[:, None], 1.0
        for position in range(K):
            chosen = worth[:, LISTS[:, position]]
            chance = chance * chosen / left
            left = left - chosen
        return (chance * gain).sum(axis=1).mean()


POLICIES = (
    ListPolicy(),
    ListPolicy(temperature=0.2),
    ListPolicy(temperature=0.8),
    ListPolicy(preference=(0.5, 0.5), temperature=0.4),
)


@pytest.fixture(scope="module")
def world():
    return World(0)


@pytest.fixture(scope="module")
def worlds(world):
    return [world, *(World(seed) for seed in range(1, 6))]


@pytest.mark.slow
@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_another_temperature_or_preference_is_estimated_within_its_interval(worlds, weighting):
    """The value of the same requests: the interval, which is of new users, covers it at least as often."""
    covered, deviations = [], []
    for world in worlds:
        requests = open_explored(world.log, PLAN, MODEL)
        assert requests.equal_share == 1
        for policy in POLICIES:
            found = estimate(weigh_explored(requests, MODEL, policy, weighting), Estimator.IPS)
            exact = world.exact(policy)
            low, high = found.interval
            covered.append(low <= exact <= high)
            deviations.append((found.value - exact) / exact)

    assert np.mean(covered) >= 0.85
    assert abs(np.mean(deviations)) < 0.03
    assert len({round(worlds[0].exact(policy), 4) for policy in POLICIES}) == len(POLICIES)


@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_the_logged_policy_has_the_mean_of_the_log(world, weighting):
    requests = open_explored(world.log, PLAN, MODEL)
    own = ListPolicy(temperature=EXPLORATION.temperature)

    weighted = weigh_explored(requests, MODEL, own, weighting)
    assert weighted.weight_NK == pytest.approx(1, rel=1e-4)
    assert estimate(weighted, Estimator.IPS).value == pytest.approx(
        world.log["clicked"].mean(), rel=1e-4
    )


def test_an_item_that_the_target_cannot_show_has_weight_0(world):
    log = world.log.head(300)
    requests = open_explored(log, PLAN, MODEL)
    target = ListPolicy(preference=(1.0, 0.0), temperature=0.4)
    items, _ = scored(world.sessions[:300], np.tile([1.0, 0.0], (300, 1)))
    possible = (requests.items_NK[:, :, None] == items[:, None, :]).any(axis=2)
    assert not possible.all()

    by_position = weigh_explored(requests, MODEL, target, Weighting.POSITION).weight_NK
    assert ((by_position > 0) == possible).all()
    by_list = weigh_explored(requests, MODEL, target, Weighting.LIST).weight_NK[:, 0]
    assert ((by_list > 0) == possible.all(axis=1)).all()


def test_logs_that_cannot_be_evaluated_are_refused(world):
    log = world.log.head(300)

    with pytest.raises(LogError, match=r"reproduces the propensities of .*% of the explored lists"):
        open_explored(log, PLAN, untrained(5))
    hotter = log.with_columns(temperature=pl.lit(0.5))
    with pytest.raises(LogError, match="Filters, score rules or another model were at work"):
        open_explored(hotter, PLAN, MODEL)
    with pytest.raises(LogError, match="lists of the model ffff"):
        open_explored(log.with_columns(model=pl.lit("ffff")), PLAN, MODEL)
    requests = open_explored(log, PLAN, MODEL)
    with pytest.raises(DataError, match="the temperature is 0; expected a number above 0"):
        weigh_explored(requests, MODEL, ListPolicy(temperature=0.0), Weighting.LIST)
    with pytest.raises(DataError, match="use list, cascade or position"):
        weigh_explored(requests, MODEL, ListPolicy(), Weighting.EXAMINATION)
