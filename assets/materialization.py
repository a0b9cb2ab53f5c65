"""What every asset shares: Dagster's form of the domain's errors, and of a step's result."""

import atexit
import errno
import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg

from assets.asset_metadata import asset_key, asset_name, code_version
from assets.checks import check_results, diagnostic_results, log_failed_checks
from assets.durations import AssetTimer
from assets.resources import StudyResource
from pipeline.artifacts.project import StudyFile
from pipeline.core.asset_graph import rematerialize_command
from pipeline.core.errors import USER_ERRORS, MissingArtifact, TooLittleDataError
from pipeline.experiment.log.reading.shown_lists import UnpairableListsError
from pipeline.quality.runner import BrokenRulesError
from pipeline.quality.suites import RULES
from pipeline.steps.result import LazyFigure, Markdown, StepResult
from pipeline.steps.rollout_gates.plan import NoRolloutError
from pipeline.steps.run import Step
from pipeline.steps.storage import on_storage
from pipeline.study import Study

_TRANSIENT = {errno.EAGAIN, errno.EBUSY, errno.EIO, errno.EINTR, errno.ETIMEDOUT, errno.ESTALE}
"""Temporary errors of the operating system, as of a network disk; no other error is retried."""

_RETRIES = 3
_SECONDS_BETWEEN = 20

_CODE_VERSION = "dagster/code_version"
"""The tag that holds the code version an asset was materialised with."""

_failures: list[str] = []
"""Error messages of this process, printed again when it ends."""


@contextmanager
def translate_errors(context: dg.AssetExecutionContext, file: StudyFile) -> Iterator[None]:
    """Turn an error the user can fix into one readable failure, with the commands of its study.

    Only temporary errors are retried: bad data is just as bad the second time. Log lines of
    ``models`` and ``pipeline`` go to the run's log meanwhile.
    """
    loggers = [logging.getLogger(name) for name in ("models", "pipeline")]
    handler = _RunLog(context)
    for logger in loggers:
        logger.setLevel(logging.INFO)
        logger.addHandler(handler)
    try:
        yield
    except USER_ERRORS as error:
        if isinstance(error, BrokenRulesError):
            log_failed_checks(context, error.outcomes)
        message = file.adapt(str(error))
        _failures.append(message)
        raise dg.Failure(message, metadata=_remedy(error, file), allow_retries=False) from None
    except OSError as error:
        if error.errno not in _TRANSIENT:
            _failures.append(str(error))
            raise dg.Failure(str(error), allow_retries=False) from None
        raise dg.RetryRequested(max_retries=_RETRIES, seconds_to_wait=_SECONDS_BETWEEN) from error
    except dg.DagsterExecutionInterruptedError:
        asset = asset_name(next(iter(context.selected_asset_keys)))
        command = file.adapt(rematerialize_command(asset))
        _failures.append(f"interrupted; finished artifacts are kept. Go on with: {command}")
        raise
    finally:
        for logger in loggers:
            logger.removeHandler(handler)


def _remedy(error: Exception, file: StudyFile) -> dict[str, Any]:
    """The class of error, and the command that fixes it where there is one."""
    kind = (type(error).__doc__ or "").strip().splitlines()[0]
    remedy: dict[str, Any] = {"error type": kind}
    if isinstance(error, MissingArtifact) and error.command:
        command = file.adapt(error.command)
        remedy["run this"] = dg.MetadataValue.md(f"```sh\n{command}\n```")
    return remedy


class _RunLog(logging.Handler):
    """Passes log lines of the domain on to the run's log."""

    def __init__(self, context: dg.AssetExecutionContext) -> None:
        super().__init__()
        self.context = context

    def emit(self, record: logging.LogRecord) -> None:
        """Pass one line on."""
        self.context.log.log(record.levelno, record.getMessage())


def _repeat_failures() -> None:
    """Print the error messages once more: the ``dagster`` command ends with a long trace of its own."""
    if Path(sys.argv[0]).name == "dagster":
        sys.stderr.writelines(f"\nFailed: {words}\n" for words in _failures)


atexit.register(_repeat_failures)


def run_asset(
    context: dg.AssetExecutionContext, study: StudyResource, step: Step
) -> Iterator[dg.MaterializeResult]:
    """Run a step on the study, and yield what Dagster records of it.

    A log whose lists are absent (an A/B test has none of its other variants) or not the model's alone (rules
    change them), or with too few clicks for them, and a study without a rollout, skip the assets that need
    them with a warning: the report does not, and a selection such as ``experiment_log*`` has both.
    """
    with translate_errors(context, study.file):
        parameters, paths = study.load()
        asset = asset_name(context.asset_key)
        timer = AssetTimer(context, asset, parameters, paths)
        try:
            with on_storage(asset, parameters, paths):
                result = step(parameters, paths)
        except (UnpairableListsError, TooLittleDataError, NoRolloutError) as error:
            context.log.warning("skipped: %s", study.file.adapt(str(error)))
            return
        yield materialize_result(result, parameters, study.file, timing=timer.stop())


def materialize_result(
    result: StepResult[Any], study: Study, file: StudyFile, *, timing: Mapping[str, Any]
) -> dg.MaterializeResult:
    """What Dagster records of a step that has run.

    Args:
        result: Its result; assets derived from the same content stay fresh.
        study: The study it ran with; after an override it differs from ``params.yaml``, and the
            asset then shows as stale.
        file: Of the study.
        timing: Its seconds and rate.
    """
    key = result.asset.split("/")
    rows = {} if result.rows is None else {"dagster/row_count": result.rows}
    details = [(name, value) for name, value in result.details.items() if value is not None]
    figures = {name: value for name, value in details if isinstance(value, LazyFigure)}
    shown = {**figures, **rows, **dict(details), "data location": result.location, **timing}
    return dg.MaterializeResult(
        asset_key=asset_key(file.prefix, key),
        data_version=dg.DataVersion(result.version),
        tags={_CODE_VERSION: code_version(key[0], study, file.root) or "unpinned"},
        metadata={name: _metadata_value(value) for name, value in shown.items()},
        check_results=[
            *check_results(result.checks, waived=result.waived, declared=RULES.get(key[0], ())),
            *(diagnostic_results(result.diagnostics) if result.diagnostics else ()),
        ],
    )


def _metadata_value(value: Any) -> Any:
    match value:
        case Markdown() | LazyFigure():
            return dg.MetadataValue.md(value.markdown())
        case Path():
            return dg.MetadataValue.path(value)
        case dict() | list() | tuple():
            return dg.MetadataValue.json(value)
        case _:
            return value
