"""Ibis on a session of Spark, with temporary tables and exact integers, both of which its own backend lacks."""

from typing import Any

from ibis.backends.pyspark import Backend
from ibis.backends.pyspark.datatypes import PySparkType
from ibis.common.exceptions import TableNotFound
from ibis.expr.schema import Schema
from ibis.formats.pyarrow import PyArrowData

ANSI = {"spark.sql.ansi.enabled": "true"}
"""The settings of a session in which overflow is an error, whatever the cluster's defaults are."""

_WRONG_NAME = "42"
"""What an SQLSTATE begins with if a name is not known or may not be read."""


class SparkBackend(Backend):
    """Connect it with ``SparkBackend().connect(session, **ANSI)``; the session is not ended by it."""

    def create_table(self, name: str, /, obj: Any = None, **_: Any) -> Any:
        """A temporary view of rows that are computed now and kept by the workers.

        They are not computed again if a worker is lost, since a table may have grown meanwhile; the run then ends.
        """
        self._run_pre_execute_hooks(obj)
        self.raw_sql(self.compile(obj)).localCheckpoint().createTempView(name)
        return self.table(name)

    def get_schema(
        self, table_name: str, *, catalog: str | None = None, database: str | None = None
    ) -> Any:
        """The columns of a table; raises TableNotFound, whichever part of its name Spark does not know."""
        parts = [part for part in (catalog, database, table_name) if part]
        try:
            found = self._session.table(".".join(f"`{part}`" for part in parts))
            return Schema(PySparkType.to_ibis(found.schema))
        except Exception as error:
            if (getattr(error, "getSqlState", str)() or "").startswith(_WRONG_NAME):
                raise TableNotFound(table_name) from error
            raise

    def to_pyarrow(self, expr: Any, /, **_: Any) -> Any:
        """A result without pandas, whose integers with nulls are floating-point numbers."""
        table = expr.as_table()
        self._run_pre_execute_hooks(table)
        found = self.raw_sql(self.compile(table)).toArrow()
        return expr.__pyarrow_result__(PyArrowData.convert_table(found, table.schema()))

    def disconnect(self) -> None:
        """Leave the session to :func:`pipeline.core.spark.session.spark_session`."""


SparkBackend.register_options()
