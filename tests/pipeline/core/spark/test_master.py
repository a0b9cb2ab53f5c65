"""The address of a Spark master is checked before Java starts."""

import pytest

from pipeline.core.spark.master import fault_of_master


@pytest.mark.parametrize(
    "address",
    [
        "spark://shop:7077",
        "spark://10.0.0.1:7077,10.0.0.2:7077",
        "spark://[::1]:7077",
        "local",
        "local[2]",
        "local[*]",
        "local[4,2]",
        "local-cluster[2,1,1024]",
        "yarn",
        "k8s://https://10.0.0.1:6443",
    ],
)
def test_a_form_that_spark_accepts(monkeypatch, address):
    monkeypatch.setenv("MASTER", address)
    assert fault_of_master("MASTER", "compute.sessions") is None


@pytest.mark.parametrize(
    "address",
    ["lokal[2]", "local[two]", "spark://shop", "spark://shop:7077/", "shop:7077", "k8s://", "YARN"],
)
def test_another_form(monkeypatch, address):
    monkeypatch.setenv("MASTER", address)
    assert fault_of_master("MASTER", "compute.sessions") == (
        f"MASTER = {address!r} is not the address of a Spark master, but compute.sessions = spark; expected "
        "spark://HOST:PORT, yarn, k8s://HOST:PORT, local[N] or local[*]: export MASTER=spark://HOST:7077"
    )


def test_a_url_with_a_password_is_not_shown(monkeypatch):
    monkeypatch.setenv("MASTER", "postgres://ann:s3cret@h/d")
    assert "s3cret" not in fault_of_master("MASTER", "compute.warehouse.backend")
