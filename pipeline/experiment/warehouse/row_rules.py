"""The rules for single rows as Ibis expressions.

They are written once, as DuckDB's SQL (:mod:`pipeline.experiment.log.validation.row_validation`), and
translated, so that files and warehouses have the same rules in the same order. A rule that cannot be
translated is an error, never left out.
"""

from collections.abc import Callable, Mapping
from typing import Any

import ibis
import sqlglot
from sqlglot import expressions as sql

from pipeline.core.errors import LogError

_COMPARISONS: dict[type[sql.Expression], Callable[[Any, Any], Any]] = {
    sql.And: lambda left, right: left & right,
    sql.Or: lambda left, right: left | right,
    sql.EQ: lambda left, right: left == right,
    sql.NEQ: lambda left, right: left != right,
    sql.LT: lambda left, right: left < right,
    sql.LTE: lambda left, right: left <= right,
    sql.GT: lambda left, right: left > right,
    sql.GTE: lambda left, right: left >= right,
}


def rejection_reason(rows: ibis.Table, case: str, parameters: Mapping[str, Any]) -> Any:
    """The rejection reason of each row; null if the row is valid.

    Args:
        rows: The rows.
        case: DuckDB's SQL of the reason, with parameters such as ``$latest``.
        parameters: Their values.

    Raises:
        LogError: if a rule has no expression that every engine has.
    """
    return _translate(sqlglot.parse_one(case, dialect="duckdb"), rows, parameters)


def _translate(node: Any, rows: ibis.Table, parameters: Mapping[str, Any]) -> Any:
    def inner(part: Any) -> Any:
        return _translate(part, rows, parameters)

    if compare := _COMPARISONS.get(type(node)):
        return compare(inner(node.this), inner(node.expression))
    match node:
        case sql.Case():
            return ibis.cases(*((inner(one.this), inner(one.args["true"])) for one in node.args["ifs"]))
        case sql.Paren():
            return inner(node.this)
        case sql.Not():
            return ~inner(node.this)
        case sql.Is() if isinstance(node.expression, sql.Null):
            return inner(node.this).isnull()
        case sql.In():
            return inner(node.this).isin([_constant(one) for one in node.expressions])
        case sql.ArrayContains():
            return inner(node.expression).isin(parameters[_name(node.this)])
        case sql.Coalesce():
            return ibis.coalesce(*map(inner, (node.this, *node.expressions)))
        case sql.IsNan():
            return inner(node.this).isnan()
        case sql.Column():
            return rows[node.name]
        case sql.Literal():
            return ibis.literal(_constant(node))
        case sql.Parameter() | sql.Placeholder():
            return ibis.literal(parameters[_name(node)])
        case _:
            msg = (
                f"the rule {node.sql(dialect='duckdb')} of the log cannot be checked in a warehouse; export the "
                "log to files, and set experiment.log_path instead of compute.warehouse"
            )
            raise LogError(msg)


def _constant(node: Any) -> str | int:
    return node.name if node.is_string else int(node.name)


def _name(node: Any) -> str:
    """The name of a parameter, which sqlglot reads as ``Parameter`` or ``Placeholder``."""
    return node.name
