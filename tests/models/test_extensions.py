"""Extensions, found by import path or entry point; a backbone is tried out before use."""

import math
import re
import sys
from textwrap import dedent

import pytest
import torch

from models.checkpoint import (
    CheckpointFacts,
    catalogue_fingerprint,
    load_checkpoint,
    save_checkpoint,
)
from models.errors import ModelError
from models.extensions import ExtensionPoint
from models.network.backbones import BACKBONES, build_backbone
from models.network.configuration import Conditioning, ModelConfig
from models.network.model import build_model
from models.objectives.configuration import Loss, Negatives, Objective
from models.objectives.objectives import Objectives
from models.tokens import SessionTokens
from models.training.configuration import TrainingConfig
from models.training.loop import train
from models.training.seeds import SeedPurpose, derived_seed
from tests.plugins import install_plugin

CONFIG = {"hidden_size": 4, "layers": 1, "heads": 2, "dropout": 0.0, "max_length": 6}


@pytest.fixture
def brought(tmp_path, monkeypatch):
    """Writes a user's module ``mine`` where Python looks."""
    monkeypatch.syspath_prepend(tmp_path)

    def bring(source):
        (tmp_path / "mine.py").write_text(dedent(source), encoding="utf-8")

    yield bring
    sys.modules.pop("mine", None)


def test_classes_and_functions_are_found_by_their_import_path(brought):
    brought("class Mine: ...\ndef loss(predictions): return 2 * predictions")

    assert (
        ExtensionPoint.BACKBONES.load(
            "mine:Mine", key="model.backbone", built_in=BACKBONES
        ).__name__
        == "Mine"
    )
    assert (
        ExtensionPoint.OBJECTIVES.load("mine:loss", key="training.objectives", built_in=list(Loss))(
            21
        )
        == 42
    )
    assert (
        ExtensionPoint.OBJECTIVES.load("math:hypot", key="training.objectives", built_in=list(Loss))
        is math.hypot
    )


def test_a_module_inside_a_package_is_found(tmp_path, monkeypatch):
    (tmp_path / "our_models").mkdir()
    (tmp_path / "our_models" / "losses.py").write_text("def margin(): return 7")
    monkeypatch.syspath_prepend(tmp_path)

    assert (
        ExtensionPoint.OBJECTIVES.load(
            "our_models.losses:margin", key="training.objectives", built_in=list(Loss)
        )()
        == 7
    )


def test_the_folder_the_program_was_started_in_is_looked_in_last_and_named_once(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(sys, "path", sys.path.copy())
    monkeypatch.chdir(tmp_path)
    (tmp_path / "started_here.py").write_text("def loss(): return 'here'")
    (tmp_path / "json.py").write_text("def loads(): return 'here'")

    assert (
        ExtensionPoint.OBJECTIVES.load(
            "started_here:loss", key="training.objectives", built_in=list(Loss)
        )()
        == "here"
    )
    assert ExtensionPoint.OBJECTIVES.load(
        "json:loads", key="training.objectives", built_in=list(Loss)
    )("[1]") == [1]
    assert sys.path.count(str(tmp_path)) == 1
    assert sys.path[-1] == str(tmp_path)


@pytest.mark.parametrize("path", ["mine:", ":Mine", ":"])
def test_an_invalid_import_path_is_rejected_with_a_valid_form(path):
    words = f"model.backbone = {path!r} is not an import path; write 'package.module:name'"

    with pytest.raises(ModelError, match=words):
        ExtensionPoint.BACKBONES.load(path, key="model.backbone", built_in=BACKBONES)


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import nowhere", "ModuleNotFoundError: No module named 'nowhere'"),
        ("import math\nmath.nothing", "AttributeError: module 'math' has no attribute 'nothing'"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("def loss(:", "SyntaxError: invalid syntax"),
    ],
    ids=["import", "attribute", "arithmetic", "syntax"],
)
def test_a_module_that_fails_is_refused_with_its_own_reason(brought, source, reason):
    brought(source)

    with pytest.raises(ModelError, match=f"training.objectives = 'mine:loss'.*{reason}") as refusal:
        ExtensionPoint.OBJECTIVES.load("mine:loss", key="training.objectives", built_in=list(Loss))
    assert "cannot import mine" in str(refusal.value)
    assert refusal.value.__cause__ is not None


@pytest.mark.parametrize("path", ["nowhere:loss", "math.nowhere:loss", ".relative:loss"])
def test_a_module_that_is_not_there_is_refused(path):
    with pytest.raises(ModelError, match=f"training.objectives = '{path}': cannot import"):
        ExtensionPoint.OBJECTIVES.load(path, key="training.objectives", built_in=list(Loss))


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("mine:Loss", "'mine:Loss': module mine has no 'Loss'"),  # capitals count
        ("mine:loss:x", "'mine:loss:x': module mine has no 'loss:x'"),
        ("mine:scale", "'mine:scale' is float, expected a class or function"),
    ],
)
def test_a_name_that_is_not_there_or_cannot_be_called_is_refused(brought, path, words):
    brought("scale = 0.5\ndef loss(): ...")

    with pytest.raises(ModelError, match=f"training.objectives = {words}"):
        ExtensionPoint.OBJECTIVES.load(path, key="training.objectives", built_in=list(Loss))


