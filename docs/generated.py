"""Generate the reference pages from the code, and copy the benchmarks' results.

``make docs`` runs this before it builds the site. The pages are not in the repository.
"""

import ast
import inspect
import io
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout, suppress
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest.mock import patch

import dagster as dg
from docstring_parser import DocstringStyle, parse
from pydantic import TypeAdapter

from assets.definitions import defs
from pipeline.cli import main
from pipeline.cli.commands import COMMANDS
from pipeline.core.column_docs import column_descriptions
from pipeline.core.contracts import Kpi, Metric
from pipeline.core.frame_contract import Contract
from pipeline.evaluation import list_metrics, ranking_metrics
from pipeline.experiment.kpis.contracts import TERMS
from pipeline.results.document import Report
from pipeline.study import Study

DOCS = Path(__file__).parent
ROOT = DOCS.parent
_GENERATED = "*This page is generated from the code.*"
_BOUNDS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
_REQUIRED = "required"

Schema = dict[str, Any]


def write_pages() -> None:
    """Write the reference pages and copy the benchmarks' results into ``docs``."""
    reference, measured = DOCS / "reference", DOCS / "measured"
    for folder in (reference, measured):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
    for name, page in PAGES.items():
        (reference / f"{name}.md").write_text(page(), encoding="utf-8")
    for result in (ROOT / "benchmarks" / "results").glob("*.md"):
        shutil.copy(result, measured)


def parameters() -> str:
    """Every key of ``params.yaml``: accepted values, default, meaning."""
    schema = TypeAdapter(Study).json_schema()
    lines = [
        "# Parameters: types, ranges, defaults",
        "",
        f"{_GENERATED} It lists every key of `params.yaml`; `[]` stands for each entry of a list.",
        "",
        "[The study](../study.md) explains how the file is read.",
    ]
    for section, named in schema["properties"].items():
        definition = _resolved(named, schema["$defs"])
        lines += ["", f"## `{section}`", "", _first_sentence(definition), ""]
        rows = _rows(section, definition, schema["$defs"])
        lines += _table(("key", "accepts", "default", "meaning"), rows)
    return "\n".join(lines) + "\n"


def report_json() -> str:
    """Every key of ``report.json``, type by type."""
    schema = TypeAdapter(Report).json_schema()
    definitions = schema["$defs"]
    lines = [
        "# `report.json`",
        "",
        f"{_GENERATED} [The schema](https://json-schema.org) is in `docs/report.schema.json`.",
        "",
        "A key is null where its value is undefined or unknown.",
    ]
    for name, definition in [("Report", schema), *sorted(definitions.items())]:
        if "properties" in definition:
            lines += ["", f"## `{name}`", "", _first_sentence(definition), ""]
            lines += _table(("key", "type", "meaning"), _keys(name, definition, definitions))
    return "\n".join(lines) + "\n"


def _keys(name: str, definition: Schema, definitions: Schema) -> Iterator[tuple[str, ...]]:
    modules = [one for file, one in sys.modules.items() if file.startswith("pipeline.")]
    kind = next(getattr(module, name) for module in modules if hasattr(module, name))
    meanings: dict[str, str] = {}
    for base in kind.__mro__:  # a base class documents its own keys
        meanings = _meanings({"description": base.__doc__ or ""}) | meanings
    for key, value in definition["properties"].items():
        yield f"`{key}`", _named(value, definitions), meanings.get(key, "")


def _named(value: Schema, definitions: Schema) -> str:
    """A value's type; types with keys of their own by name."""
    if "$ref" in value and "properties" in _resolved(value, definitions):
        name = value["$ref"].rsplit("/", 1)[1]
        return f"[{name}](#{name.lower()})"
    if choices := value.get("anyOf"):
        return " or ".join(_named(one, definitions) for one in choices)
    if value.get("type") == "array" and "items" in value:
        return f"list: {_named(value['items'], definitions)}"
    if value.get("type") == "object" and isinstance(value.get("additionalProperties"), dict):
        return f"object: {_named(value['additionalProperties'], definitions)}"
    if "prefixItems" in value:
        return f"list: {', '.join(_named(one, definitions) for one in value['prefixItems'])}"
    return _accepted(value, definitions)


def _rows(path: str, definition: Schema, definitions: Schema) -> Iterator[tuple[str, ...]]:
    """The keys of one section, each followed by the keys nested in it."""
    meanings = _meanings(definition)
    order = list(meanings)
    properties = definition["properties"]
    for key in sorted(properties, key=lambda name: order.index(name) if name in order else -1):
        value, here = properties[key], f"{path}.{key}"
        nested = _sections(value, definitions)
        default = _default(value, required=key in definition.get("required", []), nested=nested)
        yield f"`{here}`", _accepted(value, definitions), default, meanings.get(key, "")
        for inner in nested:
            entry = here + ("[]" if _is_list(value) else "")
            if len(nested) > 1:
                yield f"`{entry}`", "keys below", "", _first_sentence(inner)
            yield from _rows(entry, inner, definitions)


