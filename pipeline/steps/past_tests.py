"""A table of past tests, from the file to the findings."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import polars as pl

from pipeline.artifacts.storage import md5
from pipeline.inference.meta.study_tests import studies_as_tests
from pipeline.inference.past_tests.analysis import analyse_past_tests
from pipeline.inference.past_tests.ranked_proxies import ProxyOptions
from pipeline.inference.past_tests.read_tests import PastTestTable
from pipeline.reporting.text.past_tests import with_summary
from pipeline.results.past_tests import PastTests


def past_tests_of(
    tests: PastTestTable, source: Path | pl.DataFrame, proxies: ProxyOptions
) -> PastTests:
    """Analyse a table of past tests.

    Args:
        tests: The table.
        source: The frame or file that it was read from.
        proxies: How to rank the metrics.

    Raises:
        StudyError: if an option is out of range.
    """
    found = analyse_past_tests(tests, proxies)
    origin = md5(source) if isinstance(source, Path) else None
    return with_summary(replace(found, md5=origin))


def past_tests_of_studies(reports: Sequence[Path], proxies: ProxyOptions) -> PastTests:
    """Analyse the ``report.json`` of several studies as past tests.

    Raises:
        DataError: if a file is not a report, or an experiment occurs twice.
        StudyError: if an option is out of range.
    """
    return with_summary(analyse_past_tests(studies_as_tests(reports), proxies))
