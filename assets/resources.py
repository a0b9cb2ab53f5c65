"""The study as Dagster sees it: ``params.yaml``, with overrides from the launchpad."""

from pathlib import Path
from typing import Any

import dagster as dg
from pydantic import Field

from pipeline.artifacts.storage import StudyPaths, find_project_root
from pipeline.study import PARAMS_FILE, Study, load_study


class StudyResource(dg.ConfigurableResource):
    """The study of params.yaml; what `overrides` says holds for this run alone.

    Attributes:
        overrides: Values that replace those of ``params.yaml``, by dotted key.
    """

    overrides: dict[str, Any] = Field(
        default={},
        description="Values that replace those of params.yaml for this run, by dotted key: "
        '{"training.epochs": 3, "evaluation.bootstrap": 100}. Empty: params.yaml as it is.',
    )

    @property
    def root(self) -> Path:
        """The project's folder."""
        return find_project_root()

    def load(self) -> tuple[Study, StudyPaths]:
        """The study and the places of its artifacts."""
        root = self.root
        study = load_study(root / PARAMS_FILE, self.overrides)
        return study, StudyPaths.of(study, root)
