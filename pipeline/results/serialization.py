"""Results to JSON and back: the one serialiser, the one parser, and the schema of ``report.json``."""

import json
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from models.strict import first_problem
from pipeline.artifacts.storage import write_json
from pipeline.core.errors import DataError
from pipeline.results.document import Estimates, Json, Report
from pipeline.results.hypothesis import HypothesisResult
from pipeline.results.power import PowerAnalysis

T = TypeVar("T")

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


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def to_dict(result: Any) -> Json:
    """A result as JSON holds it: dictionaries, lists, strings, numbers, booleans and None."""
    return _adapter(type(result)).dump_python(result, mode="json", warnings="error")


def parse(kind: type[T], value: Any) -> T:
    """A result from what :func:`to_dict` returned, or from rows of a table; ignores unknown keys."""
    return _adapter(kind).validate_python(value)


def read_result(kind: type[T], path: Path, *, remedy: str, name: str | None = None) -> T:
    """Read a JSON file.

    Args:
        kind: The type to read.
        path: The file.
        remedy: What to do if it is not valid; the end of the error message.
        name: What the file should be, such as ``a report.json``, where a user names it.

    Raises:
        DataError: if it cannot be read, or is not valid.
    """
    try:
        return _adapter(kind).validate_json(path.read_bytes(), strict=True)
    except OSError as error:
        msg = f"cannot read {path}: {error.strerror}. {remedy}"
        raise DataError(msg) from error
    except ValidationError as error:
        problem = first_problem(error, "the file")
        msg = f"{path} is not {name or 'valid'}: {problem}{';' if name else '.'} {remedy}"
        raise DataError(msg) from error


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
    kinds = _adapter(Estimates)
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
    schema = _adapter(Report).json_schema()
    for one in (schema, *schema.get("$defs", {}).values()):
        if "properties" in one:
            one |= {"additionalProperties": False, "required": list(one["properties"])}
    described = {
        "$schema": _DIALECT,
        "title": "report.json",
        "description": "A report of Paretoscope; every number on its pages is in it.",
    }
    return schema | described
