"""Hypotheses from group counts: the paper's Table 1, and errors for invalid tables."""

import json
from math import inf, nan

import polars as pl
import pytest

from pipeline.cli import main
from pipeline.core.contracts import Kpi
from pipeline.core.errors import DataError, StudyError
from pipeline.inference.counts.metrics import metric_name
from pipeline.inference.hypotheses.from_counts import fit_counts, parse_hypothesis
from pipeline.results.serialization import to_dict
from tests.pipeline.inference.golden import GOLDEN, IMPRESSIONS_A_GROUP, TABLE_1, TEST_CLICKS


def golden_table(**changes):
    hits, ordered, clicks, orders = (list(column) for column in zip(*GOLDEN.values(), strict=True))
    columns = {
        "group": list(GOLDEN),
        "recall@20": [hit / TEST_CLICKS for hit in hits],
        "od@20": [one / hit for one, hit in zip(ordered, hits, strict=True)],
        "impressions": [IMPRESSIONS_A_GROUP] * 5,
        "clicks": clicks,
        "orders": orders,
    }
    return pl.DataFrame({name: value for name, value in (columns | changes).items() if value})


@pytest.fixture
def write(tmp_path):
    def to(table, name="counts.csv"):
        path = tmp_path / name
        table.write_parquet(path) if name.endswith("parquet") else table.write_csv(path)
        return path

    return to


def fit(path, *texts, level=0.95):
    asked = [parse_hypothesis(text, number) for number, text in enumerate(texts, start=1)]
    return fit_counts(path, asked, level=level, seed=0)


@pytest.mark.parametrize("name", ["counts.csv", "counts.parquet"])
def test_the_papers_table_from_counts(write, name):
    rows = {row.id: row for row in fit(write(golden_table(), name)).hypotheses}

    assert list(rows) == list(TABLE_1)
    for row, (slope, within, interval) in zip(rows.values(), TABLE_1.values(), strict=True):
        assert row.slope == pytest.approx(slope, abs=within)
        assert row.interval == pytest.approx(interval, abs=5.1e-4)
    assert rows["H2"].p_value == pytest.approx(0.0080, abs=5e-5)
    assert rows["H4"].p_value == pytest.approx(0.0174, abs=5e-5)
    assert rows["H3"].metric == "recall_order_density"


@pytest.mark.slow
@pytest.mark.parametrize("impressions", ["exposures", "views"])
def test_names_of_other_platforms_are_read(write, impressions):
    theirs = golden_table().rename({"group": "variant", "impressions": impressions})

    found, ours = (to_dict(fit(write(table))) for table in (theirs, golden_table()))

    renamed = [one["columns"] for one in found.pop("read_as")]
    assert sorted(renamed) == sorted([["variant"], [impressions]])
    assert found | {"read_as": []} == ours


def test_our_name_takes_precedence_over_a_synonym(write):
    both = golden_table().with_columns(views=pl.col("impressions") * 2 / 3 / 100)

    rows = {row.id: row.slope for row in fit(write(both), "recall@20:ctr:+").hypotheses}

    assert rows == {"H1": pytest.approx(TABLE_1["H1"][0], abs=5e-5)}


def test_counts_of_any_whole_numbers_are_read(write):
    table = golden_table().with_columns(pl.col("clicks", "orders").cast(pl.Int32))

    found = fit(write(table.with_columns(pl.col("impressions").cast(pl.UInt64)), "counts.parquet"))

    assert found.hypotheses[0].slope == pytest.approx(0.8985, abs=5e-5)


def test_limitations_of_counts(write):
    found = fit(write(golden_table()))

    assert [row.cluster_robust for row in found.hypotheses] == [None] * 4
    assert [row.measurement_error for row in found.hypotheses] == [None] * 4
    assert [row.curvature.covariance for row in found.hypotheses] == ["model"] * 4
    users, errors, shares = found.limitations
    assert (users.kind, users.kpis) == ("users_unknown", ("ctr", "cvr", "orders_per_impression"))
    assert errors.kind == "metric_covariance_unknown"
    assert shares.kind == "shares_unknown"


