"""Log lines of the server: one line each, few of a kind."""

import io
import logging

import pytest

from pipeline.serving.http.log_lines import OneLine


@pytest.fixture
def log():
    """A logger and what it has written."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.addFilter(OneLine(10.0))
    logger = logging.getLogger("server")
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logger.addHandler(handler)
    yield logger, stream
    logger.removeHandler(handler)


def test_an_error_is_one_line_with_its_place(log):
    logger, stream = log

    def fail():
        raise ValueError("two\nlines")

    try:
        fail()
    except ValueError:
        logger.exception("ranking failed for %d requests", 3)

    assert stream.getvalue() == (
        "ranking failed for 3 requests: ValueError: two lines at fail, line "
        f"{fail.__code__.co_firstlineno + 1}\n"
    )


def test_repeated_warnings_are_summed_up_and_others_pass(log, monkeypatch):
    logger, stream = log
    now = 1000.0
    monkeypatch.setattr("time.monotonic", lambda: now)

    for n in range(100):
        logger.warning("request %d is invalid", n)
    logger.warning("something else")
    logger.info("serving")
    logger.info("serving")
    now = 1010.0
    logger.warning("request %d is invalid", 100)

    assert stream.getvalue().splitlines() == [
        "request 0 is invalid",
        "something else",
        "serving",
        "serving",
        "request 100 is invalid (99 such lines left out)",
    ]


def test_the_number_of_kinds_is_limited(log):
    logger, _ = log
    (lines,) = logger.handlers[0].filters

    for n in range(10_000):
        logger.warning(f"line {n}")  # noqa: G004 - a library that formats its own lines

    assert len(lines._last) <= 256
