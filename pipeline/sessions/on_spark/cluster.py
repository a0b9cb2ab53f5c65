"""The address of the cluster that prepares sessions."""

import os

from pipeline.core.errors import ClusterError
from pipeline.core.spark import check_spark

MASTER_VARIABLE = "PARETOSCOPE_SPARK_MASTER"


def spark_master() -> str:
    """The address of the cluster's master, which is not contacted.

    Raises:
        ClusterError: if it is not set, or this machine has no PySpark or no Java.
    """
    master = os.environ.get(MASTER_VARIABLE, "")
    if not master:
        msg = (
            f"{MASTER_VARIABLE} is not set, but compute.sessions = spark; expected the address of a Spark master, or "
            f"local[*] for this machine: export {MASTER_VARIABLE}=spark://HOST:7077"
        )
        raise ClusterError(msg)
    check_spark()
    return master
