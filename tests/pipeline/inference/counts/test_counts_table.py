"""Columns of a table of counts: names, groups, metrics and their errors."""

import numpy as np
import polars as pl
import pytest

from pipeline.core.errors import DataError
from pipeline.core.table_file import ReadAs
from pipeline.inference.counts.columns import CountsOptions
from pipeline.inference.counts.counts_table import read_counts

BASE = {
    "group": ["a", "b", "c"],
    "impressions": [1000, 1100, 1200],
    "clicks": [100, 120, 130],
    "auc": [0.6, 0.7, 0.8],
}


def read(table, /, **options):
    return read_counts(pl.DataFrame(table, strict=False), CountsOptions(**options))


def renamed(**names):
    return {names.get(name, name): values for name, values in BASE.items()}


def notes(table, kind):
    return [(one.columns, one.value) for one in table.notes if one.kind == kind]


@pytest.mark.parametrize(
    ("table", "options"),
    [
        (renamed(impressions="exposures", group="variant"), {}),
        (renamed(impressions="Impressions", clicks=" CLICKS ", group="Group"), {}),
        (renamed(impressions="shown"), {"columns": {"impressions": "shown"}}),
        (renamed(impressions="shown") | {"impressions": [1, 1, 1]},
         {"columns": {"impressions": "shown"}}),
        (BASE | {"views": [5, 5, 5]}, {}),
    ],
    ids=str,
)  # fmt: skip
def test_columns_are_found_under_other_names(table, options):
    found = read(table, **options)

    assert found.counts["impressions"] == BASE["impressions"]
    assert found.counts["clicks"] == BASE["clicks"]
    assert list(found.values) == ["auc"]
    assert notes(found, ReadAs.NAME) or notes(found, ReadAs.DUPLICATE_IGNORED)


def test_a_missing_column_is_named_with_the_option_that_maps_it():
    with pytest.raises(DataError, match=r"no column clicks; .*Name yours: --clicks COLUMN"):
        read(renamed(clicks="taps"))
    with pytest.raises(DataError, match="no column 'taps', declared as clicks"):
        read(BASE, columns={"clicks": "taps"})
    with pytest.raises(DataError, match="'taps' is not a column of counts"):
        read(BASE, columns={"taps": "clicks"})


@pytest.mark.parametrize(
    "groups",
    [["01", "1", "2"], ["1e5", "100000", "2e5"], ["a", "A", "a b"], ["true", "True", "0x10"],
     ["1.0", "1", "1.00"], ["2024-01-01", "2024-1-1", "nan"]],
    ids=str,
)  # fmt: skip
def test_names_of_groups_are_strings(groups, tmp_path):
    file = tmp_path / "t.csv"
    rows = zip(groups, BASE["impressions"], BASE["clicks"], BASE["auc"], strict=True)
    lines = [",".join(map(str, row)) for row in rows]
    file.write_text("\n".join(["group,impressions,clicks,auc", *lines]))

    assert list(read_counts(file, CountsOptions()).groups) == groups
    assert list(read(BASE | {"group": groups}).groups) == groups


def test_integers_name_groups_and_decimals_do_not():
    assert read(BASE | {"group": [1, 2, 10]}).groups == ("1", "2", "10")
    with pytest.raises(DataError, match=r"row 1: group is the number 1\.0"):
        read(BASE | {"group": [1.0, 2.0, 3.0]})


