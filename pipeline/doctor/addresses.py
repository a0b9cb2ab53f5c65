"""Checks the addresses that the environment has: of Spark, a warehouse and object storage; none is contacted."""

from collections.abc import Iterator
from importlib.util import find_spec

from pipeline.artifacts.objects.data_copies import data_urls
from pipeline.artifacts.objects.published import STORAGE_VARIABLE, storage_url
from pipeline.core.errors import ClusterError, LogError, ParetoscopeError, StudyError
from pipeline.doctor.finding import Finding, Status, ok
from pipeline.sessions.on_spark.cluster import MASTER_VARIABLE, spark_master
from pipeline.study import Study, WarehouseConfig


def check_addresses(study: Study) -> Iterator[Finding]:
    """Check what the study and the environment name; nothing for data and artifacts of this machine."""
    if study.compute.sessions is not None:
        yield _check_spark()
    if study.compute.warehouse is not None:
        yield _check_warehouse(study.compute.warehouse)
    try:
        published = storage_url()
    except StudyError as error:
        fix = f"export {STORAGE_VARIABLE}=s3://BUCKET/FOLDER"
        yield Finding(STORAGE_VARIABLE, Status.ERROR, str(error).partition(";")[0], fix)
        return
    urls = [str(url) for url in data_urls(study).values()]
    if published is not None:
        urls.append(f"artifacts in {published}")
    if urls and find_spec("obstore") is None:
        message = f"obstore, which {urls[0]} needs, is not installed"
        yield Finding("object storage", Status.ERROR, message, "pip install 'paretoscope[s3]'")
    elif urls:
        yield ok("object storage", f"{', '.join(urls)} (not contacted)")


def _check_spark() -> Finding:
    try:
        spark_master()
    except ClusterError as error:
        return _error(MASTER_VARIABLE, error)
    return ok(MASTER_VARIABLE, "set, for the sessions (not contacted)")


def _check_warehouse(config: WarehouseConfig) -> Finding:
    from pipeline.experiment.warehouse.connection import (  # noqa: PLC0415 - Ibis takes a second
        URL_VARIABLE,
        check_driver,
        warehouse_address,
    )

    try:
        warehouse_address(config)
    except LogError as error:
        message, _, fix = str(error).partition("; expected ")
        return Finding(URL_VARIABLE, Status.ERROR, message, fix.rpartition(": ")[2])
    try:
        check_driver(config)
    except (ClusterError, LogError) as error:
        return _error("compute.warehouse", error)
    return ok(URL_VARIABLE, f"set, for {config.impressions} in {config.backend} (not contacted)")


def _error(name: str, error: ParetoscopeError) -> Finding:
    """The finding of an error whose message ends with what to type."""
    message, _, fix = str(error).rpartition(": ")
    return Finding(name, Status.ERROR, message.removesuffix("; run"), fix)
