"""Every table of a study by name."""

import polars as pl
import pytest

from pipeline.artifacts.storage import StudyPaths
from pipeline.core.contracts import EVENTS, TARGET_SCORES
from pipeline.core.errors import MissingArtifact
from pipeline.core.front_contract import PARETO_FRONT
from pipeline.steps.tables import read_study_table, study_tables
from pipeline.study import PARAMS_FILE, load_study


@pytest.fixture
def paths(finished_study):
    return StudyPaths.of(load_study(finished_study / PARAMS_FILE), finished_study)


def test_tables_have_the_columns_of_their_contracts(paths):
    for name, contract in {"events": EVENTS, "pareto_front": PARETO_FRONT}.items():
        assert read_study_table(paths, name).schema == contract.schema
    scores = read_study_table(paths, "preference_scores")
    assert scores.columns == ["preference_id", *TARGET_SCORES.columns]
    assert scores["preference_id"].n_unique() == 11


def test_the_ingested_log_is_a_table(paths):
    log, kpis = (read_study_table(paths, name) for name in ("experiment_log", "group_kpis"))

    clicks = log.group_by("group").agg(pl.col("clicked").sum()).sort("group")
    assert (
        clicks["clicked"].to_list() == kpis.filter(kpi="ctr").sort("group")["successes"].to_list()
    )


def test_every_listed_table_can_be_read(paths):
    assert {name for name, read in study_tables(paths).items() if not read().width} == set()


def test_a_missing_table_names_the_command_or_the_tables(paths, tmp_path):
    with pytest.raises(MissingArtifact, match="has no table 'group_kpi'; expected one of"):
        read_study_table(paths, "group_kpi")
    with pytest.raises(MissingArtifact, match="--select group_kpis"):
        read_study_table(StudyPaths(tmp_path, "empty"), "group_kpis")
