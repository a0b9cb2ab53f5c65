"""The study as a Dagster resource: ``params.yaml``, with overrides from the launchpad."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import dagster as dg
from pydantic import Field

from pipeline.artifacts.lock import study_lock
from pipeline.artifacts.storage import StudyPaths, find_project_root
from pipeline.core.errors import USER_ERRORS
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

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Iterator["StudyResource"]:
        """Hold the study's lock during a run. Invalid parameters are reported by the asset."""
        try:
            _, paths = self.load()
        except USER_ERRORS:
            yield self
            return
        action = f"Dagster run {context.run.run_id}" if context.run else "a Dagster resource"
        with study_lock(paths, action, context.log.warning):  # pyright: ignore[reportOptionalMemberAccess]
            yield self
