"""The site: it builds without a warning, is complete, and loads nothing from another machine."""

import pkgutil
import re
import subprocess
import sys
from collections.abc import Container
from html.parser import HTMLParser
from importlib import import_module
from pathlib import Path

import pytest
import yaml

import pipeline
from docs.generated import PAGES
from pipeline.core.contracts import Kpi, Metric
from pipeline.core.frame_contract import Contract
from tests.docs.pages import pages

pytestmark = pytest.mark.slow


class Loads(HTMLParser):
    """What a page loads, as opposed to what it links to."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        values = dict(attributes)
        self.found += [value for name in ("src", "srcset", "data") if (value := values.get(name))]
        if tag == "link" and values.get("href"):
            self.found.append(values["href"] or "")


def test_every_page_is_in_the_site(docs_site, project_root):
    written = [page for page in pages(project_root) if page != "README.md"]
    generated = {f"docs/reference/{name}.md" for name in PAGES}

    for page in {*written, *generated, "docs/measured/serving.md"}:
        built = docs_site / Path(page).relative_to("docs").with_suffix(".html")
        assert built.is_file(), page


def test_nothing_is_loaded_from_another_machine(docs_site):
    foreign = []
    for file in docs_site.rglob("*.html"):
        page = Loads()
        page.feed(file.read_text("utf-8"))
        foreign += [f"{file.name}: {one}" for one in page.found if re.match(r"(https?:)?//", one)]
    for file in docs_site.rglob("*.css"):
        text = file.read_text("utf-8")
        foreign += re.findall(r"(?:@import|url\()\s*['\"]?(?:https?:)?//[^)'\"]*", text)

    assert foreign == []


def rows(docs_site: Path, name: str) -> dict[str, list[str]]:
    """The rows of a generated page's tables by their first cell."""
    lines = (docs_site.parents[1] / "reference" / f"{name}.md").read_text("utf-8").splitlines()
    cells = [re.split(r"(?<!\\)\|", line)[1:-1] for line in lines if line.startswith("| `")]
    return {row[0].strip().strip("`"): [cell.strip() for cell in row[1:]] for row in cells}


def test_a_parameter_has_the_type_range_default_and_meaning_of_the_code(docs_site):
    found = rows(docs_site, "parameters")

    assert found["training.batch_size"] == [
        "integer > 0 and ≤ 1000000",
        "`256`",
        "Sessions per step, over all processes.",
    ]
    assert found["model.dropout"][:2] == ["number ≥ 0 and < 1", "`0.1`"]
    assert found["dataset.path"][:2] == ["string", "required"]
    assert found["training.patience"][:2] == ["integer > 0 and ≤ 10000 or `null`", "`null`"]
    assert found["evaluation.ties"][:2] == ["`half`, `optimistic`, `pessimistic`", "`half`"]
    assert found["training.objectives[].concentration"][:2] == [
        "number > 0 and ≤ 1000000.0",
        "`0.1`",
    ]
    assert found["serving.filters.seen"][:2] == ["`true` or `false`", "`false`"]


def keys_of(values: dict, documented: Container[str], path: str = "") -> set[str]:
    """The keys of sections; those of a documented mapping are its values."""
    found = set()
    for key, value in values.items():
        found.add(f"{path}{key}")
        if isinstance(value, dict) and f"{path}{key}" not in documented:
            found |= keys_of(value, documented, f"{path}{key}.")
    return found


def test_every_key_of_params_yaml_is_in_the_reference(docs_site, project_root):
    found = rows(docs_site, "parameters")
    values = yaml.safe_load((project_root / "params.yaml").read_text("utf-8"))

    assert keys_of(values, found) - set(values) - set(found) == set()


def test_every_table_metric_and_kpi_is_in_the_reference(docs_site):
    reference = docs_site.parents[1] / "reference"
    tables = (reference / "tables.md").read_text("utf-8")
    contracts = [one for one in _contracts() if f"## `{one.name}`" not in tables]
    found = rows(docs_site, "metrics-and-kpis")

    assert contracts == []
    assert set(found) == {one.value for one in (*Metric, *Kpi)}
    assert found["order_density"][0] == "Σ `hit · ordered` / Σ `hit`"
    assert found["ndcg"][0] == "Σ `hit / log2(1 + rank)` / Σ `ones`"
    assert found["cold_item_recall"][0] == "Σ `hit · cold` / Σ `cold`"
    assert found["cvr"] == ["orders", "clicks", "logit"]


def _contracts() -> list[Contract]:
    """Every contract of the library."""
    names = [found.name for found in pkgutil.walk_packages(pipeline.__path__, "pipeline.")]
    modules = [import_module(name) for name in names if not name.endswith("__main__")]
    named = [value for module in modules for value in vars(module).values()]
    return [value for value in named if isinstance(value, Contract)]


def test_the_commands_are_shown_with_their_help(docs_site):
    page = (docs_site.parents[1] / "reference/commands.md").read_text("utf-8")
    printed = subprocess.run(
        [sys.executable, "-m", "pipeline.cli", "serve", "--help"],
        capture_output=True,
        text=True,
        check=True,
        env={"COLUMNS": "88", "PATH": "", "PYTHONPATH": ":".join(sys.path)},
    ).stdout

    assert f"## `paretoscope serve`\n\n```text\n{printed.rstrip()}\n```" in page


def test_a_dead_link_stops_the_build(tmp_path, project_root):
    (tmp_path / "conf.py").write_text(
        (project_root / "docs/conf.py").read_text("utf-8").replace('["_static"]', "[]")
    )
    (tmp_path / "index.md").write_text("# A\n\n[b](gone.md)\n\n[c](#gone)\n", encoding="utf-8")

    built = subprocess.run(
        [sys.executable, "-m", "sphinx", "--fail-on-warning", "-q", tmp_path, tmp_path / "html"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert built.returncode != 0
    assert "gone" in built.stderr
