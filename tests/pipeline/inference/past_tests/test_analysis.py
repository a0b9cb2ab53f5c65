"""Metrics as predictors of KPIs: signs, ranking, prediction and the page."""

import json
import re
from html import escape

import numpy as np
import polars as pl
import pytest
from scipy import stats

import paretoscope as ps
from pipeline.cli import main
from pipeline.core.errors import StudyError
from pipeline.inference.past_tests.sign_agreement import sign_agreement


def past(**metrics):
    """Past tests whose lift is 0.8 of ``good``; the metrics are functions of (true change, noise)."""
    rng, count = np.random.default_rng(0), 30
    true = rng.normal(0, 0.02, count)
    columns = {"good": true, "bad": rng.normal(0, 0.02, count)} | {
        name: of(true, rng.normal(0, 0.02, count)) for name, of in metrics.items()
    }
    error = rng.uniform(0.002, 0.004, count)
    lift = 0.8 * true + rng.normal(0, 0.002, count) + error * rng.normal(size=count)
    measured = {name: values + 0.003 * rng.normal(size=count) for name, values in columns.items()}
    errors = {f"{name}_se": np.full(count, 0.003) for name in columns}
    names = [f"t{n}" for n in range(count)]
    return pl.DataFrame(
        {"test": names, **measured, **errors, "ctr_lift": lift, "ctr_lift_se": error}
    )


@pytest.mark.slow
def test_the_metric_that_lifts_follow_is_found_and_told_apart():
    found = ps.past_tests(past())

    best, other = found.proxies
    assert (best.metric, other.metric) == ("good", "bad")
    assert best.probability_of_best > 0.99
    assert not other.tied
    assert best.line.interval[0] < 0.8 < best.line.interval[1]
    assert best.true_correlation_interval[0] > 0.9
    assert "follows good best" in found.notes()[0]


@pytest.mark.slow
def test_metrics_that_move_together_are_tied():
    found = ps.past_tests(past(alike=lambda true, noise: true + 0.01 * noise))

    by_name = {one.metric: one for one in found.proxies}
    assert by_name["alike"].tied or by_name["good"].tied
    assert 0.05 < by_name["alike"].probability_of_best < 0.95
    assert "cannot be told apart" in found.notes()[0]


def test_without_an_association_nothing_is_ranked():
    rest = pl.col("ctr_lift") - pl.col("bad") * (
        pl.col("ctr_lift").dot("bad") / pl.col("bad").dot("bad")
    )
    table = past().select("test", "bad", ctr_lift=rest, ctr_lift_se=pl.lit(0.003))

    found = ps.past_tests(table)

    assert found.document.kpis[0].unranked_reason == "not_associated"
    assert {one.probability_of_best for one in found.proxies} == {None}


def test_signs_are_compared_with_chance_as_scipy_does():
    table = pl.DataFrame(
        {
            "test": [f"t{n}" for n in range(10)],
            "auc": [1.0] * 6 + [-1.0] * 3 + [0.0],
            "ctr_lift": [1.0] * 5 + [-1.0] * 3 + [1.0, 1.0],
            "ctr_lift_se": [1.0] * 10,
        }
    )

    signs = ps.past_tests(table).proxies[0].signs

    # a change of 0 has no sign; 5 of 6 increases rose, 2 of 3 decreases fell
    assert (signs.agreed, signs.tests) == (7, 9)
    assert signs.by_chance == pytest.approx(6 / 9 * 6 / 9 + 3 / 9 * 3 / 9)
    assert signs.p_value == pytest.approx(stats.fisher_exact([[5, 1], [1, 2]]).pvalue)
    assert signs.interval == pytest.approx(
        tuple(stats.binomtest(7, 9).proportion_ci(method="wilson"))
    )


def test_opposite_signs_say_as_much_as_equal_ones():
    delta, extra = np.random.default_rng(5).normal(size=(2, 20))
    lift = delta + extra + 0.5

    same, opposite = (sign_agreement(delta, side, level=0.95) for side in (lift, -lift))

    assert same.agreed + opposite.agreed == same.tests == 20
    assert same.by_chance + opposite.by_chance == pytest.approx(1)
    assert same.p_value == pytest.approx(opposite.p_value)
    assert same.p_value < 0.05


