"""The pages that are made from the code and the benchmarks, and never by hand.

``make docs`` runs this before it builds the site: what it writes is not in the repository.
"""

import ast
import inspect
import io
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout, suppress
from importlib import import_module
from pathlib import Path
from typing import Any

from docstring_parser import DocstringStyle, parse
from pydantic import TypeAdapter

from pipeline.cli import main
from pipeline.cli.commands import COMMANDS
from pipeline.core.contracts import Kpi, Metric
from pipeline.core.frame_contract import Contract
from pipeline.evaluation import list_metrics, ranking_metrics
from pipeline.experiment.kpis.contracts import TERMS
from pipeline.study import Study

DOCS = Path(__file__).parent
ROOT = DOCS.parent
_MADE = "*This page is made from the code when the site is built.*"
_BOUNDS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
_MISSING = "must be given"

Schema = dict[str, Any]


def write_pages() -> None:
    """Write the reference, and copy what the benchmarks found, into the site's folder."""
    reference, measured = DOCS / "reference", DOCS / "measured"
    for folder in (reference, measured):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
    for name, page in PAGES.items():
        (reference / f"{name}.md").write_text(page(), encoding="utf-8")
    for found in (ROOT / "benchmarks" / "results").glob("*.md"):
        shutil.copy(found, measured)


def parameters() -> str:
    """Every key of ``params.yaml``: what it accepts, what it is if left out, what it means."""
    schema = TypeAdapter(Study).json_schema()
    lines = [
        "# Parameters: types, ranges, defaults",
        "",
        f"{_MADE} [The study](../study.md) tells what each key is for.",
        "",
        "A key that is left out has the value of the third column. `[]` stands for each entry of a list.",
    ]
    for section, named in schema["properties"].items():
        definition = _resolved(named, schema["$defs"])
        lines += ["", f"## `{section}`", "", _first_sentence(definition), ""]
        rows = _rows(section, definition, schema["$defs"])
        lines += _table(("key", "accepts", "if left out", "meaning"), rows)
    return "\n".join(lines) + "\n"


def _rows(path: str, definition: Schema, definitions: Schema) -> Iterator[tuple[str, ...]]:
    """The keys of one section, those within them after them."""
    meanings = _meanings(definition)
    for key, value in definition["properties"].items():
        here = f"{path}.{key}"
        left_out = _yaml(value["default"]) if "default" in value else _MISSING
        if "default" not in value and key not in definition.get("required", []):
            left_out = "its own defaults" if _sections(value, definitions) else "empty"
        accepts = _accepted(value, definitions)
        within = _sections(value, definitions)
        if within and "default" in value and isinstance(value["default"], dict):
            left_out = "its own defaults"
        yield f"`{here}`", accepts, left_out, meanings.get(key, "")
        for inner in within:
            entry = here + ("[]" if _is_list(value) else "")
            if len(within) > 1 or not _meanings(inner):
                yield f"`{entry}`", "keys below", "", _first_sentence(inner)
            yield from _rows(entry, inner, definitions)


def _sections(value: Schema, definitions: Schema) -> list[Schema]:
    """The groups of keys that a value may be made of."""
    found = [_resolved(one, definitions) for one in _alternatives(value)]
    return [one for one in found if "properties" in one]


def _alternatives(value: Schema) -> list[Schema]:
    inner = value.get("items", value)
    return inner.get("oneOf") or inner.get("anyOf") or [inner]


def _is_list(value: Schema) -> bool:
    return value.get("type") == "array"


