"""YAML as ``params.yaml`` uses it: keys are the text that is written, and every value has a line.

Plain scalars follow the core schema of YAML 1.2, which DVC uses too: ``1e-3`` is a number; ``yes``,
``12:30``, ``010``, ``1_000`` and ``2025-09-01`` are text. YAML 1.1, PyYAML's default, would make
them true, 750, 8, 1000 and a date. A key is never converted, so that ``0012345`` names that user.
"""

import re
from enum import StrEnum
from typing import Any, NamedTuple

import yaml

from pipeline.core.errors import StudyError

Location = tuple[str | int, ...]
"""Keys and list indices from the top level to a value."""

_MAX_BYTES = 1 << 20
_MAX_VALUES = 100_000
"""More than the largest sensible file has; aliases multiply values beyond any file's size."""

_MAX_DIGITS = 400
"""Digits of the largest float64 are fewer."""

_COLLECTIONS = {"tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"}
_DIGITS = r"(?:0|[1-9][0-9]*)"


class _Tag(StrEnum):
    """YAML's name of a scalar's type."""

    NULL = "tag:yaml.org,2002:null"
    BOOL = "tag:yaml.org,2002:bool"
    INT = "tag:yaml.org,2002:int"
    FLOAT = "tag:yaml.org,2002:float"
    STR = "tag:yaml.org,2002:str"


_SCHEMA = (
    (_Tag.NULL, r"(?:~|null|Null|NULL|)", ["~", "n", "N", ""]),
    (_Tag.BOOL, r"(?:true|True|TRUE|false|False|FALSE)", [*"tTfF"]),
    (_Tag.INT, rf"[-+]?{_DIGITS}", [*"-+0123456789"]),
    (
        _Tag.FLOAT,
        rf"[-+]?(?:{_DIGITS}(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?",
        [*"-+.0123456789"],
    ),
    (_Tag.FLOAT, r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)", [*"-+."]),
)


class _Loader(yaml.SafeLoader):
    """PyYAML's loader with the core schema of YAML 1.2."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - PyYAML's own attribute


for _tag, _pattern, _first in _SCHEMA:
    _Loader.add_implicit_resolver(_tag, re.compile(rf"^(?:{_pattern})$"), _first)  # pyright: ignore[reportUnknownMemberType]


class ParsedYaml(NamedTuple):
    """The content of a file.

    Attributes:
        values: Mappings, lists and scalars.
        lines: The line of every value, from 1; of a mapping's value, that of its key.
    """

    values: Any
    lines: dict[Location, int]


def parse_yaml(data: bytes | str) -> ParsedYaml:
    """Parse one YAML document.

    Raises:
        StudyError: with the line, what was found and what to write.
    """
    if len(data) > _MAX_BYTES:
        msg = f"it has {len(data):,} bytes, expected at most {_MAX_BYTES:,}"
        raise StudyError(msg)
    try:
        text = _decoded(data) if isinstance(data, bytes) else data
        return _Reader().read(yaml.compose(text, _Loader))
    except yaml.MarkedYAMLError as error:
        raise StudyError(_explain(error)) from error
    except yaml.YAMLError as error:
        raise StudyError(str(error).replace("\n", "; ")) from error
    except RecursionError as error:
        msg = "lists or sections are nested too deeply"
        raise StudyError(msg) from error


def _decoded(data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        msg = f"line {line} is not UTF-8 text (byte 0x{data[error.start]:02x}); save the file as UTF-8"
        raise StudyError(msg) from error


def _explain(error: yaml.MarkedYAMLError) -> str:
    mark = error.problem_mark or error.context_mark
    place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
    parts = " ".join(part for part in (error.context, error.problem) if part)
    if "another document" in parts:
        return f"{place}a second document starts here (---); one file has one study"
    fix = "; indent with spaces, not tabs" if "'\\t'" in parts else ""
    return f"{place}{parts}{fix}"


class _Reader:
    """Converts nodes to values; aliases are followed as often as they occur."""

    def __init__(self) -> None:
        self._lines: dict[Location, int] = {}
        self._count = 0

    def read(self, node: yaml.Node | None) -> ParsedYaml:
        """Values and lines below a node; None for an empty document."""
        values = None if node is None else self._value(node, ())
        return ParsedYaml(values, self._lines)

    def _value(self, node: yaml.Node, location: Location) -> Any:
        self._count += 1
        if self._count > _MAX_VALUES:
            msg = (
                f"line {_line(node)}: more than {_MAX_VALUES:,} values, repeated by aliases (*name); "
                "write the values out"
            )
            raise StudyError(msg)
        self._lines.setdefault(location, _line(node))
        if not isinstance(node, yaml.ScalarNode) and node.tag not in _COLLECTIONS:
            raise _unsupported(node, f"the tag {node.tag}")
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, location)
        if isinstance(node, yaml.SequenceNode):
            return [self._value(one, (*location, n)) for n, one in enumerate(node.value)]
        return _scalar(node)

    def _mapping(self, node: yaml.MappingNode, location: Location) -> dict[str, Any]:
        found: dict[str, Any] = {}
        first: dict[str, int] = {}
        for key_node, value_node in node.value:
            key, line = _key(key_node), _line(key_node)
            if key in first:
                name = ".".join(map(str, (*location, key)))
                msg = (
                    f"{name} is given twice, in line {first[key]} and in line {line}; "
                    "remove one of them"
                )
                raise StudyError(msg)
            first[key] = line
            self._lines.setdefault((*location, key), line)
            found[key] = self._value(value_node, (*location, key))
        return found


def _line(node: yaml.Node) -> int:
    return node.start_mark.line + 1


def _key(node: yaml.Node) -> str:
    """The text of a key, as written."""
    if not isinstance(node, yaml.ScalarNode) or not node.value:
        msg = f"line {_line(node)}: a key is empty, a list or a section; expected 'key: value'"
        raise StudyError(msg)
    if node.value == "<<" and node.style is None:
        msg = f"line {_line(node)}: merge keys (<<) are not supported; write the keys out"
        raise StudyError(msg)
    return node.value


def _scalar(node: yaml.Node) -> Any:
    text: str = node.value
    try:
        match node.tag:
            case _Tag.STR:
                return text
            case _Tag.NULL:
                return None
            case _Tag.BOOL:
                return {"true": True, "false": False}[text.lower()]
            case _Tag.INT if len(text) <= _MAX_DIGITS:
                return int(text)
            case _Tag.FLOAT:
                return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
            case _:
                pass
    except (KeyError, ValueError):
        pass
    is_long = node.tag == _Tag.INT and len(text) > _MAX_DIGITS
    raise _unsupported(
        node, f"a number of {len(text):,} digits" if is_long else f"the tag {node.tag}"
    )


def _unsupported(node: yaml.Node, what: str) -> StudyError:
    return StudyError(f"line {_line(node)}: {what} is not accepted; write a plain value")
