"""Tables of strangers that once crashed, or told more than they hold; every value is worked out here."""

import json
from math import log, nan, sqrt

import numpy as np
import polars as pl
import pytest

import paretoscope as ps
from pipeline.cli import main
from pipeline.core.errors import DataError, StudyError
from pipeline.reporting.report import build_counts_report
from pipeline.reporting.text.reasons import limitation_sentences
from pipeline.reporting.text.summary import answer_sentence
from pipeline.results.serialization import to_dict


def fit(columns, *hypotheses, **options):
    table = {name: list(values) for name, values in columns.items()}
    return ps.fit(pl.DataFrame(table, strict=False), list(hypotheses), **options)


def table(impressions, clicks, auc=(0.6, 0.7, 0.8, 0.85, 0.9, 0.95), **more):
    groups = [f"g{n + 1}" for n in range(len(clicks))]
    columns = {"group": groups, "impressions": impressions, "clicks": clicks}
    return columns | {"auc": auc[: len(clicks)]} | more


def summary(result):
    return {one.id: (one.verdict.value, one.undefined_reason) for one in result.hypotheses}


@pytest.fixture
def as_report(tmp_path):
    """The JSON and the pages of a fit, which hold no NaN."""

    def to(result):
        file = tmp_path / "counts.csv"
        result.source.write_csv(file)
        json.dumps(result.to_dict(), allow_nan=False)
        report = build_counts_report(result.document, file)
        json.dumps(to_dict(report), allow_nan=False)
        page = ps.report(result, tmp_path / "report").page
        return page.read_text("utf-8"), page.with_name("report.md").read_text("utf-8")

    return to


# Two groups: the slope is a difference of log odds, and has no error from groups


@pytest.mark.slow
@pytest.mark.parametrize(
    ("impressions", "clicks", "auc"),
    [
        ([10_000, 12_000], [1000, 1290], [0.70, 0.72]),
        ([10_000, 12_000], [1290, 1000], [0.70, 0.72]),
        ([500, 500], [5, 9], [0.1, 0.3]),
        ([10**12, 10**12], [10**10, 10**10 + 10**7], [0.5, 0.500001]),
    ],
)
def test_two_groups_have_a_slope_and_no_interval_from_groups(impressions, clicks, auc, as_report):
    found = fit(table(impressions, clicks, auc), "auc:ctr:+")

    odds = [y / (n - y) for n, y in zip(impressions, clicks, strict=True)]
    change = auc[1] / auc[0] - 1
    (one,) = found.hypotheses
    assert one.slope == pytest.approx(log(odds[1] / odds[0]) / change, rel=1e-6)
    parts = [1 / y + 1 / (n - y) for n, y in zip(impressions, clicks, strict=True)]
    assert one.standard_error == pytest.approx(sqrt(sum(parts)) / change, rel=1e-6)
    assert one.headline.small_sample_interval is None
    assert one.headline.undefined_reason == "two_groups"
    assert "NaN" not in "".join(as_report(found))


def test_the_published_numbers_of_an_a_b_test():
    (one,) = fit(table([10_000, 12_000], [1000, 1290], [0.70, 0.72]), "auc:ctr:+").hypotheses

    assert one.slope == pytest.approx(2.8241, abs=1e-4)
    assert one.standard_error == pytest.approx(1.5573, abs=1e-4)


# Groups without a success, without users that differ, or with a single user


