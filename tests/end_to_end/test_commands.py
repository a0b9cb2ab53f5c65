"""Commands as real processes where something is missing; tests/docs does those of the README."""

import pytest

STUDY = "data/studies/synthetic-shop"
MATERIALIZE = ("dagster", "asset", "materialize", "--select")


@pytest.mark.slow
def test_dagster_words_alone_make_the_report_and_name_what_is_missing(run, small_project):
    alone = run(*MATERIALIZE, "regression_report")
    unpinned = run(*MATERIALIZE, "*regression_report")
    generated = run("python", "-m", "pipeline.cli", "generate")
    whole = run(*MATERIALIZE, "*regression_report")
    again = run(*MATERIALIZE, "regression_report")

    assert alone.returncode != 0
    last = alone.stderr.strip().splitlines()[-1]
    assert last.startswith("Failed: ")
    assert "is missing. Create it with: dagster asset materialize --select" in last
    assert unpinned.returncode != 0
    assert "raw data data/raw/synthetic-shop.jsonl is missing" in unpinned.stderr
    assert generated.returncode == 0, generated.stderr
    assert whole.returncode == 0, whole.stderr
    assert again.returncode == 0, again.stderr
    assert "leaked" not in whole.stderr
    assert (small_project / STUDY / "report/index.html").is_file()
