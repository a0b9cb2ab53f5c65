"""``paretoscope meta-analysis``: pooled slopes and excluded studies."""

import json
import re
from functools import cache, partial
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from pipeline.cli import main
from pipeline.core.contracts import (
    ALL_TARGETS,
    OFFLINE_METRIC_COVARIANCE,
    OFFLINE_METRICS,
    Kpi,
    Metric,
)
from pipeline.experiment.kpis.contracts import GROUP_KPIS
from pipeline.inference.hypotheses.estimate import estimate_hypotheses
from pipeline.inference.hypotheses.inputs import RegressionInputs
from pipeline.inference.meta.meta_analysis import forecast, pool_slopes
from pipeline.results.serialization import to_dict
from pipeline.study import Hypothesis, RegressionConfig

RECALL = (0.40, 0.42, 0.45, 0.48)
ERRORS = 1e-6 * (np.eye(4) + 1)
H1 = Hypothesis(id="H1", metric=Metric.RECALL, kpi=Kpi.CTR, direction="positive")
H4 = Hypothesis(id="H4", metric=Metric.RECALL, kpi=Kpi.CVR, direction="negative")

CLICKS = Hypothesis(id="H5", metric=Metric.RECALL, kpi=Kpi.CLICKS_PER_USER, direction="positive")


def results(slope, *, hypotheses=(H1,), recall=RECALL, healthy=True):
    """Results of the hypotheses in a study with a known slope of the log odds, as JSON."""
    return json.loads(estimated(slope, hypotheses, recall, healthy))


@cache
def estimated(slope, hypotheses, recall, healthy):
    ids = [f"p{n}" for n in range(4)]
    metrics = [
        {"preference_id": one, "metric": "recall", "segment": ALL_TARGETS, "value": value}
        for one, value in zip(ids, recall, strict=True)
    ]
    covariance = [
        ("recall", one, other, ERRORS[i, j], "bootstrap")
        for i, one in enumerate(ids)
        for j, other in enumerate(ids)
    ]
    kpis = []
    for n, (one, value) in enumerate(zip(ids, recall, strict=True)):
        m = 50_000 + 10_000 * n
        y = round(m / (1 + np.exp(2 - slope * (value / min(recall) - 1))))
        error = (y / m * (1 - y / m) / m) ** 0.5
        sums = {"trials": m, "successes": y, "users": m, "sum_mm": m, "sum_my": y, "sum_yy": y}
        kpis += [
            {"group": f"g{n}", "preference_id": one, "kpi": kpi.value, **sums}
            | {"rate": y / m, "standard_error": error}
            for kpi in Kpi
        ]
    evidence = RegressionInputs(
        pl.DataFrame(metrics, schema=OFFLINE_METRICS.schema),
        pl.DataFrame(covariance, schema=OFFLINE_METRIC_COVARIANCE.columns, orient="row"),
        pl.DataFrame(kpis, schema=GROUP_KPIS.schema),
        healthy=healthy,
    )
    found = estimate_hypotheses(evidence, RegressionConfig(hypotheses=hypotheses), seed=0)
    return json.dumps([to_dict(one) for one in found])


@pytest.fixture
def study(tmp_path):
    """Writes the report of a study; returns its path."""

    def write(name, hypotheses, *, cutoff=20, experiment=None):
        plan = {"experiment": experiment or name, "salt": name}
        report = {
            "study": name,
            "cutoff": cutoff,
            "hypotheses": hypotheses,
            "experiment": {"plan": plan, "origin": "files"},
        }
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps(report), encoding="utf-8")
        return str(path)

    return write


@pytest.fixture
def four(study):
    """Reports of four experiments whose slopes differ."""
    return [study(f"shop-{n}", results(slope)) for n, slope in enumerate((0.6, 0.8, 1.1, 0.9))]


