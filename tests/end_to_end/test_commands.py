"""Commands as real processes with missing artifacts; tests/docs runs those of the README."""

import pytest

STUDY = "data/studies/synthetic-shop"
MATERIALIZE = ("dagster", "asset", "materialize", "--select")


@pytest.mark.slow
def test_dagster_alone_creates_the_report_and_names_missing_artifacts(run, small_project):
    alone = run(*MATERIALIZE, "regression_report")
    unpinned = run(*MATERIALIZE, "*regression_report")
    generated = run("python", "-m", "pipeline.cli", "generate")
    everything = run(*MATERIALIZE, "*regression_report")
    again = run(*MATERIALIZE, "regression_report")

    assert alone.returncode != 0
    last = alone.stderr.strip().splitlines()[-1]
    assert last.startswith("Failed: ")
    assert "is missing. Create it with: dagster asset materialize --select" in last
    assert unpinned.returncode != 0
    assert "raw data data/raw/synthetic-shop.jsonl is missing" in unpinned.stderr
    assert generated.returncode == 0, generated.stderr
    assert everything.returncode == 0, everything.stderr
    assert again.returncode == 0, again.stderr
    assert "leaked" not in everything.stderr
    assert (small_project / STUDY / "report/index.html").is_file()
