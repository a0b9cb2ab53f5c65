"""Read ``params.yaml``, overrides included, with readable errors."""

import json
import re
from collections.abc import Collection, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, get_type_hints

from pydantic import TypeAdapter, ValidationError

from models.errors import ModelError
from pipeline.core.errors import StudyError
from pipeline.study.experiment import LogSource
from pipeline.study.study import SECTIONS, Study
from pipeline.study.yaml_file import Location, parse_yaml

PARAMS_FILE = "params.yaml"

_NO_LINE = 0
"""The line of an override, which is not in the file."""

_SHOWN = 200
"""Characters of a value that a message shows."""

_USER_OF_URL = re.compile(r"://[^\s/@]+@")
"""User and password of a URL, which messages do not show."""

_KEY = re.compile(r"[a-z_]+(?:[.][a-z_0-9]+)+")

_UNREAD = {"experiment": {"source": LogSource.HELD_OUT_REPLAY}}
"""What stands for an invalid section that is not read; its defaults would simulate the shop's users."""

_STUDY = TypeAdapter(Study)
_SECTIONS = {name: TypeAdapter[Any](kind) for name, kind in get_type_hints(Study).items()}


def load_study(
    path: Path,
    overrides: Mapping[str, Any] | None = None,
    touched: Collection[str] = SECTIONS,
) -> Study:
    """Read a study from a YAML file.

    Args:
        path: The file.
        overrides: Values by dotted key, such as ``{"training.epochs": 1}``.
        touched: Sections that the caller reads. An invalid section that is not among them does not
            raise; it has its defaults, and the experiment is that of a held-out replay.

    Raises:
        StudyError: with the key, the value and what is accepted.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        msg = f"no {path.name} in {path.parent.resolve()}; run in the project's folder"
        raise StudyError(msg) from error
    except OSError as error:
        msg = f"cannot read {path}: {error.strerror}"
        raise StudyError(msg) from error
    try:
        values, lines = parse_yaml(data)
    except StudyError as error:
        msg = f"{path} is not valid YAML: {error}"
        raise StudyError(msg) from error
    if not isinstance(values, dict):
        found = "nothing" if values is None else type(values).__name__
        msg = f"{path} contains {found}, expected sections such as 'study:'"
        raise StudyError(msg)
    for key, value in (overrides or {}).items():
        _override(values, key, value)
        location = tuple(key.split("."))
        kept = {place: n for place, n in lines.items() if place[: len(location)] != location}
        lines = {**kept, location: _NO_LINE}
    return parse_study(values, lines, touched)


def parse_study(
    values: Mapping[str, Any],
    lines: Mapping[Location, int] | None = None,
    touched: Collection[str] = SECTIONS,
) -> Study:
    """Parse plain values; raises :class:`StudyError` as :func:`load_study` does.

    Args:
        values: The sections.
        lines: The line of each value, for messages; None if they are not from a file.
        touched: As for :func:`load_study`.
    """
    lines, touched = lines or {}, {"study", *touched}
    try:
        usable = {name: value for name, value in values.items() if _is_usable(name, value, touched)}
        unread = {name: value for name, value in _UNREAD.items() if name in values.keys() - usable}
        study = _parse(usable | unread)
        study.check(touched)
    except ValidationError as error:
        problems = "\n".join(
            f"  - {_explain(problem, lines)}" for problem in _innermost(error.errors())
        )
        msg = f"invalid study parameters:\n{problems}"
        raise StudyError(msg) from error
    except (StudyError, ModelError) as error:
        raise StudyError(f"{error}{_lines_of_keys(str(error), lines)}") from error
    except (TypeError, ValueError) as error:
        msg = f"the study has a key or value that JSON cannot represent: {error}"
        raise StudyError(msg) from error
    return study


def _parse(values: Mapping[str, Any]) -> Study:
    return _STUDY.validate_json(json.dumps(values, default=_foreign))


def _is_usable(name: str, value: Any, touched: Collection[str]) -> bool:
    """Whether a section is read: those touched, unknown ones (to be refused), and valid ones."""
    if name in touched or name not in _SECTIONS:
        return True
    try:
        _SECTIONS[name].validate_json(json.dumps(value, default=_foreign))
    except (ValidationError, StudyError, ModelError, TypeError, ValueError):
        return False
    return True


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
    """Set a value by its dotted key; a section that the file leaves out, which has defaults, is added."""
    *sections, name = key.split(".")
    target: Any = values
    for depth, section in enumerate(sections):
        if isinstance(target, dict) and (depth or section in SECTIONS):
            target = target.setdefault(section, {})
        else:
            target = None
    if not isinstance(target, dict):
        msg = f"override {key!r}: no section {'.'.join(sections)!r}; the sections are {list(SECTIONS)}"
        raise StudyError(msg)
    target[name] = value


def _innermost(problems: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The problems without those of a list with faulty items: it only seems to be too short."""
    inner = {one["loc"][:n] for one in problems for n in range(len(one["loc"]))}
    return [one for one in problems if one["loc"] not in inner]


def _explain(problem: Mapping[str, Any], lines: Mapping[Location, int]) -> str:
    """One line for a pydantic error: line, key, value and what is accepted."""
    key = ".".join(str(part) for part in problem["loc"] if not str(part).startswith("("))
    line = _line_of(problem["loc"], lines)
    place = f"line {line}: {key}" if line else key
    value = _shortened(repr(problem.get("input")))
    match problem["type"]:
        case "unexpected_keyword_argument":
            accepted = _accepted(problem["loc"][:-1])
            near = get_close_matches(str(problem["loc"][-1]), accepted, n=1)
            guess = f"; did you mean {near[0]!r}?" if near else ";"
            return f"{place} = {value}: unknown key{guess} accepted are {accepted}"
        case "missing" | "missing_argument":
            return f"{place}: required, but missing"
        case "enum" | "literal_error":
            return f"{place} = {value}: expected one of {problem['ctx']['expected']}"
        case "url":
            return f"{place} {problem['msg']}"  # without the value, which may have a password
        case "too_short":
            return f"{place} = {value}: expected {problem['ctx']['min_length']} or more of them"
        case _:
            return f"{place} = {value}: {problem['msg']}{_remedy(problem)}"


def _shortened(text: str) -> str:
    text = _USER_OF_URL.sub("://…@", text)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _remedy(problem: Mapping[str, Any]) -> str:
    """What to write instead, if a plain value has another type than it seems to have."""
    match problem["type"], problem.get("input"):
        case "string_type", bool() | int() | float():
            return "; put it in quotes"
        case "bool_type", str():
            return "; write true or false"
        case "int_type" | "float_type", str():
            return "; write a decimal number without quotes, leading zeros or separators"
        case _:
            return ""


def _line_of(location: Location, lines: Mapping[Location, int]) -> int | None:
    """The line of a value, or of the nearest section around it.

    A location may also have parts that the file has not, such as the tag of a union.
    """
    known: Location = ()
    for part in location:
        if (*known, part) in lines:
            known = (*known, part)
    return (lines.get(known) or None) if known else None


def _lines_of_keys(message: str, lines: Mapping[Location, int]) -> str:
    """Where the keys stand that a message names: `` (epochs: line 66)``."""
    named = {".".join(map(str, place)): n for place, n in lines.items() if n and len(place) > 1}
    found = [key for key in dict.fromkeys(_KEY.findall(message)) if key in named]
    return f" ({', '.join(f'{key}: line {named[key]}' for key in found)})" if found else ""


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