def _accepted(value: Schema, definitions: Schema) -> str:
    """A value's type and range, in words."""
    value = _resolved(value, definitions)
    if choices := value.get("anyOf") or value.get("oneOf"):
        return " or ".join(dict.fromkeys(_accepted(one, definitions) for one in choices))
    if "const" in value:
        return f"`{value['const']}`"
    if "enum" in value:
        return ", ".join(f"`{one}`" for one in value["enum"])
    kind = {"null": "`null`", "object": "keys", "integer": "whole number"}.get(
        value.get("type", ""), value.get("type", "anything")
    )
    if "properties" in value:
        return "keys below"
    if kind == "array":
        least = f" of {value['minItems']} or more" if value.get("minItems") else ""
        kind = f"list{least}: {_accepted(value.get('items', {}), definitions)}"
    if value.get("type") == "object" and isinstance(value.get("additionalProperties"), dict):
        kind = f"names, each with {_accepted(value['additionalProperties'], definitions)}"
    bounds = [f"{sign} {value[name]}" for name, sign in _BOUNDS.items() if name in value]
    if "pattern" in value:
        bounds.append(f"that matches `{value['pattern']}`")
    kind = {"string": "text", "boolean": "`true` or `false`"}.get(kind, kind)
    return f"{kind} {' and '.join(bounds)}".strip()


def _resolved(value: Schema, definitions: Schema) -> Schema:
    return definitions[value["$ref"].rsplit("/", 1)[1]] if "$ref" in value else value


def _meanings(definition: Schema) -> dict[str, str]:
    parsed = parse(definition.get("description", ""), DocstringStyle.GOOGLE)
    return {
        one.arg_name: re.sub(r"\bNone\b", "`null`", _prose(one.description or ""))
        for one in parsed.params
    }


def _first_sentence(definition: Schema) -> str:
    return _prose(parse(definition["description"], DocstringStyle.GOOGLE).short_description or "")


def _yaml(value: Any) -> str:
    if value is None:
        return "`null`"
    if isinstance(value, list):
        return ", ".join(_yaml(one) for one in value) or "`[]`"
    if isinstance(value, dict):
        inner = ", ".join(f"{key}: {_yaml(one).strip('`')}" for key, one in value.items())
        return f"`{{{inner}}}`"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def schemas() -> str:
    """Every table's columns and types, and what one of its rows is."""
    lines = [
        "# Tables",
        "",
        f"{_MADE} A table with other columns or types is refused where it is written.",
    ]
    for contract, note in _contracts():
        lines += ["", f"## `{contract.name}`", "", f"One row: {contract.row}.", ""]
        rows = ((f"`{name}`", _polars(dtype)) for name, dtype in contract.columns.items())
        lines += _table(("column", "type"), rows)
        lines += ["", _prose(note)] if note else []
    return "\n".join(lines) + "\n"


def _contracts() -> Iterator[tuple[Contract, str]]:
    """Every contract of the library, with the text below it."""
    for file in sorted((ROOT / "pipeline").rglob("*.py")):
        tree = ast.parse(file.read_text("utf-8")).body
        for statement, following in zip(tree, [*tree[1:], ast.Pass()], strict=True):
            match statement:
                case ast.Assign(
                    targets=[ast.Name(id=name)], value=ast.Call(func=ast.Name(id="Contract"))
                ):
                    module = ".".join(file.relative_to(ROOT).with_suffix("").parts)
                    yield getattr(import_module(module), name), _text_of(following)
                case _:
                    pass


def _text_of(statement: ast.stmt) -> str:
    match statement:
        case ast.Expr(value=ast.Constant(value=str(text))):
            return text
        case _:
            return ""


def _polars(dtype: Any) -> str:
    words = dtype.__name__ if isinstance(dtype, type) else repr(dtype)
    return re.sub(r"Enum\(categories=\[(.*)\]\)", r"Enum: \1", words).replace("'", "`")


def offline_metrics() -> str:
    """The metrics of targets with their sums, those of list_metrics, and the KPIs."""
    lines = [
        "# Metrics and KPIs",
        "",
        f"{_MADE} [Offline ranking_metrics](../ranking_metrics.md) tells more.",
        "",
    ]
    lines += ["## Metrics of targets", "", _OF_TARGETS, ""]
    of_targets = (
        (
            f"`{metric}`",
            "Σ {} / Σ {}".format(*_terms(function)),
            _summary(function),
            _direction(metric),
        )
        for metric, function in ranking_metrics.TARGET_METRICS.items()
    )
    lines += _table(("metric", "sums over targets", "what", "better"), of_targets)
    lines += ["", "## Metrics of lists", "", "One list of k items a test session.", ""]
    documented = _documented_in(list_metrics)
    of_lists = (
        (f"`{metric}`", documented[metric], _direction(metric))
        for metric in Metric
        if metric.is_list_metric
    )
    lines += _table(("metric", "what", "better"), of_lists)
    lines += ["", "## KPIs", "", "The rate of a group is its successes / trials.", ""]
    kpis = (
        (f"`{kpi}`", successes, trials, "logit" if kpi.is_binary else "log")
        for kpi, (trials, successes) in ((kpi, TERMS[kpi]) for kpi in Kpi)
    )
    lines += _table(("KPI", "successes, or the amount", "trials", "link of the line"), kpis)
    return "\n".join(lines) + "\n"


