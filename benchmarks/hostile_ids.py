"""Hostile ids and names, from the raw log and the experiment's to every output."""

import csv
import os
import re
import shutil
import sys
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import malformed_inputs as inputs
import numpy as np
from attacks_serving import HOSTILE, server_of
from outcome import Outcome
from playwright.sync_api import Browser, sync_playwright

from paretoscope import Study, open_study
from pipeline.cli import main
from pipeline.steps.result import LazyFigure, StepResult

NAMES = (
    *HOSTILE,
    "[win](javascript:alert(1))",
    "![x](http://evil.example/a.png)",
    "</td></table><b>x|y",
    "`$(reboot)` **bold** # head",
    "-2+3+cmd|' /C calc'!A0",
    "\u200fעברית 日本 🛒",
    'quoted "name", with; separators',
)
VARIANTS = (HOSTILE[0], HOSTILE[1], HOSTILE[3], NAMES[-5])
METRICS = (HOSTILE[1], HOSTILE[2], NAMES[-7])
USERS, LISTS = 600, 4

_TAG = re.compile(r"<(script|img|b|/td|/table)\b", re.IGNORECASE)
_LINK = re.compile(r"(?<!\\)\]\((javascript:|http://evil)")
_PIPE = re.compile(r"(?<!\\)\|")
_FORMULA = re.compile(r"[=+@\t\r]|-(?![0-9.]+(e[+-]?[0-9]+)?$)")

Write = Callable[[Path, Mapping[str, Any]], Path]


def attack(
    folder: Path, write_params: Write, shop: dict[str, Any], agency: dict[str, Any]
) -> Outcome:
    """Two studies with hostile names, and a count of what is wrong in any output."""
    raw = shop_study(write_params(folder / "shop", shop))
    log = variants_study(write_params(folder / "agency", agency))
    before = sorted(folder.iterdir())
    results = {**raw.run(), **{f"variants {name}": one for name, one in log.run().items()}}
    wrong = [*ids_kept(raw, log), *markdown_faults(results), *exported_faults(log)]
    reports = [str(study.paths.artifact("report", "report.json")) for study in (raw, log)]
    wrong += ["compare failed"] * main(["compare", *reports, "--out", str(folder / "compared")])
    wrong += markdown_of_pages(folder)
    pages = sorted(folder.rglob("*.html"))
    with browser() as opened:
        for page in pages:
            wrong += page_faults(opened, page.as_uri(), page.name)
        with server_of(raw.root) as server:
            wrong += page_faults(opened, f"{server.url}/explore", "explorer", "#metrics tbody tr")
    if sorted(folder.iterdir()) != sorted([*before, folder / "compared"]):
        wrong.append("a file outside of the project")
    for fault in wrong:
        print(fault, file=sys.stderr)
    return Outcome(
        tried="hostile names (HTML, formulas, SQL, paths, Markdown, control marks, emoji) of items, "
        "sessions, users, groups and metrics in reports, comparison, explorer, Markdown, CSV, xlsx, DuckDB",
        times=len(NAMES),
        wrong=len(wrong),
        note="; ".join(wrong[:3])
        or f"each is text in {len(pages)} pages and the explorer in a real browser, in the Markdown of "
        f"{len(results)} assets and in every table, and the databases have it byte by byte",
    )


def shop_study(root: Path) -> Study:
    """A study whose items and sessions have hostile names."""
    (root / "raw").mkdir()
    rows = [
        row
        | {
            "visit": f"{NAMES[int(row['visit'][1:]) % len(NAMES)]} {row['visit']}",
            "product": item_of(int(row["product"][1:])),
        }
        for row in inputs.RAW
    ]
    write_csv(root / "raw/events.csv", rows)
    return open_study(root)


def item_of(number: int) -> str:
    """A hostile item."""
    return f"{NAMES[number % len(NAMES)]} {number}"


def variants_study(root: Path) -> Study:
    """A study of variants whose groups, users and metrics have hostile names."""
    (root / "log").mkdir()
    rng = np.random.default_rng(3)
    table = [
        {
            "variant": name,
            "share": 1,
            **{m: 0.5 + 0.02 * n + 0.01 * k for k, m in enumerate(METRICS)},
        }
        for n, name in enumerate(VARIANTS)
    ]
    write_csv(root / "variants.csv", table)
    rows = [
        {
            "impression": f"{user_of(user)}/{n}",
            "user": user_of(user),
            "group": VARIANTS[user % len(VARIANTS)],
            "ts": inputs.START + 60_000 * (user * LISTS + n),
            "clicked": rng.random() < 0.2 + 0.02 * (user % len(VARIANTS)),
        }
        for user in range(USERS)
        for n in range(LISTS)
    ]
    write_csv(root / "log/impressions.csv", rows)
    hypotheses = [
        {"id": f"H{n}", "metric": metric, "kpi": "ctr", "direction": "positive"}
        for n, metric in enumerate(METRICS, start=1)
    ]
    return open_study(root).override({"regression.hypotheses": hypotheses})


