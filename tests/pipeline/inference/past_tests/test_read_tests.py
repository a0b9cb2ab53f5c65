"""Tables of past tests of every form: effects redone by hand, by scipy and by statsmodels."""

import numpy as np
import polars as pl
import pytest
from scipy import stats
from statsmodels.stats.contingency_tables import StratifiedTable, Table2x2

from pipeline.core.errors import DataError
from pipeline.inference.past_tests.columns import PastTestsOptions
from pipeline.inference.past_tests.effects import pair
from pipeline.inference.past_tests.read_tests import is_table, read_past_tests

SIX = """test,owner,recall_delta,recall_delta_se,ctr_lift,ctr_lift_ci_low,ctr_lift_ci_high
spring,anna,0.012,0.002,1.0%,0.2%,1.8%
summer,ben,0.030,0.002,2.4%,1.6%,3.2%
autumn,anna,-0.008,0.002,-0.9%,-1.7%,-0.1%
winter,ben,0.021,0.002,1.6%,0.8%,2.4%
easter,anna,0.004,0.002,0.6%,-0.2%,1.4%
pentecost,ben,0.017,0.002,1.1%,0.3%,1.9%
"""


def read(source, path=None, **options):
    if path is not None:
        path.write_text(source, encoding="utf-8")
        source = path
    return read_past_tests(source, PastTestsOptions(**options))


def effect(found, name, test, variant=None):
    rows = found.effects.filter(name=name, test=test)
    (row,) = (
        row for row in rows.iter_rows(named=True) if variant is None or row["variant"] == variant
    )
    return row["estimate"], (row["variance"] + row["shared"] ** 2) ** 0.5


def test_six_past_tests_of_a_spreadsheet(tmp_path):
    found = read(SIX, tmp_path / "six.csv")

    assert (found.kpis, found.metrics) == (("ctr_lift",), ("recall_delta",))
    lift, error = effect(found, "ctr_lift", "summer")
    assert lift == pytest.approx(0.024)
    assert error == pytest.approx((0.032 - 0.016) / (2 * stats.norm.ppf(0.975)))
    assert effect(found, "recall_delta", "autumn") == pytest.approx((-0.008, 0.002))
    assert found.left_out == ()


def test_one_row_per_metric_is_the_same_as_one_row_per_test(tmp_path):
    wide = read(SIX.replace("%", ""), tmp_path / "wide.csv")
    rows = [
        {
            "experiment": one["test"],
            "metric": name,
            "effect": one[name],
            "lower": low,
            "upper": high,
        }
        for one in pl.read_csv(tmp_path / "wide.csv").iter_rows(named=True)
        for name, low, high in (
            ("ctr_lift", one["ctr_lift_ci_low"], one["ctr_lift_ci_high"]),
            (
                "recall_delta",
                one["recall_delta"] - 1.959964 * 0.002,
                one["recall_delta"] + 1.959964 * 0.002,
            ),
        )
    ]

    long = read(pl.DataFrame(rows))

    for name in ("ctr_lift", "recall_delta"):
        for test in ("spring", "autumn"):
            assert effect(long, name, test) == pytest.approx(effect(wide, name, test), rel=1e-6)


COUNTS = pl.DataFrame(
    {
        "test": ["a", "a", "b", "b", "b", "c", "c"],
        "variant": ["B", "control", "control", "B", "C", "X", "Y"],
        "impressions": [10_000, 10_000, 50_000, 48_000, 49_000, 20_000, 21_000],
        "clicks": [1_050, 1_000, 1_000, 1_010, 1_060, 3_000, 3_300],
        "recall@20": [0.42, 0.40, 0.40, 0.43, 0.46, 0.30, 0.33],
    }
)


