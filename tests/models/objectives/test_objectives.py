"""The losses by hand, what holds between them, and the objectives a study names."""

import math
import sys
from math import exp, log

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from models.batching import SessionBatch
from models.errors import ModelError
from models.network.configuration import ModelConfig
from models.network.model import build_model
from models.objectives.candidate_sums import CandidateSums
from models.objectives.configuration import ClickLoss, Loss, Objective
from models.objectives.negatives import Candidates, CandidateSampler, Negatives
from models.objectives.objectives import (
    Objectives,
    distortion_loss,
    gbce_loss,
    label_loss,
    softmax_loss,
)
from models.training.configuration import TrainingConfig

ITEMS = 6
TARGETS = [[0, 5, 2], [2, 1, 0]]
ORDERED = [[1, 0, 0], [1, 1, 0]]
CARTED = [[1, 1, 0], [0, 1, 0]]
REAL = [[True, True, True], [True, True, False]]
VALUES = [0.5, 2.0, 1.0, 0.0, 3.0, 1.5]
quick = settings(max_examples=50)
score_lists = st.lists(st.floats(-30, 30), min_size=1, max_size=6)


def sums(*scores):
    """The sums of one position's candidates, by the letter."""
    score_N = torch.tensor(scores, dtype=torch.float64)
    return CandidateSums(
        log_sum_exp_P=score_N.exp().sum().log()[None],
        sum_P=score_N.sum()[None],
        number_P=torch.tensor([len(scores)]),
        softplus_P=(1 + score_N.exp()).log().sum()[None],
    )


def position(score):
    return torch.tensor([score], dtype=torch.float64)


@pytest.mark.parametrize(
    ("target", "negatives", "expected"),
    [
        (log(1), [log(2), log(3)], log((1 + 2 + 3) / 1)),
        (log(4), [log(1), log(5)], log((4 + 1 + 5) / 4)),
        (log(4), [], 0.0),
        (-300.0, [300.0, 0.0], 600.0),
        (300.0, [-300.0, 0.0], 0.0),
    ],
    ids=["plain", "strong-target", "no-rival", "hopeless", "certain"],
)
def test_softmax_by_hand(target, negatives, expected):
    assert softmax_loss(position(target), sums(*negatives)).item() == pytest.approx(expected)


# of 11 items two of ten others are compared with: α = 2/10; β = t (α - 1) + 1
@pytest.mark.parametrize(
    ("calibration", "power"), [(0.0, 1.0), (1.0, 0.2), (0.75, 0.75 * (0.2 - 1) + 1)], ids=str
)
def test_gbce_by_hand(calibration, power):
    loss_P = gbce_loss(position(log(3)), sums(log(3), 0.0), n_items=11, calibration=calibration)

    # σ(log 3) = 3/4, σ(0) = 1/2
    expected = -(power * log(3 / 4) + log(1 - 3 / 4) + log(1 - 1 / 2)) / (1 + 2)
    assert loss_P.item() == pytest.approx(expected)


def test_gbce_of_every_item_is_plain_binary_cross_entropy():
    # α = 1, so β = 1 whatever t; in-batch negatives may even outnumber the catalogue
    scores = (0.3, -1.0, 2.0)
    everything = torch.tensor([0.7, *scores]).double()
    expected = functional.binary_cross_entropy_with_logits(
        everything, torch.tensor([1, 0, 0, 0]).double()
    )

    for n_items in (4, 2, 1):
        loss_P = gbce_loss(position(0.7), sums(*scores), n_items=n_items, calibration=0.9)
        assert loss_P.item() == pytest.approx(expected.item())


@pytest.mark.parametrize(
    ("target", "negatives", "expected"),
    [
        (log(2), [log(2), log(2)], log(3)),  # log(2 + 2 + 2) - log 2
        (log(1), [log(2), log(4)], log(1 + 2 + 4) - log(1 * 2 * 4) / 3),
        (log(8), [log(2)], log(8 + 2) - log(8 * 2) / 2),
        (5.0, [], 0.0),
    ],
    ids=["even", "rising", "one-rival", "no-rival"],
)
def test_distortion_by_hand(target, negatives, expected):
    loss = distortion_loss(position(target), sums(*negatives)).item()

    assert loss == pytest.approx(expected, abs=1e-12)


@quick
@given(target=st.floats(-30, 30), negatives=score_lists)
def test_distortion_is_at_least_the_log_of_the_number(target, negatives):
    loss = distortion_loss(position(target), sums(*negatives)).item()
    scores = [target, *negatives]
    apart = max(scores) - min(scores)

    assert loss >= log(len(scores)) - 1e-9
    assert loss <= log(len(scores)) + apart + 1e-9
    if apart > 0.01:
        assert loss > log(len(scores))