def with_user_sums():
    """Users of four impressions each, whose clicks are all or nothing in half of the cases."""
    table = golden_table()
    sums = {}
    for kpi, m, y in (("ctr", "impressions", "clicks"), ("cvr", "clicks", "orders")):
        sums |= {
            f"{kpi}_users": [n // 4 for n in table[m]],
            f"{kpi}_sum_mm": [4 * n for n in table[m]],
            f"{kpi}_sum_my": [4 * n for n in table[y]],
            f"{kpi}_sum_yy": [2 * n for n in table[y]],
        }
    sums |= {
        name.replace("ctr", "orders_per_impression"): sums[name]
        for name in list(sums)
        if name[:3] == "ctr"
    }
    sums["orders_per_impression_sum_my"] = [4 * n for n in table["orders"]]
    sums["orders_per_impression_sum_yy"] = [2 * n for n in table["orders"]]
    return golden_table(**sums)


@pytest.mark.slow
def test_with_sums_over_users_the_clustered_interval_is_there(write):
    alone, users = fit(write(golden_table())), fit(write(with_user_sums(), "users.csv"))

    h1, with_users = alone.hypotheses[0], users.hypotheses[0]
    assert with_users.slope == pytest.approx(h1.slope)
    # twice the squares, and -2 p (4 y) + p² (4 m) instead of a quarter of each
    assert with_users.cluster_robust.standard_error > 1.2 * h1.standard_error
    assert len(users.limitations) == 2


def test_declared_hypotheses(write):
    path = write(golden_table(**{"ndcg@10": [0.1, 0.11, 0.12, 0.13, 0.14]}))

    found = fit(path, "ndcg@10:ctr:+", "recall@20:cvr:-").hypotheses

    # the cutoffs differ, so the names tell them
    assert [(row.id, row.metric, row.kpi) for row in found] == [
        ("H1", "ndcg@10", "ctr"),
        ("H2", "recall@20", "cvr"),
    ]
    assert [row.direction for row in found] == ["positive", "negative"]


@pytest.mark.parametrize(
    ("column", "name"),
    [
        ("recall@20", "recall@20"),
        ("recall", "recall"),
        ("od", "order_density"),
        ("od@20", "order_density@20"),
        ("my_metric", "my_metric"),
        ("my_metric@7", "my_metric@7"),
    ],
)
def test_columns_are_metrics(column, name):
    assert metric_name(column) == name


@pytest.mark.parametrize("text", ["recall", "recall:ctr", "recall:revenue:+", "recall:ctr:up"])
def test_a_hypothesis_that_is_none_is_refused(text):
    with pytest.raises(StudyError, match=r"write METRIC:KPI:SIGN, such as recall@20:ctr:\+"):
        parse_hypothesis(text, 1)


def test_a_written_hypothesis_is_read():
    found = parse_hypothesis("od@20:cvr:-", 3)

    assert (found.id, found.metric, found.kpi, found.direction) == (
        "H3", "order_density@20", Kpi.CVR, "negative",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"clicks": None}, "has no column clicks; expected the columns group"),
        ({"group": None}, "has no column group"),
        ({"group": ["g1"] * 5}, "expected two or more different names"),
        ({"clicks": [1.5] * 5}, r"clicks is 1\.5; expected an integer of 0 or more"),
        ({"orders": [-1] * 5}, "orders is -1; expected an integer of 0 or more"),
        ({"clicks": [9_000_000] * 5}, "group g1 has 5300000 impressions and 9000000 clicks"),
        ({"orders": [9_000_000] * 5}, "group g1 has 525089 clicks and 9000000 orders"),
        ({"share": [1, 1, 1, 1, 0]}, "share is 0; expected positive numbers"),
        ({"share": [0.5, 0.5, 0.5, 0.5, nan]}, "expected positive numbers"),
        ({"share": ["a fifth"] * 5}, "share is .*; expected numbers"),
        ({"order_density@20": [0.1] * 5}, "are the same offline metric; drop one"),
        ({"ctr_users": ["many"] * 5}, "ctr_users is .*; expected numbers"),
    ],
    ids=str,
)
def test_a_table_that_is_none_is_refused(write, changes, words):
    with pytest.raises(DataError, match=words):
        fit(write(golden_table(**changes)))


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"cannot read .*none\.csv"):
        fit(tmp_path / "none.csv")


def test_a_metric_that_is_not_there_is_named(write):
    with pytest.raises(StudyError, match=r"is the metric novelty; found recall@20"):
        fit(write(golden_table()), "novelty:ctr:+")


def test_without_the_papers_metrics_hypotheses_must_be_declared(write, capsys):
    table = golden_table().select("group", "impressions", "clicks", "orders", mine="recall@20")
    path = write(table)

    found = fit(path)

    assert found.hypotheses == ()
    assert found.limitations[0].kind == "nothing_declared"
    assert {one.metric for one in found.metric_ranking} == {"mine"}
    assert main(["fit", str(path)]) == 0
    lines = capsys.readouterr().out
    assert "Exploratory, not declared: mine and click-through rate, slope 0.8985" in lines
    assert "No hypothesis is declared" in lines


