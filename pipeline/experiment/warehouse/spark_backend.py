"""Ibis on a session of Spark, with temporary tables and exact integers, both of which its own backend lacks."""

from typing import Any

from ibis.backends.pyspark import Backend
from ibis.formats.pyarrow import PyArrowData

ANSI = {"spark.sql.ansi.enabled": "true"}
"""The settings of a session in which overflow is an error, whatever the cluster's defaults are."""


class SparkBackend(Backend):
    """Connect it with ``SparkBackend().connect(session, **ANSI)``; the session is not ended by it."""

    def create_table(self, name: str, /, obj: Any = None, **_: Any) -> Any:
        """A temporary view of rows that are computed now and kept by the workers.

        They are not computed again if a worker is lost, since a table may have grown meanwhile; the run then ends.
        """
        self._run_pre_execute_hooks(obj)
        self.raw_sql(self.compile(obj)).localCheckpoint().createTempView(name)
        return self.table(name)

    def to_pyarrow(self, expr: Any, /, **_: Any) -> Any:
        """A result without pandas, whose integers with nulls are floating-point numbers."""
        table = expr.as_table()
        self._run_pre_execute_hooks(table)
        found = self.raw_sql(self.compile(table)).toArrow()
        return expr.__pyarrow_result__(PyArrowData.convert_table(found, table.schema()))

    def disconnect(self) -> None:
        """Leave the session to :func:`pipeline.core.spark.spark_session`."""


SparkBackend.register_options()