@quick
@given(score=st.floats(-30, 30), number=st.integers(0, 20))
def test_distortion_reaches_its_bound_where_all_scores_are_equal(score, number):
    loss = distortion_loss(position(score), sums(*[score] * number)).item()

    assert loss == pytest.approx(log(1 + number), abs=1e-9)


def test_distortion_is_the_cross_entropy_of_an_even_distribution():
    score_N = torch.tensor([0.4, -1.3, 2.2, 0.9]).double()
    even_N = torch.full((4,), 1 / 4).double()

    expected = functional.cross_entropy(score_N, even_N).item()

    loss = distortion_loss(score_N[:1], sums(*score_N[1:].tolist())).item()
    assert loss == pytest.approx(expected)


@quick
@given(target=st.floats(-30, 30), negatives=score_lists)
def test_distortion_less_click_is_the_targets_lead_over_the_mean(target, negatives):
    compared = sums(*negatives)

    difference = distortion_loss(position(target), compared) - softmax_loss(
        position(target), compared
    )

    mean = (target + sum(negatives)) / (1 + len(negatives))
    # torch's softplus leaves out e^-20 where it is small
    assert difference.item() == pytest.approx(target - mean, abs=1e-8)


@pytest.mark.parametrize(
    ("score", "label", "expected"),
    [
        (0.0, 1.0, log(2)),
        (0.0, 0.0, log(2)),
        (log(3), 1.0, -log(3 / 4)),  # σ(log 3) = 3 / (3 + 1)
        (log(3), 0.0, -log(1 - 3 / 4)),
        (-200.0, 1.0, 200.0),
        (-200.0, 0.0, 0.0),
    ],
    ids=["even-yes", "even-no", "likely-yes", "likely-no", "miss", "sure"],
)
def test_label_by_hand(score, label, expected):
    loss_P = label_loss(torch.tensor([score]), torch.tensor([label]))

    assert loss_P.tolist() == pytest.approx([expected], rel=1e-6, abs=1e-6)


def small_model():
    config = ModelConfig(hidden_size=4, layers=1, heads=1)
    return build_model(config, n_items=ITEMS, n_objectives=2, seed=3)


def small_batch():
    return SessionBatch(
        inputs_BT=torch.zeros(2, 3, dtype=torch.long),
        targets_BT=torch.tensor(TARGETS),
        ordered_BT=torch.tensor(ORDERED).float(),
        carted_BT=torch.tensor(CARTED).float(),
        real_BT=torch.tensor(REAL),
        sessions=torch.arange(2).numpy(),
    )


def real(values):
    """The entries of real positions, in order."""
    return torch.tensor(values)[torch.tensor(REAL)].tolist()


def hidden_states():
    return 10 * torch.randn(5, 4, generator=torch.Generator().manual_seed(1))


def objectives(*losses, values=VALUES, **training):
    named = tuple(Objective(loss=loss, reference=1.0 if ":" in loss else None) for loss in losses)
    return Objectives(
        TrainingConfig(objectives=named, **training),
        n_items=ITEMS,
        value_I=None if values is None else torch.tensor(values),
    )


def losses_of(named, candidates, model=None):
    with torch.no_grad():
        return named.losses(model or small_model(), small_batch(), hidden_states(), candidates)


@pytest.mark.parametrize("click_loss", ClickLoss)
@pytest.mark.parametrize(
    "names",
    [("click", "order", "cart", "revenue", "distortion"), ("distortion", "order", "click")],
    ids="-".join,
)
@pytest.mark.parametrize("top", [None, 2], ids=["all", "top"])
def test_losses_are_those_of_explicit_loops(names, click_loss, top):
    negatives = Negatives(uniform=4, top=top)
    drawn = [4, 0, 2, 2]  # item 2 twice

    losses_PO = losses_of(
        objectives(*names, click_loss=click_loss, negatives=negatives, gbce_calibration=0.5),
        Candidates(torch.tensor([0, 2, 4]), torch.tensor([0.0, log(2), 0.0])),
    )

    table_ID = small_model().item_embedding.weight
    for row, scores in enumerate((hidden_states() @ table_ID.T).tolist()):
        target = real(TARGETS)[row]
        positive = scores[target]
        others = sorted(
            {item for item in drawn if item != target}, key=scores.__getitem__, reverse=True
        )[:top]
        likely = 1 / (1 + exp(-positive))
        softmax = (
            log(exp(positive) + sum(drawn.count(item) * exp(scores[item]) for item in others))
            - positive
        )
        power = 0.5 * (len(others) / (ITEMS - 1) - 1) + 1
        rivals = sum(log(1 + exp(scores[item])) for item in others)
        gbce = (-power * log(likely) + rivals) / (1 + len(others))
        click = softmax if click_loss is ClickLoss.SOFTMAX else gbce
        mean = (positive + sum(scores[item] for item in others)) / (1 + len(others))
        by_hand = {
            "click": click,
            "order": -log(likely if real(ORDERED)[row] else 1 - likely),
            "cart": -log(likely if real(CARTED)[row] else 1 - likely),
            "revenue": VALUES[target] * click,
            "distortion": softmax + positive - mean,
        }
        assert losses_PO[row].tolist() == pytest.approx([by_hand[name] for name in names], abs=1e-5)