def pooled(capsys, *arguments):
    """The hypotheses that ``meta-analysis --json`` prints."""
    assert main(["meta-analysis", *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)["hypotheses"]


def rejected(capsys, *arguments):
    """The error message of ``meta-analysis``."""
    assert main(["meta-analysis", *arguments]) == 1
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    return err


def test_headline_slopes_and_their_users_errors_are_pooled(four, capsys):
    (found,) = pooled(capsys, *four, "--gain", "0.02", "--level", "0.9")

    rows = [json.loads(Path(path).read_text(encoding="utf-8"))["hypotheses"][0] for path in four]
    slopes = np.array([row["headline"]["slope"] for row in rows])
    errors = np.array([row["headline"]["users_standard_error"] for row in rows])
    expected = pool_slopes(slopes, errors, level=0.9)
    points = [point for row in rows for point in row["points"]]
    rate = sum(p["successes"] for p in points) / sum(p["trials"] for p in points)
    assert (found["metric"], found["cutoff"], found["kpi"]) == ("recall", 20, "ctr")
    assert (found["studies"], found["excluded"]) == (four, [])
    # the metric's error is small, so that it hardly matters at which slope it counts
    near = partial(pytest.approx, rel=0.02)
    assert found["pooled"]["mean"]["interval"] == near(list(expected.mean.interval))
    assert found["pooled"]["prediction_interval"] == near(list(expected.prediction_interval))
    assert found["pooled"]["tau"] == near(expected.tau)
    change = forecast(expected, gain=0.02, rate=rate)
    assert found["forecast"]["rate_change"] == near(change.rate_change)
    assert found["forecast"]["rate_interval"] == near(list(change.rate_interval))
    assert found["largest_change"] == pytest.approx(0.48 / 0.40 - 1)


def test_the_total_covariance_is_corrected_for_measurement_error(four, capsys):
    (found,) = pooled(capsys, *four)

    contrasts = found["total_covariance"]
    # in logs; of the errors' variance, 2e-6, the half that all groups share nearly falls out
    share = 1e-6 * np.mean(np.array(RECALL) ** -2.0) / np.var(np.log(RECALL), ddof=1)
    assert 1 - contrasts["reliability"] == pytest.approx(share, rel=0.2)
    assert contrasts["naive_slope"] < contrasts["slope"]["slope"]
    # the planted slopes are those of x; ln(M) changes by 0.91 of it over the front
    assert contrasts["slope"]["slope"] == pytest.approx(0.85 / 0.91, abs=0.02)
    assert found["attenuated"] is False
    assert contrasts["contrasts"] == 4 * 3


def test_the_table_shows_pooled_slopes_and_forecasts(four, capsys):
    assert main(["meta-analysis", *four, "--gain", "0.02"]) == 0

    header, row, _, title, gain, contrasts = capsys.readouterr().out.splitlines()
    columns = [
        "metric",
        "KPI",
        "studies",
        "slope",
        "CI",
        "tau",
        "I²",
        "prediction interval",
    ]
    assert re.split("  +", header) == columns
    assert row.startswith("Recall@20  click-through rate  4        0.8")
    assert title == "Recall@20 and click-through rate"
    assert gain.startswith("  +2% Recall@20 predicts +1.")
    assert "prediction interval +0." in gain
    assert contrasts.startswith("  total covariance: slope 0.9")


@pytest.mark.slow
def test_studies_that_cannot_be_pooled_are_excluded_with_a_reason(study, four, capsys):
    level, lopsided = results(0.9, recall=(0.4,) * 4), results(0.9, healthy=False)
    clusterless = results(0.9)
    clusterless[0]["cluster_robust"] = None
    others = [
        study("level", level),
        study("lopsided", lopsided),
        study("counts", clusterless),
        study("other", results(0.9, hypotheses=(H4,))),
    ]

    rows = {row["kpi"]: row for row in pooled(capsys, *four, *others)}

    assert rows["ctr"]["studies"] == four
    assert [tuple(one.values()) for one in rows["ctr"]["excluded"]] == [
        (others[0], "undefined", "metric_constant"),
        (others[1], "blocked", None),
        (others[2], "users_unknown", None),
        (others[3], "not_declared", None),
    ]
    # one study alone has no mean
    assert (rows["cvr"]["pooled"], rows["cvr"]["studies"]) == (None, [others[3]])
    assert rows["cvr"]["undefined_reason"] == "one_study"
    assert len(rows["cvr"]["excluded"]) == 7


def test_two_studies_without_a_slope_are_undefined_not_an_error(study, capsys):
    paths = [study(name, results(0.9, healthy=False)) for name in ("a", "b")]

    assert main(["meta-analysis", *paths, "--gain", "0.02"]) == 0

    out = capsys.readouterr().out
    assert "undefined: no study has a slope that can be pooled" in out
    assert out.count("excluded: ") == 2


def test_two_studies_predict_without_an_interval(four, capsys):
    assert main(["meta-analysis", *four[:2], "--gain", "0.5"]) == 0

    out = capsys.readouterr().out
    assert "no prediction interval: two studies cannot separate" in out
    assert "extrapolation: the largest change of Recall@20 in a study is +20.0%" in out


def test_slopes_on_a_metric_of_unknown_error_are_said_to_be_attenuated(study, four, capsys):
    old = results(1.0)
    del old[0]["metric_covariance"]
    path = study("old", old)

    (found,) = pooled(capsys, *four, path)

    assert len(found["studies"]) == 5
    assert found["attenuated"] is True
    assert found["total_covariance"]["reliability"] is None
    assert main(["meta-analysis", *four, path]) == 0
    assert "attenuated: a study does not know the errors of its metric" in capsys.readouterr().out


def test_contrasts_need_neither_a_slope_of_their_study_nor_its_users(study, four, capsys):
    """Two groups, counts without users, a group without clicks: no slope to pool, but contrasts."""
    pair = results(1.0)[0]
    pair |= {"slope": None, "verdict": "undefined", "metric_covariance": None, "groups": 2}
    pair["points"] = pair["points"][:2]
    pair["points"][0] |= {"rate": 0.0, "successes": 0, "standard_error": None}
    blocked, level = results(1.0, healthy=False), results(1.0)
    level[0] |= {"slope": None, "verdict": "undefined"}
    level[0]["points"][2]["metric_value"] = 0.0
    paths = [study("pair", [pair]), study("blocked", blocked), study("level", level)]

    (found,) = pooled(capsys, *four, *paths)

    assert found["total_covariance"]["contrasts"] == 4 * 3 + 1
    assert [tuple(one.values()) for one in found["total_covariance_excluded"]] == [
        (paths[1], "blocked", None),
        (paths[2], "undefined", "metric_not_positive"),
    ]


@pytest.mark.slow
def test_the_output_of_fit_can_be_pooled(tmp_path, capsys):
    """Group counts with sums over users, without a study."""
    paths = []
    for n, slope in enumerate((0.8, 1.2)):
        (row,) = results(slope)
        columns = {
            "group": [p["group"] for p in row["points"]],
            "recall@20": list(RECALL),
            "impressions": [p["trials"] for p in row["points"]],
            "clicks": [p["successes"] for p in row["points"]],
            "orders": [p["successes"] // 10 for p in row["points"]],
        }
        for kpi, m, y in (
            ("ctr", "impressions", "clicks"),
            ("cvr", "clicks", "orders"),
            ("orders_per_impression", "impressions", "orders"),
        ):
            sums = {"users": m, "sum_mm": m, "sum_my": y, "sum_yy": y}
            columns |= {f"{kpi}_{name}": columns[source] for name, source in sums.items()}
        pl.DataFrame(columns).write_csv(tmp_path / f"{n}.csv")
        assert main(["fit", str(tmp_path / f"{n}.csv"), "--json"]) == 0
        paths.append(tmp_path / f"{n}.json")
        paths[-1].write_text(capsys.readouterr().out, encoding="utf-8")

    found = pooled(capsys, *map(str, paths))

    assert [(row["metric"], row["cutoff"], row["kpi"]) for row in found] == [
        ("recall", 20, "ctr"),
        ("recall", 20, "cvr"),
    ]
    assert found[0]["pooled"]["mean"]["slope"] == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "Invalid JSON"),
        ("[]", "the file: Input should be an object"),
        ("{}", "hypotheses: Field required"),
        ('{"hypotheses": []}', "has no hypotheses; expected at least one"),
        ('{"hypotheses": [{"metric": "recall"}]}', "hypotheses.0.id: Field required"),
    ],
)
def test_a_file_that_is_not_a_report_is_rejected(four, tmp_path, capsys, content, message):
    path = tmp_path / "other.json"
    path.write_text(content, encoding="utf-8")

    err = rejected(capsys, *four, str(path))

    assert message in err
    assert str(path) in err
    remedy = (
        "Re-run: paretoscope study"
        if "no hypotheses" in message
        else "report.json of a study or of"
    )
    assert remedy in err


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"slope": "0.8"}, "hypotheses.0.slope"),
        ({"slope": float("inf")}, "hypotheses.0.slope"),
        ({"verdict": "splendid"}, "hypotheses.0.verdict"),
        ({"cluster_robust": {"standard_error": 0.0}}, "hypotheses.0.cluster_robust.standard_error"),
        ({"metric_covariance": [[1.0]]}, "metric_covariance has 1 row; expected 4 rows of 4"),
    ],
)
def test_an_invalid_hypothesis_is_rejected(study, four, capsys, changes, message):
    row = results(0.9)[0]
    row |= {key: row[key] | new if isinstance(new, dict) else new for key, new in changes.items()}

    assert message in rejected(capsys, *four, study("invalid", [row]))


