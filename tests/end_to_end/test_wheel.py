"""An environment with nothing but the wheel: from a template and the user's files to a report."""

import csv
import json
import os
import random
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from site import getsitepackages

import pytest

from tests.pipeline.datasets.formats import ga4

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
SECONDS = 1800
"""Of one command, on a machine that does other work besides."""


@pytest.fixture(scope="module")
def python(tmp_path_factory) -> Path:
    """The interpreter of a new environment with the wheel and its dependencies.

    The dependencies are those of this environment, whose editable install of the repository is not
    active there: a plain path file does not run the path files of the folder it names.
    """
    folder = tmp_path_factory.mktemp("environment")
    environment, wheels = folder / "venv", folder / "dist"
    install = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    options = ["--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    source = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    for name in source.splitlines():  # a copy, so that no build folder is left in the repository
        if (ROOT / name).is_file() and not name.startswith(("tests/", "docs/", "data/")):
            (folder / "source" / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / "source" / name).write_bytes((ROOT / name).read_bytes())
    subprocess.run([*install, "wheel", *options, "-w", wheels, folder / "source"], check=True)
    found = environment / "bin/python"
    (packages,) = environment.glob("lib/*/site-packages")
    (packages / "dependencies.pth").write_text("\n".join(getsitepackages()), encoding="utf-8")
    (wheel,) = wheels.iterdir()
    subprocess.run(
        [found, *install[1:], "install", "--no-deps", "--no-index", "-I", wheel], check=True
    )
    return found


class Desk:
    """A folder and an environment in which commands are typed; it counts them."""

    def __init__(self, python: Path, folder: Path) -> None:
        self.python, self.folder, self.typed = python, folder, 0
        self.started = time.monotonic()
        hidden = ("DAGSTER_", "PARETOSCOPE_", "PYTHONPATH", "VIRTUAL_ENV")
        self.environment = {
            name: value for name, value in os.environ.items() if not name.startswith(hidden)
        } | {"PATH": f"{python.parent}:/usr/bin:/bin"}

    def run(self, words: str, *, within: str = ".") -> str:
        """Type one command; returns what it prints."""
        self.typed += 1
        done = subprocess.run(
            words.split(),
            cwd=self.folder / within,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        assert done.returncode == 0, f"{words}: {done.stderr[-3000:]}"
        return done.stdout

    def conclude(self) -> None:
        """At most four commands; pytest -rA shows the time."""
        seconds = time.monotonic() - self.started
        sys.stdout.write(f"{self.typed} commands, {seconds:.0f} seconds\n")
        assert self.typed <= 4


@pytest.fixture
def desk(python, tmp_path) -> Desk:
    """Only the wheel can be imported there, not the repository."""
    where = "import assets, models, paretoscope, pipeline; print(pipeline.__file__)"
    desk = Desk(python, tmp_path)
    done = subprocess.run(
        [python, "-c", where],
        cwd=tmp_path,
        env=desk.environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert Path(done.stdout).is_relative_to(python.parents[1])
    return desk


def write(file: Path, rows: list[dict]) -> None:
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def ab_test(
    folder: Path, *, users: int = 4000, seed: int = 3, lift: float = 0.05
) -> dict[str, int]:
    """The files of an A/B test; returns the users with a click, by variant."""
    rng, start = random.Random(seed), datetime(2026, 3, 2, tzinfo=UTC)
    assignments, clicks, orders = [], [], []
    counts = {"control": 0, "treatment": 0}
    for number in range(users):
        variant = ("control", "treatment")[number % 2]
        at = start + timedelta(minutes=rng.randrange(7 * 24 * 60))
        assignments.append({"user": f"u{number}", "variant": variant, "timestamp": at})
        if rng.random() < 0.2 + (lift if variant == "treatment" else 0):
            counts[variant] += 1
            clicks.append({"user": f"u{number}", "timestamp": at + timedelta(minutes=2)})
            if rng.random() < 0.3:
                at += timedelta(minutes=9)
                orders.append(
                    {"user": f"u{number}", "timestamp": at, "units": 1, "revenue": "19.99"}
                )
    for name, rows in {"assignments": assignments, "clicks": clicks, "orders": orders}.items():
        plain = [{**row, "timestamp": f"{row['timestamp']:%Y-%m-%dT%H:%M:%S}"} for row in rows]
        write(folder / f"{name}.csv", plain)
    return counts


def test_an_ab_test_needs_two_commands(desk):
    desk.run("paretoscope init my-test --template ab-test")
    counts = ab_test(desk.folder / "my-test/data/log")
    desk.run("paretoscope study", within="my-test")

    report = (desk.folder / "my-test/data/studies/my-test/report/report.md").read_text("utf-8")
    lift = (counts["treatment"] / counts["control"] - 1) * 100
    assert f"{counts['control']:,}" in report
    assert f"{lift:.1f}%" in report or f"{lift:.0f}%" in report
    assert "SRM" in report
    desk.conclude()


def test_an_export_of_analytics_needs_three_commands(desk):
    desk.run("paretoscope init my-shop --template ga4")
    export = ga4.export(sessions=1500, items=150)
    ga4.write(export, desk.folder / "my-shop/data/raw/events.csv")
    validated = desk.run("paretoscope validate-data", within="my-shop")
    desk.run("paretoscope study", within="my-shop")

    expected = ga4.counts(export)
    assert f"{expected['sessions']:,} sessions" in validated
    folder = desk.folder / "my-shop/data/studies/my-shop/report"
    report = json.loads((folder / "report.json").read_text("utf-8"))
    read = report["data"]["events"]
    assert {name: read[name] for name in expected} == expected
    assert [one["id"] for one in report["hypotheses"]] == ["H1", "H2", "H3", "H4"]
    page = (folder / "index.html").read_text("utf-8")
    assert f"The revenue of the orders is {expected['revenue']:,.2f} EUR" in page
    assert "Replayed" in page
    desk.conclude()


def test_past_tests_need_two_commands(desk):
    desk.run("paretoscope init past --template spreadsheet")
    printed = desk.run("paretoscope meta-analysis tests.csv --report report", within="past")

    assert "recall@20" in printed
    assert list((desk.folder / "past/report").glob("*.html"))
    desk.conclude()