@pytest.mark.slow
@pytest.mark.parametrize("orders", [[0, 9, 7], [9, 0, 7], [0, 0, 9], [0, 9, 0]], ids=str)
def test_a_group_without_orders_leaves_the_other_kpis(orders, as_report):
    found = fit(
        table([10_000] * 3, [1000, 1050, 1100], (0.40, 0.42, 0.45), orders=orders),
        "auc:ctr:+", "auc:cvr:+", "auc:orders_per_impression:+",
    )  # fmt: skip

    clicks, *of_orders = found.hypotheses
    assert clicks.slope is not None
    assert clicks.headline.interval is not None
    assert all(one.slope is not None or one.undefined_reason for one in of_orders)
    for one in (one for one in of_orders if one.slope is not None):
        assert one.small_sample or one.small_sample_undefined_reason
    as_report(found)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("users", "mm", "my", "yy"),
    [
        ([80, 80, 80, 1], [320, 320, 320, 4], [120, 140, 160, 2], [100, 124, 150, 1]),
        ([1, 1, 1, 1], [160**2, 160**2, 160**2, 4], [9600, 11200, 12800, 2], [3600, 4900, 6400, 1]),
    ],
)
def test_a_group_with_one_user_leaves_the_other_kpis(users, mm, my, yy, as_report):
    sums = {"cvr_users": users, "cvr_sum_mm": mm, "cvr_sum_my": my, "cvr_sum_yy": yy}
    counts = table([1000] * 4, [160, 160, 160, 2], orders=[60, 70, 80, 1], **sums)

    found = fit(counts, "auc:ctr:+", "auc:cvr:+")

    clicks, orders = found.hypotheses
    assert clicks.headline.interval is not None
    assert orders.slope is not None or orders.undefined_reason
    as_report(found)


# Amounts


def amounts(unit=1):
    revenue = [15100, 16900, 15700, 17600, 16900]
    return table(
        [100_000] * 5, [10_000, 10_100, 10_150, 10_250, 10_300], (0.40, 0.41, 0.42, 0.43, 0.44),
        orders=[300, 310, 305, 315, 312], revenue=[unit * one for one in revenue],
    )  # fmt: skip


@pytest.mark.parametrize("unit", [1, 100, 0.01, 1e-9, 1e12])
def test_an_amount_without_user_sums_has_a_slope_in_any_currency_and_no_interval(unit, as_report):
    (euros,) = fit(amounts(), "auc:revenue_per_impression:+").hypotheses
    found = fit(amounts(unit), "auc:revenue_per_impression:+")

    (one,) = found.hypotheses
    assert one.slope == pytest.approx(euros.slope, rel=1e-8)
    assert (one.verdict, one.undefined_reason) == ("undefined", "user_sums_unknown")
    assert one.headline.slope == pytest.approx(euros.headline.slope, rel=1e-8)
    assert (one.headline.interval, one.headline.p_value, one.holm_p_value) == (None, None, None)
    assert found.document.advice[0].action == "undefined"
    unknown = [one for one in found.document.limitations if one.kind == "interval_unknown"]
    assert unknown[0].counts == tuple(
        f"revenue_per_impression_{name}" for name in ("users", "sum_mm", "sum_my", "sum_yy")
    )
    assert "Add revenue_per_impression_users" in limitation_sentences(unknown)[0]
    rows = [row for row in found.document.group_kpis if row.kpi == "revenue_per_impression"]
    assert {(row.standard_error, row.users, row.sum_yy) for row in rows} == {(None, None, None)}
    ranked = [one for one in found.document.metric_ranking if one.kpi == "revenue_per_impression"]
    assert {(one.p_value, one.interval, one.probability_of_best) for one in ranked} == {(None,) * 3}
    as_report(found)


def with_sums(unit):
    rng = np.random.default_rng(3)
    users = 400
    revenue = rng.lognormal(3, 1, (5, users)) * (rng.uniform(size=(5, users)) < 0.3)
    revenue *= np.linspace(1, 1.3, 5)[:, None]
    revenue = np.round(revenue, 2) * unit
    counts = table([users] * 5, [200] * 5, (0.40, 0.41, 0.42, 0.43, 0.44), users=[users] * 5)
    return counts | {
        "revenue": revenue.sum(axis=1).tolist(),
        "revenue_per_user_sum_yy": (revenue**2).sum(axis=1).tolist(),
    }


