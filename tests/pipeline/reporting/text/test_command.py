"""The command in a report on counts gives the same report again."""

import shlex

import polars as pl
import pytest

from pipeline.artifacts.storage import read_json
from pipeline.cli import main

TABLE = {
    "variant": ["A b", "B", "C"],
    "views": [10_000, 10_000, 10_000],
    "clicks": [1_000, 1_100, 1_220],
    "my auc": [0.40, 0.44, 0.48],
    "my auc_se": [0.01] * 3,
    "other": [3.0, 1.0, 2.0],
}
OPTIONS = (
    *("--group", "variant", "--impressions", "views", "--metric", "my auc", "--control", "A b"),
    *("--x-reference", "control", "--error-correlation", "0.5", "--margin", "0.02"),
    *("--level", "0.9", "--one-trial-per-user", "--hypothesis", "my auc:ctr:-"),
)


@pytest.mark.slow
@pytest.mark.parametrize("options", [OPTIONS, ("--group", "variant", "--impressions", "views")])
def test_the_command_of_the_report_gives_the_same_report(options, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pl.DataFrame(TABLE).write_csv("counts.csv")
    assert main(["fit", "counts.csv", "--report", "first", *options]) == 0

    page = (tmp_path / "first" / "report.md").read_text("utf-8")
    command = page.partition("```\npa")[2].partition("```")[0].replace("\\\n", " ")
    words = shlex.split(f"pa{command}")
    assert words[:2] == ["paretoscope", "fit"]
    again = ["second" if word == "FOLDER" else word for word in words[1:]]
    assert main(again) == 0

    assert read_json(tmp_path / "second" / "report.json") == read_json(
        tmp_path / "first" / "report.json"
    )