def test_counts_are_compared_within_their_test_as_statsmodels_compares_them():
    found = read(COUNTS)

    table = Table2x2([[1_050, 8_950], [1_000, 9_000]])
    assert effect(found, "ctr", "a") == pytest.approx((table.log_riskratio, table.log_riskratio_se))
    third = Table2x2([[3_300, 17_700], [3_000, 17_000]])  # X, the first, is the control
    assert effect(found, "ctr", "c") == pytest.approx((third.log_riskratio, third.log_riskratio_se))
    assert effect(found, "recall@20", "b", "C") == pytest.approx((np.log(0.46 / 0.40), 0))


def test_variants_of_one_test_share_the_errors_of_their_control():
    pairs = pair(read(COUNTS).effects, "recall@20", "ctr")

    block = pairs.blocks[1]
    control, first, second = (
        (1 - p) / (n * p) for p, n in ((0.02, 50_000), (1010 / 48e3, 48e3), (1060 / 49e3, 49e3))
    )
    expected = [[control + first, control], [control, control + second]]
    np.testing.assert_allclose(block.lift_noise_ECC[0], expected)
    assert (pairs.tests, pairs.contrasts) == (3, 4)


def test_base_rates_are_never_pooled():
    """Simpson's paradox: the variant wins each test, and loses in the sums."""
    counts = pl.DataFrame(
        {
            "test": ["low", "low", "high", "high"],
            "variant": ["control", "B", "control", "B"],
            "impressions": [10_000, 90_000, 90_000, 10_000],
            "clicks": [100, 1_080, 9_000, 1_100],
            "recall@20": [0.4, 0.44, 0.4, 0.44],
        }
    )

    found = read(counts)

    lifts = [effect(found, "ctr", test)[0] for test in ("low", "high")]
    assert lifts == pytest.approx([np.log(0.012 / 0.010), np.log(0.11 / 0.10)])
    pooled = StratifiedTable(
        [np.array([[1_080, 88_920], [100, 9_900]]), np.array([[1_100, 8_900], [9_000, 81_000]])]
    )
    assert pooled.riskratio_pooled > 1 > (2_180 / 100_000) / (9_100 / 100_000)


ARCHIVE = {
    "experiment_id": ["e1"] * 4 + ["e2"] * 4,
    "variant_id": [1] * 8,
    "metric_id": [1, 1, 2, 2] * 2,
    "time_since_start": [1, 2, 1, 2] * 2,
    "count_c": [50, 100, 50, 100, 80, 200, 80, 200],
    "count_t": [50, 110, 50, 110, 80, 190, 80, 190],
    "mean_c": [0.1, 0.2, 3.0, 4.0, 0.5, 0.4, 2.0, 2.5],
    "mean_t": [0.3, 0.25, 3.0, 4.4, 0.5, 0.5, 2.0, 2.4],
    "variance_c": [0.1, 0.16, 1.0, 2.0, 0.2, 0.24, 1.0, 1.5],
    "variance_t": [0.1, 0.18, 1.0, 2.2, 0.2, 0.25, 1.0, 1.4],
}


def test_an_archive_of_means_and_variances_by_day_is_read_at_its_last_day():
    found = read(pl.DataFrame(ARCHIVE), kpis=("1",), difference=True)

    lift, error = effect(found, "1", "e1")
    welch = stats.ttest_ind_from_stats(0.25, 0.18**0.5, 110, 0.2, 0.16**0.5, 100, equal_var=False)
    assert lift / error == pytest.approx(welch.statistic)
    assert found.metrics == ("2",)
    ratio, ratio_error = effect(read(pl.DataFrame(ARCHIVE), kpis=("1",)), "2", "e2")
    assert ratio == pytest.approx(np.log(2.4 / 2.5))
    assert ratio_error == pytest.approx((1.4 / 190 / 2.4**2 + 1.5 / 200 / 2.5**2) ** 0.5)


