"""What is said of partial slopes, on the terminal, the page and in the tables."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from pipeline.artifacts.storage import read_json
from pipeline.cli import main
from pipeline.core.contracts import Kpi
from pipeline.reporting.report import build_report
from pipeline.reporting.tables import report_tables
from pipeline.reporting.text.partial import partial_sentences
from pipeline.results.document import Provenance
from pipeline.results.findings import Findings
from pipeline.results.hypothesis import Elasticity, PartialSlope
from pipeline.results.reasons import UndefinedReason, Verdict
from tests.pipeline.reporting.page import Page
from tests.pipeline.results.samples import headline, hypothesis_result

SIZE = Elasticity(
    estimate=0.65, interval=(0.5, 0.8), minimum_detectable=0.2, minimum_detectable_change=0.1
)
STATED = PartialSlope(
    held_fixed=("order_density", "mrr"),
    variance_inflation=1.24,
    verdict=Verdict.CONFIRMED,
    headline=headline((0.6, 0.9), p_value=0.001),
    elasticity=SIZE,
)
REFUSED = PartialSlope(
    held_fixed=("order_density",),
    variance_inflation=98.4,
    collinear_with=("order_density",),
    undefined_reason=UndefinedReason.COLLINEAR_METRICS,
)


def result(partial, **changes):
    return hypothesis_result(
        metric="recall", kpi=Kpi.CTR, response=Kpi.CTR, partial=partial, **changes
    )


@pytest.mark.parametrize(
    ("partial", "words"),
    [
        (
            STATED,
            (
                "Recall@20 and click-through rate (H1), OD@20 and MRR@20 held fixed: confirmed, +0.65% "
                "per 1% (95% CI 0.50 to 0.80; VIF 1.2)."
            ),
        ),
        (
            REFUSED,
            (
                "No partial slopes for click-through rate: Recall@20 and OD@20 cannot be told apart "
                "(VIF 98; at most 10)."
            ),
        ),
    ],
)
def test_one_line(partial, words):
    assert partial_sentences([result(partial)], 20) == [words]


def test_the_opposite_direction_has_the_same_evidence_and_its_own_word():
    size = replace(SIZE, estimate=-0.65, interval=(-0.8, -0.5))
    found = replace(STATED, verdict=Verdict.CONTRADICTED, elasticity=size)

    (line,) = partial_sentences([result(found)], 20)

    assert (
        "held fixed: significant in the opposite direction, −0.65% per 1% (95% CI −0.80 to" in line
    )


def test_all_refusals_of_a_kpi_are_one_line():
    other = PartialSlope(
        held_fixed=("recall",),
        variance_inflation=None,
        collinear_with=("recall",),
        undefined_reason=UndefinedReason.COLLINEAR_METRICS,
    )
    second = hypothesis_result(
        id="H2", metric="order_density", kpi=Kpi.CTR, response=Kpi.CTR, partial=other
    )

    (line,) = partial_sentences([result(REFUSED), second], 20)

    assert "Recall@20 and OD@20 cannot be told apart (VIF infinite; at most 10)" in line


def test_too_few_groups():
    few = PartialSlope(
        held_fixed=("mrr",),
        variance_inflation=1.1,
        undefined_reason=UndefinedReason.FEW_GROUPS_FOR_METRICS,
    )

    assert partial_sentences([result(few)], 20) == [
        "No partial slopes for click-through rate: 2 metrics need 5 groups."
    ]


def test_without_partial_slopes_nothing_is_said():
    assert partial_sentences([result(None)], 20) == []


def test_the_exported_table_has_the_partial_slope_next_to_the_marginal_one():
    report = build_report(Findings(hypotheses=(result(STATED),)), Provenance())

    row = report_tables(report)["hypotheses"].row(0, named=True)

    assert row["held_fixed"] == "order_density, mrr"
    assert (row["partial_slope"], row["partial_slope_low"], row["partial_slope_high"]) == (
        pytest.approx(0.75),
        0.6,
        0.9,
    )
    assert (row["partial_p_value"], row["partial_verdict"]) == (0.001, "confirmed")
    assert row["variance_inflation"] == 1.24


@pytest.fixture
def fitted(tmp_path, capsys):
    def run(second_axis):
        front = np.repeat(np.linspace(0, 0.3, 5), 2)
        clicks = np.random.default_rng(2).binomial(40_000, 1 / (1 + np.exp(2 - 0.8 * front)))
        switch = np.tile([0.0, 1.0], 5) * second_axis
        table = pl.DataFrame(
            {
                "group": [f"g{n}" for n in range(10)],
                "impressions": [40_000] * 10,
                "users": [40_000] * 10,
                "clicks": clicks,
                "recall@20": 0.3 * (1 + front),
                "diversity": 0.5 * (1 + 0.5 * front + switch),
            }
        )
        table.write_csv(tmp_path / "counts.csv")
        words = ["--hypothesis", "recall@20:ctr:+", "--hypothesis", "diversity:ctr:+"]
        folder = tmp_path / "report"
        assert main(["fit", str(tmp_path / "counts.csv"), "--report", str(folder), *words]) == 0
        page = Page((folder / "index.html").read_text("utf-8"))
        return capsys.readouterr().out, read_json(folder / "report.json"), page.text

    return run


@pytest.mark.slow
def test_two_axes_on_terminal_page_and_in_json(fitted):
    printed, document, page = fitted(0.1)

    line = "diversity and click-through rate (H2), Recall@20 held fixed: inconclusive"
    for text in (printed, page):
        assert line in text
        assert "Recall@20 and click-through rate (H1), diversity held fixed: confirmed" in text
    assert "Partial slopes: the other declared metrics of the KPI held fixed" in page
    assert [one["partial"]["verdict"] for one in document["hypotheses"]] == [
        "confirmed",
        "inconclusive",
    ]


@pytest.mark.slow
def test_one_front_has_one_line_and_no_table(fitted):
    printed, document, page = fitted(0.01)

    for text in (printed, page):
        assert text.count("No partial slopes for click-through rate: ") == 1
        assert "Recall@20 and diversity cannot be told apart (VIF" in text
    assert "Partial slopes: the other" not in page
    assert [one["partial"]["headline"] for one in document["hypotheses"]] == [None, None]