def user_of(number: int) -> str:
    """A hostile user."""
    return f"{NAMES[number % len(NAMES)]} {number}"


def write_csv(file: Path, rows: list[dict[str, Any]]) -> None:
    """Write rows as CSV, quoted where needed."""
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def ids_kept(raw: Study, log: Study) -> list[str]:
    """Ids that an artifact or the database has not as they were written."""
    items = set(raw.table("items")["item"].to_list())
    wrong = [] if items <= {item_of(n) for n in range(30)} and len(items) > 20 else ["items differ"]
    with duckdb.connect(str(log.paths.artifact("experiment.duckdb")), read_only=True) as connection:
        users = connection.execute('SELECT DISTINCT user, "group" FROM impressions').fetchall()
    written = {(user_of(n), VARIANTS[n % len(VARIANTS)]) for n in range(USERS)}
    return wrong + ([] if set(users) == written else ["users or groups differ in DuckDB"])


def markdown_faults(results: Mapping[str, StepResult[Any]]) -> list[str]:
    """Tags, links and broken tables in what Dagster shows of the assets."""
    return [
        f"{name} ({key}): {fault}"
        for name, result in results.items()
        for key, value in result.details.items()
        if hasattr(value, "markdown") and not isinstance(value, LazyFigure)
        for fault in faults_of_markdown(value.markdown())
    ]


def markdown_of_pages(folder: Path) -> list[str]:
    """The same in every Markdown file."""
    return [
        f"{file.name}: {fault}"
        for file in sorted(folder.rglob("*.md"))
        for fault in faults_of_markdown(file.read_text("utf-8"))
    ]


def faults_of_markdown(text: str) -> Iterator[str]:
    """Tags, links and tables with a row of another width, outside of code."""
    width = None
    text = re.sub(r"```.*?```|`[^`\n]*`", "", text, flags=re.DOTALL)
    for line in text.splitlines():
        if found := _TAG.search(line) or _LINK.search(line):
            yield f"markup {found[0]!r} in {line[:80]!r}"
        pipes = len(_PIPE.findall(line)) if line.startswith("|") else None
        if pipes and width and pipes != width:
            yield f"{pipes} cells instead of {width} in {line[:80]!r}"
        width = width or pipes if pipes else None


def exported_faults(log: Study) -> list[str]:
    """Formulas in exported tables."""
    out = log.root / "tables"
    report = str(log.paths.artifact("report", "report.json"))
    words = ["export", report, "--out", str(out), "--format", "csv", "--format", "xlsx"]
    wrong = ["export failed"] * main(words)
    for file in sorted(out.glob("*.csv")):
        with file.open(newline="", encoding="utf-8") as stream:
            cells = [cell for row in csv.reader(stream) for cell in row]
        wrong += [f"{file.name}: formula {cell[:40]!r}" for cell in cells if _FORMULA.match(cell)]
    for workbook in out.glob("*.xlsx"):
        with zipfile.ZipFile(workbook) as archive:
            sheets = [archive.read(name) for name in archive.namelist() if "/sheet" in name]
        wrong += [f"{workbook.name}: a formula" for sheet in sheets if b"<f>" in sheet]
    return wrong


@contextmanager
def browser() -> Iterator[Browser]:
    """A real browser."""
    program = os.environ.get("PARETOSCOPE_CHROMIUM") or shutil.which("chromium")
    assert program, "no chromium; set PARETOSCOPE_CHROMIUM"
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield opened
        opened.close()


def page_faults(opened: Browser, url: str, name: str, wait_for: str = "body") -> list[str]:
    """What a page does because of a name."""
    wrong: list[str] = []
    page = opened.new_page()
    page.on("dialog", lambda dialog: (wrong.append(f"{name}: dialog"), dialog.dismiss()))
    page.on("pageerror", lambda error: wrong.append(f"{name}: {error}"))
    page.on(
        "request", lambda asked: wrong.extend([f"{name}: asks {asked.url}"] * ("evil" in asked.url))
    )
    page.goto(url)
    page.locator(wait_for).first.wait_for()
    injected = page.locator("img[src=x], b:text-is('x|y')").count()
    wrong += [f"{name}: an injected element"] * injected
    page.close()
    return wrong
