"""Scores of the test sessions under each preference, computed in shards and stored on disk.

``preference_scores/<preference>`` has one row per target, one list per session, and a description
of what was scored. A finished shard is kept in ``preference_scores.shards`` until all are, so that
an interrupted run resumes, and several processes may score a shard each.
"""

import hashlib
import json
import logging
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from models.checkpoint import load_checkpoint
from models.network.model import ConditionedSessionModel
from models.preferences import preference_grid
from models.scoring.recommend import session_lists
from models.scoring.target_scores import WHOLE, Shard, TargetScores, score_targets
from pipeline.artifacts.storage import (
    StudyPaths,
    atomic_file,
    atomic_folder,
    md5,
    read_json,
    read_table,
    write_json,
)
from pipeline.core.contracts import SESSION_LISTS, TARGET_SCORES
from pipeline.core.errors import DataError, StudyError
from pipeline.evaluation.test_set import HeldOutSessions
from pipeline.study import EvaluationConfig, Study

SCORES = "preference_scores"
_SHARDS = f"{SCORES}.shards"
_DIGITS = 6

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PreferenceScores:
    """A model's ranks, losses and lists under one preference.

    Attributes:
        preference_id: Name of the preference.
        preference: Its weights, one per objective.
        targets: Scores of every target.
        sessions: Rows of the sessions with a list.
        lists_SK: Their recommendation lists of k items before the last click; S × k.
    """

    preference_id: str
    preference: tuple[float, ...]
    targets: TargetScores
    sessions: NDArray[np.int64]
    lists_SK: NDArray[np.int64]


def preference_ids(study: Study) -> list[str]:
    """Names of the preferences of the grid, such as ``p03``, in its order."""
    return list(_grid(study.evaluation, len(study.training.objectives)))


def score_preferences(
    model: ConditionedSessionModel,
    test: HeldOutSessions,
    config: EvaluationConfig,
    *,
    ids: Sequence[str] | None = None,
    shard: Shard = WHOLE,
) -> list[PreferenceScores]:
    """Score the sessions under preferences of the grid, in one pass over the items."""
    grid = _grid(config, model.n_objectives)
    selected = {name: grid[name] for name in (grid if ids is None else ids)}
    grid_GO = torch.tensor(list(selected.values()), dtype=torch.float64).float()
    targets = score_targets(model, test.tokens, grid_GO, ties=config.ties, shard=shard)
    k = min(config.cutoff, model.n_items)
    return [
        PreferenceScores(
            name,
            tuple(round(weight, _DIGITS) for weight in weights),
            scores,
            *session_lists(model, test.tokens, grid_GO[row], k, shard=shard),
        )
        for row, ((name, weights), scores) in enumerate(zip(selected.items(), targets, strict=True))
    ]


def score_study(study: Study, paths: StudyPaths, ids: Sequence[str]) -> int:
    """Score the study's preferences ``ids`` and publish each; returns the number of targets.

    Raises:
        ParetoscopeError, ModelError: if an artifact is missing, or artifacts are incompatible.
    """
    job = ScoringJob.open(study, paths)
    for other in job.shards.parent.glob("*"):
        if other != job.shards:
            shutil.rmtree(other)
    for number in range(study.evaluation.shards):
        job.score(ids, number)
    targets = [job.publish(name) for name in ids]
    if job.shards.exists() and not any(job.shards.iterdir()):
        shutil.rmtree(job.shards.parent)
    return targets[0]


def score_shard(study: Study, paths: StudyPaths, number: int) -> None:
    """Score one shard, numbered from 1, under all preferences, for a later :func:`score_study`.

    Raises:
        StudyError: if there is no such shard.
        ParetoscopeError, ModelError: as :func:`score_study`.
    """
    if not 1 <= number <= study.evaluation.shards:
        msg = f"there is no shard {number}; evaluation.shards = {study.evaluation.shards}"
        raise StudyError(msg)
    ScoringJob.open(study, paths).score(preference_ids(study), number - 1)


def read_scores(study: Study, paths: StudyPaths) -> list[PreferenceScores]:
    """The scores of all preferences of the study.

    Raises:
        MissingArtifact, DataError: if some are missing, damaged, or of another model or other
            sessions than the study's.
    """
    expected = _facts(study, paths)
    grid = _grid(study.evaluation, len(study.training.objectives))
    return [_read(paths, name, grid[name], expected) for name in grid]