def test_an_installed_entry_point_is_named_like_a_built_in_one(tmp_path, monkeypatch):
    source = """
        import torch

        def loss(predictions): return predictions.positive_P.abs()

        class Backbone(torch.nn.Module):
            def __init__(self, config): super().__init__()
            def forward(self, x, condition): return condition(0, x)
    """
    points = {
        "objectives": {"size": "entry_mine:loss"},
        "backbones": {"as-is": "entry_mine:Backbone"},
    }
    install_plugin(tmp_path, "entry_mine", source, **points)
    monkeypatch.syspath_prepend(tmp_path)

    objective = Objective(loss="size", reference=2.0)
    backbone = build_backbone(ModelConfig(**CONFIG, backbone="as-is"))

    assert objective.is_custom
    assert type(backbone).__module__ == "entry_mine"
    config = TrainingConfig(objectives=(objective, Objective(loss="order")))
    assert Objectives(config, n_items=3).names == ["size", "order"]


def test_an_unknown_name_is_refused_with_the_built_in_and_the_installed_ones(tmp_path, monkeypatch):
    install_plugin(tmp_path, "entry_names", "", backbones={"zebra": "a:b", "ape": "a:b"})
    monkeypatch.syspath_prepend(tmp_path)
    words = (
        "model.backbone = 'lion' is unknown; built-in: tron, ligr, gru4rec; installed as "
        r"paretoscope.backbones: ape, zebra; or write an import path, 'package\.module:name'"
    )

    with pytest.raises(ModelError, match=words):
        build_backbone(ModelConfig(**CONFIG, backbone="lion"))
    with pytest.raises(ModelError, match=r"paretoscope\.objectives: none; or write"):
        Objective(loss="lion")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (
            "entry_broken:loss",
            r"cannot import entry_broken \(ZeroDivisionError: division by zero\)",
        ),
        ("entry_gone:loss", r"cannot import entry_gone \(ModuleNotFoundError: No module named"),
        ("math:loss", "module math has no 'loss'"),
        ("math", "is not an import path"),
    ],
)
def test_a_plugin_that_fails_to_load_is_one_line_with_its_package(
    tmp_path, monkeypatch, value, words
):
    install_plugin(tmp_path, "entry_broken", "1 / 0", objectives={"mine": value})
    monkeypatch.syspath_prepend(tmp_path)

    with pytest.raises(ModelError) as refusal:
        ExtensionPoint.OBJECTIVES.load("mine", key="training.objectives", built_in=list(Loss))

    message = str(refusal.value)
    assert re.search(words, message)
    assert f"training.objectives = 'mine' (entry point '{value}' of entry_broken)" in message
    assert "\n" not in message


# Backbones that break the contract, each with the words that say what to change.
WRONG_WIDTH = (
    "return torch.cat([condition(0, x), x], dim=2)",
    r"returns \(2, 4, 8\) for sessions of shape \(2, 4, 4\); expected one .* model.hidden_size = 4 per",
)
LAST_STATE_ONLY = ("return condition(0, x)[:, -1]", r"returns \(2, 4\) for sessions of shape")
SQUEEZED = (
    "return condition(0, x).squeeze(1)",
    r"returns \(2, 4\) for sessions of shape \(2, 1, 4",
)
NO_TENSOR = ("return condition(0, x), None", r"returns tuple for sessions of shape")
READS_AHEAD = (
    "return condition(0, x + x.flip(1).cumsum(1).flip(1))",
    "is not causal: the first state depends on later clicks.*; mask them",
)
MEAN_OF_ALL = ("return condition(0, x - x.mean(dim=1, keepdim=True))", "is not causal")
NOT_A_NUMBER = (
    "return condition(0, x / torch.arange(x.shape[1])[:, None])",
    "returns states that are not finite, as a mask does that leaves a position without input",
)
RAISES = ("return condition(0, x) @ self.weight", "fails on a session: AttributeError: .*'weight'")
FORGETS = (
    "return x",
    r"calls condition for layers \[\], but .*film acts after each of .*; call x = condition\(layer",
)
COUNTS_FROM_ONE = ("return condition(1, x)", r"calls condition for layers \[1\], but")
BROKEN = [
    WRONG_WIDTH, LAST_STATE_ONLY, SQUEEZED, NO_TENSOR, READS_AHEAD, MEAN_OF_ALL, NOT_A_NUMBER,
    RAISES, FORGETS, COUNTS_FROM_ONE,
]  # fmt: skip