def _default(value: Schema, *, required: bool, nested: list[Schema]) -> str:
    """The value of a key that is left out."""
    if required:
        return _REQUIRED
    if nested and not _is_list(value) and value.get("default", {}) is not None:
        return "see below"
    return _yaml(value["default"]) if "default" in value else "empty"


def _sections(value: Schema, definitions: Schema) -> list[Schema]:
    """The groups of keys that a value can consist of."""
    found = [_resolved(one, definitions) for one in _alternatives(value)]
    return [one for one in found if "properties" in one]


def _alternatives(value: Schema) -> list[Schema]:
    inner = value.get("items", value)
    return inner.get("oneOf") or inner.get("anyOf") or [inner]


def _is_list(value: Schema) -> bool:
    return value.get("type") == "array"


def _accepted(value: Schema, definitions: Schema) -> str:
    """A value's type and range."""
    value = _resolved(value, definitions)
    if choices := value.get("anyOf") or value.get("oneOf"):
        return " or ".join(dict.fromkeys(_accepted(one, definitions) for one in choices))
    if "const" in value:
        return f"`{value['const']}`"
    if "enum" in value:
        return ", ".join(f"`{one}`" for one in value["enum"])
    kind = {"null": "`null`", "object": "keys"}.get(
        value.get("type", ""), value.get("type", "anything")
    )
    if "properties" in value:
        return "keys below"
    if kind == "array":
        least = f" of {value['minItems']} or more" if value.get("minItems") else ""
        kind = f"list{least}: {_accepted(value.get('items', {}), definitions)}"
    if value.get("type") == "object" and isinstance(value.get("additionalProperties"), dict):
        kind = f"names, each mapped to {_accepted(value['additionalProperties'], definitions)}"
    bounds = [f"{sign} {value[name]}" for name, sign in _BOUNDS.items() if name in value]
    if "pattern" in value:
        bounds.append(f"matching `{value['pattern']}`")
    kind = "`true` or `false`" if kind == "boolean" else kind
    return f"{kind} {' and '.join(bounds)}".strip()


def _resolved(value: Schema, definitions: Schema) -> Schema:
    # an optional section is a union with null
    value = next((one for one in value.get("anyOf", ()) if "$ref" in one), value)
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


def tables() -> str:
    """Every table: what one row is, and each column's type and meaning."""
    lines = [
        "# Tables",
        "",
        f"{_GENERATED} A table with other columns or types is rejected before it is written.",
    ]
    for contract, note in _contracts():
        lines += ["", f"## `{contract.name}`", "", f"Each row is {contract.row}.", ""]
        lines += _columns(contract)
        lines += ["", _prose(note)] if note else []
    return "\n".join(lines) + "\n"


def _columns(contract: Contract) -> list[str]:
    rows = (
        (f"`{name}`", _polars(dtype), _prose(_column(contract, name)))
        for name, dtype in contract.columns.items()
    )
    return _table(("column", "type", "meaning"), rows)


def _column(contract: Contract, name: str) -> str:
    """The meaning of a column; empty where the text below the table gives it."""
    alone = Contract(name=contract.name, row=contract.row, columns={name: contract.columns[name]})
    with suppress(KeyError):
        return column_descriptions(alone)[name]
    return ""


def _contracts() -> Iterator[tuple[Contract, str]]:
    """Every contract of the library, with the docstring below it."""
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


def metrics_and_kpis() -> str:
    """The offline metrics with their formulas, and the KPIs."""
    lines = [
        "# Metrics and KPIs",
        "",
        f"{_GENERATED} [Offline metrics](../metrics.md) says more.",
        "",
    ]
    lines += ["## Ranking metrics", "", _RANKING_METRICS, ""]
    ranking = (
        (
            f"`{metric}`",
            "Σ {} / Σ {}".format(*_terms(function)),
            _summary(function),
            _direction(metric),
        )
        for metric, function in ranking_metrics.TARGET_METRICS.items()
    )
    lines += _table(("metric", "formula", "meaning", "better"), ranking)
    lines += ["", "## List metrics", "", "Computed from one list of k items per test session.", ""]
    documented = _documented_in(list_metrics)
    of_lists = (
        (f"`{metric}`", documented[metric], _direction(metric))
        for metric in Metric
        if metric.is_list_metric
    )
    lines += _table(("metric", "meaning", "better"), of_lists)
    lines += ["", "## KPIs", "", "The rate of a group is its successes / trials.", ""]
    kpis = (
        (f"`{kpi}`", successes, trials, "logit" if kpi.is_binary else "log")
        for kpi, (trials, successes) in ((kpi, TERMS[kpi]) for kpi in Kpi)
    )
    lines += _table(("KPI", "successes, or the amount", "trials", "link"), kpis)
    return "\n".join(lines) + "\n"


