"""The study as a Dagster resource: ``params.yaml``, with overrides from the launchpad."""

from typing import Any

import dagster as dg
from pydantic import Field

from pipeline.artifacts.storage import StudyPaths, find_project_root
from pipeline.study import PARAMS_FILE, Study, load_study


class StudyResource(dg.ConfigurableResource):
    """The study of ``params.yaml``; ``overrides`` apply to this run only.

    Attributes:
        overrides: Values that replace those of ``params.yaml``, by dotted key.
    """

    overrides: dict[str, Any] = Field(
        default={},
        description="Values that replace those of params.yaml for this run, by dotted key: "
        '{"training.epochs": 3, "evaluation.bootstrap": 100}. Empty: no overrides.',
    )

    def load(self) -> tuple[Study, StudyPaths]:
        """The study, and the paths of its artifacts."""
        root = find_project_root()
        study = load_study(root / PARAMS_FILE, self.overrides)
        return study, StudyPaths.of(study, root)
