"""Temporary tables of the engine."""

from typing import Any

from ibis.util import gen_name


def materialise(table: Any) -> Any:
    """A temporary table with the rows of an expression, which lives as long as the connection.

    Later queries read it instead of computing the expression again.
    """
    return table.get_backend().create_table(gen_name("paretoscope"), table, temp=True)