_RANKING_METRICS = (
    "Each is a ratio of two sums over the targets of all test sessions: `hit` is 1 where the target "
    "ranks within k, `ones` is 1, `history` counts the clicks before the target, and `cold` is 1 where "
    "its item is cold."
)


def _terms(function: Callable[..., Any]) -> tuple[str, str]:
    """The numerator and the denominator of a metric, as in its code."""
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
    words = re.sub(r"\b(targets|np)\.", "", ast.unparse(node))
    words = re.sub(r"column\('(\w+)'\)", r"\1", words)
    words = words.replace("SHORT_HISTORY", str(ranking_metrics.SHORT_HISTORY)).replace(" * ", " · ")
    return f"`{words}`"


def _documented_in(module: Any) -> dict[str, str]:
    """The docstrings of a module's functions, by the metric that they name."""
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
    """The help of every command, as it is printed."""
    lines = ["# Commands", "", f"{_GENERATED}", "", *_fenced(_help())]
    for name in COMMANDS:
        lines += ["", f"## `paretoscope {name}`", "", *_fenced(_help(name))]
    return "\n".join(lines) + "\n"


def assets() -> str:
    """Every asset, in the order of the graph, and the jobs, schedules and sensors."""
    graph = defs.resolve_asset_graph()
    keys = [key for key in graph.toposorted_asset_keys if _stands_for_its_kind(key)]
    lines = ["# Assets", "", f"{_GENERATED} [The Dagster UI](../dagster.md) shows the same.", ""]
    overview = (
        (f"`{key.to_user_string()}`", _first_line(graph.get(key).description)) for key in keys
    )
    lines += [*_table(("asset", "content"), overview), ""]
    lines += ["There is one asset `preference_scores/p…` per preference; the first stands for all."]
    for key in keys:
        lines += ["", f"## `{key.to_user_string()}`", "", *_asset(graph.get(key))]
    lines += [
        "",
        "## Jobs, schedules and sensors",
        "",
        *_table(("name", "what it does"), _automation()),
    ]
    return "\n".join(lines) + "\n"


def _stands_for_its_kind(key: dg.AssetKey) -> bool:
    return len(key.path) == 1 or key.path[-1] == "p00"


def _asset(node: Any) -> list[str]:
    """What is declared of an asset."""
    parents = [key for key in node.parent_keys if _stands_for_its_kind(key)]
    read = sorted(tag.removeprefix("params/") for tag in node.tags if tag.startswith("params/"))
    checks = sorted(f"`{key.name}`" for key in node.check_keys)
    facts = {
        "Group": f"`{node.group_name}`, owned by `{', '.join(node.owners)}`",
        "Derived from": ", ".join(f"`{key.to_user_string()}`" for key in sorted(parents)),
        "Sections of `params.yaml`": ", ".join(f"`{name}`" for name in read),
        "Checks": ", ".join(checks),
    }
    return [
        *(_prose(node.description or "").split("\n")),
        "",
        *(f"- {name}: {value}" for name, value in facts.items() if value),
    ]


def _automation() -> Iterator[tuple[str, str]]:
    for job in defs.jobs or ():
        yield f"job `{job.name}`", _prose(job.description or "")
    for schedule in defs.schedules or ():
        yield f"schedule `{schedule.name}`", _prose(schedule.description or "")
    for sensor in defs.sensors or ():
        yield f"sensor `{sensor.name}`", _prose(sensor.description or "")


def _first_line(text: str | None) -> str:
    return _prose((text or "").split("\n\n")[0])


def _help(*words: str) -> str:
    printed = io.StringIO()
    width = patch.dict(os.environ, COLUMNS="88")
    with width, redirect_stdout(printed), suppress(SystemExit):
        main([*words, "--help"])
    return printed.getvalue().rstrip()


def _fenced(text: str) -> list[str]:
    return ["```text", text, "```"]


def _table(heads: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> list[str]:
    def line(cells: tuple[str, ...]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    return [line(heads), "|" + "---|" * len(heads), *(line(row) for row in rows)]


def _prose(text: str) -> str:
    """A docstring as Markdown, on one line."""
    text = re.sub(r":(?:mod|class|func|meth|data):`~?([^`]+)`", r"`\1`", text)
    return " ".join(text.replace("``", "`").split())


PAGES: dict[str, Callable[[], str]] = {
    "commands": commands,
    "assets": assets,
    "parameters": parameters,
    "tables": tables,
    "metrics-and-kpis": metrics_and_kpis,
    "report-json": report_json,
}
"""The pages of ``docs/reference``, by file name."""


if __name__ == "__main__":
    write_pages()
