"""The address of the cluster that prepares sessions."""

import os

from pipeline.core.errors import ClusterError
from pipeline.core.spark.master import check_spark, fault_of_master

MASTER_VARIABLE = "PARETOSCOPE_SPARK_MASTER"


def spark_master() -> str:
    """The address of the cluster's master, which is not contacted.

    Raises:
        ClusterError: if it is not set or has not the form of an address, or this machine has no PySpark or no Java.
    """
    if fault := fault_of_master(MASTER_VARIABLE, "compute.sessions"):
        raise ClusterError(fault)
    check_spark()
    return os.environ[MASTER_VARIABLE]