def test_a_different_definition_of_x_is_rejected(study, four, capsys):
    row = results(0.9)[0]
    for point in row["points"]:
        point["x"] *= 100

    err = rejected(capsys, *four, study("percent", [row]))

    assert "recall on ctr: x is 0, 5, " in err
    assert "each metric over the smallest" in err


def test_a_different_cutoff_or_response_is_rejected(study, four, capsys):
    assert "the cutoff of recall differs: 20 in " in rejected(
        capsys, *four, study("ten", results(0.9), cutoff=10)
    )
    row = results(0.9)[0] | {"response": "orders_per_impression"}
    assert "the response of ctr differs: ctr in " in rejected(capsys, *four, study("sales", [row]))


def test_a_metric_name_with_a_cutoff_overrides_that_of_the_study(study, capsys):
    paths = []
    for cutoff, slope in ((10, 0.9), (20, 1.1)):
        row = results(slope)[0] | {"metric": "recall@5"}
        paths.append(study(f"at-{cutoff}", [row], cutoff=cutoff))

    (found,) = pooled(capsys, *paths)

    assert (found["metric"], found["cutoff"], len(found["studies"])) == ("recall@5", None, 2)


def test_an_experiment_counts_once(study, four, capsys):
    again = study("again", results(0.9), experiment="shop-1")

    assert "both reports are from experiment 'shop-1'" in rejected(capsys, *four, again)
    assert "both reports have the md5" in rejected(capsys, *four, four[2])


