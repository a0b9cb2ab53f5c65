"""Wrong arguments have one clear error; single values are lists of one."""

import polars as pl
import pytest

import paretoscope as ps
from pipeline.core.errors import DataError, MissingArtifact, StudyError
from tests.paretoscope.test_results import COUNTS, HYPOTHESES

RANKS = pl.DataFrame({"session": ["a", "a", "b"], "rank": [1, 30, 2]})
LISTS = pl.DataFrame({"session": [1, 2], "items": [["a", "b"], ["a", "c"]]})
COVERAGE = ["catalogue_coverage"]


@pytest.mark.parametrize("path", ["zzz", 5])
@pytest.mark.usefixtures("study")
def test_a_study_is_opened_from_an_existing_folder(path):
    with pytest.raises(StudyError, match=f"no folder {path!r}; open_study takes the project's"):
        ps.open_study(path)


@pytest.mark.parametrize("k", [0, -1, 2.5, True, "20"])
def test_a_cutoff_is_an_integer_from_1(k):
    items = pl.DataFrame({"item": ["a", "b", "c"]})
    for frame, metrics, catalogue in ((RANKS, ["recall"], None), (LISTS, COVERAGE, items)):
        with pytest.raises(DataError, match=f"cutoff k = {k!r}: expected an integer of 1 or more"):
            ps.evaluate(frame, metrics, k=k, catalogue=catalogue)


def test_a_metrics_own_cutoff_is_an_integer_from_1():
    with pytest.raises(DataError, match="cutoff k = 0"):
        ps.evaluate(RANKS, ["recall@0"])


def test_ranks_are_not_truncated():
    with pytest.raises(DataError, match=r"column 'rank' holds 1\.5; expected integers"):
        ps.evaluate(RANKS.with_columns(rank=pl.Series([1.0, 1.5, 2.0])))
    whole = ps.evaluate(RANKS.with_columns(pl.col("rank").cast(pl.Float64)), "recall")
    assert whole.to_dict() == ps.evaluate(RANKS, "recall").to_dict()


@pytest.mark.parametrize("items", [["a", "b"], [["a", "b"], ["a", "c"]]])
def test_items_and_the_catalogue_have_the_same_type(items):
    lists = pl.DataFrame({"session": [1, 2], "items": items})
    with pytest.raises(DataError, match="'item' of the catalogue is Int64; expected lists of the"):
        ps.evaluate(lists, COVERAGE, k=2, catalogue=pl.DataFrame({"item": [1, 2, 3]}))


def test_item_integers_may_have_another_width():
    lists = pl.DataFrame({"session": [1], "items": [[1, 2]]})
    items = pl.DataFrame({"item": [1, 2]}, schema={"item": pl.Int32})
    assert ps.evaluate(lists, COVERAGE, k=2, catalogue=items).to_dict()[0]["value"] == 1


def test_results_have_a_short_repr():
    lines = repr(ps.fit(COUNTS, HYPOTHESES)).splitlines()

    assert lines[0] == "Fit: hypotheses on group counts"
    assert [line.split()[:3] for line in lines[-2:]] == [
        ["H1", "recall", "ctr"],
        ["H2", "order_density", "cvr"],
    ]
    assert len(lines) == 4
    assert repr(ps.evaluate(RANKS, "recall")).startswith("Evaluation: offline metrics\n")


def test_a_study_has_html(study):
    html = study.override({"training.epochs": 5})._repr_html_()

    assert study.name in html
    assert "training.epochs" in html
    assert "group_kpis" in html


def test_wrong_types_say_what_is_expected(study):
    with pytest.raises(DataError, match=r"DataFrame has no report; expected a study of"):
        ps.report(COUNTS, "folder")
    for function in (ps.compare, ps.meta_analysis):
        with pytest.raises(DataError, match="found none; expected studies"):
            function([])
    for wrong in ([None], [5], 5):
        with pytest.raises(DataError, match="expected hypotheses METRIC:KPI:SIGN"):
            ps.fit(COUNTS, wrong)
    with pytest.raises(StudyError, match=r"override: found \[1\]; expected a dict such as"):
        study.override([1])
    with pytest.raises(DataError, match=r"call \.collect\(\) first"):
        ps.fit(COUNTS.lazy(), HYPOTHESES)


@pytest.mark.parametrize("level", [95, 0.5, "0.95", None])
def test_a_level_is_a_number_between_a_half_and_1(level, study):
    calls = (
        lambda: ps.fit(COUNTS, HYPOTHESES, level=level),
        lambda: ps.compare([study], level=level),
        lambda: ps.meta_analysis([study], level=level),
    )
    for call in calls:
        with pytest.raises(StudyError, match=rf"level: {level!r} is not .*between 0\.5 and 1"):
            call()


@pytest.mark.usefixtures("study")
def test_one_string_is_a_list_of_one():
    assert len(ps.fit(COUNTS, HYPOTHESES[0]).hypotheses) == 1
    assert ps.evaluate(RANKS, "recall").to_frame().height == 1
    for function in (ps.meta_analysis, ps.compare):
        with pytest.raises(MissingArtifact, match="no report of 'x'"):
            function("x")


def test_a_hypothesis_is_declared_once():
    with pytest.raises(StudyError, match="hypotheses H1 and H2 both test recall on ctr"):
        ps.fit(COUNTS, ["recall@20:ctr:+", "recall:ctr:+"])


def test_an_unknown_metric_names_the_columns_of_the_table():
    with pytest.raises(StudyError, match=r"no column is the metric mrr; found .*recall@20"):
        ps.fit(COUNTS, "mrr:ctr:+")


def test_a_table_without_rows_is_empty():
    with pytest.raises(DataError, match="the table has no rows"):
        ps.fit(COUNTS.clear(), HYPOTHESES)


def test_a_fit_says_why_a_slope_is_undefined():
    same = COUNTS.with_columns(pl.lit(0.4).alias("recall@20"))

    frame = ps.fit(same, HYPOTHESES).to_frame()

    assert frame["slope"][0] is None
    assert frame["undefined_reason"][0]
    assert frame["undefined_reason"][1] is None


def test_what_is_not_a_table_names_the_tables(study):
    with pytest.raises(MissingArtifact, match=r"no table 'regression_report'; expected .*kpis"):
        study.table("regression_report")
