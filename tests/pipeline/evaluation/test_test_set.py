"""The sessions a model is evaluated on, all or some of them."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from models.tokens import SessionTokens
from pipeline.artifacts.storage import StudyPaths
from pipeline.core.contracts import ITEMS, Split
from pipeline.evaluation.test_set import HeldOutSessions
from pipeline.sessions.token_store_writer import TokenWriter
from pipeline.study import parse_study

SESSIONS = [[(1, 0), (2, 1)], [(3, 0), (4, 0), (5, 1)], [(6, 1), (7, 0)], [(8, 0), (9, 0)]]


def held_out():
    tokens = SessionTokens.from_lists(SESSIONS)
    return HeldOutSessions(tokens, np.arange(9) * 10, np.ones(10, dtype=np.int64), pl.DataFrame())


def test_some_sessions_are_whole_and_in_order():
    some = held_out().take(np.array([1, 3]))

    assert some.tokens.items.tolist() == [3, 4, 5, 8, 9]
    assert some.tokens.ordered.tolist() == [0, 0, 1, 0, 0]
    assert some.tokens.offsets.tolist() == [0, 3, 5]
    assert some.times.tolist() == [20, 30, 40, 70, 80]


@pytest.fixture
def paths(small_params, tmp_path):
    paths = StudyPaths.of(parse_study(small_params), tmp_path)
    folder = paths.artifact("sessions")
    folder.mkdir(parents=True)
    clicks = pl.DataFrame({"item": [0, 1], "ts": [5, 6], "ordered": False, "carted": False})
    with TokenWriter(folder / "tokens.safetensors") as tokens:
        tokens.append(Split.TRAIN, clicks, np.array([2]))
        tokens.append(Split.VALIDATION, clicks, np.array([2]))
        for _ in range(200):
            tokens.append(Split.TEST, clicks, np.array([2]))
    items = {"index": [0, 1], "item": ["x", "y"], "train_clicks": [1, 1]}
    table = pl.DataFrame(items, schema_overrides={"index": pl.Int32})
    ITEMS.validate(table).write_parquet(folder / "items.parquet")
    return paths


@pytest.mark.parametrize(("wanted", "found"), [(None, 200), (50, 50), (1000, 200)])
def test_the_study_says_how_many_sessions(small_params, paths, wanted, found):
    study = parse_study(small_params)
    study = replace(study, evaluation=replace(study.evaluation, sessions=wanted))

    test = HeldOutSessions.open(study, paths)

    assert test.tokens.n_sessions == found
    assert len(test.times) == 2 * found
    assert test.train_clicks_I.tolist() == [1, 1]
    assert test.items["item"].to_list() == ["x", "y"]
    assert test.items["category"].to_list() == [None, None]


def test_item_attributes_are_read(small_params, paths):
    study = parse_study(small_params)
    study = replace(study, dataset=replace(study.dataset, item_attributes="items.csv"))
    (paths.root / "items.csv").write_text("category,item\nhats,y\n", encoding="utf-8")

    test = HeldOutSessions.open(study, paths)

    assert test.items.select("item", "category", "value").rows() == [
        ("x", None, None),
        ("y", "hats", None),
    ]