def test_with_all_items_the_click_loss_is_torchs_cross_entropy():
    negatives = Negatives(uniform=0, all=True)
    candidates = CandidateSampler(negatives, n_items=ITEMS, popularity_I=torch.ones(ITEMS)).draw(
        torch.tensor(real(TARGETS)), torch.Generator()
    )
    model = small_model()

    losses_PO = losses_of(objectives("click", "order", negatives=negatives), candidates, model)

    with torch.no_grad():
        expected_P = functional.cross_entropy(
            model.score_all(hidden_states()), torch.tensor(real(TARGETS)), reduction="none"
        )
    torch.testing.assert_close(losses_PO[:, 0], expected_P)


@pytest.mark.parametrize(
    "negatives", [Negatives(uniform=3), Negatives(uniform=0, all=True)], ids=["drawn", "all"]
)
def test_a_step_changes_the_items_it_compares_only(negatives):
    items_N = torch.arange(ITEMS) if negatives.all else torch.tensor([0, 4])
    model = small_model()

    losses_PO = objectives("click", "order", negatives=negatives).losses(
        model, small_batch(), hidden_states(), Candidates(items_N, torch.zeros(len(items_N)))
    )
    losses_PO.sum().backward()

    gradient_ID = model.item_embedding.weight.grad
    assert gradient_ID is not None
    touched = {item for item in range(ITEMS) if gradient_ID[item].any()}
    assert touched == {*real(TARGETS), *items_N.tolist()}