@pytest.mark.parametrize("unit", [100, 1e-3, 1e9])
def test_an_amount_with_user_sums_has_the_same_answer_in_any_currency(unit):
    euros, other = (
        fit(with_sums(one), "auc:revenue_per_user:+", "auc:revenue_per_impression:-")
        for one in (1, unit)
    )

    for one, same in zip(euros.hypotheses, other.hypotheses, strict=True):
        assert same.verdict == one.verdict
        assert same.headline.slope == pytest.approx(one.headline.slope, rel=1e-6)
        assert same.headline.interval == pytest.approx(one.headline.interval, rel=1e-6)
        assert same.headline.p_value == pytest.approx(one.headline.p_value, rel=1e-6)
    assert [one.action for one in other.document.advice] == [
        one.action for one in euros.document.advice
    ]


def test_sums_beyond_64_bits_are_answered():
    squares = [14388047084486858280, 14541743836630358194, 14707885931169451557]
    counts = table(
        [15_000] * 3, [6000] * 3, orders=[5000] * 3, users=[15_000] * 3,
        revenue=[250_000_000_000, 252_000_000_000, 254_000_000_000],
        revenue_per_user_sum_yy=pl.Series(squares, dtype=pl.Int128),
    )  # fmt: skip
    found = ps.fit(pl.DataFrame(counts), ["auc:revenue_per_user:+"])

    (one,) = found.hypotheses
    # log(254 / 250) over a change of a third, less the bend of the middle group
    assert one.slope == pytest.approx(log(254 / 250) / (0.8 / 0.6 - 1), rel=0.01)
    assert one.headline.interval is not None
    json.dumps(found.to_dict(), allow_nan=False)


@pytest.mark.parametrize("revenue", [[-500, 100, 900], [-1, -2, -3], [0, 0, 0]], ids=str)
def test_more_refunds_than_sales_leave_the_other_kpis(revenue, as_report):
    found = fit(
        table([1000] * 3, [10, 20, 13], orders=[2, 3, 2], revenue=revenue),
        "auc:ctr:+", "auc:revenue_per_impression:+",
    )  # fmt: skip

    clicks, amount = found.hypotheses
    assert clicks.slope is not None
    assert (amount.slope, amount.verdict) == (None, "undefined")
    assert amount.undefined_reason in {"negative_amount", "no_successes"}
    as_report(found)


# Few successes, and answers that nothing supports


@pytest.mark.slow
@pytest.mark.parametrize(
    "orders", [[0, 0, 0, 1, 0, 0], [1, 0, 0, 0, 0, 1], [1, 1, 0, 1, 1, 0]], ids=str
)
def test_a_few_orders_are_no_answer(orders, as_report):
    found = fit(
        table([21948, 16910, 19847, 17093, 19588, 18682], [158, 104, 139, 103, 94, 85],
              (0.61, 0.55, 0.70, 0.66, 0.58, 0.52), orders=orders),
        "auc:cvr:+", "auc:ctr:+",
    )  # fmt: skip

    few, clicks = found.hypotheses
    assert (few.verdict, few.undefined_reason) == ("undefined", "few_successes")
    assert (few.slope, few.p_value, few.required_trials) == (None, None, None)
    assert (few.headline.p_value, few.headline.interval) == (None, None)
    assert clicks.headline.interval is not None
    as_report(found)


def test_three_small_groups_are_inconclusive_and_none_is_to_ship():
    found = fit(table([300] * 3, [27, 36, 42], (0.40, 0.42, 0.44)), "auc:ctr:+")

    assert summary(found) == {"H1": ("inconclusive", None)}
    low, high = found.hypotheses[0].headline.interval
    assert low < 0 < high
    assert found.document.advice[0].action == "inconclusive"
    assert found.document.advice[0].group is None


