"""Checkpoints: what is saved is what is loaded, and what does not fit is refused."""

import hashlib
import json
import pickle
from dataclasses import asdict, replace
from itertools import product

import pytest
import torch
from pydantic import TypeAdapter

from models.checkpoint import (
    DESCRIPTION,
    WEIGHTS,
    CheckpointFacts,
    catalogue_fingerprint,
    checkpoint_fingerprint,
    load_checkpoint,
    save_checkpoint,
)
from models.errors import CheckpointError
from models.network.backbones import BACKBONES
from models.network.configuration import Conditioning, ModelConfig, Positions
from models.network.model import build_model
from models.objectives.configuration import Negatives, Objective
from models.training.configuration import TrainingConfig

ITEMS = ["shoe", "hat", "Mütze", "sock", "coat"]
CONFIG = ModelConfig(hidden_size=8, layers=1, heads=2, dropout=0.2, max_length=3)
REFUSAL = r"(?s)not a readable checkpoint: .+\. Materialise 'conditioned_model' again"
OTHERS = [
    *(
        replace(CONFIG, backbone=backbone, conditioning=conditioning)
        for backbone, conditioning in product(sorted(BACKBONES), Conditioning)
    ),
    replace(CONFIG, conditioning=Conditioning.LOW_RANK_MIXTURE, rank=1, layers=3),
    replace(CONFIG, backbone="ligr", positions=Positions.END, feedforward_multiplier=3, heads=4),
]
TRAINING = TrainingConfig(
    objectives=(
        Objective(loss="click", scale=2.0),
        Objective(loss="our.losses:margin", reference=1.5),
    ),
    negatives=Negatives(uniform=3, top=2),
)
FACTS = CheckpointFacts(
    catalogue=catalogue_fingerprint(ITEMS),
    best_epoch=3,
    training=TRAINING,
    reference=(1.25, 1.5),
    hypervolume=0.375,
    seed=11,
)


def fresh_model(config=CONFIG, **changes):
    return build_model(config, **{"n_items": len(ITEMS), "n_objectives": 2, "seed": 1} | changes)


def states(model):
    inputs_BT, lengths_B = torch.tensor([[0, 4, 2], [3, 1, 0]]), torch.tensor([3, 2])
    with torch.no_grad():
        return model.eval()(inputs_BT, lengths_B, torch.tensor([[0.3, 0.7], [1.0, 0.0]]))


@pytest.fixture
def folder(tmp_path):
    """A folder with a good checkpoint."""
    save_checkpoint(fresh_model(), FACTS, tmp_path)
    return tmp_path


def described(folder, **changes):
    """Rewrite the description with some keys changed, or without those that are None."""
    description = json.loads((folder / DESCRIPTION).read_text("utf-8")) | changes
    kept = {key: value for key, value in description.items() if value is not None}
    (folder / DESCRIPTION).write_text(json.dumps(kept), encoding="utf-8")


@pytest.mark.parametrize(
    "config", OTHERS, ids=lambda c: f"{c.backbone}-{c.conditioning}-{c.layers}"
)
def test_a_loaded_model_is_the_saved_one(config, tmp_path):
    saved = fresh_model(config)
    save_checkpoint(saved, FACTS, tmp_path)

    loaded = load_checkpoint(tmp_path, items=ITEMS)

    assert not loaded.training
    assert (loaded.config, loaded.n_items, loaded.n_objectives) == (config, 5, 2)
    assert torch.equal(states(loaded), states(saved))
    hidden_PD = states(saved)[0]
    assert torch.equal(loaded.score_all(hidden_PD), saved.score_all(hidden_PD))


def test_a_model_of_three_objectives_is_loaded(tmp_path):
    save_checkpoint(fresh_model(n_objectives=3), FACTS, tmp_path)

    assert load_checkpoint(tmp_path, items=ITEMS).n_objectives == 3


def test_a_model_trained_with_sparse_items_is_loaded(tmp_path):
    saved = fresh_model(sparse_items=True)
    save_checkpoint(saved, FACTS, tmp_path)

    assert torch.equal(states(load_checkpoint(tmp_path, items=ITEMS)), states(saved))


def test_a_loaded_model_can_be_folded(folder):
    preference_O = torch.tensor([0.3, 0.7])

    folded = load_checkpoint(folder, items=ITEMS).folded(preference_O)

    torch.testing.assert_close(states(folded)[0], states(fresh_model())[0])


def test_the_description_has_model_and_training_configuration(folder):
    description = json.loads((folder / DESCRIPTION).read_text("utf-8"))

    assert description == {
        "format": 2,
        "n_items": 5,
        "n_objectives": 2,
        "model": asdict(CONFIG),
        "catalogue": hashlib.sha256("shoe\nhat\nMütze\nsock\ncoat".encode()).hexdigest(),
        "best_epoch": 3,
        "training": json.loads(json.dumps(asdict(TRAINING))),
        "reference": [1.25, 1.5],
        "hypervolume": 0.375,
        "seed": 11,
    }


def test_how_it_was_trained_can_be_read_back(folder):
    description = json.loads((folder / DESCRIPTION).read_text("utf-8"))

    read = TypeAdapter(TrainingConfig).validate_json(json.dumps(description["training"]))

    assert read == TRAINING


def test_weights_are_safetensors_and_nothing_else_is_written(folder):
    content = (folder / WEIGHTS).read_bytes()
    header_bytes = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + header_bytes])
    weights = fresh_model().state_dict()

    assert sorted(path.name for path in folder.iterdir()) == sorted([WEIGHTS, DESCRIPTION])
    assert set(header) - {"__metadata__"} == set(weights)
    assert len(content) == 8 + header_bytes + 4 * sum(w.numel() for w in weights.values())