@pytest.mark.parametrize(
    ("group", "words"),
    [
        ("Total", r"row 4 \(group Total\) is a total of the other rows by its name; remove it"),
        ("GESAMT:", "is a total"),
        ("overall", "is a total"),
        ("x", r"row 4 \(group x\) has the sums of all other rows in impressions, clicks"),
        ("a", "group a is in the rows 1 and 4"),
        (" a ", "group a is in the rows 1 and 4"),
        ("", "row 4 has no group"),
        (None, "row 4 has no group"),
    ],
)
def test_a_total_row_is_refused_by_name(group, words):
    table = {
        name: [*values, sum(values) if name != "group" else group] for name, values in BASE.items()
    }

    with pytest.raises(DataError, match=words):
        read(table)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"clicks": [100, 1101, 130]}, r"row 2: group b has 1100 impressions and 1101 clicks"),
        ({"orders": [1, 2, 131]}, r"row 3: group c has 130 clicks and 131 orders"),
        ({"clicks": [1.5, 2, 3]}, r"clicks is 1\.5; expected an integer of 0 or more"),
        ({"clicks": [-1, 2, 3]}, "clicks is -1; expected an integer of 0 or more"),
        ({"clicks": [None, 2, 3]}, r"row 1 \(group a\): clicks is missing"),
        ({"clicks": ["inf", 2, 3]}, "clicks is inf"),
        ({"clicks": ["many", "few", "some"]}, "clicks is .'many', .*; expected numbers"),
        ({"users": [0, 5, 5]}, "0 users and 1000 impressions"),
        ({"units": [0.5, 1, 1]}, r"units is 0\.5; expected an integer"),
        ({"share": [0.5, 0, 0.5]}, r"row 2 \(group b\): share is 0.0; expected positive numbers"),
        ({"share": [0.5, None, 0.5]}, "share is missing"),
    ],
    ids=str,
)
def test_a_count_that_is_none_is_refused(changes, words):
    with pytest.raises(DataError, match=words):
        read(BASE | changes)


def test_amounts_are_net_of_refunds_and_may_have_decimals():
    found = read(BASE | {"revenue": [-5.25, 100, 2.5], "units": [-1, 3, 4]})

    assert found.counts["revenue"] == [-5.25, 100, 2.5]
    assert found.counts["units"] == [-1, 3, 4]


@pytest.mark.parametrize(
    "name",
    [
        "auc_se",
        "auc_SE",
        "auc_stderr",
        "auc_std_err",
        "auc_std_error",
        "auc_standard_error",
        "se_auc",
    ],
)
def test_a_standard_error_is_never_a_metric(name):
    found = read(BASE | {name: [0.01, 0.02, 0.03]})

    assert list(found.values) == ["auc"]
    assert found.errors.covariances()["auc"] == pytest.approx(np.diag([1e-4, 4e-4, 9e-4]))


@pytest.mark.parametrize(
    ("column", "values", "kind"),
    [
        ("auc_sd", [0.1, 0.1, 0.2], ReadAs.UNCERTAINTY_IGNORED),
        ("auc_ci_low", [0.5, 0.6, 0.7], ReadAs.UNCERTAINTY_IGNORED),
        ("auc_n", [50, 60, 70], ReadAs.UNCERTAINTY_IGNORED),
        ("ctr", [0.1, 0.11, 0.108], ReadAs.KPI_IGNORED),
        ("ctr_se", [0.1, 0.11, 0.108], ReadAs.KPI_IGNORED),
        ("click rate in %", [10, 12000 / 1100, 13000 / 1200], ReadAs.KPI_IGNORED),
        ("comment", ["old", "new", ""], ReadAs.STRINGS_IGNORED),
        ("exposures", [5, 6, 7], ReadAs.DUPLICATE_IGNORED),
    ],
)
def test_columns_that_are_no_metrics_are_named(column, values, kind):
    found = read(BASE | {column: values})

    assert list(found.values) == ["auc"]
    assert [columns for columns, _ in notes(found, kind)] == [(column,)]


def test_declared_metrics_are_the_only_ones():
    found = read(BASE | {"day": [1, 2, 3], "mrr": [0.1, 0.2, 0.3]}, metrics=("mrr",))

    assert list(found.values) == ["mrr"]
    assert notes(found, ReadAs.UNSELECTED_IGNORED) == [(("auc", "day"), "")]
    with pytest.raises(DataError, match="no numeric column 'ndcg'; found auc"):
        read(BASE, metrics=("ndcg",))


