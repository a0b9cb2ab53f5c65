"""A study when the definitions are loaded: what Dagster shows of it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import dagster as dg

from assets.asset_metadata import (
    ASSETS,
    WEEKLY,
    AssetKwargs,
    asset_key,
    code_version,
    column_schema,
)
from pipeline.artifacts.project import StudyFile
from pipeline.core.asset_graph import assets_of, group_prefix
from pipeline.core.errors import USER_ERRORS
from pipeline.evaluation.scoring import SCORES, preference_ids
from pipeline.study import Study


@dataclass(frozen=True, slots=True)
class LoadedStudy:
    """A study as it is when the definitions are loaded.

    Attributes:
        prefix: First part of its assets' keys; empty for the default study.
        parameters: None where they are not valid: the assets are shown all the same, and report the
            error when they run.
        root: The project's folder.
    """

    prefix: str
    parameters: Study | None
    root: Path

    @classmethod
    def of(cls, file: StudyFile) -> Self:
        """Load the study of a file."""
        try:
            study, _ = file.load()
        except USER_ERRORS:
            study = None
        return cls(file.prefix, study, file.root)

    @classmethod
    def empty(cls) -> Self:
        """The default study where there is no project."""
        return cls("", None, Path.cwd())

    @property
    def graph(self) -> dict[str, tuple[str, ...]]:
        """Its assets, each with those upstream."""
        return assets_of(trains=self.parameters is None or self.parameters.trains)

    @property
    def preferences(self) -> list[str]:
        """Its preferences: one asset per preference."""
        return preference_ids(self.parameters) if self.parameters else ["p00"]

    @property
    def has_rollout(self) -> bool:
        """Whether a section ``rollout`` says what is released."""
        return self.parameters is not None and self.parameters.rollout is not None

    def keys(self, asset: str) -> list[dg.AssetKey]:
        """The keys of an asset: one, or one per preference."""
        names = [[SCORES, name] for name in self.preferences] if asset == SCORES else [[asset]]
        return [asset_key(self.prefix, name) for name in names]

    def asset_kwargs(self, name: str) -> AssetKwargs:
        """Group, kinds, owner, versions and metadata of an asset."""
        facts, study = ASSETS[name], self.parameters
        metadata: dict[str, Any] = {}
        if facts.table is not None:
            metadata["dagster/column_schema"] = column_schema(facts.table)
        if facts.reads:
            metadata["parameters"] = ", ".join(facts.reads)
        if study is not None:
            metadata["study"] = study.study.name
        return {
            "description": facts.description,
            "group_name": f"{group_prefix(self.prefix)}{facts.group}",
            "kinds": {facts.kind},
            "owners": [facts.owner],
            "tags": {
                f"params/{key}": "" for key in sorted({key.split(".")[0] for key in facts.reads})
            },
            "metadata": metadata,
            "code_version": code_version(name, study, self.root) if study else None,
            "freshness_policy": WEEKLY if facts.weekly else None,
        }