def test_one_report_and_reports_without_a_common_hypothesis_are_rejected(study, four, capsys):
    other = study("other", results(0.9, hypotheses=(H4,)))

    assert "got 1 report; expected two or more" in rejected(capsys, four[0])
    err = rejected(capsys, four[0], other)
    assert "have a hypothesis in common; found recall on ctr, recall on cvr" in err


def test_missing_files_are_named(four, capsys):
    assert "cannot read nowhere.json: No such file" in rejected(capsys, four[0], "nowhere.json")


@pytest.mark.parametrize(
    "option", [("--control", "B"), ("--difference",), ("--kpi", "ctr"), ("--test", "experiment")]
)
def test_an_option_of_tables_is_not_ignored_for_reports(four, capsys, option):
    assert f"{option[0]} applies to a table of past tests" in rejected(capsys, *four, *option)


@pytest.mark.parametrize("option", [("--gain", "2"), ("--gain", "-1"), ("--gain", "nan")])
def test_a_gain_is_a_fraction(four, capsys, option):
    assert "0.02 is 2% more" in rejected(capsys, *four, *option)


@pytest.mark.parametrize("level", ["0", "1", "95", "nan"])
def test_the_level_is_between_0_5_and_1(four, capsys, level):
    with pytest.raises(SystemExit):
        main(["meta-analysis", *four, "--level", level])

    assert "is not between 0.5 and 1" in capsys.readouterr().err