def test_rows_of_variants_are_the_same_as_rows_of_pairs():
    pairs = pl.DataFrame(ARCHIVE)
    keys = ["experiment_id", "metric_id", "time_since_start"]
    sides = [
        pairs.select(
            *keys,
            variant_id=pl.lit(name),
            count=f"count_{side}",
            mean=f"mean_{side}",
            variance=f"variance_{side}",
        )
        for name, side in (("control", "c"), ("1", "t"))
    ]

    found = read(pl.concat(sides), kpis=("1",))

    expected = read(pairs, kpis=("1",))
    for name, test in (("1", "e1"), ("2", "e2")):
        assert effect(found, name, test) == pytest.approx(effect(expected, name, test))


def test_what_cannot_be_used_is_counted_under_a_reason():
    table = pl.DataFrame(
        {
            "test": ["a", "b", "c", "d"],
            "auc": [0.1, None, 0.2, 0.3],
            "auc_se": [0.01] * 4,
            "cvr_lift": [0.1, 0.2, 0.0, 0.1],
            "cvr_lift_se": [0.1, 0.1, None, 0.0],
        }
    )

    found = read(table)

    assert {(one.name, one.reason, one.tests, one.example) for one in found.left_out} == {
        ("auc", "no_estimate", 1, "b"),
        ("cvr_lift", "no_error", 2, "c"),
    }


def test_a_test_with_one_variant_is_left_out_with_a_line():
    lone = COUNTS.filter(~((pl.col("test") == "a") & (pl.col("variant") == "B")))

    found = read(lone)

    assert [(one.name, one.reason, one.tests, one.example) for one in found.left_out] == [
        ("ctr", "one_variant", 1, "a"),
        ("recall@20", "one_variant", 1, "a"),
    ]
    assert set(found.effects["test"]) == {"b", "c"}


def test_a_metric_without_a_row_in_a_test_is_left_out_with_a_line():
    rows = [
        {"test": test, "metric": name, "effect": 0.01, "se": 0.001}
        for test in "abc"
        for name in ("ctr_lift", "auc")
        if (test, name) != ("b", "auc")
    ]

    found = read(pl.DataFrame(rows))

    assert [(one.name, one.reason, one.example) for one in found.left_out] == [
        ("auc", "no_estimate", "b")
    ]


@pytest.mark.parametrize("size", [2e15, -1e200, 1e308, np.inf])
@pytest.mark.parametrize("column", ["auc", "auc_se", "cvr_lift", "cvr_lift_se"])
def test_numbers_that_cannot_be_computed_with_are_left_out(column, size):
    table = {name: [0.1, 0.2, 0.3] for name in ("auc", "auc_se", "cvr_lift", "cvr_lift_se")}
    table[column][1] = abs(size) if column.endswith("_se") else size

    found = read(pl.DataFrame({"test": ["a", "b", "c"], **table}))

    assert [(one.name, one.reason, one.tests, one.example) for one in found.left_out] == [
        (column.removesuffix("_se"), "out_of_range", 1, "b")
    ]


@pytest.mark.parametrize("size", [0.0, -0.0, 1e-16, 1e-200, 5e-324])
def test_a_standard_error_that_vanishes_is_none(size):
    table = {"test": ["a", "b"], "auc": [0.1, 0.2], "cvr_lift": [0.1, 0.2]}

    found = read(pl.DataFrame({**table, "cvr_lift_se": [0.1, size]}))

    assert [(one.reason, one.example) for one in found.left_out] == [("no_error", "b")]


def test_a_kpi_without_any_lift_is_refused_with_the_true_cause():
    arms = COUNTS.with_columns(control=pl.lit("X"))
    one_each = COUNTS.unique("test", maintain_order=True)
    wide = pl.DataFrame({"test": ["a", "b"], "auc": [0.1, 0.2], "cvr_lift": [0.1, 0.2]})

    def refused(table, words, **options):
        with pytest.raises(DataError, match=words):
            read(table, **options)

    refused(one_each, "no test has a lift of ctr: none has two variants")
    refused(arms.filter(test="b"), "no test has a variant 'X', the control", control="X")
    refused(wide.with_columns(cvr_lift_se=0.0), "no standard error is above 1e-15")
    refused(wide.with_columns(cvr_lift_se=0.1, cvr_lift=1e200), r"each is beyond ±1e\+15")
    refused(wide, "expected a column cvr_lift_se")


