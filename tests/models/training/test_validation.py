"""Validation: mean losses over an even grid of preferences, and the front that chooses the epoch."""

import math
from dataclasses import replace

import pytest
import torch
from scipy.stats import spearmanr

from models.network.configuration import Conditioning, ModelConfig
from models.network.model import build_model
from models.objectives.configuration import Objective
from models.objectives.negatives import CandidateSampler, Negatives
from models.objectives.objectives import Objectives
from models.tokens import SessionTokens
from models.training.configuration import HypervolumeOf, TrainingConfig
from models.training.seeds import SeedPurpose, generator_for
from models.training.validation import Validator

ITEMS = 30
SEED = 3
MODEL = ModelConfig(
    hidden_size=8,
    layers=1,
    heads=1,
    dropout=0.5,
    max_length=6,
    conditioning=Conditioning.CONCATENATION,
)
CLICK = Objective(loss="click", reference=4.0)
ORDER = Objective(loss="order", scale=3.0, reference=2.0)
CART = Objective(loss="cart", scale=0.5, reference=1.0)
CONFIG = TrainingConfig(
    objectives=(CLICK, ORDER),
    negatives=Negatives(uniform=25),
    validation_preferences=3,
    batch_size=2,
    device="cpu",
)
SESSIONS = [
    [(3, 0, 1), (1, 1, 0), (4, 0, 0), (1, 1, 1)],
    [(5, 0, 0), (9, 1, 0)],
    [(2, 0, 0), (6, 0, 1), (5, 1, 1)],
    [(3, 1, 0), (5, 0, 0), (8, 1, 0), (9, 0, 0), (7, 0, 1)],
    [(9, 0, 0), (0, 1, 1), (2, 0, 0)],
]
GRID = [(0.0, 1.0), (0.5, 0.5), (1.0, 0.0)]
SIMPLEX = [(0, 0, 1), (0, 0.5, 0.5), (0, 1, 0), (0.5, 0, 0.5), (0.5, 0.5, 0), (1, 0, 0)]


def responsive_model(n_objectives=2):
    """An untrained model whose scores differ much, and with the preference."""
    model = build_model(MODEL, n_items=ITEMS, n_objectives=n_objectives, seed=8)
    with torch.no_grad():
        model.item_embedding.weight *= 5
        model.conditioning.from_preference.weight *= 3
    return model.eval()


def validator(config=CONFIG, sessions=SESSIONS, *, seed=SEED):
    sampler = CandidateSampler(config.negatives, n_items=ITEMS, popularity_I=torch.ones(ITEMS))
    objectives = Objectives(config, n_items=ITEMS)
    return Validator(SessionTokens.from_lists(sessions), config, objectives, sampler, seed=seed)


def scores_of(model, session, preference):
    """Scores of all items before every target of a session."""
    inputs = torch.tensor([[token[0] for token in session[:-1]]])
    hidden = model(
        inputs, torch.tensor([inputs.shape[1]]), torch.tensor([preference], dtype=torch.float32)
    )[0]
    return model.score_all(hidden).tolist()


def slow_losses(model, objectives, grid, *, seed=SEED):
    """Mean losses by preference and objective, one position and one draw at a time."""
    by_length = sorted(SESSIONS, key=len)
    pairs = [by_length[start : start + 2] for start in range(0, len(by_length), 2)]
    rows = []
    for preference in grid:
        losses = {"click": [], "order": [], "cart": []}
        for number, sessions in enumerate(pairs):
            generator = generator_for(seed, SeedPurpose.VALIDATION, number)
            drawn = torch.randint(ITEMS, (25,), generator=generator).tolist()
            for session in sessions:
                scores_TI = scores_of(model, session, preference)
                for scores, (item, ordered, carted) in zip(scores_TI, session[1:], strict=True):
                    rivals = sum(math.exp(scores[one]) for one in drawn if one != item)
                    losses["click"].append(math.log(math.exp(scores[item]) + rivals) - scores[item])
                    likely = 1 / (1 + math.exp(-scores[item]))
                    losses["order"].append(-math.log(likely if ordered else 1 - likely))
                    losses["cart"].append(-math.log(likely if carted else 1 - likely))
        rows.append([sum(losses[name]) / len(losses[name]) for name in objectives])
    return rows


def slow_metrics(model, preference):
    """Recall@20, and the share of hits that were ordered, one position at a time."""
    hits, ordered_hits, targets = 0, 0, 0
    for session in SESSIONS:
        scores_TI = scores_of(model, session, preference)
        for scores, (item, ordered, _) in zip(scores_TI, session[1:], strict=True):
            targets += 1
            if sum(score > scores[item] for score in scores) < 20:
                hits += 1
                ordered_hits += ordered
    return hits / targets, ordered_hits / hits


def area_below(points, reference):
    """What points, the lower the better, dominate of the box from (0, 0) to the reference; a share."""
    inside = [(x, y) for x, y in sorted(points) if x < reference[0] and y < reference[1]]
    area, height = 0.0, reference[1]
    for x, y in inside:
        if y < height:
            area += (reference[0] - x) * (height - y)
            height = y
    return area / (reference[0] * reference[1])


