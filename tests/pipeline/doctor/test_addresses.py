"""The doctor's findings about Spark, a warehouse and object storage, which it does not contact."""

import pytest

from pipeline.doctor.addresses import check_addresses
from pipeline.doctor.finding import Status
from pipeline.study import parse_study


def study_in(backend, small_params):
    """A study whose log is in a warehouse."""
    values = {**small_params, "experiment": {**small_params["experiment"], "source": "files"}}
    warehouse = {"backend": backend, "impressions": "shop.impressions", "users": None}
    return parse_study({**values, "compute": {"warehouse": warehouse}})


@pytest.fixture
def in_warehouse(small_params):
    return study_in("postgres", small_params)


@pytest.mark.parametrize(
    ("url", "message", "fix"),
    [
        (
            "",
            "is not set, but compute.warehouse.backend = postgres",
            "export PARETOSCOPE_WAREHOUSE_URL=",
        ),
        ("duckdb:///x", "is of 'duckdb', but", "export PARETOSCOPE_WAREHOUSE_URL=postgres"),
        (
            "postgres://me:a/b@h/d",
            "cannot be read as a URL",
            "special characters of user and password",
        ),
    ],
)
def test_an_address_that_does_not_fit_is_an_error(in_warehouse, monkeypatch, url, message, fix):
    monkeypatch.setenv("PARETOSCOPE_WAREHOUSE_URL", url)
    (found,) = check_addresses(in_warehouse)
    assert found.status is Status.ERROR
    assert message in found.message
    assert fix in (found.fix or "")
    assert "a/b" not in f"{found}"


def test_an_address_that_fits_is_not_shown(in_warehouse, monkeypatch):
    monkeypatch.setenv("PARETOSCOPE_WAREHOUSE_URL", "postgres://me:secret@h/d")
    (found,) = check_addresses(in_warehouse)
    assert found.status is Status.OK
    assert found.message == "set, for shop.impressions in postgres (not contacted)"


def test_what_speaks_to_the_warehouse_is_installed(in_warehouse, monkeypatch):
    monkeypatch.setenv("PARETOSCOPE_WAREHOUSE_URL", "postgres://me:secret@h/d")
    monkeypatch.setattr("pipeline.experiment.warehouse.connection.find_spec", lambda _: None)
    (found,) = check_addresses(in_warehouse)
    assert (found.status, found.message, found.fix) == (
        Status.ERROR,
        "the driver of postgres is not installed",
        "pip install 'paretoscope[postgres]'",
    )


def test_java_is_installed_for_spark(small_params, monkeypatch):
    pytest.importorskip("pyspark", reason="pip install 'paretoscope[spark]'")
    study = study_in("spark", small_params)
    monkeypatch.setenv("PARETOSCOPE_WAREHOUSE_URL", "local-cluster[2,1,1024]")
    monkeypatch.setenv("JAVA_HOME", "/nowhere")
    (found,) = check_addresses(study)
    assert (found.status, found.message, found.fix) == (
        Status.ERROR,
        "Spark needs Java 17 or newer on this machine, but there is none in JAVA_HOME = /nowhere",
        "apt-get install openjdk-17-jre-headless",
    )


def test_object_storage(small_params, monkeypatch):
    study = parse_study(small_params)
    assert list(check_addresses(study)) == []

    monkeypatch.setenv("PARETOSCOPE_STORAGE_URL", "s3://shop/studies")
    (found,) = check_addresses(study)
    assert (found.status, found.message) == (
        Status.OK,
        "artifacts in s3://shop/studies (not contacted)",
    )
    monkeypatch.setattr("pipeline.doctor.addresses.find_spec", lambda _: None)
    (found,) = check_addresses(study)
    assert (found.status, found.fix) == (Status.ERROR, "pip install 'paretoscope[s3]'")

    monkeypatch.setenv("PARETOSCOPE_STORAGE_URL", "/mnt/studies")
    (found,) = check_addresses(study)
    assert (found.status, found.message) == (
        Status.ERROR,
        "PARETOSCOPE_STORAGE_URL is not a URL of S3",
    )


def test_the_master_of_spark(small_params, monkeypatch):
    study = parse_study(small_params | {"compute": {"sessions": "spark"}})
    monkeypatch.delenv("PARETOSCOPE_SPARK_MASTER", raising=False)
    (found,) = check_addresses(study)
    assert (found.status, found.fix) == (
        Status.ERROR,
        "export PARETOSCOPE_SPARK_MASTER=spark://HOST:7077",
    )
    assert found.message.startswith("PARETOSCOPE_SPARK_MASTER is not set, but compute.sessions")

    monkeypatch.setenv("PARETOSCOPE_SPARK_MASTER", "lokal[2]")
    (found,) = check_addresses(study)
    assert "'lokal[2]' is not the address of a Spark master" in found.message
    assert found.fix == "export PARETOSCOPE_SPARK_MASTER=spark://HOST:7077"

    monkeypatch.setenv("PARETOSCOPE_SPARK_MASTER", "spark://shop:7077")
    monkeypatch.setattr("pipeline.core.spark.master.find_spec", lambda _: None)
    (found,) = check_addresses(study)
    assert found.message == "PySpark is not installed"
    assert (found.status, found.fix) == (Status.ERROR, "pip install 'paretoscope[spark]'")

    monkeypatch.setattr("pipeline.core.spark.master.find_spec", lambda _: "installed")
    monkeypatch.setattr("pipeline.core.spark.master.shutil.which", lambda *_, **__: "/usr/bin/java")
    (found,) = check_addresses(study)
    assert found.message == "set, for the sessions (not contacted)"