def test_an_option_that_a_table_has_no_use_for_is_refused(tmp_path):
    long = pl.DataFrame(
        {"test": ["a", "a"], "metric": ["ctr_lift", "auc"], "effect": [0.1, 0.2], "se": [0.1, 0.1]}
    )

    for table, option, words in (
        (SIX, {"control": "X"}, "--control X does not apply.*Leave --control out"),
        (SIX, {"difference": True}, "--difference does not apply.*Leave --difference out"),
        (long, {"control": "X"}, "--control X does not apply"),
        (pl.DataFrame(ARCHIVE), {"control": "X", "kpis": ("1",)}, "--control X does not apply"),
    ):
        path = tmp_path / "six.csv" if isinstance(table, str) else None
        with pytest.raises(DataError, match=words):
            read(table, path, **option)
    assert read(COUNTS, control="B").left_out[0].reason == "no_control"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"test": None}, "no column of tests.*--test COLUMN"),
        ({"ctr_lift": None, "ctr_lift_se": None}, "none is a KPI; name the KPI: --kpi NAME"),
        ({"auc": None}, "none is a metric; name the metrics: --metric NAME"),
        ({"ctr_lift_se": None}, "no test has a lift of ctr_lift.*ctr_lift_se, or ctr_lift_ci_low"),
        ({"ctr_lift_se": [0.1, -0.1]}, "test b: the error of ctr_lift is negative"),
        ({"test": ["a", "a"]}, "a occurs 2 times.*--variant COLUMN"),
        ({"test": ["a", ""]}, "row 2 has no test"),
        ({"auc": ["high", "0.2"]}, "auc is 'high' in row 1"),
    ],
)
def test_a_table_that_is_none_is_refused(changes, words):
    table = {
        "test": ["a", "b"],
        "auc": [0.1, 0.2],
        "ctr_lift": [0.1, 0.2],
        "ctr_lift_se": [0.1, 0.1],
    }
    kept = {name: cells for name, cells in {**table, **changes}.items() if cells is not None}

    with pytest.raises(DataError, match=words):
        read(pl.DataFrame(kept))


def test_an_interval_that_does_not_include_its_change_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"test spring.*does not include the change"):
        read(SIX.replace("0.2%,1.8%", "1.1%,1.8%"), tmp_path / "six.csv")


def test_reports_and_tables_are_told_apart(tmp_path):
    table, report = tmp_path / "tests.json", tmp_path / "report.json"
    table.write_text('[{"test": "a"}]')
    report.write_text('{"hypotheses": []}')

    assert is_table([table])
    assert not is_table([report])
    assert not is_table([report, report])
    with pytest.raises(DataError, match=r"tests\.csv is not a report\.json"):
        is_table([report, tmp_path / "tests.csv"])


@pytest.mark.parametrize("users", ["users", "Users"])
def test_users_of_variants_are_a_count_where_there_is_no_column_of_names(tmp_path, users):
    rows = [
        ("t1", "a", 1000, 300),
        ("t1", "b", 1000, 330),
        ("t2", "a", 900, 270),
        ("t2", "b", 900, 280),
    ]
    table = pl.DataFrame(rows, schema=["test", "variant", users, "clicks"], orient="row")
    table = table.with_columns(
        impressions=10 * pl.col(users), recall=pl.Series([0.1, 0.2, 0.1, 0.15])
    )

    found = read(table.write_csv(), tmp_path / "users.csv")

    assert found.kpis == ("ctr", "clicks_per_user")
    assert found.metrics == ("recall",)


@pytest.mark.parametrize("counts", ["impressions,revenue", "impressions,units"])
def test_counts_without_a_kpi_are_one_error(tmp_path, counts):
    with pytest.raises(DataError, match="none"):
        read(f"test,variant,{counts}\na,c,10,5\na,t,10,6\n", tmp_path / "bare.csv")
