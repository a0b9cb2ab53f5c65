"""Every page: its code blocks are valid, and its links have targets."""

import configparser
import re
import shlex
from collections import Counter
from pathlib import Path

import pytest
import yaml

from docs import generated
from pipeline.cli import main
from pipeline.core.contracts import Metric
from pipeline.study import load_study, parse_study
from tests.docs.merge import merged
from tests.docs.pages import LANGUAGES, Block, blocks, pages, run_page, says
from tests.plugins import install_plugin

ROOT = Path(__file__).parents[2]
PAGES = pages(ROOT)
BLOCKS = [block for page in PAGES for block in blocks(ROOT, page)]

RUN_WHOLE = {
    page for page in PAGES if page in {"README.md", "docs/tutorial.md"} or "/how-to/" in page
}
"""Pages of which every block is run, by tests/docs/test_runs.py."""

NOT_RUN: dict[str, Counter[str]] = {
    "docs/counterfactual.md": Counter(sh=3, python=2),  # test_bandit_table.py and test_policies.py
    "docs/datasets.md": Counter(sh=9, python=1),  # downloads, and a set that is not here
    "docs/experiment-log.md": Counter(sh=1, python=1),  # test_slantour.py does it; a warehouse
    "docs/experiment.md": Counter(python=1),  # the reader's database; test_assignment_sql.py
    "docs/metrics.md": Counter(python=1, sh=1),  # test_metric_registry.py; an asset alone
    "docs/monitoring.md": Counter(sh=2),  # tests/pipeline/monitoring
    "docs/serving.md": Counter(sh=3, sql=1),  # docs/how-to/deploy.md is run
    "docs/simulation.md": Counter(sh=1),
    "docs/study.md": Counter(sh=1),  # the README's way of changing a value is run
}
"""Blocks of the other pages that are not run. A page that is not listed has none."""


def of(language: str) -> pytest.MarkDecorator:
    chosen = [block for block in BLOCKS if block.language == language]
    return pytest.mark.parametrize("block", chosen, ids=str)


def test_every_block_of_the_readme_the_tutorial_and_the_how_tos_is_run():
    theirs = [block for block in BLOCKS if block.page in RUN_WHOLE]

    assert len(RUN_WHOLE) == 16
    assert [str(block) for block in theirs if block.language not in LANGUAGES] == []
    assert [str(block) for block in theirs if block.not_run] == []


def test_every_other_block_that_is_not_run_is_listed():
    found: dict[str, Counter[str]] = {}
    for block in BLOCKS:
        if block.page not in RUN_WHOLE and block.language in {"sh", "python", "sql"}:
            found.setdefault(block.page, Counter())[block.language] += 1

    assert found == NOT_RUN


@of("yaml")
def test_yaml_is_a_study(block, project_root, tmp_path, monkeypatch):
    install_plugin(
        tmp_path, "shop_plugin", "", formats={"shop": "a:b"}, objectives={"margin": "a:b"}
    )
    monkeypatch.syspath_prepend(tmp_path)
    values = yaml.safe_load((project_root / "params.yaml").read_text("utf-8"))
    changes = yaml.safe_load(block.text)
    if "resources" in changes:  # a run's configuration in the Dagster UI
        overrides = changes["resources"]["study"]["config"]["overrides"]
        assert load_study(project_root / "params.yaml", overrides) != parse_study(values)
        return
    if block.page in {"docs/datasets.md", "docs/experiment-log.md"}:  # sections in place of others
        changes.setdefault("experiment", {"name": "a", "source": "held-out-replay", "salt": "a"})
        values |= changes
    else:
        values = merged(values, changes)

    study = parse_study(values)

    for section in changes:
        assert getattr(study, section) is not None


@of("python")
def test_python_can_be_compiled(block):
    compile(block.text, str(block), "exec")


@of("ini")
def test_a_systemd_unit_starts_an_existing_command(block):
    user = configparser.ConfigParser(interpolation=None)
    user.optionxform = str
    user.read_string(block.text)

    program, command, *_ = shlex.split(user["Service"]["ExecStart"])

    assert set(user.sections()) == {"Unit", "Service", "Install"}
    assert Path(program).parent == Path(user["Service"]["WorkingDirectory"]) / ".venv/bin"
    assert (Path(program).name, command) == ("dagster", "dev") or has_command(command)


