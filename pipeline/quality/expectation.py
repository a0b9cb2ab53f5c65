"""A rule as plain data, and the kinds of rules there are."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One expectation.

    Attributes:
        name: Of the check, as the UI shows it.
        description: What holds, in words.
        table: The table it is about.
        expectation: Class of ``great_expectations.expectations``.
        arguments: Of that class.
        blocking: Whether an artifact that breaks the rule is refused.
    """

    name: str
    description: str
    table: str
    expectation: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    blocking: bool = True


def forbid_rows(  # noqa: PLR0913 - a rule's fields
    name: str,
    description: str,
    table: str,
    where: str,
    *,
    source: str = "{batch}",
    blocking: bool = True,
) -> Rule:
    """A rule that no row of ``source`` may satisfy ``where``; both are code, never input.

    A row of which a null leaves that unknown breaks the rule, too.
    """
    return Rule(
        name=name,
        description=description,
        table=table,
        expectation="UnexpectedRowsExpectation",
        arguments={"unexpected_rows_query": f"SELECT * FROM {source} WHERE ({where}) IS NOT FALSE"},  # noqa: S608
        blocking=blocking,
    )


def not_empty(table: str) -> Rule:
    """A rule that the table holds rows."""
    return Rule(
        name=f"{table}_not_empty",
        description=f"{table} holds rows",
        table=table,
        expectation="ExpectTableRowCountToBeBetween",
        arguments={"min_value": 1},
    )


def allowed_values(name: str, table: str, column: str, values: list[str]) -> Rule:
    """A rule that the column holds nothing but the values, which are code."""
    listed = ", ".join(f"'{value}'" for value in values)
    return forbid_rows(
        name, f"{column} is one of {', '.join(values)}", table, f"{column} NOT IN ({listed})"
    )


def unique(name: str, table: str, columns: list[str]) -> Rule:
    """A rule that the columns, none of them null, name a row."""
    key = ", ".join(f'"{column}"' for column in columns)
    lacking = " OR ".join(f'"{column}" IS NULL' for column in columns)
    return forbid_rows(
        name,
        f"every row has its own {', '.join(columns)}",
        table,
        f"copies > 1 OR {lacking}",
        source=f"(SELECT {key}, count(*) AS copies FROM {{batch}} GROUP BY {key})",  # noqa: S608
    )
