"""Conventions that no linter checks."""

import ast
import re
from pathlib import Path

import pytest
import yaml

from assets.asset_metadata import prefix_of
from assets.definitions import defs
from docs import generated
from pipeline.cli.commands import COMMANDS

PACKAGES = ("models", "pipeline", "assets", "paretoscope")
LONGEST_FILE = 300
LONGEST_README = 120
LONGEST_ASSET = 15
"""Lines from ``def`` to the end, the docstring included."""


def sources(project_root: Path) -> list[Path]:
    return [file for package in PACKAGES for file in (project_root / package).rglob("*.py")]


def test_files_are_short(project_root):
    long = {
        file.relative_to(project_root).as_posix(): n
        for file in sources(project_root)
        if (n := len(file.read_text("utf-8").splitlines())) > LONGEST_FILE
    }

    assert long == {}


def test_assets_adapt_and_do_not_compute(project_root):
    lengths = [
        (node.end_lineno or node.lineno) - node.lineno
        for file in (project_root / "assets").glob("*.py")
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(node, ast.FunctionDef) and _is_asset(node)
    ]

    assert len(lengths) == 3  # of a step, of all preferences, and of the rollout
    assert max(lengths) <= LONGEST_ASSET


def _is_asset(function: ast.FunctionDef) -> bool:
    """Whether it is decorated with ``dg.asset`` or ``dg.multi_asset``."""
    decorators = (ast.unparse(one).split("(")[0] for one in function.decorator_list)
    return any(name in {"dg.asset", "dg.multi_asset"} for name in decorators)


@pytest.mark.parametrize("word", ["pickle", "torch.load(", "TODO", "FIXME", "eval(", "shell=True"])
def test_no_source_contains(project_root, word):
    found = [
        f"{file.relative_to(project_root)}:{number}"
        for file in sources(project_root)
        for number, line in enumerate(file.read_text("utf-8").splitlines(), start=1)
        if word in line and not re.search(r"\.eval\(\)|\.list\.eval\(|pickled", line)
        and "without pickle" not in line
    ]  # fmt: skip

    assert found == []


def test_every_dependency_is_pinned_and_explained(project_root):
    lines = (project_root / "pyproject.toml").read_text("utf-8").splitlines()
    start = lines.index("dependencies = [")
    entries = [line for line in lines[start + 1 : lines.index("]", start)] if line.strip()]
    pins = (project_root / "constraints.txt").read_text("utf-8").lower().replace("_", "-")

    unexplained = [line for line in entries if "#" not in line]
    names = [line.split('"')[1] for line in entries]
    bare = [name.split("[")[0].split("=")[0].split(">")[0].split("<")[0].lower() for name in names]
    assert unexplained == []
    assert [name for name in bare if f"{name}==" not in pins] == []


def test_every_study_key_is_in_the_generated_reference(project_root):
    reference = generated.parameters()
    values = yaml.safe_load((project_root / "params.yaml").read_text("utf-8"))

    missing = [
        f"{section}.{key}"
        for section, keys in values.items()
        for key in keys or ()
        if f"| `{section}.{key}` |" not in reference
    ]

    assert missing == []
    assert "| `rollout.stages[].margin` |" in reference  # null in the file


def test_every_section_of_the_study_is_in_its_guide(project_root):
    guide = (project_root / "docs/study.md").read_text("utf-8")
    values = yaml.safe_load((project_root / "params.yaml").read_text("utf-8"))

    assert [section for section in values if f"`{section}`" not in guide] == []


def test_every_asset_and_command_is_in_the_generated_reference():
    assets_page, commands_page = generated.assets(), generated.commands()
    graph = defs.resolve_asset_graph()

    keys = [key for key in graph.get_all_asset_keys() if not prefix_of(key)]  # of the default study
    assets = [key.to_user_string() for key in keys]
    # of the preferences' scores, as many as the study has, the first stands for all
    assets = [name for name in assets if not re.fullmatch(r"preference_scores/p(?!00).*", name)]
    assert [name for name in assets if f"## `{name}`" not in assets_page] == []
    assert [name for name in COMMANDS if f"## `paretoscope {name}`" not in commands_page] == []


def test_the_readme_is_short_and_has_the_two_commands(project_root):
    readme = (project_root / "README.md").read_text("utf-8")

    assert len(readme.splitlines()) <= LONGEST_README
    assert re.findall(r"^make \w+", readme, flags=re.MULTILINE) == ["make study", "make test"]
