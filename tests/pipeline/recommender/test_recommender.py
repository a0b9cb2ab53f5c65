import numpy as np
import polars as pl
import pytest
import torch

from models.checkpoint import CheckpointFacts, catalogue_fingerprint, save_checkpoint
from models.errors import CheckpointError, ModelError
from models.network.configuration import Conditioning, ModelConfig
from models.network.model import build_model
from models.training.configuration import TrainingConfig
from pipeline.artifacts.storage import StudyPaths
from pipeline.recommender.recommender import Recommender

CATALOGUE = ["shoe", "hat", "glove", "sock", "coat", "belt", "scarf"]
WINDOW = 3


def lively_model():
    """A model whose weights are all far from 0."""
    config = ModelConfig(
        hidden_size=4, layers=1, heads=1, max_length=WINDOW, conditioning=Conditioning.CONCATENATION
    )
    model = build_model(config, n_items=len(CATALOGUE), n_objectives=2, seed=0)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(0.5 * torch.randn(weight.shape, generator=generator))
    return model.eval()


def write_items(path, names):
    """An items table whose rows stand in reverse order of their index."""
    frame = pl.DataFrame({"index": range(len(names)), "item": names}).reverse()
    frame.write_parquet(path)


@pytest.fixture
def study(tmp_path):
    """A study with a checkpoint and the items it was trained on."""
    facts = CheckpointFacts(
        catalogue=catalogue_fingerprint(CATALOGUE),
        best_epoch=1,
        training=TrainingConfig(),
        reference=(6.0, 3.0),
        hypervolume=0.5,
        seed=0,
    )
    paths = StudyPaths(root=tmp_path, name="shop")
    for artifact in ("conditioned_model", "sessions"):
        paths.artifact(artifact).mkdir(parents=True)
    save_checkpoint(lively_model(), facts, paths.artifact("conditioned_model"))
    write_items(paths.artifact("sessions", "items.parquet"), CATALOGUE)
    return paths


def slow_list(model, session, preference, k):
    """The k best items of one session computed alone, by a full sort."""
    with torch.no_grad():
        inputs = torch.tensor([session[-WINDOW:]])
        lengths = torch.tensor([inputs.shape[1]])
        states = model(inputs, lengths, torch.tensor([preference]).float())
        scores = model.score_all(states[0])[-1].tolist()
    return sorted(range(len(scores)), key=lambda item: (-scores[item], item))[:k]


def visits(n, seed=0):
    """Sessions of one to six clicks, each with a preference of its own."""
    random = np.random.default_rng(seed)
    sessions = [random.integers(len(CATALOGUE), size=random.integers(1, 7)) for _ in range(n)]
    weights = random.uniform(size=n)
    return sessions, np.stack([weights, 1 - weights], axis=1)


@pytest.mark.parametrize("n", [1, 511, 512, 513, 1030])
def test_every_session_gets_its_own_list_however_many_come(n):
    sessions, preferences = visits(n)
    recommender = Recommender.of(lively_model(), CATALOGUE)

    lists = recommender.recommend(sessions, preferences, k=4)

    assert len(lists) == n
    for row in {*range(0, n, 50), *range(505, min(n, 520)), n - 1}:
        expected = slow_list(
            recommender.model, sessions[row].tolist(), preferences[row].tolist(), 4
        )
        assert lists[row].tolist() == expected


def test_a_large_catalogue_is_scored_for_few_sessions_at_once(monkeypatch):
    n_items, sizes = 100_000, []
    model = build_model(
        ModelConfig(hidden_size=2, layers=1, heads=1), n_items=n_items, n_objectives=2, seed=0
    )
    monkeypatch.setattr(
        model,
        "score_all",
        lambda hidden: sizes.append(len(hidden)) or torch.zeros(len(hidden), n_items),
    )
    sessions, preferences = visits(100)

    recommender = Recommender.of(model, [str(item) for item in range(n_items)])
    lists = recommender.recommend(sessions, preferences, k=1)
    candidates = [items for _, items, _ in recommender.candidates(sessions, preferences, n=1)]

    assert sizes == [40, 40, 20] * 2  # four million scores
    assert len(lists) == len(np.concatenate(candidates)) == 100


def test_no_session_gives_no_list():
    lists = Recommender.of(lively_model(), CATALOGUE).recommend([], np.empty((0, 2)), k=3)

    assert lists.tolist() == []
    assert lists.shape == (0, 3)  # so that it concatenates with other lists


def test_the_preference_decides_the_list():
    sessions = [np.array([session]) for session in range(len(CATALOGUE))]
    model = lively_model()
    with torch.no_grad():
        model.conditioning.from_preference.weight *= 8  # the preference outweighs the clicked item
        model.norm.bias.zero_()
    recommender = Recommender.of(model, CATALOGUE)

    click = recommender.recommend(sessions, np.array([[1.0, 0.0]] * 7), k=7)
    order = recommender.recommend(sessions, np.array([[0.0, 1.0]] * 7), k=7)

    assert (click != order).any(axis=1).all()
    assert sorted(click[0].tolist()) == list(range(7))


def test_a_loaded_recommender_lists_as_the_saved_model(study):
    sessions, preferences = visits(40)

    loaded = Recommender.load(study)

    expected = Recommender.of(lively_model(), CATALOGUE).recommend(sessions, preferences, k=5)
    assert loaded.recommend(sessions, preferences, k=5).tolist() == expected.tolist()


def test_items_are_known_by_index_whatever_the_order_of_rows(study):
    recommender = Recommender.load(study)

    assert recommender.items == CATALOGUE
    assert [recommender.index[item] for item in CATALOGUE] == list(range(7))


def test_the_items_of_another_training_are_refused(study):
    write_items(study.artifact("sessions", "items.parquet"), [*CATALOGUE[:-1], "tie"])

    with pytest.raises(CheckpointError, match="another catalogue"):
        Recommender.load(study)


@pytest.mark.parametrize(
    ("preferences", "k", "words"),
    [
        ([[0.9, 0.9]], 3, "not a point of the simplex"),
        ([[0.2, 0.3, 0.5]], 3, "has 3 weights, the model 2 objectives"),
        ([[0.5, 0.5]], 8, "asked for 8 items, but the catalogue has 7"),
    ],
    ids=["off-simplex", "three-weights", "too-long"],
)
def test_an_invalid_request_is_rejected(preferences, k, words):
    recommender = Recommender.of(lively_model(), CATALOGUE)

    with pytest.raises(ModelError, match=words):
        recommender.recommend([np.array([1])], np.array(preferences), k=k)
