"""Read a logged bandit table and tables of policies."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from pipeline.core.errors import DataError
from pipeline.core.file_content import did_you_mean
from pipeline.counterfactual.weighted_log import Ints, check_probabilities
from pipeline.datasets.io.table_files import read_table_file
from pipeline.results.family import Floats

PROBABILITY = "probability"
"""The column of a policy's table."""

LARGEST = 1e30
"""Of rewards and of one over a propensity: squares of their products, summed over rows, are finite numbers."""

_EXPECTED = "expected CSV (.csv, .tsv), parquet (.parquet) or JSON lines (.jsonl)"


@dataclass(frozen=True, slots=True, kw_only=True)
class LogColumns:
    """The columns of a log, by their names in it.

    ``user`` is None if the log does not name users.
    """

    action: str = "action"
    propensity: str = "propensity"
    reward: str = "reward"
    user: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedRewards:
    """The rewards of a log.

    Attributes:
        source: The file.
        reward_N: The reward.
        user_N: Number of the user; of the row if the log does not name users.
        has_users: Whether it does.
    """

    source: str
    reward_N: Floats
    user_N: Ints
    has_users: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class BanditLog(LoggedRewards):
    """A logged bandit table that has passed every check.

    Attributes:
        frame: Its columns as strings, or as parquet and JSON have them.
        actions: Ids of the actions, sorted.
        action_N: Number of the logged action.
        propensity_N: Its probability under the logging policy, above 0 and at most 1.
    """

    frame: pl.DataFrame
    actions: pl.Series
    action_N: Ints
    propensity_N: Floats


def read_log(path: Path, columns: LogColumns) -> BanditLog:
    """Read a log.

    Raises:
        DataError: if the file cannot be read, a column is missing, or a cell is not what it should be.
    """
    frame = read_rows(path)
    names = [columns.action, columns.propensity, columns.reward, *filter(None, [columns.user])]
    _check_columns(path, frame, names, "name it with --action, --propensity, --reward or --user")
    propensity_N = numbers(path, frame, columns.propensity)
    check_probabilities(propensity_N, f"{path}: {columns.propensity}", is_logged=True)
    if (tiny := propensity_N < 1 / LARGEST).any():
        row = int(tiny.argmax())
        msg = (
            f"{path}: {columns.propensity} is {propensity_N[row]:.6g} in row {row + 1}; expected a probability that "
            f"something may be chosen with, of {1 / LARGEST:.0e} at least"
        )
        raise DataError(msg)
    rewards = _rewards(path, frame, columns)
    action_N, actions = _codes(ids(path, frame, columns.action))
    return BanditLog(
        source=rewards.source,
        reward_N=rewards.reward_N,
        user_N=rewards.user_N,
        has_users=rewards.has_users,
        frame=frame,
        actions=actions,
        action_N=action_N,
        propensity_N=propensity_N,
    )


def read_rewards(path: Path, columns: LogColumns) -> LoggedRewards:
    """Read the rewards of a log, and its users; nothing else is needed in it.

    Raises:
        DataError: as :func:`read_log`.
    """
    frame = read_rows(path)
    names = [columns.reward, *filter(None, [columns.user])]
    _check_columns(path, frame, names, "name it with --reward or --user")
    return _rewards(path, frame, columns)


def _rewards(path: Path, frame: pl.DataFrame, columns: LogColumns) -> LoggedRewards:
    reward_N = numbers(path, frame, columns.reward)
    if (huge := np.abs(reward_N) > LARGEST).any():
        row = int(huge.argmax())
        msg = (
            f"{path}: {columns.reward} is {reward_N[row]:.6g} in row {row + 1}; expected a reward from "
            f"-{LARGEST:.0e} to {LARGEST:.0e}, whose variance can be computed"
        )
        raise DataError(msg)
    user_N = np.arange(frame.height)
    if columns.user:
        user_N, _ = _codes(ids(path, frame, columns.user))
    return LoggedRewards(
        source=str(path), reward_N=reward_N, user_N=user_N, has_users=columns.user is not None
    )


def read_rows(path: Path) -> pl.DataFrame:
    """Read a table that has rows. Raises :class:`DataError`."""
    frame = read_table_file(path, _EXPECTED)
    if not frame.height:
        msg = f"{path}: the table has no rows; expected one per decision"
        raise DataError(msg)
    return frame


def numbers(path: Path, frame: pl.DataFrame, name: str) -> Floats:
    """A column as numbers; raises :class:`DataError` at the first cell that is none."""
    column = frame[name]
    found = column.cast(pl.Float64, strict=False)
    if (wrong := found.is_null() | ~found.is_finite().fill_null(value=False)).any():
        row = wrong.arg_max() or 0
        what = "missing" if column[row] in {None, ""} else repr(column[row])
        msg = f"{path}: {name} is {what} in row {row + 1}; expected a number, such as 0.25, in every row"
        raise DataError(msg)
    return found.to_numpy()


def ids(path: Path, frame: pl.DataFrame, name: str) -> pl.Series:
    """A column as ids; raises :class:`DataError` at the first cell that has none."""
    column = frame[name].cast(pl.String)
    if (missing := column.is_null() | (column == "")).any():
        msg = f"{path}: {name} is missing in row {(missing.arg_max() or 0) + 1}; expected an id in every row"
        raise DataError(msg)
    return column


def logged_probability(log: BanditLog, name: str) -> Floats:
    """The column of the log with a policy's probability of the logged action.

    Raises:
        DataError: if there is none, or a value is not a probability.
    """
    path = Path(log.source)
    if name not in log.frame.columns:
        msg = (
            f"{name} is neither a file nor a column of {path}{did_you_mean(name, log.frame.columns)}; "
            "expected a table of the policy, or the column with its probability of the logged action"
        )
        raise DataError(msg)
    found_N = numbers(path, log.frame, name)
    check_probabilities(found_N, f"{path}: {name}", is_logged=False)
    return found_N


def _codes(column: pl.Series) -> tuple[Ints, pl.Series]:
    """The number of each id, and the sorted ids."""
    known = column.unique().sort()
    return known.search_sorted(column).to_numpy().astype(np.int64), known


def _check_columns(path: Path, frame: pl.DataFrame, names: Sequence[str], remedy: str) -> None:
    for name in names:
        if name not in frame.columns:
            msg = (
                f"{path}: the column {name} is missing{did_you_mean(name, frame.columns)}; found "
                f"{', '.join(frame.columns[:10])}; {remedy}"
            )
            raise DataError(msg)
