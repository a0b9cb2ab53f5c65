"""The study as Dagster sees it: ``params.yaml``, with overrides from the launchpad."""

from pathlib import Path
from typing import Any

import dagster as dg

from pipeline.storage import StudyPaths, find_root
from pipeline.study import PARAMS_FILE, Study, load_study


class StudyResource(dg.ConfigurableResource):
    """The study to run.

    Attributes:
        overrides: Values that replace those of ``params.yaml``, by dotted key, such as
            ``{"training.epochs": 1}``.
    """

    overrides: dict[str, Any] = {}  # noqa: RUF012 - pydantic copies it

    @property
    def root(self) -> Path:
        """The project's folder."""
        return find_root()

    def load(self) -> tuple[Study, StudyPaths]:
        """The study and the places of its artifacts."""
        root = self.root
        study = load_study(root / PARAMS_FILE, self.overrides)
        return study, StudyPaths.of(study, root)