@dataclass(frozen=True, slots=True)
class ScoringJob:
    """A model and the sessions to score, in shards."""

    study: Study
    paths: StudyPaths
    model: ConditionedSessionModel
    test: HeldOutSessions
    facts: dict[str, Any]

    @classmethod
    def open(cls, study: Study, paths: StudyPaths) -> "ScoringJob":
        """Load the checkpoint and the test sessions of a study."""
        checkpoint = paths.require("conditioned_model")
        test = HeldOutSessions.open(study, paths)
        model = load_checkpoint(checkpoint, items=test.items["item"].to_list())
        return cls(study, paths, model, test, _facts(study, paths))

    @property
    def shards(self) -> Path:
        """Folder of the shards, named by a digest of model and sessions."""
        digest = hashlib.sha256(json.dumps(self.facts, sort_keys=True).encode()).hexdigest()
        return self.paths.artifact(_SHARDS) / digest[:16]

    def score(self, ids: Sequence[str], number: int) -> None:
        """Score a shard under the preferences for which it is missing."""
        missing = [name for name in ids if not all(f.exists() for f in self._files(name, number))]
        if not missing:
            return
        started = time.perf_counter()
        shard = Shard(number, self.study.evaluation.shards)
        config = self.study.evaluation
        found = score_preferences(self.model, self.test, config, ids=missing, shard=shard)
        for one in found:
            for file, table in zip(
                self._files(one.preference_id, number), _tables(one), strict=True
            ):
                with atomic_file(file) as fresh:
                    table.write_parquet(fresh)
        _log.info(
            "shard %d of %d: %s targets under %d preferences in %.1f s",
            number + 1,
            shard.of,
            f"{len(found[0].targets.rank):,}",
            len(found),
            time.perf_counter() - started,
        )

    def publish(self, name: str) -> int:
        """Publish the concatenated shards of a preference; returns the number of targets."""
        files = [self._files(name, number) for number in range(self.study.evaluation.shards)]
        targets, lists = (
            pl.concat([read_table(f) for f in column]) for column in zip(*files, strict=True)
        )
        with atomic_folder(self.paths.artifact(SCORES, name)) as folder:
            targets.sort("session", "history").write_parquet(folder / "targets.parquet")
            lists.sort("session").write_parquet(folder / "lists.parquet")
            write_json(folder / "scored.json", self.facts)
        for file in chain.from_iterable(files):
            file.unlink()
        return targets.height

    def _files(self, name: str, number: int) -> tuple[Path, Path]:
        stem = f"{name}.{number + 1}-of-{self.study.evaluation.shards}"
        return self.shards / f"{stem}.targets.parquet", self.shards / f"{stem}.lists.parquet"


def _grid(config: EvaluationConfig, n_objectives: int) -> dict[str, list[float]]:
    """Name and weights of every preference."""
    grid = preference_grid(config.preferences, n_objectives).double().tolist()
    return {f"p{number:02d}": weights for number, weights in enumerate(grid)}


def _facts(study: Study, paths: StudyPaths) -> dict[str, Any]:
    """Everything the scores depend on."""
    config = study.evaluation
    return {
        "model": md5(paths.require("conditioned_model", "weights.safetensors")),
        "tokens": md5(paths.require("sessions", "tokens.safetensors")),
        "preferences": config.preferences,
        "list_length": config.cutoff,
        "ties": config.ties.value,
        "sessions": config.sessions,
        "seed": None if config.sessions is None else study.study.seed,
    }


def _tables(scores: PreferenceScores) -> tuple[pl.DataFrame, pl.DataFrame]:
    targets = {name: getattr(scores.targets, name) for name in TARGET_SCORES.columns}
    items = pl.Series(scores.lists_SK.ravel()).reshape(scores.lists_SK.shape).arr.to_list()
    lists = {"session": scores.sessions, "items": items}
    return (
        TARGET_SCORES.validate(pl.DataFrame(targets, schema=TARGET_SCORES.schema)),
        SESSION_LISTS.validate(pl.DataFrame(lists, schema=SESSION_LISTS.schema)),
    )


def _read(
    paths: StudyPaths, name: str, weights: list[float], expected: dict[str, Any]
) -> PreferenceScores:
    folder = paths.require(f"{SCORES}/{name}")
    found = read_json(folder / "scored.json")
    if found != expected:
        other = ", ".join(key for key in expected if found.get(key) != expected[key])
        msg = (
            f"{folder.relative_to(paths.root)} was scored with another {other} than the study's. "
            f"Re-run: dagster asset materialize --select {SCORES}/{name}"
        )
        raise DataError(msg)
    targets = TARGET_SCORES.validate(read_table(folder / "targets.parquet"))
    lists = SESSION_LISTS.validate(read_table(folder / "lists.parquet"))
    return PreferenceScores(
        name,
        tuple(round(weight, _DIGITS) for weight in weights),
        TargetScores(**{column: targets[column].to_numpy() for column in targets.columns}),
        lists["session"].to_numpy(),
        lists["items"].explode().to_numpy().reshape(lists.height, -1),
    )