@pytest.mark.slow
def test_correlated_errors_say_how_far_they_may_go():
    """Metric and KPI of the same users: without any effect, their errors alone make a slope."""
    rng = np.random.default_rng(1)
    noise = rng.normal(size=(2, 60))
    both = noise[0], 0.8 * noise[0] + 0.6 * noise[1]
    ones = np.ones(60)
    spread = rng.normal(size=60)
    table = pl.DataFrame(
        {
            "test": [f"t{n}" for n in range(60)],
            "proxy": spread + both[0],
            "proxy_se": ones,
            "kpi_lift": both[1],
            "kpi_lift_se": ones,
        }
    )

    naive, known = (ps.past_tests(table, error_correlation=r).proxies[0] for r in (0.0, 0.8))

    assert naive.line.p_value < 0.01
    assert naive.correlation_range[1] < 0.8
    assert known.line.p_value > 0.05
    with pytest.raises(StudyError, match="between -1 and 1"):
        ps.past_tests(table, error_correlation=1.0)


def test_a_relative_gain_is_a_logarithm_where_changes_are():
    counts = pl.DataFrame(
        {
            "test": ["a", "a", "b", "b", "c", "c"],
            "variant": ["control", "B"] * 3,
            "impressions": [100_000] * 6,
            "clicks": [1_000, 1_100, 5_000, 5_600, 2_000, 1_900],
            "recall": [0.4, 0.44, 0.3, 0.34, 0.4, 0.38],
        }
    )

    found = ps.past_tests(counts, gain=0.02)

    (ctr,) = (one for one in found.proxies if one.kpi == "ctr")
    assert ctr.forecast.delta == pytest.approx(np.log(1.02))
    assert ctr.forecast.lift == pytest.approx(ctr.line.slope * np.log(1.02))
    with pytest.raises(StudyError, match="above -1"):
        ps.past_tests(counts, gain=-1.0)


@pytest.mark.parametrize("gain", ["nan", "inf", "-1e308"])
def test_a_gain_that_is_no_usable_number_is_refused_in_one_line(tmp_path, capsys, gain):
    past().head(3).write_csv(tmp_path / "tests.csv")

    assert main(["meta-analysis", str(tmp_path / "tests.csv"), f"--gain={gain}"]) == 1

    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert "expected a number from -1e+15 to 1e+15, such as 0.02" in err


@pytest.mark.slow
@pytest.mark.parametrize("value", [1e200, None])
def test_a_metric_without_a_usable_value_has_a_reason_and_the_others_a_slope(value):
    table = past().head(6).with_columns(bad=pl.lit(value, dtype=pl.Float64))

    found = ps.past_tests(table)

    assert [(one.metric, one.undefined_reason) for one in found.proxies] == [
        ("good", None),
        ("bad", "fewer_than_2_tests"),
    ]
    assert found.proxies[0].line.interval[0] < 0.8 < found.proxies[0].line.interval[1]


@pytest.mark.slow
@pytest.mark.parametrize("size", [-1e15, 1e-300])
def test_the_largest_and_smallest_numbers_that_are_read_are_computed_with(size):
    one = pl.when(pl.col("test") == "t3")
    table = past().head(6).with_columns(good=one.then(size).otherwise("good"))

    found = ps.past_tests(table, gain=1e15)

    assert np.isfinite(found.proxies[0].line.slope)
    json.dumps(found.to_dict(), allow_nan=False)


@pytest.mark.slow
def test_the_command_prints_writes_and_agrees_with_the_library(tmp_path, capsys):
    table, folder = tmp_path / "tests.csv", tmp_path / "page"
    past().write_csv(table)

    assert main(["meta-analysis", str(table), "--gain", "0.02", "--report", str(folder)]) == 0
    lines = capsys.readouterr().out
    assert main(["meta", str(table), "--gain", "0.02", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)

    assert re.search(r"good +ctr_lift +30 ", lines)
    assert "in the next test (95% prediction interval" in lines
    assert document == json.loads((folder / "past_tests.json").read_text())
    library = ps.past_tests(table, gain=0.02)
    assert library.to_dict() == document
    assert library.to_frame()["slope"][0] == document["proxies"][0]["line"]["slope"]
    page = (folder / "index.html").read_text()
    assert all(escape(sentence) in page for sentence in document["summary"])
    assert page.count("<figure") == 2


@pytest.mark.slow
def test_names_in_a_table_are_text_on_the_page(tmp_path):
    table = past().rename(
        {"good": "<script>alert(1)</script>", "good_se": "<script>alert(1)</script>_se"}
    )

    page = ps.past_tests(table).write(tmp_path / "page")

    assert "<script>alert" not in page.read_text()
