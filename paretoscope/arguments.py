"""Checks of the arguments that the API takes."""

from collections.abc import Iterable, Mapping
from typing import Any

import polars as pl

from pipeline.core.errors import DataError, StudyError
from pipeline.inference.counts.columns import CountsOptions
from pipeline.study import AdviceConfig, XReference


def as_list(values: Any, expected: str) -> list[Any]:
    """The values as a list; one string, path or other single value is a list of one.

    Raises:
        DataError: if there is none, or one is None.
    """
    several = isinstance(values, Iterable) and not isinstance(values, str | pl.DataFrame)
    found: list[Any] = list(values) if several else [values]
    if not found or any(one is None for one in found):
        msg = f"found {found or 'none'}; expected {expected}"
        raise DataError(msg)
    return found


def as_texts(values: Any, expected: str) -> list[str]:
    """As :func:`as_list`, of strings only; none is an empty list.

    Raises:
        DataError: if a value is not a string.
    """
    if isinstance(values, Iterable) and not list(values):
        return []
    found = as_list(values, expected)
    for one in found:
        if not isinstance(one, str):
            msg = f"found {one!r}; expected {expected}"
            raise DataError(msg)
    return found


def check_level(level: Any) -> None:
    """Check a confidence level.

    Raises:
        StudyError: if it is not a number between 0.5 and 1.
    """
    known = isinstance(level, int | float)
    if not known or not 0.5 < level < 1:
        msg = f"level: {level!r} is not {'' if known else 'a number '}between 0.5 and 1"
        raise StudyError(msg)


def advice_config(control: Any, margin: Any) -> AdviceConfig:
    """How groups are compared.

    Raises:
        StudyError: if the control is not a name, or the margin not a number in (0, 1].
    """
    if control is not None and not (isinstance(control, str) and control):
        msg = f"control: {control!r} is not the name of a group"
        raise StudyError(msg)
    if margin is not None and not (isinstance(margin, int | float) and 0 < margin <= 1):
        msg = f"margin: {margin!r} is not a number above 0 and at most 1, such as 0.01"
        raise StudyError(msg)
    return AdviceConfig(control=control, margin=margin)


def as_x_reference(name: Any) -> XReference:
    """What x is relative to; raises :class:`StudyError` for an unknown name."""
    if name not in set(XReference):
        msg = f"x_reference: {name!r} is not one of {', '.join(XReference)}"
        raise StudyError(msg)
    return XReference(name)


def as_polars(frame: Any) -> pl.DataFrame:
    """A polars or pandas frame as polars; raises :class:`DataError` for anything else."""
    if isinstance(frame, pl.DataFrame):
        return frame
    if isinstance(frame, pl.LazyFrame):
        msg = "a LazyFrame is not a table yet; call .collect() first"
        raise DataError(msg)
    if type(frame).__module__.partition(".")[0] != "pandas":
        msg = f"{type(frame).__name__} is not a table; expected a polars or pandas DataFrame"
        raise DataError(msg)
    return pl.from_pandas(frame)


def columns_mapping(columns: Any, example: str) -> dict[str, str]:
    """A table's column by our name; raises :class:`StudyError` if it is not a mapping of strings."""
    names = {} if columns is None else columns
    if not isinstance(names, Mapping) or not all(
        isinstance(name, str) for pair in names.items() for name in pair
    ):
        msg = f"columns: {columns!r} does not map our names to yours, such as {example}"
        raise StudyError(msg)
    return dict(names)


def counts_options(
    columns: Any, metrics: Any, one_trial_per_user: Any, error_correlation: Any
) -> CountsOptions:
    """How a table of counts is read.

    Raises:
        StudyError: if the columns are not a mapping of strings, or the correlation is not in [0, 1).
        DataError: if a metric is not a string.
    """
    names = columns_mapping(columns, '{"impressions": "views"}')
    if not isinstance(error_correlation, int | float) or not 0 <= error_correlation < 1:
        msg = f"error_correlation: {error_correlation!r} is not at least 0 and below 1"
        raise StudyError(msg)
    return CountsOptions(
        columns=names,
        metrics=tuple(as_texts(metrics, "names of columns, such as auc")),
        one_trial_per_user=bool(one_trial_per_user),
        error_correlation=error_correlation,
    )
