"""What every asset shares: its checks, and how the domain's errors become Dagster's."""

import errno
import logging
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import dagster as dg

from pipeline.errors import USER_ERRORS
from pipeline.quality.rules import RULES
from pipeline.quality.runner import Outcome

_TRANSIENT = {errno.EAGAIN, errno.EBUSY, errno.EIO, errno.EINTR, errno.ETIMEDOUT, errno.ESTALE}
"""Errors of the operating system that pass, as of a network disk; no other error is retried."""

_RETRIES = 3
_SECONDS_BETWEEN = 20


@contextmanager
def user_errors(context: dg.AssetExecutionContext) -> Iterator[None]:
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
        raise dg.Failure(description=str(error), allow_retries=False) from None
    except OSError as error:
        if error.errno not in _TRANSIENT:
            raise
        raise dg.RetryRequested(max_retries=_RETRIES, seconds_to_wait=_SECONDS_BETWEEN) from error
    finally:
        for logger in loggers:
            logger.removeHandler(handler)


class _RunLog(logging.Handler):
    """Hands the domain's log lines to the run's log."""

    def __init__(self, context: dg.AssetExecutionContext) -> None:
        super().__init__()
        self.context = context

    def emit(self, record: logging.LogRecord) -> None:
        """Pass one line on."""
        self.context.log.log(record.levelno, record.getMessage())


def check_specs(asset: str) -> list[dg.AssetCheckSpec]:
    """The checks of an asset, one a rule."""
    return [
        dg.AssetCheckSpec(name=rule.name, asset=asset, description=rule.description)
        for rule in RULES[asset]
    ]


def check_results(outcomes: Iterable[Outcome]) -> list[dg.AssetCheckResult]:
    """What the rules found, as Dagster shows it; a rule that only reports warns."""
    return [
        dg.AssetCheckResult(
            check_name=outcome.rule.name,
            passed=outcome.passed,
            severity=dg.AssetCheckSeverity.ERROR
            if outcome.rule.blocking
            else dg.AssetCheckSeverity.WARN,
            metadata={"unexpected rows": outcome.unexpected, "examples": list(outcome.sample)},
        )
        for outcome in outcomes
    ]


def counts(values: dict[str, Any]) -> dict[str, dg.MetadataValue]:
    """Counts as metadata, with words for names; nested counts as JSON."""
    return {
        name.replace("_", " "): dg.MetadataValue.json(value)
        if isinstance(value, dict)
        else dg.MetadataValue.int(value)
        for name, value in values.items()
        if value is not None
    }
