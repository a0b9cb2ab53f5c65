"""What every asset shares: how the domain's errors become Dagster's, and how it says what it made."""

import atexit
import errno
import hashlib
import json
import logging
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg

from assets.asset_metadata import code_version
from assets.checks import log_failed_checks
from pipeline.artifacts.storage import md5
from pipeline.core.errors import USER_ERRORS, MissingArtifact
from pipeline.quality.runner import BrokenRulesError
from pipeline.study import Study

_TRANSIENT = {errno.EAGAIN, errno.EBUSY, errno.EIO, errno.EINTR, errno.ETIMEDOUT, errno.ESTALE}
"""Errors of the operating system that pass, as of a network disk; no other error is retried."""

_RETRIES = 3
_SECONDS_BETWEEN = 20

_CODE_VERSION = "dagster/code_version"
"""The tag by which Dagster knows what an asset was made of."""

_failures: list[str] = []
"""What went wrong in this process, to be said again when it ends."""


@contextmanager
def translate_errors(context: dg.AssetExecutionContext) -> Iterator[None]:
    """Turn an error the user can mend into one readable failure.

    Only what passes by itself is retried: bad data is just as bad the second time. The domain's
    log lines go to the run's log while the asset works.
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
            raise
        raise dg.RetryRequested(max_retries=_RETRIES, seconds_to_wait=_SECONDS_BETWEEN) from error
    finally:
        for logger in loggers:
            logger.removeHandler(handler)


def _remedy(error: Exception) -> dict[str, Any]:
    """What kind of fault it is, and the command that mends it where there is one."""
    kind = (type(error).__doc__ or "").strip().splitlines()[0]
    remedy: dict[str, Any] = {"kind of fault": kind}
    if isinstance(error, MissingArtifact) and error.command:
        remedy["run this"] = dg.MetadataValue.md(f"```sh\n{error.command}\n```")
    return remedy


class _RunLog(logging.Handler):
    """Hands the domain's log lines to the run's log."""

    def __init__(self, context: dg.AssetExecutionContext) -> None:
        super().__init__()
        self.context = context

    def emit(self, record: logging.LogRecord) -> None:
        """Pass one line on."""
        self.context.log.log(record.levelno, record.getMessage())


def _end_quietly() -> None:
    """Say once more what went wrong, and close the error stream.

    The `dagster` command ends with a long trace of its own. DuckDB's bindings report objects that Great
    Expectations keeps until the interpreter ends as leaked: forty harmless lines at the end of every
    run. Logs are flushed line by line before.
    """
    if Path(sys.argv[0]).name == "dagster":
        sys.stderr.writelines(f"\nFailed: {words}\n" for words in _failures)
        sys.stderr.flush()
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


atexit.register(_end_quietly)


def materialize_result(
    name: str,
    study: Study,
    version: str | Path,
    *,
    metadata: Mapping[str, Any],
    checks: Sequence[dg.AssetCheckResult] = (),
) -> dg.MaterializeResult:
    """What Dagster is to know of an asset that was made.

    Args:
        name: Of the asset; with a slash for one of several.
        study: Whose parameters it was made with; after an override they are not those of
            ``params.yaml``, and the asset then shows as stale.
        version: Of its content: a text, or the file or folder whose md5 it is. What was made from
            the same content before stays fresh.
        metadata: In the order it is to be read.
        checks: What was found of its rules.
    """
    key = name.split("/")
    return dg.MaterializeResult(
        asset_key=key,
        data_version=dg.DataVersion(md5(version) if isinstance(version, Path) else version),
        tags={_CODE_VERSION: code_version(key[0], study) or "unpinned"},
        metadata={**metadata, **_place(version)},
        check_results=checks,
    )


def content_version(content: Any) -> str:
    """The version of what is no file of its own: of values that JSON can say."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:32]


def _place(version: str | Path) -> dict[str, dg.MetadataValue]:
    return {"lies in": dg.MetadataValue.path(str(version))} if isinstance(version, Path) else {}


def counts_metadata(values: dict[str, Any]) -> dict[str, dg.MetadataValue]:
    """Counts as metadata, with words for names; nested counts as JSON."""
    return {
        name.replace("_", " "): dg.MetadataValue.json(value)
        if isinstance(value, dict)
        else dg.MetadataValue.int(value)
        for name, value in values.items()
        if value is not None
    }