@pytest.mark.parametrize(
    ("asked", "metric"),
    [
        ("recall@5", "recall@5"),
        ("recall@20", "recall@20"),
        ("ndcg", "ndcg@20"),
        ("mine", "mine"),
        ("recall", None),
        ("recall@7", None),
        ("ndcg@5", None),
    ],
)
def test_a_hypothesis_means_one_metric_of_the_table_or_none(write, asked, metric):
    other = {"recall@5": [0.2, 0.21, 0.22, 0.23, 0.26], "mine": [1.0, 2.0, 3.0, 4.0, 5.0]}
    path = write(golden_table(**other, **{"ndcg@20": [0.1, 0.11, 0.12, 0.13, 0.14]}))

    if metric is None:
        with pytest.raises(StudyError, match=f"no column is the metric {asked}; found"):
            fit(path, f"{asked}:ctr:+")
    else:
        assert [row.metric for row in fit(path, f"{asked}:ctr:+").hypotheses] == [metric]


@pytest.mark.parametrize("asked", ["recall", "recall@20"])
def test_a_common_cutoff_is_optional_in_names(write, asked):
    found = fit(write(golden_table()), f"{asked}:ctr:+")

    assert found.cutoff == 20
    assert [row.metric for row in found.hypotheses] == ["recall"]


def test_without_orders_only_the_click_through_rate_is_known(write):
    path = write(golden_table(orders=None))

    found = fit(path)

    assert [(row.id, row.kpi) for row in found.hypotheses] == [("H1", "ctr")]
    assert {one.kpi for one in found.metric_ranking} == {"ctr"}
    assert (found.limitations[-1].kind, found.limitations[-1].counts) == (
        "counts_unknown",
        ("orders",),
    )
    with pytest.raises(StudyError, match="--hypothesis: there are no counts for cvr, only for ctr"):
        fit(path, "recall:cvr:+")


@pytest.mark.parametrize("bad", [0.0, -56.0, None, nan, inf])
def test_a_metric_without_relative_change_is_undefined_and_the_others_are_not(write, bad):
    path = write(golden_table(r2=[1.0, 2.0, 3.0, 4.0, bad]), "counts.parquet")

    found = fit(path, "r2:ctr:+", "recall@20:ctr:+")

    why = "metric_not_positive"
    first, second = found.hypotheses
    assert (first.verdict, first.undefined_reason) == ("undefined", why)
    assert second.verdict == "confirmed"
    assert [(one.metric, one.kpi, one.undefined_reason) for one in found.unfitted_pairs] == [
        ("r2", kpi, why) for kpi in ("ctr", "cvr", "orders_per_impression")
    ]
    json.dumps(to_dict(found), allow_nan=False)


@pytest.mark.parametrize(
    ("users", "verdict", "healthy"),
    [
        ([1000, 1010, 990, 1005, 995], "confirmed", True),
        ([1000, 1010, 990, 1005, 1300], "blocked", False),
    ],
)
def test_a_sample_ratio_mismatch_blocks_every_verdict(write, users, verdict, healthy):
    found = fit(write(golden_table(users=users, share=[0.2] * 5)), "recall@20:ctr:+")

    ratio = found.diagnostics.sample_ratio
    assert ratio.users == tuple(users)
    assert ratio.expected == pytest.approx([sum(users) / 5] * 5)
    assert (ratio.p_value >= 5e-4) == ratio.passed == healthy
    assert [row.verdict for row in found.hypotheses] == [verdict]
    assert not [one for one in found.limitations if one.kind == "shares_unknown"]


def test_the_command_prints_json_or_sentences(write, capsys):
    path = str(write(golden_table()))

    assert main(["fit", path, "--json", "--level", "0.9"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [row["level"] for row in found["hypotheses"]] == [0.9] * 4
    assert main(["fit", path, "--hypothesis", "recall@20:ctr:+"]) == 0
    words = capsys.readouterr().out
    assert "Recall@20 predicts click-through rate (H1, confirmed)" in words
    assert "count as independent" in words
    assert main(["fit", path, "--hypothesis", "recall"]) == 1
    assert "METRIC:KPI:SIGN" in capsys.readouterr().err


@pytest.mark.parametrize("level", ["0.5", "1", "nan", "high"])
def test_a_level_that_is_none_is_refused(write, capsys, level):
    with pytest.raises(SystemExit):
        main(["fit", str(write(golden_table())), "--level", level])

    assert "argument --level" in capsys.readouterr().err
