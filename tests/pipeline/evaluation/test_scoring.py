"""Scores on disk: the same for any number of shards, whole after a kill, and never of another model."""

import json
import shutil
from dataclasses import astuple, replace

import numpy as np
import polars as pl
import pytest
import torch

from models.checkpoint import CheckpointFacts, catalogue_fingerprint, save_checkpoint
from models.network.model import build_model
from models.scoring import target_scores
from models.scoring.target_scores import Shard, TargetScores, score_targets
from pipeline.artifacts.storage import StudyPaths, md5
from pipeline.cli import main
from pipeline.core.contracts import ITEMS, Split
from pipeline.core.errors import DataError, MissingArtifact, StudyError
from pipeline.evaluation import score_files as scores_module
from pipeline.evaluation.score_files import read_scores, score_shard, score_study
from pipeline.evaluation.scoring import SCORES, preference_ids, score_preferences
from pipeline.evaluation.test_set import HeldOutSessions
from pipeline.sessions.token_store_writer import TokenWriter
from pipeline.study import PARAMS_FILE, parse_study

N_ITEMS = 30
SESSIONS = 40


@pytest.fixture
def study(small_params):
    evaluation = small_params["evaluation"] | {"preferences": 3, "cutoff": 4}
    return parse_study(small_params | {"evaluation": evaluation})


def publish_model(study, paths, seed):
    model = build_model(study.model, n_items=N_ITEMS, n_objectives=2, seed=seed)
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(3)
    facts = CheckpointFacts(
        catalogue=catalogue_fingerprint([str(item) for item in range(100, 100 + N_ITEMS)]),
        best_epoch=1,
        training=study.training,
        reference=(1.0, 1.0),
        hypervolume=0.1,
        seed=seed,
    )
    folder = paths.artifact("conditioned_model")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    save_checkpoint(model, facts, folder)


@pytest.fixture
def paths(study, tmp_path, monkeypatch):
    """A study with sessions of 2 to 9 clicks and a model, in batches of seven sessions."""
    monkeypatch.setattr(target_scores, "_BATCH_SIZE", 7)
    paths = StudyPaths.of(study, tmp_path)
    folder = paths.artifact("sessions")
    folder.mkdir(parents=True)
    rng = np.random.default_rng(1)
    lengths = rng.integers(2, 10, SESSIONS)
    n = int(lengths.sum())
    clicks = pl.DataFrame(
        {
            "item": rng.integers(0, N_ITEMS, n),
            "ts": range(n),
            "ordered": rng.random(n) < 0.2,
            "carted": [False] * n,
        }
    )
    with TokenWriter(folder / "tokens.safetensors") as tokens:
        for split in Split:
            tokens.append(split, clicks, lengths)
    items = {"index": range(N_ITEMS), "item": range(100, 100 + N_ITEMS), "train_clicks": 1}
    table = pl.DataFrame(items, schema_overrides={"index": pl.Int32, "train_clicks": pl.Int64})
    ITEMS.validate(table).write_parquet(folder / "items.parquet")
    publish_model(study, paths, seed=0)
    return paths


def in_shards(study, shards):
    return replace(study, evaluation=replace(study.evaluation, shards=shards))


def bytes_of(paths):
    folder = paths.artifact(SCORES)
    return {str(file.relative_to(folder)): md5(file) for file in folder.rglob("*.*")}


def test_a_shard_holds_every_nth_batch_and_together_they_are_the_whole(study, paths):
    test = HeldOutSessions.open(study, paths)
    model = build_model(study.model, n_items=N_ITEMS, n_objectives=2, seed=0)
    grid = torch.tensor([[0.2, 0.8]])

    (whole,) = score_targets(model, test.tokens, grid)
    parts = [score_targets(model, test.tokens, grid, shard=Shard(n, 9))[0] for n in range(9)]

    # 40 sessions are six batches of seven at most: shards 7 to 9 have none
    assert [len(part.rank) for part in parts][6:] == [0, 0, 0]
    assert len({row for part in parts for row in part.session.tolist()}) == SESSIONS
    for mine, yours in zip(astuple(TargetScores.concat(parts)), astuple(whole), strict=True):
        np.testing.assert_array_equal(mine, yours)
    places = list(zip(whole.session.tolist(), whole.history.tolist(), strict=True))
    assert places == sorted(places)


@pytest.mark.slow
@pytest.mark.parametrize("shards", [2, 3, 50])
def test_any_number_of_shards_gives_the_same_bytes(study, paths, shards):
    ids = preference_ids(study)
    score_study(study, paths, ids)
    whole = bytes_of(paths)

    shutil.rmtree(paths.artifact(SCORES))
    score_study(in_shards(study, shards), paths, ids)

    assert bytes_of(paths) == whole
    assert len(whole) == 3 * len(ids)


