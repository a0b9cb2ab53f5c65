"""Read ``params.yaml``, overrides included, with readable errors."""

import json
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml
from pydantic import TypeAdapter, ValidationError

from models.errors import ModelError
from pipeline.core.errors import StudyError
from pipeline.study.study import Study

PARAMS_FILE = "params.yaml"

_STUDY = TypeAdapter(Study)


def load_study(path: Path, overrides: Mapping[str, Any] | None = None) -> Study:
    """Read a study from a YAML file.

    Args:
        path: The file.
        overrides: Values by dotted key, such as ``{"training.epochs": 1}``.

    Raises:
        StudyError: with the key, the value and what is accepted.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        msg = f"no {path.name} in {path.parent.resolve()}; run in the project's folder"
        raise StudyError(msg) from error
    except OSError as error:
        msg = f"cannot read {path}: {error.strerror}"
        raise StudyError(msg) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        msg = f"{path} is not valid YAML: {error}"
        raise StudyError(msg) from error
    if not isinstance(values, dict):
        msg = f"{path} contains {type(values).__name__}, expected sections such as 'study:'"
        raise StudyError(msg)
    for key, value in (overrides or {}).items():
        _override(values, key, value)
    return parse_study(values)


def parse_study(values: Mapping[str, Any]) -> Study:
    """Parse plain values; raises :class:`StudyError` as :func:`load_study` does."""
    try:
        return _STUDY.validate_json(json.dumps(values, default=_foreign))
    except ValidationError as error:
        problems = "\n".join(f"  - {_explain(problem)}" for problem in error.errors())
        msg = f"invalid study parameters:\n{problems}"
        raise StudyError(msg) from error
    except ModelError as error:
        raise StudyError(str(error)) from error
    except (TypeError, ValueError) as error:
        msg = f"the study has a key or value that JSON cannot represent: {error}"
        raise StudyError(msg) from error


def flatten(values: Any, prefix: str = "") -> dict[str, Any]:
    """Flatten nested mappings to dotted keys such as ``training.epochs``; lists are kept whole."""
    if not isinstance(values, dict) or not values:
        return {prefix: values}
    found: dict[str, Any] = {}
    for key, value in values.items():
        found |= flatten(value, f"{prefix}.{key}" if prefix else str(key))
    return found


def _foreign(value: Any) -> dict[str, str]:
    """Convert YAML dates, sets and bytes to a mapping, which no parameter accepts."""
    return {type(value).__name__: str(value)}


def _override(values: dict[str, Any], key: str, value: Any) -> None:
    *sections, name = key.split(".")
    target: Any = values
    for section in sections:
        target = target.get(section) if isinstance(target, dict) else None
    if not isinstance(target, dict):
        msg = (
            f"override {key!r}: no section {'.'.join(sections)!r}; the sections are {list(values)}"
        )
        raise StudyError(msg)
    target[name] = value


def _explain(problem: Mapping[str, Any]) -> str:
    """One line for a pydantic error: key, value and what is accepted."""
    key = ".".join(str(part) for part in problem["loc"])
    match problem["type"]:
        case "unexpected_keyword_argument":
            parent = problem["loc"][:-1]
            accepted = _accepted(parent)
            near = get_close_matches(str(problem["loc"][-1]), accepted, n=1)
            guess = f"; did you mean {near[0]!r}?" if near else ";"
            return f"{key} = {problem['input']!r}: unknown key{guess} accepted are {accepted}"
        case "missing" | "missing_argument":
            return f"{key}: required, but missing"
        case "enum" | "literal_error":
            return f"{key} = {problem['input']!r}: expected one of {problem['ctx']['expected']}"
        case _:
            return f"{key} = {problem['input']!r}: {problem['msg']}"


def _accepted(location: tuple[str | int, ...]) -> list[str]:
    """Accepted keys of the section at ``location``."""
    schema: dict[str, Any] = _STUDY.json_schema()
    definitions, node = schema["$defs"], schema
    for part in location:
        if "discriminator" in node:  # a tagged union; the location has the tag
            node = {"$ref": node["discriminator"]["mapping"][part]}
        else:
            node = node["items"] if isinstance(part, int) else node["properties"][part]
        # an optional section is a union with null
        node = next((choice for choice in node.get("anyOf", ()) if "$ref" in choice), node)
        if "$ref" in node:
            node = definitions[node["$ref"].rsplit("/", 1)[-1]]
    return sorted(node["properties"])
