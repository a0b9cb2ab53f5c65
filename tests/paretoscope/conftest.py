"""A finished small study, and a study of two variants."""

from pathlib import Path
from shutil import copytree

import polars as pl
import pytest
import yaml

import paretoscope as ps
from pipeline.study import PARAMS_FILE


def write_params(folder: Path, params: dict) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / PARAMS_FILE).write_text(yaml.safe_dump(params), encoding="utf-8")
    return folder


@pytest.fixture
def study(finished_study, tmp_path, monkeypatch) -> ps.Study:
    """A copy of the finished study, in the working directory."""
    copytree(finished_study, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return ps.open_study()


@pytest.fixture(scope="session")
def two_variants(small_params) -> dict:
    """The parameters of a study of two variants and their log."""
    experiment = {"source": "files", "log_path": "log", "variants": "variants.csv"}
    hypothesis = {"id": "H1", "metric": "recall@20", "kpi": "ctr", "direction": "positive"}
    return small_params | {
        "study": {"name": "two-variants", "seed": 1},
        "experiment": {"name": "two-variants", **experiment},
        "regression": {"level": 0.95, "hypotheses": [hypothesis]},
    }


@pytest.fixture
def two_variants_project(tmp_path, two_variants) -> Path:
    """A project of 400 users with 10 impressions each; the treatment is clicked more often."""
    folder = write_params(tmp_path / "variants", two_variants)
    shares = {"variant": ["control", "treatment"], "share": [1, 1], "recall@20": [0.30, 0.36]}
    pl.DataFrame(shares).write_csv(folder / "variants.csv")
    number = pl.int_range(4_000)
    user = number % 400
    noise = (user * 7 + number // 400 * (3 + user % 11)) % 10
    clicked = noise < pl.when(user % 2 == 0).then(2).otherwise(4)
    impressions = pl.select(
        experiment=pl.lit("two-variants"),
        impression=pl.format("i{}", number),
        user=pl.format("u{}", user),
        group=pl.when(user % 2 == 0).then(pl.lit("control")).otherwise(pl.lit("treatment")),
        ts=1_760_000_000_000 + (number // 400) * 86_400_000 + user * 1_000,
        clicked=clicked,
        ordered=clicked & (user % 5 == 0),
        units=(clicked & (user % 5 == 0)).cast(pl.Int32),
    )
    (folder / "log").mkdir()
    impressions.write_csv(folder / "log" / "impressions.csv")
    return folder