def test_scores_are_read_as_written(study, paths):
    score_study(study, paths, preference_ids(study))
    test = HeldOutSessions.open(study, paths)
    model = scores_module.ScoringJob.open(study, paths).model

    expected = score_preferences(model, test, study.evaluation)

    for mine, yours in zip(read_scores(study, paths), expected, strict=True):
        assert (mine.preference_id, mine.preference) == (yours.preference_id, yours.preference)
        np.testing.assert_array_equal(mine.lists_SK, yours.lists_SK)
        np.testing.assert_array_equal(mine.sessions, np.arange(SESSIONS))
        for one, other in zip(astuple(mine.targets), astuple(yours.targets), strict=True):
            np.testing.assert_array_equal(one, other)


def test_some_preferences_can_be_scored_alone(study, paths):
    score_study(study, paths, preference_ids(study))
    before = bytes_of(paths)
    publish_model(study, paths, seed=1)

    targets = score_study(study, paths, ["p01"])

    changed = {
        name.split("/")[0] for name, digest in bytes_of(paths).items() if digest != before[name]
    }
    assert changed == {"p01"}
    assert targets == HeldOutSessions.open(study, paths).tokens.lengths.sum() - SESSIONS
    with pytest.raises(DataError, match=r"p00 was scored with another model .* --select .*p00"):
        read_scores(study, paths)


@pytest.mark.parametrize(
    ("change", "words"),
    [({"preferences": 4}, "preferences"), ({"cutoff": 3}, "list_length"), ({"sessions": 9}, "sessions, seed")],
)  # fmt: skip
def test_scores_of_another_study_are_not_taken_for_this_ones(study, paths, change, words):
    score_study(study, paths, preference_ids(study))

    with pytest.raises(DataError, match=f"p00 was scored with another {words} than the study's"):
        read_scores(replace(study, evaluation=replace(study.evaluation, **change)), paths)


def test_scores_that_are_missing_are_named(study, paths):
    score_study(study, paths, ["p00", "p02"])

    with pytest.raises(MissingArtifact, match=r"p01 is missing.*--select preference_scores/p01"):
        read_scores(study, paths)


def test_a_run_that_was_ended_goes_on_with_the_shard_it_was_at(study, paths, monkeypatch):
    study = in_shards(study, 3)
    ids = preference_ids(study)
    score_study(study, paths, ids)
    whole = bytes_of(paths)
    shutil.rmtree(paths.artifact(SCORES))
    scored = []
    plain = score_preferences

    def until_the_second(*words, shard, **more):
        if shard.number == 1 and len(scored) == 1:
            raise KeyboardInterrupt
        scored.append(shard.number)
        return plain(*words, shard=shard, **more)

    monkeypatch.setattr(scores_module, "score_preferences", until_the_second)
    with pytest.raises(KeyboardInterrupt):
        score_study(study, paths, ids)
    assert not paths.artifact(SCORES).exists()
    scored.append("again")
    score_study(study, paths, ids)

    assert scored == [0, "again", 1, 2]
    assert bytes_of(paths) == whole
    assert not paths.artifact("preference_scores.shards").exists()


def test_shards_scored_by_other_processes_are_put_together(study, paths, monkeypatch):
    study = in_shards(study, 2)
    for number in (2, 1):
        score_shard(study, paths, number)

    monkeypatch.setattr(scores_module, "score_preferences", None)  # nothing is left to score
    score_study(study, paths, preference_ids(study))

    assert len(read_scores(study, paths)) == 3


def test_shards_of_another_model_are_thrown_away(study, paths):
    score_shard(study, paths, 1)
    publish_model(study, paths, seed=1)
    score_study(study, paths, preference_ids(study))
    found = bytes_of(paths)

    shutil.rmtree(paths.artifact(SCORES))
    score_study(study, paths, preference_ids(study))

    assert bytes_of(paths) == found
    assert not paths.artifact("preference_scores.shards").exists()


@pytest.mark.parametrize("number", [0, 3])
def test_a_shard_that_is_none_is_refused(study, paths, number):
    with pytest.raises(StudyError, match=rf"there is no shard {number}; evaluation\.shards = 2"):
        score_shard(in_shards(study, 2), paths, number)


def test_the_command_scores_one_shard(study, paths, monkeypatch, capsys):
    (paths.root / PARAMS_FILE).write_text(json.dumps(in_shards(study, 2).as_dict()), "utf-8")
    monkeypatch.chdir(paths.root)

    assert main(["evaluate-shard", "2"]) == 0
    files = {file.name for file in paths.artifact("preference_scores.shards").rglob("*.parquet")}
    assert main(["evaluate-shard", "3"]) == 1

    kinds = ("targets", "lists")
    assert files == {f"p0{n}.2-of-2.{kind}.parquet" for n in range(3) for kind in kinds}
    assert "; evaluation.shards = 2" in capsys.readouterr().err


def test_names_sort_like_the_numbers(study):
    names = preference_ids(replace(study, evaluation=replace(study.evaluation, preferences=100)))

    assert names[:2] == ["p00", "p01"]
    assert sorted(names) == names
