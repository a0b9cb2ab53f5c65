"""Tables of policies: the probability of every action in every context.

Shape suffixes: N rows of the log, C contexts, A actions.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from pipeline.core.errors import DataError
from pipeline.core.file_content import did_you_mean
from pipeline.counterfactual.bandit.read_log import PROBABILITY, BanditLog, ids, numbers, read_rows
from pipeline.counterfactual.weighted_log import Ints, check_probabilities
from pipeline.results.family import Floats
from pipeline.results.policy_values import UnloggedAction

_TOLERANCE = 1e-3
"""Of sums of probabilities, which tables round."""
PROPENSITY_ROUNDING = 0.01
"""Relative difference of propensities that rounding explains."""
_LEAST_SAME = 0.99
_KEY = "context of the policy"
_BETWEEN = "\x1f"
"""The columns of a context."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextPolicy:
    """A policy that chooses by context.

    Attributes:
        name: Of the policy.
        actions: Ids of the columns: the actions of the log in its order, then others of the policy.
        probability_CA: Probability of every action; rows sum to 1.
        context_N: Number of the context of each row of the log.
        level_CX: Number of the level of every column in each context; no column without contexts.
    """

    name: str
    actions: tuple[str, ...]
    probability_CA: Floats
    context_N: Ints
    level_CX: Ints

    def of_actions(self, actions: Sequence[str], rows: slice) -> Floats:
        """Probabilities of other columns, N × A; 0 of actions that the policy does not know."""
        column = {name: at for at, name in enumerate(self.actions)}
        known_CA = np.pad(self.probability_CA, ((0, 0), (0, 1)))  # the last is that of unknown ones
        at_A = [column.get(name, -1) for name in actions]
        return known_CA[:, at_A][self.context_N[rows]]


def read_policy(path: Path, log: BanditLog, action: str) -> ContextPolicy:
    """Read a policy: one row per context and action, with the column ``probability``.

    Its other columns are the contexts, and have the same names in the log. An action that is not in the
    table of a context has the probability 0 there. A missing cell of a context is a value like any other.

    Raises:
        DataError: if a column or the id of an action is missing, a context or action of the log is unknown, or probabilities
            do not sum to 1.
    """
    frame = read_rows(path)
    for name in (action, PROBABILITY):
        if name not in frame.columns:
            msg = (
                f"{path}: the column {name} is missing{did_you_mean(name, frame.columns)}; expected {action}, "
                f"{PROBABILITY} and the columns of {log.source} that the policy depends on"
            )
            raise DataError(msg)
    contexts = [name for name in frame.columns if name not in {action, PROBABILITY}]
    if unknown := [name for name in contexts if name not in log.frame.columns]:
        msg = (
            f"{path}: the column {unknown[0]} is not in {log.source}; expected contexts of the log"
        )
        raise DataError(msg)
    table = frame.select(
        action=ids(path, frame, action),
        context=_context(contexts),
        probability=pl.Series(numbers(path, frame, PROBABILITY)),
    )
    _check_table(path, table, has_contexts=bool(contexts))
    levels = frame.select(_context(contexts).alias(_KEY), *contexts).unique(_KEY).sort(_KEY)
    named = log.frame.with_columns(_context(contexts).alias(_KEY))[_KEY]
    known = levels[_KEY]
    if (found := _first_unknown(named, known)) is not None:
        msg = (
            f"{path}: the context {found} ({', '.join(contexts)}) of {log.source} is unknown; add its "
            "probabilities"
        )
        raise DataError(msg)
    if (found := _first_unknown(log.actions, table["action"])) is not None:
        msg = (
            f"{path}: the action {found} of {log.source} is unknown; add it, with {PROBABILITY} 0 if the policy "
            "never chooses it"
        )
        raise DataError(msg)
    more = table["action"].unique().sort()
    more = more.filter(~more.is_in(log.actions.implode()))
    column = {name: at for at, name in enumerate([*log.actions, *more])}
    probability_CA = np.zeros((len(known), len(column)))
    context = known.search_sorted(table["context"]).to_numpy()
    probability_CA[context, [column[name] for name in table["action"]]] = table["probability"]
    return ContextPolicy(
        name=path.stem,
        actions=tuple(column),
        probability_CA=probability_CA / probability_CA.sum(axis=1, keepdims=True),
        context_N=known.search_sorted(named).to_numpy().astype(np.int64),
        level_CX=_codes(levels, contexts),
    )


