"""The table of variants: parsed, or rejected with a reason."""

import polars as pl
import pytest

from pipeline.artifacts.storage import StudyPaths
from pipeline.core.errors import DataError, LogError
from pipeline.experiment.design.external_variants import (
    load_plan,
    publish_variants,
    read_variants,
    variant_plan,
)
from pipeline.experiment.design.traffic_plan import read_plan
from pipeline.inference.hypotheses.external_variants import cutoff_of, variant_metrics
from pipeline.study import ExperimentConfig, LogSource

GOOD = """variant,algorithm,share,auc,auc_se,ndcg@10
01,doc2vec,2,0.5,0.01,0.3
02,word2vec,1,0.6,0.02,0.2
"""


def section(**values):
    return ExperimentConfig(name="spring", source=LogSource.FILES, log_path="log", **values)


@pytest.fixture
def variants(tmp_path):
    def read(text=GOOD, name="variants.csv"):
        (tmp_path / name).write_text(text, encoding="utf-8")
        return read_variants(tmp_path / name)

    return read


def test_names_are_kept_and_shares_are_normalised(variants):
    plan = variant_plan(variants(), section())

    assert [(group.name, group.share) for group in plan.groups] == [("01", 2 / 3), ("02", 1 / 3)]


def test_a_plan_of_variants_survives_a_round_trip(tmp_path, variants):
    variants()
    paths = StudyPaths(root=tmp_path, name="s")

    plan = publish_variants(section(variants="variants.csv"), paths)

    assert load_plan(paths) == plan
    # what serves and simulates groups has no model here
    with pytest.raises(
        LogError, match=r"variants of your own recommender .*there are no preferences"
    ):
        read_plan(paths)


def test_numeric_columns_are_metrics_with_their_standard_errors(variants):
    metrics, covariance = variant_metrics(variants())

    assert metrics.select("preference_id", "metric", "value", "standard_error").rows() == [
        ("01", "auc", 0.5, 0.01),
        ("01", "ndcg", 0.3, None),
        ("02", "auc", 0.6, 0.02),
        ("02", "ndcg", 0.2, None),
    ]
    assert cutoff_of(variants()) == 10
    assert covariance is not None
    assert set(covariance["metric"]) == {"auc"}
    found = dict(
        zip(
            covariance.select("preference_id", "other_preference_id").rows(),
            covariance["covariance"],
            strict=True,
        )
    )
    assert found == {
        ("01", "01"): 0.01**2,
        ("01", "02"): 0.0,
        ("02", "01"): 0.0,
        ("02", "02"): 0.02**2,
    }


def test_without_standard_errors_the_covariance_is_unknown(variants):
    metrics, covariance = variant_metrics(variants().drop("auc_se"))

    assert covariance is None
    assert metrics["standard_error"].to_list() == [None] * 4


def test_integer_names_in_parquet_are_accepted(tmp_path):
    frame = pl.DataFrame({"variant": [0, 11], "share": [1, 1], "auc": [0.5, 0.6]})
    frame.write_parquet(tmp_path / "variants.parquet")

    assert read_variants(tmp_path / "variants.parquet")["variant"].to_list() == ["0", "11"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            GOOD.replace("variant,", "name,"),
            "the column variant is missing from .*; expected variant",
        ),
        (
            GOOD.replace("share", "part"),
            "the column share is missing .*positive numbers, such as 1",
        ),
        (
            GOOD.replace("02,", "01,"),
            r"the variants are \['01', '01'\]; expected two or more unique",
        ),
        (GOOD[: GOOD.index("02,")], r"the variants are \['01'\]"),
        (GOOD.replace("02,", ","), r"the variants are \['01', ''\]"),
        (
            GOOD.replace("doc2vec,2", "doc2vec,0"),
            r"share is \[0.0, 1.0\]; expected positive numbers",
        ),
        (GOOD.replace("doc2vec,2", "doc2vec,"), r"share is \[None, 1.0\]"),
        (
            GOOD.replace("0.02", "-0.02"),
            r"auc_se is \[0.01, -0.02\]; expected numbers of 0 or more",
        ),
        (
            GOOD.replace("auc,", "roc,"),
            "auc_se has the standard errors of auc, but there is no column auc",
        ),
        ("", r"variants\.csv is empty; expected a CSV, parquet, JSON or JSON lines file"),
        (GOOD.replace("0.6", "n/a"), "auc has no value for the variant 02; fill it in"),
        (
            GOOD.replace("0.6", "good"),
            r"auc is 'good' in row 2 \(group 02\), and a number in other",
        ),
        (
            GOOD.replace("variant,", "Variant,"),
            r"column variant \(did you mean 'Variant'\?\) is missing",
        ),
        (GOOD + "03,x,1\n", r"row 3 \(03\) has 3 fields, the header has 6"),
    ],
)
def test_an_invalid_table_is_rejected(variants, text, message):
    with pytest.raises(DataError, match=message):
        variants(text)


@pytest.mark.parametrize(
    "text",
    [
        GOOD.replace(",", ";").replace(".", ","),
        "\ufeff" + GOOD,
        GOOD.replace(",2,", ",66%,").replace(",1,", ",33%,"),
        GOOD + ",,,,,\n",
    ],
)
def test_a_table_is_read_as_other_programs_write_it(variants, text):
    found = variants(text)

    assert found["variant"].to_list() == ["01", "02"]
    assert found["auc"].to_list() == [0.5, 0.6]
    assert (found["share"][0] / found["share"][1]) == 2


def test_a_table_without_a_metric_has_groups_to_compare(variants):
    metrics, covariance = variant_metrics(variants("variant,share\na,1\nb,1\n"))

    assert (metrics.height, covariance) == (0, None)


@pytest.mark.parametrize("absent", ["", "NaN"])
def test_a_metric_of_some_variants_only_is_named_with_the_ways_out(tmp_path, absent):
    file = tmp_path / "variants.csv"
    file.write_text(f"variant,share,auc,ndcg\na,1,0.6,0.3\nb,1,0.7,0.4\nc,1,0.8,{absent}\n")

    with pytest.raises(
        DataError,
        match=r"ndcg has no value for the variant c; .*experiment\.ignored_groups: \['c'\]",
    ):
        read_variants(file)