def has_command(name: str) -> bool:
    """Whether ``paretoscope name --help`` succeeds."""
    with pytest.raises(SystemExit) as ended:
        main([name, "--help"])
    return ended.value.code == 0


LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")
GENERATED = {"reference", "measured"}
"""Folders of the site that are generated; the build checks links to them."""


def headings(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    text = re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
    found = re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", one.lower()).strip().replace(" ", "-") for one in found}


def dead_links(root: Path, page: str) -> list[str]:
    """The links of a page to files or headings that do not exist."""
    folder, dead = (root / page).parent, []
    for link in (
        page_link or image for page_link, image in LINK.findall((root / page).read_text("utf-8"))
    ):
        if link.startswith("https://"):
            continue
        path, _, anchor = link.partition("#")
        target = (folder / path).resolve() if path else root / page
        if target.parent.name in GENERATED and target.parent.parent == root / "docs":
            continue
        if not target.exists() or (anchor and anchor not in headings(target)):
            dead.append(link)
    return dead


@pytest.mark.parametrize("page", [*PAGES, "CONTRIBUTING.md"])
def test_links_lead_to_files_and_headings(page, project_root):
    assert dead_links(project_root, page) == []


def test_only_pages_of_the_site_link_to_generated_pages(project_root):
    linking = {
        page
        for page in PAGES
        if re.search(
            r"\]\((\.\./)*(docs/)?(reference|measured)/", (project_root / page).read_text()
        )
    }

    # on a repository's page such a link is dead: the README and the how-tos are read there
    assert linking == {
        f"docs/{name}.md" for name in ("index", "study", "metrics", "inference", "dagster")
    }


def test_a_dead_link_is_found(tmp_path):
    (tmp_path / "there.md").write_text("# A heading, with words\n", encoding="utf-8")
    (tmp_path / "page.md").write_text(
        "[a](there.md) [b](there.md#a-heading-with-words) [c](gone.md) [d](there.md#gone)\n"
        "![e](gone.png) [f](https://example.org/gone) [g](http://example.org)\n",
        encoding="utf-8",
    )

    assert dead_links(tmp_path, "page.md") == [
        "gone.md",
        "there.md#gone",
        "gone.png",
        "http://example.org",
    ]


def test_a_block_has_a_language_and_a_reason_for_not_being_run(tmp_path):
    (tmp_path / "page.md").write_text(
        "1. Do\n\n   ```sh\n   true\n   ```\n\n<!-- not run: needs a broker -->\n\n```sh\nfalse\n```\n"
        "\n```python\n1\n```\n\n```{toctree}\na\n```\n",
        encoding="utf-8",
    )

    assert blocks(tmp_path, "page.md") == [
        Block("page.md", 3, "sh", "true\n", None),
        Block("page.md", 9, "sh", "false\n", "needs a broker"),
        Block("page.md", 13, "python", "1\n", None),
    ]


@pytest.mark.parametrize(
    ("expected", "fits"),
    [
        ("2 rows", True),
        ("… rows", True),
        ("first\n2 rows", True),
        ("2 rows\nfirst", False),
        ("3 rows", False),
        ("rows", False),
    ],
)
def test_output_is_compared_line_by_line(expected, fits):
    assert says("first\nsecond\n2 rows\n", expected) is fits


def test_the_reference_has_the_direction_of_each_metric():
    page = generated.metrics_and_kpis()
    found = dict(re.findall(r"^\| `(\w+)` \|.*\| (higher|lower)[^|]*\|$", page, flags=re.MULTILINE))

    expected = {m.value: "higher" if m.higher_is_better else "lower" for m in Metric}
    assert found == expected


def test_a_page_runs_without_the_environment_of_the_test_run(tmp_path, monkeypatch):
    monkeypatch.setenv("MAKEFLAGS", "w -- PYTEST_ARGS=--runslow")
    monkeypatch.setenv("PYTEST_ADDOPTS", "--runslow")
    asked = (
        'test -z "${MAKEFLAGS-}${PYTEST_ADDOPTS-}" && test "$PYTEST_ARGS" = tests/architecture\n'
    )

    run_page(tmp_path, [Block("a page", 1, "sh", asked, None)])
