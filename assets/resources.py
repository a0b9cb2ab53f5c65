"""A study as a Dagster resource: its file, with overrides from the launchpad."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import dagster as dg
from pydantic import Field, PrivateAttr

from assets.asset_metadata import prefix_of, sections_of
from pipeline.artifacts.lock import study_lock
from pipeline.artifacts.project import StudyFile, loaded_study
from pipeline.artifacts.storage import StudyPaths
from pipeline.core.errors import USER_ERRORS, StudyError
from pipeline.study import SECTIONS, Study

STUDY_TAG = "study"
"""The tag of a run with the name of its study."""

ROLLOUT_TAG = "paretoscope/rollout"
"""The tag of runs that take a step of a rollout, and write nothing else of the study."""

WRITERS = "study"
"""The pool of all assets of the chain: one run at a time has some of them (``.dagster/dagster.yaml``)."""


class StudyResource(dg.ConfigurableResource):
    """The study of ``params.yaml``; ``overrides`` apply to this run only.

    Attributes:
        overrides: Values that replace those of ``params.yaml``, by dotted key.
    """

    prefix: ClassVar[str] = ""
    """Of the study; empty for the default study."""

    overrides: dict[str, Any] = Field(
        default={},
        description="Values that replace those of params.yaml for this run, by dotted key: "
        '{"training.epochs": 3, "evaluation.bootstrap": 100}. Empty: no overrides.',
    )
    _touched: tuple[str, ...] = PrivateAttr(default=SECTIONS)
    _foreign: tuple[str, ...] = PrivateAttr(default=())

    @property
    def file(self) -> StudyFile:
        """The study's file.

        Raises:
            MissingArtifact: if it is gone since the definitions were loaded.
        """
        return loaded_study(self.prefix)

    def load(self) -> tuple[Study, StudyPaths]:
        """The study, and the paths of its artifacts.

        Raises:
            StudyError: if a parameter that the run reads is not valid, or the run is not of this
                study alone.
        """
        if self._foreign:
            msg = (
                f"this run has assets of several studies ({', '.join(self._foreign)}); a run is of one "
                "study, so that runs do not mix: start one run per study"
            )
            raise StudyError(msg)
        return self.file.load(self.overrides, self._touched)

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Iterator["StudyResource"]:
        """Hold the study's lock during a run. Invalid parameters are reported by the asset."""
        run = context.run
        if run and run.asset_selection:
            names = {prefix_of(key) or "the default study" for key in run.asset_selection}
            self._foreign = tuple(sorted(names)) if len(names) > 1 else ()
            self._touched = sections_of(run.asset_selection)
        try:
            _, paths = self.load()
        except USER_ERRORS:
            yield self
            return
        action = f"Dagster run {run.run_id}" if run else "a Dagster resource"
        if run and context.instance:
            context.instance.add_run_tags(run.run_id, {STUDY_TAG: paths.name})
        with study_lock(paths, action, context.log.warning):  # pyright: ignore[reportOptionalMemberAccess]
            yield self


def study_resource(prefix: str) -> StudyResource:
    """The resource of a further study."""
    return type(f"Study_{prefix}", (StudyResource,), {"prefix": prefix, "__module__": __name__})()
