"""Results to JSON and back: the one serialiser and the one parser."""

from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from models.strict import first_problem
from pipeline.core.errors import DataError

Json = dict[str, Any]
T = TypeVar("T")


@cache
def adapter(kind: Any) -> TypeAdapter[Any]:
    """What reads and writes a type; made once, since it takes tens of milliseconds."""
    return TypeAdapter(kind)


def to_dict(result: Any) -> Json:
    """A result as JSON holds it: dictionaries, lists, strings, numbers, booleans and None."""
    return adapter(type(result)).dump_python(result, mode="json", warnings="error")


def parse(kind: type[T], value: Any) -> T:
    """A result from what :func:`to_dict` returned, or from rows of a table; ignores unknown keys."""
    return adapter(kind).validate_python(value)


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
        return adapter(kind).validate_json(path.read_bytes(), strict=True)
    except OSError as error:
        msg = f"cannot read {path}: {error.strerror}. {remedy}"
        raise DataError(msg) from error
    except ValidationError as error:
        problem = first_problem(error, "the file")
        msg = f"{path} is not {name or 'valid'}: {problem}{';' if name else '.'} {remedy}"
        raise DataError(msg) from error