_OF_TARGETS = (
    "Each is one sum over another, over the targets of all test sessions: `hit` is 1 where the target "
    "ranks within k, `each` is 1, `history` counts the clicks before the target, and `cold_I[item]` "
    "says whether its item is a cold one."
)


def _terms(function: Callable[..., Any]) -> tuple[str, str]:
    """What a metric sums up, numerator and denominator, as its code says it."""
    tree = ast.parse(inspect.getsource(function))
    value = next(node.value for node in reversed(list(ast.walk(tree))) if _is_return(node))
    match value:
        case ast.Tuple(elts=[numerator, denominator]):
            return _code(numerator), _code(denominator)
        case ast.Call(args=[_, part]):  # a recall within a part of the targets
            return _code(ast.BinOp(ast.Name("hit"), ast.Mult(), part)), _code(part)
        case _:
            msg = f"{function.__name__} returns neither two sums nor a part"
            raise TypeError(msg)


def _is_return(node: ast.AST) -> bool:
    return isinstance(node, ast.Return)


def _code(node: ast.expr) -> str:
    words = re.sub(r"\b(targets|scores|np)\.", "", ast.unparse(node))
    words = words.replace("SHORT_HISTORY", str(ranking_metrics.SHORT_HISTORY)).replace(" * ", " · ")
    return f"`{words}`"


def _documented_in(module: Any) -> dict[str, str]:
    """What the functions of a module say, by the metric they name in their docstring."""
    owners = [module, *(one for one in vars(module).values() if inspect.isclass(one))]
    texts = [
        inspect.cleandoc(function.__doc__)
        for owner in owners
        for function in vars(owner).values()
        if inspect.isfunction(function) and function.__module__ == module.__name__
        if function.__doc__
    ]
    return {
        name: _prose(text.split("\n\nArgs:")[0].replace(f"``{name}``: ", "").strip())
        for name in (metric.value for metric in Metric)
        for text in texts
        if f"``{name}``" in text
    }


def _summary(function: Callable[..., Any]) -> str:
    return _prose(inspect.getdoc(function) or "")


def _direction(metric: Metric) -> str:
    return "higher" if metric.higher_is_better else "lower"


def commands() -> str:
    """The help of the command line, as it is printed."""
    lines = ["# Commands", "", f"{_MADE}", "", *_fenced(_help())]
    for name in COMMANDS:
        lines += ["", f"## `paretoscope {name}`", "", *_fenced(_help(name))]
    return "\n".join(lines) + "\n"


def _help(*words: str) -> str:
    printed = io.StringIO()
    os.environ["COLUMNS"] = "88"
    with redirect_stdout(printed), suppress(SystemExit):
        main([*words, "--help"])
    return printed.getvalue().rstrip()


def _fenced(text: str) -> list[str]:
    return ["```text", text, "```"]


def _table(heads: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> list[str]:
    def line(cells: tuple[str, ...]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    return [line(heads), "|" + "---|" * len(heads), *(line(row) for row in rows)]


def _prose(text: str) -> str:
    """A docstring's text as Markdown, on one line."""
    text = re.sub(r":(?:mod|class|func|meth|data):`~?([^`]+)`", r"`\1`", text)
    return " ".join(text.replace("``", "`").split())


PAGES: dict[str, Callable[[], str]] = {
    "parameters": parameters,
    "tables": schemas,
    "metrics-and-kpis": offline_metrics,
    "commands": commands,
}
"""The pages of ``docs/reference``, by the name of their file."""


if __name__ == "__main__":
    write_pages()
