"""The files of results: what they are called, how they are written and read, the schema of ``report.json``."""

import json
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from pipeline.artifacts.storage import write_json
from pipeline.core.errors import DataError
from pipeline.results.document import Report
from pipeline.results.findings import Estimates
from pipeline.results.hypothesis import HypothesisResult
from pipeline.results.power import PowerAnalysis
from pipeline.results.serialization import Json, adapter, read_result, to_dict

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_FILES = {
    "hypotheses": "regression_estimates.json",
    "diagnostics": "diagnostics.json",
    "metric_ranking": "metric_ranking.json",
    "unfitted_pairs": "unfitted_pairs.json",
    "advice": "advice.json",
    "lifts": "lifts.json",
}
"""The files of the artifact ``regression_estimates``, by field of :class:`Estimates`."""

HYPOTHESES = _FILES["hypotheses"]


def write_result(result: Any, path: Path) -> None:
    """Write a result as a JSON file."""
    write_json(path, to_dict(result))


def write_estimates(estimates: Estimates, folder: Path) -> None:
    """Write the files of the artifact ``regression_estimates``."""
    found = to_dict(estimates)
    for name, file in _FILES.items():
        write_json(folder / file, found[name])


def read_estimates(folder: Path) -> Estimates:
    """Read what :func:`write_estimates` wrote; raises :class:`DataError`."""
    kinds = adapter(Estimates)
    remedy = "Re-run: dagster asset materialize --select regression_estimates"
    try:
        found = {name: json.loads((folder / file).read_bytes()) for name, file in _FILES.items()}
        return kinds.validate_json(json.dumps(found), strict=True)
    except (OSError, ValueError) as error:
        key = (
            ".".join(map(str, error.errors()[0]["loc"]))
            if isinstance(error, ValidationError)
            else ""
        )
        msg = f"{folder} cannot be read: {key or error}. {remedy}"
        raise DataError(msg) from error


def read_power(path: Path) -> PowerAnalysis:
    """Read ``power.json``; raises :class:`DataError`."""
    remedy = "Re-run: dagster asset materialize --select traffic_plan"
    return read_result(PowerAnalysis, path, remedy=remedy)


def read_hypotheses(path: Path) -> tuple[HypothesisResult, ...]:
    """Read ``regression_estimates.json``; raises :class:`DataError`."""
    remedy = "Re-run: dagster asset materialize --select regression_estimates"
    return read_result(tuple[HypothesisResult, ...], path, remedy=remedy)


def report_schema() -> Json:
    """JSON Schema (2020-12) of ``report.json``."""
    schema = adapter(Report).json_schema()
    for one in (schema, *schema.get("$defs", {}).values()):
        if "properties" in one:
            one |= {"additionalProperties": False, "required": list(one["properties"])}
    described = {
        "$schema": _DIALECT,
        "title": "report.json",
        "description": "A report of Paretoscope; every number on its pages is in it.",
    }
    return schema | described