def per_user(slope):
    """A hypothesis on clicks per user, above 1, with a known slope of the log."""
    (row,) = results(slope, hypotheses=(CLICKS,))
    return row


@pytest.mark.slow
def test_count_metrics_are_pooled_on_the_log_scale_without_odds(study, capsys):
    """A rate of two clicks per user has no odds."""
    paths = []
    for n, slope in enumerate((0.8, 1.1, 0.95)):
        row = per_user(slope)
        for point in row["points"]:
            point["rate"] = 2.0 * (1 + point["x"]) ** slope
            point["standard_error"] = 0.01
            point["successes"] = round(point["rate"] * point["trials"])
        row["slope"] = slope
        paths.append(study(f"shop-{n}", [row]))

    (found,) = pooled(capsys, *paths, "--gain", "0.05")

    slope, change = found["pooled"]["mean"]["slope"], found["forecast"]
    assert change["rate"] > 2
    assert change["rate_change"] == pytest.approx(np.expm1(0.05 * slope))
    assert (change["odds_change"], change["odds_interval"]) == (None, None)
    # log(2 (1 + x)^b) is b ln(M) plus a constant; studies weigh equally, as their metric is the same
    assert found["total_covariance"]["slope"]["slope"] == pytest.approx(0.95, abs=0.002)
    assert main(["meta-analysis", *paths, "--gain", "0.05"]) == 0
    assert "odds" not in capsys.readouterr().out


@pytest.mark.slow
def test_studies_are_past_tests_whose_groups_are_variants(four, capsys, tmp_path):
    folder = tmp_path / "page"

    assert main(["meta-analysis", *four, "--report", str(folder)]) == 0

    assert "Launching by recall would have chosen the right variant in" in capsys.readouterr().out
    found = json.loads((folder / "past_tests.json").read_text())
    (proxy,) = found["proxies"]
    assert (proxy["metric"], proxy["kpi"], proxy["tests"], proxy["contrasts"]) == (
        "recall",
        "ctr",
        4,
        12,
    )
    point = proxy["points"][0]
    row = json.loads(Path(four[0]).read_text(encoding="utf-8"))["hypotheses"][0]
    first, second = row["points"][:2]
    assert (point["test"], point["variant"]) == (four[0], second["group"])
    assert point["delta"] == pytest.approx(np.log(RECALL[1] / RECALL[0]))
    # independent errors of 1e-6 of each group, and 1e-6 that all share, which cancels
    shares = 1e-6 / RECALL[0] ** 2 + 1e-6 / RECALL[1] ** 2
    assert point["delta_standard_error"] == pytest.approx(shares**0.5, rel=0.05)
    assert point["lift"] == pytest.approx(np.log(second["rate"] / first["rate"]), abs=1e-4)
    variance = sum((one["standard_error"] / one["rate"]) ** 2 for one in (first, second))
    assert point["lift_standard_error"] == pytest.approx(variance**0.5, rel=1e-3)
