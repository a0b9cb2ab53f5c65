"""The dependency rule holds, and the check that says so can fail."""

import subprocess
import sys
from pathlib import Path

import pytest

LINTER = Path(sys.executable).with_name("lint-imports")


def lint(folder: Path, config: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [LINTER, "--config", config, "--no-cache"],
        cwd=folder,
        env={"PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_no_room_imports_what_is_above_it(project_root):
    done = lint(project_root, project_root / "pyproject.toml")

    assert done.returncode == 0, done.stdout


@pytest.mark.slow
def test_a_model_that_imports_frames_is_caught(project_root, tmp_path):
    for package in ("models", "pipeline", "assets", "paretoscope"):
        for source in (project_root / package).rglob("*.py"):
            copy = tmp_path / source.relative_to(project_root)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(source.read_bytes())
    with (tmp_path / "models/tokens.py").open("a", encoding="utf-8") as module:
        module.write("\nimport polars\n")

    done = lint(tmp_path, project_root / "pyproject.toml")

    assert done.returncode == 1
    assert "models knows tensors only BROKEN" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "unneeded"),
    [
        (
            "pipeline.cli.fit",
            {"torch", "matplotlib", "ibis", "duckdb", "jinja2", "statsmodels", "scipy.stats"},
        ),
        (
            "pipeline.cli.past_tests",
            {"torch", "matplotlib", "ibis", "duckdb", "jinja2", "statsmodels", "scipy.stats"},
        ),
        ("pipeline.cli.data", {"torch", "matplotlib", "ibis", "pandas", "statsmodels"}),
        (
            "pipeline.cli.experiment",
            {"torch", "matplotlib", "ibis", "pandas", "statsmodels", "scipy.stats"},
        ),
        (
            "pipeline.steps.log_validation",
            {"torch", "matplotlib", "ibis", "statsmodels", "scipy.stats", "sqlalchemy"},
        ),
        (
            "pipeline.serving.http.server",
            {
                "pyarrow",
                "pandas",
                "statsmodels",
                "scipy.stats",
                "duckdb",
                "ibis",
                "matplotlib",
                "dagster",
            },
        ),
    ],
)
def test_a_command_imports_only_what_it_needs_to_refuse_its_input(project_root, module, unneeded):
    assert imported(f"import {module}", unneeded, project_root) == []


def test_a_fit_imports_no_study_and_nothing_that_takes_half_a_second(project_root, tmp_path):
    counts = tmp_path / "counts.csv"
    counts.write_text("group,impressions,clicks,auc\na,900,80,.6\nb,900,95,.7\nc,900,99,.8\n")
    run = f"from pipeline.cli import main; assert main(['fit', {str(counts)!r}]) == 0"
    unneeded = {
        *("torch", "pandas", "pyarrow", "statsmodels", "scipy.stats", "matplotlib", "yaml"),
        *("pipeline.study.study", "pipeline.study.dataset", "pipeline.artifacts.storage"),
    }

    assert imported(run, unneeded, project_root) == []


def imported(code: str, names: set[str], folder: Path) -> list[str]:
    """Which of the modules Python has imported after it ran the code."""
    after = f"{code}\nimport sys; print(*sorted({names} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", after], cwd=folder, capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()[-1].split()