@pytest.fixture
def own_module(tmp_path, monkeypatch):
    """Writes a module into the folder the program is started in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))

    def write(source):
        (tmp_path / "my_losses.py").write_text(source, "utf-8")

    yield write
    sys.modules.pop("my_losses", None)


def test_a_custom_loss_receives_the_batch(own_module):
    own_module(
        "def margin(of):\n"
        "    return of.value_P * (1 - of.positive_P).clamp_min(0) + of.candidates.items_N.sum()\n"
        "def carted(of):\n"
        "    return of.carted_P + 2 * of.ordered_P + 4 * of.targets_P\n"
    )
    candidates = Candidates(torch.tensor([1, 3]), torch.zeros(2))

    losses_PO = losses_of(objectives("my_losses:margin", "my_losses:carted"), candidates)

    table_ID = small_model().item_embedding.weight
    scores = (hidden_states() @ table_ID.T).tolist()
    targets = real(TARGETS)
    for row, (target, carted, ordered) in enumerate(
        zip(targets, real(CARTED), real(ORDERED), strict=True)
    ):
        margin = VALUES[target] * max(1 - scores[row][target], 0) + (1 + 3)
        assert losses_PO[row].tolist() == pytest.approx(
            [margin, carted + 2 * ordered + 4 * target], abs=1e-5
        )


@pytest.mark.parametrize(
    ("body", "got"),
    [
        ("of.positive_P.mean()", r"\(\)"),
        ("of.positive_P[:2]", r"\(2,\)"),
        ("of.hidden_PD", r"\(5, 4\)"),
        ("1.0", "float"),
    ],
    ids=["mean", "some", "matrix", "number"],
)
def test_a_custom_loss_of_another_shape_is_rejected(own_module, body, got):
    own_module(f"def loss(of):\n    return {body}\n")
    named = objectives("click", "my_losses:loss")

    with pytest.raises(ModelError, match=rf"my_losses:loss returns {got}, .* each of 5 positions"):
        losses_of(named, Candidates(torch.tensor([1]), torch.zeros(1)))


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("my_losses:missing", "module my_losses has no 'missing'"),
        ("no_such_module:loss", "cannot import no_such_module"),
        ("my_losses:NUMBER", "is int, expected a class or function"),
        ("my_losses:", "is not an import path"),
    ],
    ids=["name", "module", "not-callable", "half"],
)
def test_a_missing_custom_loss_is_rejected(own_module, path, words):
    own_module("NUMBER = 1\n")

    with pytest.raises(ModelError, match=words) as error:
        objectives("click", path)
    assert "training.objectives" in str(error.value)


def test_a_module_that_fails_is_refused_with_its_reason(own_module):
    own_module("raise ValueError('no licence')\n")

    with pytest.raises(ModelError, match=r"cannot import my_losses \(ValueError: no licence\)"):
        objectives("click", "my_losses:loss")


def test_revenue_without_values_is_refused():
    with pytest.raises(ModelError, match=r"revenue needs .* dataset\.item_attributes"):
        objectives("click", "revenue", values=None)


def test_without_revenue_values_are_not_needed():
    candidates = Candidates(torch.tensor([1, 3]), torch.zeros(2))

    without = losses_of(objectives("click", "order", values=None), candidates)

    assert torch.equal(without, losses_of(objectives("click", "order"), candidates))


def test_names_scales_and_references_keep_the_studys_order():
    named = Objectives(
        TrainingConfig(
            objectives=(
                Objective(loss="order", scale=4.0),
                Objective(loss="click", scale=0.5, reference=7.0),
                Objective(loss="cart"),
            )
        ),
        n_items=ITEMS,
    )

    assert named.names == ["order", "click", "cart"]
    assert named.scale_O.tolist() == [4, 0.5, 1]
    assert named.reference_O.tolist() == [3, 7, 3]


# what equal scores give: the logarithm of the target and the candidates it is one among
EQUAL_SCORES = {
    "drawn": (Negatives(uniform=512), log(1 + 512)),
    "top": (Negatives(uniform=512, top=100), log(1 + 100)),
    "in-batch": (Negatives(uniform=0, in_batch=True), log(1 + 32)),
    "both": (Negatives(uniform=512, in_batch=True), log(1 + 512 + 32)),
    "all": (Negatives(uniform=0, all=True), log(1 + 1000)),
    "top-of-all": (Negatives(uniform=0, all=True, top=100), log(1 + 100)),
    "log-q": (Negatives(uniform=512, log_q=True), log(1 + 1000)),
    "in-batch-log-q": (Negatives(uniform=0, in_batch=True, log_q=True), log(1 + 1000)),
    "top-log-q": (Negatives(uniform=500, top=100, log_q=True), log(1 + 100 * 1000 / 500)),
}


@pytest.mark.parametrize(("negatives", "equal"), EQUAL_SCORES.values(), ids=EQUAL_SCORES)
def test_derived_references(negatives, equal):
    config = TrainingConfig(
        objectives=tuple(Objective(loss=loss) for loss in Loss),
        negatives=negatives,
        batch_size=32,
    )

    reference_O = Objectives(config, n_items=1000, value_I=torch.ones(1000)).reference_O

    expected = {
        Loss.CLICK: equal,
        Loss.ORDER: 3.0,
        Loss.CART: 3.0,
        Loss.REVENUE: equal,
        Loss.DISTORTION: 2 * equal,
    }
    assert reference_O.tolist() == pytest.approx([expected[loss] for loss in Loss])


def test_the_reference_of_gbce_is_the_loss_of_scores_of_0():
    named = objectives("click", "order", click_loss=ClickLoss.GBCE)
    # with t = 0 each of target and negatives gives log 2
    zeros = gbce_loss(position(0.0), sums(0.0, 0.0), n_items=ITEMS, calibration=0.0)

    assert named.reference_O[0].item() == pytest.approx(zeros.item())


@pytest.mark.parametrize("log_q", [False, True], ids=["plain", "log-q"])
def test_a_model_that_knows_nothing_is_at_its_reference(log_q):
    negatives = Negatives(uniform=ITEMS, log_q=log_q)
    named = objectives("click", "revenue", values=[1.0] * ITEMS, negatives=negatives)
    sampler = CandidateSampler(negatives, n_items=ITEMS, popularity_I=torch.ones(ITEMS))
    rng = torch.Generator().manual_seed(0)
    model = small_model()
    torch.nn.init.zeros_(model.item_embedding.weight)

    losses = [
        losses_of(named, sampler.draw(torch.tensor(real(TARGETS)), rng), model).mean().item()
        for _ in range(50)
    ]

    # a little below it, as a draw of the own target does not count
    mean = sum(losses) / len(losses)
    assert math.log(ITEMS) - 0.1 < mean < named.reference_O[0].item()