@pytest.fixture
def brought_forward(brought):
    """Writes a backbone ``mine:Mine`` whose forward is one line."""

    def bring(line):
        brought(f"""
            import torch

            class Mine(torch.nn.Module):
                def __init__(self, config):
                    super().__init__()
                    self.dropout = torch.nn.Dropout(0.9)

                def forward(self, x, condition):
                    {line}
        """)

    return bring


def own_config(name="Mine", conditioning=Conditioning.FILM, **changes):
    return ModelConfig(**CONFIG | changes, backbone=f"mine:{name}", conditioning=conditioning)


@pytest.mark.parametrize("conditioning", list(Conditioning))
def test_the_documented_backbone_and_loss_are_trained_saved_and_loaded(
    brought, tmp_path, project_root, conditioning
):
    guides = project_root / "docs" / "how-to"
    pages = [
        (guides / f"bring-your-{what}.md").read_text("utf-8") for what in ("model", "objective")
    ]
    backbone, loss = (re.findall("```python\n(.*?)```", page, re.DOTALL)[0] for page in pages)
    brought(backbone + loss)
    config = own_config("ConvolutionalBackbone", conditioning, layers=2, dropout=0.1)
    training = TrainingConfig(
        objectives=(Objective(loss="click"), Objective(loss="mine:margin", reference=3.0)),
        epochs=1, batch_size=8, negatives=Negatives(uniform=5), threads=1,
        validation_preferences=2,
    )  # fmt: skip
    tokens = SessionTokens.from_lists([[((s + t) % 9, s % 2) for t in range(5)] for s in range(24)])
    first_seed = derived_seed(1, SeedPurpose.WEIGHTS)
    before = build_model(config, n_items=9, n_objectives=2, seed=first_seed)

    done = train(tokens, tokens, n_items=9, model_config=config, config=training, seed=1)

    items = [str(number) for number in range(9)]
    facts = CheckpointFacts(
        catalogue=catalogue_fingerprint(items), best_epoch=1, training=training,
        reference=done.reference, hypervolume=done.front.hypervolume, seed=1,
    )  # fmt: skip
    save_checkpoint(done.model, facts, tmp_path)
    loaded = load_checkpoint(tmp_path, items=items)
    assert done.best_epoch == 1
    assert all(point.loss > 0 for point in done.curves if point.objective == "mine:margin")
    for initial, trained, again in zip(
        before.backbone.parameters(),
        done.model.backbone.parameters(),
        loaded.backbone.parameters(),
        strict=True,
    ):
        assert not torch.allclose(initial, trained, atol=1e-4)
        assert torch.equal(trained, again)


@pytest.mark.parametrize(("line", "words"), BROKEN, ids=[line[:40] for line, _ in BROKEN])
def test_a_backbone_that_breaks_the_contract_is_refused_with_the_remedy(
    brought_forward, line, words
):
    brought_forward(line)

    with pytest.raises(ModelError, match=f"model.backbone = 'mine:Mine' {words}"):
        build_backbone(own_config())


def test_a_broken_backbone_is_refused_before_anything_is_trained(brought_forward, tmp_path):
    brought_forward(READS_AHEAD[0])
    tokens = SessionTokens.from_lists([[(1, 0), (2, 0)]])
    state_file = tmp_path / "state"

    with pytest.raises(ModelError, match="is not causal"):
        train(
            tokens, tokens, n_items=3, model_config=own_config(), seed=1, state_file=state_file,
            config=TrainingConfig(negatives=Negatives(uniform=2), threads=1),
        )  # fmt: skip
    assert not state_file.exists()


def test_condition_may_be_left_out_where_the_preference_enters_at_the_entrance(brought_forward):
    brought_forward("return x")

    build_backbone(own_config(conditioning=Conditioning.CONCATENATION))


def test_trying_out_leaves_dropout_out_of_it_and_training_on(brought_forward):
    brought_forward("return self.dropout(condition(0, x))")  # else it would seem to read ahead

    assert build_backbone(own_config()).training


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("def Mine(config): return print", "is not a torch.nn.Module; derive its class from one"),
        ("def Mine(): ...", "cannot be built: TypeError: .*takes 0 positional arguments but 1"),
        ("def Mine(config): raise OSError('no file')", "cannot be built: OSError: no file"),
        ("def Other(config): ...", "module mine has no 'Mine'"),
        ("import nowhere", r"cannot import mine \(ModuleNotFoundError: No module named 'nowhere'"),
    ],
    ids=["no-module", "other-arguments", "raises", "other-name", "import-fails"],
)
def test_a_backbone_that_cannot_be_made_is_refused_with_the_reason(brought, source, words):
    brought(source)

    with pytest.raises(ModelError, match=f"model.backbone = 'mine:Mine'.*{words}"):
        build_backbone(own_config())


def test_a_backbone_whose_module_is_not_there_is_refused():
    with pytest.raises(ModelError, match=r"cannot import mine .*No module named 'mine'"):
        build_backbone(own_config())
