"""What every asset shares: Dagster's form of the domain's errors, and of a step's result."""

import atexit
import errno
import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg

from assets.asset_metadata import code_version
from assets.checks import check_results, diagnostic_results, log_failed_checks
from assets.resources import StudyResource
from pipeline.core.errors import USER_ERRORS, MissingArtifact
from pipeline.quality.runner import BrokenRulesError
from pipeline.steps.result import LazyFigure, Markdown, StepResult
from pipeline.steps.run import Step
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
def translate_errors(context: dg.AssetExecutionContext) -> Iterator[None]:
    """Turn an error the user can fix into one readable failure.

    Only temporary errors are retried: bad data is just as bad the second time. Log lines of
    ``models`` and ``pipeline`` go to the run's log meanwhile.
    """
    loggers = [logging.getLogger(name) for name in ("models", "pipeline")]
    handler = _RunLog(context)
    for logger in loggers:
        logger.setLevel(logging.INFO)
        logger.addHandler(handler)
    started = time.perf_counter()
    try:
        yield
        context.log.info("done in %.1f s", time.perf_counter() - started)
    except USER_ERRORS as error:
        if isinstance(error, BrokenRulesError):
            log_failed_checks(context, error.outcomes)
        _failures.append(str(error))
        raise dg.Failure(str(error), metadata=_remedy(error), allow_retries=False) from None
    except OSError as error:
        if error.errno not in _TRANSIENT:
            _failures.append(str(error))
            raise dg.Failure(str(error), allow_retries=False) from None
        raise dg.RetryRequested(max_retries=_RETRIES, seconds_to_wait=_SECONDS_BETWEEN) from error
    finally:
        for logger in loggers:
            logger.removeHandler(handler)


def _remedy(error: Exception) -> dict[str, Any]:
    """The class of error, and the command that fixes it where there is one."""
    kind = (type(error).__doc__ or "").strip().splitlines()[0]
    remedy: dict[str, Any] = {"error type": kind}
    if isinstance(error, MissingArtifact) and error.command:
        remedy["run this"] = dg.MetadataValue.md(f"```sh\n{error.command}\n```")
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
) -> dg.MaterializeResult:
    """Run a step on the study, and return what Dagster records of it."""
    with translate_errors(context):
        parameters, paths = study.load()
        return materialize_result(step(parameters, paths), parameters)


def materialize_result(result: StepResult[Any], study: Study) -> dg.MaterializeResult:
    """What Dagster records of a step that has run.

    Args:
        result: Its result; assets derived from the same content stay fresh.
        study: The study it ran with; after an override it differs from ``params.yaml``, and the
            asset then shows as stale.
    """
    key = result.asset.split("/")
    rows = {} if result.rows is None else {"dagster/row_count": result.rows}
    details = [(name, value) for name, value in result.details.items() if value is not None]
    figures = {name: value for name, value in details if isinstance(value, LazyFigure)}
    shown = {**figures, **rows, **dict(details), "data location": result.location}
    return dg.MaterializeResult(
        asset_key=key,
        data_version=dg.DataVersion(result.version),
        tags={_CODE_VERSION: code_version(key[0], study) or "unpinned"},
        metadata={name: _metadata_value(value) for name, value in shown.items()},
        check_results=[
            *check_results(result.checks, waived=result.waived),
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