def test_a_negative_slope_with_few_groups_is_not_contradicted():
    counts = table(
        [49835, 49808, 50061, 50307, 49797], [6001, 5728, 5671, 5529, 5710],
        (0.400, 0.409, 0.421, 0.432, 0.444), users=[5000] * 5, share=[1] * 5, ctr_users=[5000] * 5,
        ctr_sum_mm=[545059, 546224, 549975, 556581, 545937],
        ctr_sum_my=[65502, 62417, 62376, 61455, 62843],
        ctr_sum_yy=[16169, 15070, 14609, 13913, 14768],
    )  # fmt: skip
    (one,) = fit(counts, "auc:ctr:+").hypotheses

    assert one.verdict == "inconclusive"
    assert one.headline.interval == pytest.approx((-1.73, 0.61), abs=0.005)


def test_metrics_of_one_front_are_not_told_apart():
    counts = table(
        [59643, 60192, 59827, 59530, 59931], [6946, 7223, 7275, 7448, 7505],
        (0.400, 0.409, 0.421, 0.432, 0.444), users=[6000] * 5, share=[1] * 5, ctr_users=[6000] * 5,
        ctr_sum_mm=[653481, 664570, 657093, 651232, 658547],
        ctr_sum_my=[76529, 79192, 79704, 81782, 82524],
        ctr_sum_yy=[18374, 19259, 19591, 20070, 20299],
        list_latency_ms=[100, 107, 116, 125, 134], serial_number=[101, 102, 103, 104, 105],
    )  # fmt: skip
    found = fit(counts, "auc:ctr:+", "list_latency_ms:ctr:+")

    for one in found.hypotheses:
        assert one.verdict == "confirmed"
        assert {rival.metric for rival in one.rivals} > {"serial_number"}
    assert found.document.advice[0].optimise is None


def test_the_noise_of_a_metric_widens_its_interval():
    counts = table([21307, 21306, 21387, 21300], [3894, 2262, 3238, 3000], (0.26, 0.20, 0.23, 0.22))
    bare, known = (
        fit(counts | errors, "auc:ctr:+")
        for errors in ({}, {"auc_se": [0.004, 0.003, 0.006, 0.006]})
    )

    assert [one.metric for one in known.document.metric_ranking] == ["auc"]
    (without,), (one,) = bare.hypotheses, known.hypotheses
    # var(x) of 0.3, 0, 0.15, 0.1; the mean error variance of the centred metric over 0.2²
    assert without.headline.reliability is None
    assert 0.9 < one.headline.reliability < 1
    assert one.headline.slope > without.headline.slope  # no longer pulled towards 0
    kinds = [[one.kind for one in found.document.limitations] for found in (bare, known)]
    assert ["metric_covariance_unknown" in kind for kind in kinds] == [True, False]


@pytest.mark.parametrize("form", ["covariance", "replicates"])
def test_every_form_of_errors_reaches_the_slope(form):
    counts = table([21307, 21306, 21387, 21300], [3894, 2262, 3238, 3000], (0.26, 0.20, 0.23, 0.22))
    if form == "covariance":
        square = (np.eye(4) * 25e-6).tolist()
        errors = {f"auc_cov_g{n + 1}": row for n, row in enumerate(square)}
    else:
        drawn = np.random.default_rng(0).normal(counts["auc"], 0.005, (60, 4))
        errors = {f"auc_r{n + 1}": row for n, row in enumerate(drawn.tolist())}

    (one,) = fit(counts | errors, "auc:ctr:+").hypotheses

    assert 0.9 < one.headline.reliability < 1


# The reference of x


def with_errors():
    auc_se = [0.004, 0.003, 0.006, 0.006]
    return table([21307, 21306, 21387, 21300], [3894, 2262, 3238, 3000], (0.26, 0.20, 0.23, 0.22),
                 auc_se=auc_se)  # fmt: skip


