"""The rules for single rows as Ibis expressions.

They are written once, as DuckDB's SQL (:mod:`pipeline.experiment.log.validation.row_validation`), and
translated, so that files and warehouses have the same rules in the same order. A rule that cannot be
translated is an error, never left out.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from operator import and_, eq, ge, gt, le, lt, ne, or_
from typing import Any, NoReturn

import ibis
import sqlglot
from sqlglot import expressions as sql

from pipeline.core.errors import LogError

_BINARY: dict[type[sql.Expression], Callable[[Any, Any], Any]] = {
    sql.And: and_,
    sql.Or: or_,
    sql.EQ: eq,
    sql.NEQ: ne,
    sql.LT: lt,
    sql.LTE: le,
    sql.GT: gt,
    sql.GTE: ge,
}


def rejection_reason(rows: ibis.Table, case: str, parameters: Mapping[str, Any]) -> Any:
    """The rejection reason of each row; null if the row is valid.

    Args:
        rows: The rows.
        case: DuckDB's SQL of the reason, with parameters such as ``$latest``.
        parameters: Their values.

    Raises:
        LogError: if a rule cannot be translated.
    """
    return _Translation(rows, parameters).of(sqlglot.parse_one(case, dialect="duckdb"))


@dataclass(frozen=True, slots=True)
class _Translation:
    rows: ibis.Table
    parameters: Mapping[str, Any]

    def of(self, node: Any) -> Any:
        """The Ibis expression of a node of DuckDB's SQL."""
        if operator := _BINARY.get(type(node)):
            return operator(self.of(node.this), self.of(node.expression))
        if translate := _NODES.get(type(node)):
            return translate(self, node)
        return self.refuse(node)

    def refuse(self, node: Any) -> NoReturn:
        """Raise LogError with a rule that has no translation."""
        msg = (
            f"the rule {node.sql(dialect='duckdb')} of the log cannot be checked in a warehouse; export the log to "
            "files, and set experiment.log_path instead of compute.warehouse"
        )
        raise LogError(msg)

    def case(self, node: Any) -> Any:
        """``CASE WHEN … THEN … END``."""
        branches = node.args["ifs"]
        return ibis.cases(*((self.of(one.this), self.of(one.args["true"])) for one in branches))

    def within(self, node: Any) -> Any:
        """``x IN ('a', 'b')``."""
        return self.of(node.this).isin([one.name for one in node.expressions])

    def listed(self, node: Any) -> Any:
        """``list_contains($parameter, x)``."""
        return self.of(node.expression).isin(self.parameters[node.this.name])

    def null(self, node: Any) -> Any:
        """``x IS NULL``."""
        if not isinstance(node.expression, sql.Null):
            return self.refuse(node)
        return self.of(node.this).isnull()

    def literal(self, node: Any) -> Any:
        """A string or an integer."""
        return ibis.literal(node.name if node.is_string else int(node.name))


_NODES: dict[type[sql.Expression], Callable[[_Translation, Any], Any]] = {
    sql.Case: _Translation.case,
    sql.In: _Translation.within,
    sql.ArrayContains: _Translation.listed,
    sql.Literal: _Translation.literal,
    sql.Paren: lambda to, node: to.of(node.this),
    sql.Not: lambda to, node: ~to.of(node.this),
    sql.Is: _Translation.null,
    sql.Coalesce: lambda to, node: ibis.coalesce(*map(to.of, (node.this, *node.expressions))),
    sql.IsNan: lambda to, node: to.of(node.this).isnan(),
    sql.Column: lambda to, node: to.rows[node.name],
    sql.Placeholder: lambda to, node: ibis.literal(to.parameters[node.name]),
}
