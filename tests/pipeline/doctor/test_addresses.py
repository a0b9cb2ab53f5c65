"""The doctor's findings about a warehouse and object storage, which it does not contact."""

import pytest

from pipeline.doctor.addresses import check_addresses
from pipeline.doctor.finding import Status
from pipeline.study import parse_study


@pytest.fixture
def in_warehouse(small_params):
    """A study whose log is in a warehouse."""
    values = {**small_params, "experiment": {**small_params["experiment"], "source": "files"}}
    warehouse = {"backend": "postgres", "impressions": "shop.impressions", "users": None}
    return parse_study({**values, "compute": {"warehouse": warehouse}})


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