def test_an_r_squared_is_a_metric_and_no_replicate():
    assert list(read(BASE | {"auc_r2": [0.1, 0.2, 0.3]}).values) == ["auc", "auc_r2"]


def test_a_covariance_is_read_by_group():
    matrix = [[4e-4, 1e-4, 0], [1e-4, 4e-4, 1e-4], [0, 1e-4, 4e-4]]
    columns = {f"auc_cov_{name}": column for name, column in zip("abc", matrix, strict=True)}

    found = read(BASE | columns)

    assert list(found.values) == ["auc"]
    assert found.errors.covariances()["auc"].tolist() == matrix
    table = found.covariance().filter(preference_id="a", other_preference_id="b")
    assert table.select("metric", "covariance", "method").rows() == [("auc", 1e-4, "given")]


def test_replicates_become_a_covariance():
    rng = np.random.default_rng(1)
    drawn = np.array(BASE["auc"]) + rng.normal(0, 0.02, (40, 3))
    columns = {f"auc_r{n + 1}": row.tolist() for n, row in enumerate(drawn)}

    found = read(BASE | columns)

    assert list(found.values) == ["auc"]
    assert found.errors.covariances()["auc"] == pytest.approx(np.cov(drawn, rowvar=False))
    assert found.replicates()["replicates"].to_list()[0] == drawn[:, 0].tolist()


def test_replicates_of_the_factors_are_those_of_their_product():
    factors = {
        "recall@20": [0.4, 0.41, 0.42], "recall@20_r1": [0.39, 0.41, 0.43],
        "recall@20_r2": [0.41, 0.42, 0.41], "od@20": [0.06, 0.05, 0.04],
        "od@20_r1": [0.06, 0.06, 0.04], "od@20_r2": [0.05, 0.05, 0.05],
    }  # fmt: skip
    base = {name: BASE[name] for name in ("group", "impressions", "clicks")}

    covariance = read(base | factors).covariance()

    of_a = covariance.filter(
        metric="recall_order_density", preference_id="a", other_preference_id="a"
    )
    assert of_a["covariance"][0] == pytest.approx(np.var([0.39 * 0.06, 0.41 * 0.05], ddof=1))


def test_errors_of_paired_sessions_are_correlated():
    found = read(BASE | {"auc_se": [0.01, 0.02, 0.03]}, error_correlation=0.5)

    assert found.errors.covariances()["auc"][0, 1] == pytest.approx(0.5 * 0.01 * 0.02)
    assert found.errors.methods == {"auc": "correlated"}


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"auc_se": [0.1, None, 0.1]}, r"auc_se is missing in row 2 \(group b\); expected a number"),
        ({"auc_se": [0.1, -0.1, 0.1]}, r"auc_se is -0\.1 in row 2"),
        ({"auc_se": [0.1, "inf", 0.1]}, "auc_se is inf in row 2"),
        ({"mrr_se": [0.1, 0.1, 0.1]}, "mrr_se has the standard errors of mrr, but there is no column"),
        ({"auc_cov_a": [1, 0, 0], "auc_cov_b": [0, 1, 0]}, "has no column auc_cov_c; expected one per"),
        ({"auc_cov_a": [1, 0, 0], "auc_cov_b": [1, 1, 0], "auc_cov_c": [0, 0, 1]}, "is not symmetric"),
        ({"auc_cov_a": [1, 2, 0], "auc_cov_b": [2, 1, 0], "auc_cov_c": [0, 0, 1]},
         "has a negative eigenvalue"),
        ({"auc_se": [0.1] * 3, "auc_r1": [0.1] * 3, "auc_r2": [0.1] * 3}, "are given twice"),
        ({"mrr_r1": [0.1] * 3, "mrr_r2": [0.1] * 3}, "replicates of mrr, but there is no column mrr"),
    ],
    ids=str,
)  # fmt: skip
def test_errors_that_are_none_are_refused_by_name(columns, words):
    with pytest.raises(DataError, match=words):
        read(BASE | columns)