def test_the_same_model_writes_the_same_bytes(folder, tmp_path_factory):
    again = tmp_path_factory.mktemp("again")

    save_checkpoint(fresh_model(), FACTS, again)

    for name in (WEIGHTS, DESCRIPTION):
        assert (again / name).read_bytes() == (folder / name).read_bytes()


@pytest.mark.parametrize(
    "items",
    [[*ITEMS, "belt"], ITEMS[:-1], ITEMS[::-1], [*ITEMS[:-1], "belt"], []],
    ids=["one-more", "one-less", "other-order", "one-replaced", "empty"],
)
def test_another_catalogue_is_refused_with_the_remedy(folder, items):
    words = f"has 5 items of another catalogue than the {len(items)} given; materialise"

    with pytest.raises(CheckpointError, match=words):
        load_checkpoint(folder, items=items)


def cut_in_half(path):
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def unpickled(path):
    path.write_bytes(pickle.dumps({"item_embedding.weight": [[0.0]]}))


@pytest.mark.parametrize("name", [WEIGHTS, DESCRIPTION])
@pytest.mark.parametrize(
    "damage",
    [
        cut_in_half,
        unpickled,
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"[1, 2]"),
        lambda path: path.unlink(),
    ],
    ids=["cut", "pickle", "empty", "list", "missing"],
)
def test_a_damaged_file_is_refused_with_the_remedy(folder, name, damage):
    damage(folder / name)

    with pytest.raises(CheckpointError, match=REFUSAL) as refusal:
        load_checkpoint(folder, items=ITEMS)
    assert str(folder) in str(refusal.value)


@pytest.mark.parametrize(
    "changes",
    [
        {"format": 1},
        {"format": 3},
        {"format": None},
        {"model": None},
        {"catalogue": None},
        {"n_items": None},
        {"n_items": 6},
        {"n_items": 0},
        {"n_items": "5"},
        {"n_objectives": 3},
        {"model": asdict(CONFIG) | {"depth": 3}},
        {"model": asdict(CONFIG) | {"hidden_size": "8"}},
        {"model": asdict(CONFIG) | {"heads": 3}},
        {"model": asdict(CONFIG) | {"layers": 2}},
        {"model": asdict(CONFIG) | {"backbone": "gru4rec"}},
        {"model": asdict(CONFIG) | {"backbone": "bert"}},
        {"model": asdict(CONFIG) | {"backbone": "nowhere:Mine"}},
        {"model": asdict(CONFIG) | {"conditioning": "film"}},
        {"model": asdict(CONFIG) | {"conditioning": "none"}},
        {"model": [8, 1]},
    ],
    ids=[
        "older-format",
        "newer-format",
        "no-format",
        "no-model",
        "no-catalogue",
        "no-n-items",
        "item-too-many",
        "no-items",
        "items-as-text",
        "objective-too-many",
        "unknown-key",
        "text-width",
        "heads-do-not-divide",
        "layer-too-many",
        "other-backbone",
        "unknown-backbone",
        "lost-backbone",
        "other-conditioning",
        "unknown-conditioning",
        "model-as-list",
    ],
)
def test_a_description_that_does_not_fit_is_refused(folder, changes):
    described(folder, **changes)

    with pytest.raises(CheckpointError, match=REFUSAL):
        load_checkpoint(folder, items=ITEMS)


def test_another_format_is_named_with_the_one_that_is_read(folder):
    described(folder, format=1)

    with pytest.raises(CheckpointError, match="its format is 1, this version reads 2"):
        load_checkpoint(folder, items=ITEMS)


def test_a_missing_weight_is_named(folder):
    described(folder, model=asdict(CONFIG) | {"layers": 2})

    with pytest.raises(
        CheckpointError, match=r"backbone\.blocks\.1\.attention\.query_key_value\.weight"
    ):
        load_checkpoint(folder, items=ITEMS)


def test_fingerprint_knows_items_and_their_order():
    fingerprints = [catalogue_fingerprint(items) for items in (["a", "b"], ["b", "a"], ["a"])]

    assert len(set(fingerprints)) == 3
    assert fingerprints[2] == hashlib.sha256(b"a").hexdigest()


def test_a_checkpoint_s_fingerprint_is_that_of_its_description_and_weights(folder):
    first = checkpoint_fingerprint(folder)
    (folder / "learning_curves.parquet").write_bytes(b"next to it")
    assert checkpoint_fingerprint(folder) == first

    parts = [(folder / name).read_bytes() for name in (DESCRIPTION, WEIGHTS)]
    digests = b"".join(hashlib.sha256(part).digest() for part in parts)
    assert first == hashlib.sha256(digests).hexdigest()
    for name, part in zip((DESCRIPTION, WEIGHTS), parts, strict=True):
        (folder / name).write_bytes(part + b" ")
        assert checkpoint_fingerprint(folder) != first
        (folder / name).write_bytes(part)


def test_an_invalid_checkpoint_has_no_fingerprint(folder):
    (folder / WEIGHTS).unlink()

    with pytest.raises(CheckpointError, match=r"is not a checkpoint.*'conditioned_model' again"):
        checkpoint_fingerprint(folder)


def test_a_folded_model_is_not_saved(tmp_path):
    config = ModelConfig(hidden_size=4, layers=1, heads=1)
    model = build_model(config, n_items=3, n_objectives=2, seed=0)

    with pytest.raises(CheckpointError, match="save the original model"):
        save_checkpoint(model.folded(torch.tensor([0.5, 0.5])), FACTS, tmp_path)

    assert not list(tmp_path.iterdir())