@torch.no_grad()
def test_losses_are_means_over_positions_and_the_grid():
    model = responsive_model()

    found = validator().measure(model)

    rows = slow_losses(model, ["click", "order"], GRID)
    by_hand = [sum(losses) / 3 for losses in zip(*rows, strict=True)]
    assert found.losses_O.tolist() == pytest.approx(by_hand, rel=1e-5)


@torch.no_grad()
def test_the_scalarised_loss_is_the_mean_weighted_sum_of_scaled_losses():
    model = responsive_model()

    found = validator().measure(model)

    (_, order), (both_click, both_order), (click, _) = slow_losses(model, ["click", "order"], GRID)
    by_hand = (3 * order + (both_click / 2 + 3 * both_order / 2) + click) / 3
    assert found.scalarised == pytest.approx(by_hand, rel=1e-5)


@torch.no_grad()
def test_the_front_of_losses_is_measured_from_the_references():
    model = responsive_model()

    front = validator().measure(model).front

    rows = slow_losses(model, ["click", "order"], GRID)
    assert front.hypervolume == pytest.approx(area_below(rows, (4.0, 2.0)), rel=1e-4)
    assert 0 < front.hypervolume < 1


@torch.no_grad()
def test_the_front_of_metrics_is_recall_and_order_density_at_20():
    model = responsive_model()

    front = validator(replace(CONFIG, hypervolume_of=HypervolumeOf.METRICS)).measure(model).front

    points = [slow_metrics(model, preference) for preference in GRID]
    assert len(set(points)) > 1
    misses = [(1 - recall, 1 - density) for recall, density in points]
    assert front.hypervolume == pytest.approx(area_below(misses, (1.0, 1.0)))
    assert front.cross_angle is None


@torch.no_grad()
def test_the_space_of_the_front_changes_no_loss():
    model = responsive_model()

    losses = validator().measure(model)
    metrics = validator(replace(CONFIG, hypervolume_of=HypervolumeOf.METRICS)).measure(model)

    assert torch.equal(losses.losses_O, metrics.losses_O)
    assert losses.scalarised == metrics.scalarised


@torch.no_grad()
def test_without_a_hit_order_density_is_0():
    model = responsive_model()
    model.conditioning.from_preference.weight.zero_()  # all preferences get the same scores
    scores = scores_of(model, [(3, 0), (0, 0)], GRID[0])[0]
    worst = scores.index(min(scores))
    config = replace(CONFIG, hypervolume_of=HypervolumeOf.METRICS)

    found = validator(config, [[(3, 0), (worst, 1)]]).measure(model)

    assert found.front.hypervolume == 0


@torch.no_grad()
def test_three_objectives_are_measured_on_an_even_grid_of_the_simplex():
    model = responsive_model(3)
    config = replace(CONFIG, objectives=(CLICK, ORDER, CART))

    found = validator(config).measure(model)

    rows = slow_losses(model, ["click", "order", "cart"], SIMPLEX)
    by_hand = [sum(losses) / 6 for losses in zip(*rows, strict=True)]
    assert found.losses_O.tolist() == pytest.approx(by_hand, rel=1e-5)
    sums = [
        preference[0] * click + preference[1] * 3 * order + preference[2] * 0.5 * cart
        for preference, (click, order, cart) in zip(SIMPLEX, rows, strict=True)
    ]
    assert found.scalarised == pytest.approx(sum(sums) / 6, rel=1e-5)


@torch.no_grad()
def test_density_answers_to_the_weight_of_the_order_loss_wherever_it_stands():
    model = responsive_model(3)
    config = replace(CONFIG, objectives=(CLICK, CART, ORDER), hypervolume_of=HypervolumeOf.METRICS)

    front = validator(config).measure(model).front

    recall, density = zip(*(slow_metrics(model, one) for one in SIMPLEX), strict=True)
    click, _, order = zip(*SIMPLEX, strict=True)
    by_hand = (spearmanr(recall, click).statistic, spearmanr(density, order).statistic)
    assert front.monotonicity == pytest.approx(by_hand)


@torch.no_grad()
def test_negatives_are_the_same_every_time_and_the_seeds():
    model = responsive_model()
    one = validator()

    assert torch.equal(one.measure(model).losses_O, one.measure(model).losses_O)
    assert torch.equal(one.measure(model).losses_O, validator().measure(model).losses_O)
    other = validator(seed=SEED + 1).measure(model).losses_O
    assert other[0] != one.measure(model).losses_O[0]
    assert other[1] == one.measure(model).losses_O[1]  # the order loss knows no negatives


@torch.no_grad()
def test_nothing_is_dropped_out_and_no_weight_moves():
    model = responsive_model().train()
    weights = {name: one.clone() for name, one in model.state_dict().items()}
    rows = slow_losses(model.eval(), ["click", "order"], GRID)
    model.train()
    before = torch.get_rng_state()

    found = validator().measure(model)

    assert found.losses_O[0].item() == pytest.approx(sum(row[0] for row in rows) / 3, rel=1e-5)
    assert all(torch.equal(one, weights[name]) for name, one in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), before)


def test_no_gradient_is_kept():
    assert not validator().measure(responsive_model()).losses_O.requires_grad