def test_x_relative_to_the_control_is_the_papers_x_on_another_scale():
    (worst,), (control,) = (
        fit(with_errors(), "auc:ctr:+", control="g3", x_reference=one).hypotheses
        for one in ("worst", "control")
    )

    # M / M_3 - 1 = (M / M_2 - 1) M_2 / M_3 + const, so that slopes are M_3 / M_2 times as steep
    assert control.slope == pytest.approx(worst.slope * 0.23 / 0.20, rel=1e-6)
    assert [point.x for point in control.points] == pytest.approx(
        [0.26 / 0.23 - 1, 0.20 / 0.23 - 1, 0, 0.22 / 0.23 - 1]
    )
    assert control.points[2].x_standard_error == 0
    assert control.headline.p_value == pytest.approx(worst.headline.p_value, rel=0.2)
    assert control.verdict == worst.verdict


def test_x_may_be_a_logarithm(as_report):
    found = fit(with_errors(), "auc:ctr:+", x_reference="log")

    (one,) = found.hypotheses
    assert [point.x for point in one.points] == pytest.approx(
        [log(0.26 / 0.20), 0, log(0.23 / 0.20), log(0.22 / 0.20)]
    )
    assert one.points[0].x_standard_error == pytest.approx(0.004 / 0.26)
    assert one.x_reference == "log"
    assert 0 < one.headline.reliability < 1
    as_report(found)


def test_a_reference_that_is_none_is_refused():
    with pytest.raises(
        StudyError, match=r"no control is declared; set regression\.advice\.control"
    ):
        fit(with_errors(), "auc:ctr:+", x_reference="control")
    with pytest.raises(StudyError, match="x_reference: 'best' is not one of worst, control, log"):
        fit(with_errors(), "auc:ctr:+", x_reference="best")


# Diagnostics and groups


def test_a_group_that_was_lost_blocks_the_verdict():
    found = fit(
        table([0, 9000, 8000], [0, 200, 300], users=[0, 9000, 9000], share=[1, 1, 1]), "auc:ctr:+"
    )

    assert not found.document.diagnostics.sample_ratio.passed
    assert found.document.advice[0].action == "blocked"


def test_a_check_that_looked_at_nothing_is_not_run():
    found = fit(table([1000] * 3, [100, 120, 130]), "auc:ctr:+")

    assert found.document.diagnostics.sample_ratio is None
    assert "SRM check is not run" in " ".join(limitation_sentences(found.document.limitations))
    assert dict(found.document.diagnostics.items()) == {}


@pytest.mark.parametrize("hypotheses", [(), ("auc:ctr:+",)])
def test_the_command_answers_a_two_group_table_in_json(tmp_path, capsys, hypotheses):
    file = tmp_path / "counts[1].csv"
    file.write_text("group,exposures,clicks,auc\nA,10000,1000,0.70\nB,12000,1290,0.72\n")
    options = [part for one in hypotheses for part in ("--hypothesis", one)]

    assert main(["fit", str(file), "--json", "--report", str(tmp_path / "r"), *options]) == 0

    found = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert len(found["hypotheses"]) == len(hypotheses)
    assert [one["metric"] for one in found["metric_ranking"]] == ["auc"]


def test_the_command_maps_columns_and_says_how_it_read(tmp_path, capsys):
    file = tmp_path / "tests.csv"
    file.write_text(
        "name;views;taps;auc;day\n01;1.000;10;0,6;1\n1;1.000;20;0,7;2\n2;1.000;13;0,8;3\n"
    )
    names = ["--group", "name", "--impressions", "views", "--clicks", "taps", "--users", "views"]

    assert main(["fit", str(file), *names, "--metric", "auc", "--hypothesis", "auc:ctr:+"]) == 0

    words = capsys.readouterr().out
    for sentence in (
        "The separator is the semicolon.", "name is read as group.", "views is read as impressions.",
        "'.' separates thousands in impressions, users.", "The decimal mark is the comma.",
        "Each user has one impression", "Not selected as metrics: day.",
    ):  # fmt: skip
        assert sentence in words


def test_errors_of_a_table_name_the_row_and_the_remedy(tmp_path, capsys):
    file = tmp_path / "t.csv"
    file.write_text("group,impressions,clicks,auc\na,1000,100,0.6\nTotal,1000,100,0.6\n")

    assert main(["fit", str(file), "--json"]) == 1
    assert "row 2 (group Total) is a total of the other rows" in capsys.readouterr().err