def check_propensities_match(log: BanditLog, logging: ContextPolicy) -> None:
    """Check that the log's propensities are those of the logging policy's table.

    Raises:
        DataError: if fewer than 99% are: the log is of another policy.
    """
    of_table_N = logging.probability_CA[logging.context_N, log.action_N]
    same_N = np.isclose(of_table_N, log.propensity_N, rtol=PROPENSITY_ROUNDING, atol=1e-9)
    if same_N.mean() < _LEAST_SAME:
        row = int(same_N.argmin())
        msg = (
            f"{log.source} is not a log of the policy {logging.name}: {1 - same_N.mean():.1%} of its propensities "
            f"differ, such as {log.propensity_N[row]:.6g} instead of {of_table_N[row]:.6g} in row {row + 1}; pass "
            "the policy that wrote the log"
        )
        raise DataError(msg)


def unlogged_actions(log: BanditLog, policy: ContextPolicy) -> tuple[UnloggedAction, ...]:
    """The actions that a policy chooses and the log never shows, the most frequent first."""
    logged = len(log.actions)
    rows_C = np.bincount(policy.context_N, minlength=len(policy.probability_CA))
    share_A = rows_C @ policy.probability_CA[:, logged:] / len(policy.context_N)
    found = [
        UnloggedAction(action=name, share=float(share))
        for name, share in zip(policy.actions[logged:], share_A, strict=True)
        if share > 0
    ]
    return tuple(sorted(found, key=lambda one: -one.share))


def _context(names: list[str]) -> pl.Expr:
    if not names:
        return pl.lit("", pl.String)
    return pl.concat_str(map(_cell, names), separator=_BETWEEN)


def _cell(name: str) -> pl.Expr:
    """A column of the context as text; a missing cell is a value like any other."""
    return pl.col(name).cast(pl.String).fill_null("")


def _named(context: str) -> str:
    """A context for the reader."""
    return ", ".join(cell or "missing" for cell in context.split(_BETWEEN))


def _codes(levels: pl.DataFrame, names: list[str]) -> Ints:
    """Each column's values by their order, from 0."""
    found = np.empty((levels.height, len(names)), np.int64)
    for at, name in enumerate(names):
        found[:, at] = levels.select(_cell(name).rank("dense")).to_series().to_numpy() - 1
    return found


def _check_table(path: Path, table: pl.DataFrame, *, has_contexts: bool) -> None:
    """Check that probabilities are unique and sum to 1 in every context."""
    if (repeated := table.select("context", "action").is_duplicated()).any():
        row = repeated.arg_max() or 0
        msg = (
            f"{path}: action {table['action'][row]} occurs twice in one context, in row {row + 1}; expected one "
            "row per context and action"
        )
        raise DataError(msg)
    check_probabilities(table["probability"].to_numpy(), f"{path}: {PROBABILITY}", is_logged=False)
    sums = table.group_by("context", maintain_order=True).agg(pl.col("probability").sum())
    wrong = (sums["probability"] - 1).abs() > _TOLERANCE
    if wrong.any():
        row = wrong.arg_max() or 0
        where = f" of the context {_named(sums['context'][row])}" if has_contexts else ""
        msg = (
            f"{path}: the probabilities{where} sum to {sums['probability'][row]:.6g}; expected 1, with one row for "
            "every action"
        )
        raise DataError(msg)


def _first_unknown(used: pl.Series, known: pl.Series) -> str | None:
    unknown = used.filter(~used.is_in(known.implode()))
    return _named(unknown[0]) if len(unknown) else None
