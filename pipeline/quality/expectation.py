"""Rules as plain data, and constructors of common rules."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pipeline.core.labels import counted


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """An expectation on a table.

    Attributes:
        name: Name of the check.
        description: The condition that must hold.
        table: Name of the table.
        expectation: Class in ``great_expectations.expectations``.
        arguments: Arguments of that class.
        blocking: Whether an artifact that breaks the rule is refused.
    """

    name: str
    description: str
    table: str
    expectation: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    blocking: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """Result of a rule.

    Attributes:
        rule: The rule.
        passed: Whether no row broke it.
        unexpected: Number of rows that broke it.
        sample: Some of these rows, as strings.
        rows: The same rows, by column.
    """

    rule: Rule
    passed: bool
    unexpected: int
    sample: tuple[str, ...]
    rows: tuple[Mapping[str, Any], ...] = ()

    def __str__(self) -> str:
        """The broken rule in one line."""
        rows = (
            f" {counted(self.unexpected, 'row')}, for example {'; '.join(self.sample)}"
            if self.sample
            else ""
        )
        return f"{self.rule.name}: expected that {self.rule.description}.{rows}"


def forbid_rows(  # noqa: PLR0913 - a rule's fields
    name: str,
    description: str,
    table: str,
    where: str,
    *,
    source: str = "{batch}",
    blocking: bool = True,
) -> Rule:
    """A rule that no row of ``source`` satisfies ``where``; a row where it is unknown also breaks it.

    Both are SQL and must not contain input.
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
    """A rule that the table has rows."""
    return Rule(
        name=f"{table}_not_empty",
        description=f"{table} has rows",
        table=table,
        expectation="ExpectTableRowCountToBeBetween",
        arguments={"min_value": 1},
    )


def allowed_values(name: str, table: str, column: str, values: Iterable[str]) -> Rule:
    """A rule that the column has no other values; they must not contain input."""
    listed = ", ".join(f"'{value}'" for value in values)
    return forbid_rows(
        name, f"{column} is one of {', '.join(values)}", table, f"{column} NOT IN ({listed})"
    )


def unique(name: str, table: str, columns: list[str]) -> Rule:
    """A rule that the columns are a unique key without nulls."""
    key = ", ".join(f'"{column}"' for column in columns)
    missing = " OR ".join(f'"{column}" IS NULL' for column in columns)
    return forbid_rows(
        name,
        f"{', '.join(columns)} is a unique key",
        table,
        f"copies > 1 OR {missing}",
        source=f"(SELECT {key}, count(*) AS copies FROM {{batch}} GROUP BY {key})",  # noqa: S608
    )
