import math
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
from torch.nn.modules.module import register_module_forward_pre_hook

from models.configuration import ModelConfig, Objective, TrainingConfig
from models.errors import ModelError, TrainingDiverged
from models.network import ConditionedSessionModel
from models.preferences import preference_grid
from models.scoring import score_targets, top_items
from models.tokens import SessionTokens
from models.training import train

ITEMS = 10
MODEL = ModelConfig(width=8, layers=1, heads=1, dropout=0.1, max_length=6)
CONFIG = TrainingConfig(epochs=3, batch_sessions=8, negatives=4, learning_rate=0.01, threads=1)


def chains(step=1, n=20):
    """Sessions of five clicks in which item i is always followed by i + step, in a circle."""
    return SessionTokens.of([[((s + step * t) % ITEMS, s % 2) for t in range(5)] for s in range(n)])


def run(tokens=None, validation=None, *, model=MODEL, config=CONFIG, seed=5):
    return train(
        chains() if tokens is None else tokens,
        chains(n=5) if validation is None else validation,
        n_items=ITEMS,
        model_config=model,
        config=config,
        seed=seed,
    )


def same_weights(one, other):
    pairs = zip(one.values(), other.values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


@contextmanager
def watching(look):
    """Call ``look(model, inputs_BT, preference_BO)`` before every pass through the network."""

    def hook(module, arguments):
        if isinstance(module, ConditionedSessionModel):
            look(module, *arguments)

    handle = register_module_forward_pre_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def curve(result, split, objective):
    return [p.loss for p in result.curves if (p.split, p.objective) == (split, objective.value)]


def slow_validation(model, sessions, seed):
    """Losses by validation preference and objective, one position at a time; 3 × [click, order]."""
    generator = torch.Generator().manual_seed(seed)
    rows = []
    for preference in ([0.0, 1.0], [0.5, 0.5], [1.0, 0.0]):
        negatives = torch.randint(ITEMS, (CONFIG.negatives,), generator=generator).tolist()
        clicks, orders = [], []
        for session in sessions:
            inputs = torch.tensor([[item for item, _ in session[:-1]]])
            scores_TI = model.score_all(model(inputs, torch.tensor([preference]))[0]).tolist()
            for scores, (target, ordered) in zip(scores_TI, session[1:], strict=True):
                rivals = [math.exp(scores[item]) for item in negatives if item != target]
                total = math.exp(scores[target]) + sum(rivals)
                clicks.append(math.log(total) - scores[target])
                likely = 1 / (1 + math.exp(-scores[target]))
                orders.append(-math.log(likely if ordered else 1 - likely))
        rows.append([sum(clicks) / len(clicks), sum(orders) / len(orders)])
    return rows


def test_it_learns_that_each_item_is_followed_by_the_next():
    tokens = SessionTokens.of([[(s % 6 + t, 0) for t in range(5)] for s in range(120)])
    config = replace(
        CONFIG, epochs=15, learning_rate=0.02, negatives=10, preference_concentration=(4.0, 0.5)
    )

    result = run(tokens, tokens, model=replace(MODEL, width=16, dropout=0.0), config=config)
    scores = score_targets(result.model, tokens, torch.tensor([1.0, 0.0]))

    assert (scores.rank == 1).all()
    assert scores.click_loss.mean() < math.log(ITEMS) / 10  # log 10 is knowing nothing
    for split in ("train", "validation"):
        for objective in CONFIG.objectives:
            losses = curve(result, split, objective)
            assert losses[-1] < losses[0] / 4


@pytest.mark.parametrize("objective", [Objective.ORDER, Objective.CART])
def test_more_weight_on_a_label_lifts_the_item_that_has_it(objective):
    # after item 0, item 1 follows nine times of ten and is never ordered; item 2 always is
    followed = (2, 1, 0) if objective is Objective.ORDER else (2, 0, 1)  # … or put into the cart
    sessions = [[(0, 0), followed if n % 10 == 0 else (1, 0)] for n in range(200)]
    tokens = SessionTokens.of(sessions)
    config = replace(
        CONFIG,
        objectives=(Objective.CLICK, objective),
        epochs=25,
        batch_sessions=20,
        learning_rate=0.03,
    )

    model = run(tokens, tokens, config=config).model
    grid = preference_grid(5)
    states = model(torch.tensor([[0]]).expand(5, -1), grid)[:, 0]
    lead = (model.score_all(states)[:, 2] - model.score_all(states)[:, 1]).tolist()
    lists = top_items(model, [torch.tensor([0]).numpy()] * 5, grid, ITEMS).tolist()

    assert lead == sorted(lead, reverse=True)  # the grid runs from all order to all click
    assert lists[0].index(2) < lists[0].index(1)
    assert lists[-1][:2] == [1, 2]


def test_every_session_is_trained_under_its_own_preference():
    seen = []

    with watching(lambda model, _, preference_BO: seen.append((model.training, preference_BO))):
        run()
    training = [preference_BO for in_training, preference_BO in seen if in_training]

    assert len(training) == CONFIG.epochs * math.ceil(20 / 8)
    for preference_BO in training:
        assert len(preference_BO.unique(dim=0)) == len(preference_BO)
    together = torch.cat(training)
    assert len(together) == CONFIG.epochs * 20
    assert len(together.unique(dim=0)) > 0.9 * len(together)  # drawn anew in every epoch


def test_validation_looks_at_an_even_grid():
    seen = []

    with watching(lambda model, _, preference_BO: seen.append((model.training, preference_BO))):
        run(validation=chains(n=4))
    grid = [
        preference_BO.unique(dim=0).tolist() for training, preference_BO in seen if not training
    ]

    assert grid == [[[0.0, 1.0]], [[0.5, 0.5]], [[1.0, 0.0]]] * CONFIG.epochs


def test_the_best_epoch_on_validation_is_kept():
    # validation runs the other way round, so that learning soon harms; with this seed the best
    # epoch, the best one by unscaled losses, and the last are three different ones
    written = [[((s - t) % ITEMS, s % 2) for t in range(5)] for s in range(6)]
    config = replace(CONFIG, epochs=6, loss_scales=(1.0, 3.0))
    snapshots = []

    def look(model, *_):
        if not model.training:
            snapshots.append({name: w.clone() for name, w in model.state_dict().items()})

    with watching(look):
        result = run(chains(n=40), SessionTokens.of(written), config=config, seed=1)
    epochs = snapshots[::3]  # one pass for each of three preferences an epoch
    kept = {name: w.clone() for name, w in result.model.state_dict().items()}
    best = {}
    rows = []
    for weights in epochs:
        result.model.load_state_dict(weights)
        rows.append(slow_validation(result.model, written, seed=1))
    for scale in (1, 3):  # π is (0, 1), (1/2, 1/2), (1, 0)
        losses = [scale * o[1] + (c_o[0] + scale * c_o[1]) / 2 + c[0] for o, c_o, c in rows]
        best[scale] = losses.index(min(losses)) + 1

    for number, objective in enumerate(CONFIG.objectives):
        means = [sum(row[number] for row in grid) / 3 for grid in rows]
        assert curve(result, "validation", objective) == pytest.approx(means, rel=1e-4)
    assert result.best_epoch == best[3]
    assert len({best[3], best[1], 6}) == 3
    assert same_weights(kept, epochs[best[3] - 1])
    assert not same_weights(kept, epochs[-1])


def test_curves_hold_every_epoch_split_and_objective():
    result = run()

    keys = [(point.epoch, point.split, point.objective) for point in result.curves]
    assert keys == [
        (epoch, split, objective)
        for epoch in (1, 2, 3)
        for split in ("train", "validation")
        for objective in ("click", "order")
    ]
    assert all(math.isfinite(point.loss) for point in result.curves)


def test_curves_are_unscaled():
    still = replace(CONFIG, learning_rate=1e-30)  # the weights do not move

    one = run(config=replace(still, loss_scales=(1.0, 1.0)))
    other = run(config=replace(still, loss_scales=(3.0, 7.0)))

    assert one.curves == other.curves
    # scores are all but 0 at first: the order loss is log 2, the click loss between the
    # logarithms of 1 + the negatives that are not the target
    assert curve(one, "train", Objective.ORDER)[0] == pytest.approx(math.log(2), abs=0.02)
    assert math.log(1 + 3) < curve(one, "train", Objective.CLICK)[0] < math.log(1 + 4)


def test_validation_does_not_touch_the_training():
    one, other = run(validation=chains(n=5)), run(validation=chains(step=3, n=9))

    for objective in CONFIG.objectives:
        assert curve(one, "train", objective) == curve(other, "train", objective)


def test_same_seed_same_weights_bit_for_bit_whatever_the_global_generator():
    with torch.random.fork_rng(devices=[]):
        first = run(seed=5)
        torch.rand(7)
        again, other = run(seed=5), run(seed=6)

    assert same_weights(first.model.state_dict(), again.model.state_dict())
    assert first.curves == again.curves
    assert not same_weights(first.model.state_dict(), other.model.state_dict())


def test_training_leaves_torchs_global_state_alone():
    def state():
        return torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()

    before, generator = state(), torch.get_rng_state()

    run(config=replace(CONFIG, threads=before[0] + 1))
    with pytest.raises(TrainingDiverged):
        run(config=replace(CONFIG, threads=before[0] + 1, learning_rate=1e30))

    assert state() == before
    assert torch.equal(torch.get_rng_state(), generator)


def test_weight_decay_shrinks_matrices_only():
    model = run(config=replace(CONFIG, weight_decay=50.0)).model

    # 9 steps of learning rate 0.01 or less move a weight by 0.09 or so; the decay takes from a
    # matrix up to 0.01 · 50, half of each weight, in each step
    assert model.conditioning.weight.abs().max() < 0.1
    assert (model.norm.weight - 1).abs().max() < 0.1


def test_the_model_is_handed_back_ready_to_serve():
    assert not run().model.training


def test_diverged_training_names_epoch_step_and_sessions():
    tokens = SessionTokens.of([[(1, 0), (2, 1)]] * 2)
    config = replace(CONFIG, batch_sessions=1, learning_rate=1e30)

    # the first step's update is as large as the learning rate; the second step's loss is lost
    with pytest.raises(TrainingDiverged, match=r"epoch 1, step 1 \(sessions \[[01]\].*lower"):
        run(tokens, tokens, config=config)


def test_a_validation_loss_that_is_not_a_number_is_refused():
    tokens = SessionTokens.of([[(1, 0), (2, 1)]])  # one step an epoch, whose own loss is fine

    with pytest.raises(TrainingDiverged, match="validation loss is nan after epoch 1"):
        run(tokens, tokens, config=replace(CONFIG, learning_rate=1e30))


def test_more_negatives_than_items_are_refused():
    with pytest.raises(ModelError, match=r"negatives = 11 exceeds the catalogue of 10 items"):
        run(config=replace(CONFIG, negatives=ITEMS + 1))


@pytest.mark.parametrize(
    ("n", "n_validation", "words"),
    [(0, 5, "no training session"), (5, 0, "no validation session")],
    ids=["training", "validation"],
)
def test_nothing_to_learn_or_choose_from_is_refused(n, n_validation, words):
    with pytest.raises(ModelError, match=words):
        run(chains(n=n), chains(n=n_validation))