@pytest.mark.slow
def test_a_metric_that_is_undefined_in_a_group_leaves_the_other_metrics(as_report):
    counts = table([1000] * 4, [100, 120, 130, 140], mrr=[0.1, nan, 0.2, 0.3])

    found = fit(counts, "auc:ctr:+", "mrr:ctr:+")

    assert [one.slope is None for one in found.hypotheses] == [False, True]
    as_report(found)


def test_every_refusal_is_a_data_error():
    with pytest.raises(DataError, match="expected two or more different names"):
        fit({"group": ["a"], "impressions": [5], "clicks": [1], "auc": [1]}, "auc:ctr:+")


@pytest.mark.parametrize("error", [0.2, 1.0, 100.0])
def test_a_metric_below_its_noise_has_no_slope(error, as_report):
    columns = table([20_000] * 4, [200, 260, 310, 370], (0.60, 0.62, 0.64, 0.66))

    result = fit(columns | {"auc_se": [error] * 4}, "auc:ctr:+")

    assert summary(result) == {"H1": ("undefined", "metric_within_noise")}
    assert result.hypotheses[0].headline.reliability <= 0
    assert "varies between the groups by no more than its measurement error" in as_report(result)[0]


def test_errors_of_zero_are_no_errors():
    columns = table([10_000] * 4, [100, 115, 118, 160], (0.60, 0.62, 0.64, 0.66))

    exact = fit(columns | {"auc_se": [0.0] * 4}, "auc:ctr:+").hypotheses[0].headline
    none = fit(columns, "auc:ctr:+").hypotheses[0].headline

    assert exact.interval == pytest.approx(none.interval)
    assert exact.p_value == pytest.approx(none.p_value)


def test_an_interval_beyond_all_percentages_is_said_to_rule_out_nothing():
    columns = table([500] * 3, [5, 3, 9], (0.5, 0.5005, 0.5009), users=[500] * 3)

    answer = answer_sentence(fit(columns, "auc:ctr:+").hypotheses[0], None)

    assert "of the slope, " in answer
    assert "rules out no change of click-through rate." in answer
    assert "%" not in answer.partition("CI of the slope")[2]


@pytest.mark.parametrize("revenue", [1e300, 1e200, 1e-200])
def test_amounts_beyond_all_currencies_are_refused(revenue):
    columns = table([10_000] * 4, [100, 115, 118, 160], revenue=[revenue] * 4)

    with pytest.raises(DataError, match="revenue is 1e"):
        fit(columns, "auc:ctr:+")


@pytest.mark.slow
@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("smallest", [1e-300, 1e-100, 1e200])
def test_metrics_beyond_all_numbers_are_undefined(smallest, as_report):
    columns = table([500] * 3, [5, 4, 1], (smallest, 0.62, 0.5287), ndcg=[0.52, 0.62, 0.53])

    result = fit(columns, "auc:ctr:+", "ndcg:ctr:+")

    assert summary(result)["H1"] == ("undefined", "metric_not_positive")
    assert summary(result)["H2"][1] is None
    as_report(result)


@pytest.mark.slow
@pytest.mark.parametrize("reference", ["log", "control"])
def test_fits_on_another_reference_are_pooled_with_each_other(tmp_path, capsys, reference):
    files = []
    for number, clicks in enumerate([(100, 115, 118, 160), (90, 119, 121, 150)]):
        columns = table([10_000] * 4, clicks, (0.60, 0.62, 0.64, 0.66), users=[10_000] * 4)
        result = fit(columns, "auc:ctr:+", x_reference=reference, control="g1")
        files.append(str(ps.report(result, tmp_path / f"{number}").page.with_name("report.json")))

    assert main(["meta-analysis", *files]) == 0
    assert "auc" in capsys.readouterr().out
