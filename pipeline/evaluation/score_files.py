"""Scores of a study on disk, computed in shards.

``preference_scores/<preference>`` has one row per target, one list per session, and a description
of what was scored; below it are the scores of the preference's other cells. A finished shard is kept
in ``preference_scores.shards`` until all are, so that an interrupted run resumes, and several
processes may score a shard each.
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

import polars as pl

from models.checkpoint import load_checkpoint
from models.network.model import ConditionedSessionModel
from models.scoring.target_scores import Shard, TargetScores
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
from pipeline.core.object_urls import local_copy
from pipeline.evaluation.scoring import (
    SCORES,
    PreferenceScores,
    named_grid,
    preference_ids,
    score_preferences,
    written_preference,
)
from pipeline.evaluation.test_set import HeldOutSessions
from pipeline.study import AxisKind, SecondAxis, Study

_SHARDS = f"{SCORES}.shards"

_log = logging.getLogger(__name__)


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
    """The scores of all preferences of the study; with a second axis, level by level.

    The neutral level is the first, the others ascend.

    Raises:
        MissingArtifact, DataError: if some are missing, damaged, or of another model or other
            sessions than the study's.
    """
    expected = _facts(study, paths)
    grid = named_grid(study.evaluation, len(study.training.objectives))
    by_preference = [
        [
            _read(paths, folder, grid[name], expected)
            for folder in _cell_folders(name, study.experiment.second_axis)
        ]
        for name in grid
    ]
    return [one for level in zip(*by_preference, strict=True) for one in level]


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
    def axis(self) -> SecondAxis | None:
        """The second axis of the study, if it has one."""
        return self.study.experiment.second_axis

    @property
    def shards(self) -> Path:
        """Folder of the shards, named by a digest of model and sessions."""
        digest = hashlib.sha256(json.dumps(self.facts, sort_keys=True).encode()).hexdigest()
        return self.paths.artifact(_SHARDS) / digest[:16]

    def score(self, ids: Sequence[str], number: int) -> None:
        """Score a shard under the preferences for which it is missing."""
        missing = [name for name in ids if not all(f.exists() for f in self._all(name, number))]
        if not missing:
            return
        started = time.perf_counter()
        shard = Shard(number, self.study.evaluation.shards)
        config = self.study.evaluation
        found = score_preferences(
            self.model, self.test, config, ids=missing, shard=shard, axis=self.axis
        )
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
            len(missing),
            time.perf_counter() - started,
        )

    def publish(self, name: str) -> int:
        """Publish the concatenated shards of a preference; returns the number of targets."""
        numbers = range(self.study.evaluation.shards)
        n_targets = 0
        with atomic_folder(self.paths.artifact(SCORES, name)) as folder:
            for parts in _cell_folders(name, self.axis):
                files = [self._files(parts[-1], number) for number in numbers]
                targets, lists = (
                    pl.concat([read_table(f) for f in column])
                    for column in zip(*files, strict=True)
                )
                place = folder.joinpath(*parts[1:])
                place.mkdir(exist_ok=True)
                targets.sort("session", "history").write_parquet(place / "targets.parquet")
                lists.sort("session").write_parquet(place / "lists.parquet")
                n_targets = targets.height
            write_json(folder / "scored.json", self.facts)
        for file in chain.from_iterable(self._all(name, number) for number in numbers):
            file.unlink()
        return n_targets

    def _all(self, name: str, number: int) -> list[Path]:
        """The files of a shard of all cells of a preference."""
        return [
            file
            for parts in _cell_folders(name, self.axis)
            for file in self._files(parts[-1], number)
        ]

    def _files(self, name: str, number: int) -> tuple[Path, Path]:
        stem = f"{name}.{number + 1}-of-{self.study.evaluation.shards}"
        return self.shards / f"{stem}.targets.parquet", self.shards / f"{stem}.lists.parquet"


def _cell_folders(name: str, axis: SecondAxis | None) -> list[tuple[str, ...]]:
    """Where the scores of a preference's cells are, below :data:`SCORES`; the neutral one first.

    The last part is the cell's id.
    """
    if axis is None:
        return [(name,)]
    return [(name,), *((name, axis.cell(name, level)) for level in axis.others)]


def _facts(study: Study, paths: StudyPaths) -> dict[str, Any]:
    """Everything the scores depend on."""
    config, axis = study.evaluation, study.experiment.second_axis
    facts: dict[str, Any] = {
        "model": md5(paths.require("conditioned_model", "weights.safetensors")),
        "tokens": md5(paths.require("sessions", "tokens.safetensors")),
        "preferences": config.preferences,
        "list_length": config.cutoff,
        "ties": config.ties.value,
        "sessions": config.sessions,
        "seed": None if config.sessions is None else study.study.seed,
    }
    if axis is not None:  # else a new version of this function would reject older scores
        file = study.dataset.item_attributes if axis.kind is AxisKind.FRESHNESS else None
        facts["second_axis"] = {
            "kind": axis.kind.value,
            "levels": list(axis.others),
            "candidates": axis.candidates,
            "selected": config.deepest_cutoff,
            "item_attributes": file and md5(paths.root / local_copy(file)),
        }
    return facts


def _tables(scores: PreferenceScores) -> tuple[pl.DataFrame, pl.DataFrame]:
    targets = {name: getattr(scores.targets, name) for name in TARGET_SCORES.columns}
    items = pl.Series(scores.lists_SK.ravel()).reshape(scores.lists_SK.shape).arr.to_list()
    lists = {"session": scores.sessions, "items": items}
    return (
        TARGET_SCORES.validate(pl.DataFrame(targets, schema=TARGET_SCORES.schema)),
        SESSION_LISTS.validate(pl.DataFrame(lists, schema=SESSION_LISTS.schema)),
    )


def _read(
    paths: StudyPaths, parts: tuple[str, ...], weights: list[float], expected: dict[str, Any]
) -> PreferenceScores:
    name, *cell = parts
    folder = paths.require(f"{SCORES}/{name}")
    found = read_json(folder / "scored.json")
    if found != expected:
        keys = dict.fromkeys([*expected, *found])
        other = ", ".join(key for key in keys if found.get(key) != expected.get(key))
        msg = (
            f"{folder.relative_to(paths.root)} was scored with another {other} than the study's. "
            f"Re-run: dagster asset materialize --select {SCORES}/{name}"
        )
        raise DataError(msg)
    targets = read_table(folder.joinpath(*cell, "targets.parquet"), TARGET_SCORES)
    lists = read_table(folder.joinpath(*cell, "lists.parquet"), SESSION_LISTS)
    return PreferenceScores(
        parts[-1],
        written_preference(weights),
        TargetScores(**{column: targets[column].to_numpy() for column in targets.columns}),
        lists["session"].to_numpy(),
        lists["items"].explode().to_numpy().reshape(lists.height, -1),
    )
