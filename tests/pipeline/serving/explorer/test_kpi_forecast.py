"""The verdict decides whether a KPI has an expected value."""

from dataclasses import replace

import pytest

from pipeline.core.contracts import Kpi
from pipeline.results.hypothesis import Days
from pipeline.results.reasons import UndefinedReason, Verdict
from pipeline.serving.explorer.kpi_forecast import kpi_views
from pipeline.serving.ranking.snapshot import load_snapshot
from tests.pipeline.serving.shop import (
    finish_study,
    recall_of,
    write_plan,
    write_study,
)


@pytest.fixture(scope="module")
def data(tmp_path_factory, small_params):
    """The explorer's data of a study whose CTR increases from 10% to 20%."""
    root = tmp_path_factory.mktemp("data")
    study, paths = write_study(root, small_params)
    write_plan(paths, preferences=((0.0, 1.0), (0.5, 0.5), (1.0, 0.0)))
    finish_study(study, paths)
    return load_snapshot(study, paths).explorer_data


def view_of(data, *, recall=0.3, **changed):
    """H1, recall on CTR, with a changed estimate."""
    (result, line), *_ = data.fitted_lines
    if "interval" in changed:
        changed["headline"] = replace(result.headline, interval=changed["interval"])
    data = replace(data, fitted_lines=((replace(result, **changed), line),))
    (view,) = kpi_views(data, {"recall": recall})
    return view


def test_a_confirmed_hypothesis_has_a_value_and_no_notes(data):
    view = view_of(data, verdict=Verdict.CONFIRMED)

    assert view.expected.low < view.expected.rate < view.expected.high
    assert 0.11 < view.expected.rate < 0.15  # 12.5% at a quarter of the way from 10% to 20%
    assert view.notes == []


@pytest.mark.parametrize(
    ("verdict", "note"),
    [
        (
            Verdict.SUGGESTIVE,
            "Suggestive: not significant, this could be chance.",
        ),
        (
            Verdict.SUGGESTIVE_OPPOSITE,
            (
                "Suggestive of the opposite: not significant, this could be chance; positive was "
                "pre-registered."
            ),
        ),
        (
            Verdict.CONTRADICTED,
            "Significant in the opposite direction: positive was pre-registered.",
        ),
    ],
)
def test_a_weaker_verdict_has_a_value_and_a_note(data, verdict, note):
    view = view_of(data, verdict=verdict)

    assert view.expected is not None
    assert view.notes == [note]


@pytest.mark.parametrize(
    ("changed", "note"),
    [
        (
            {"verdict": Verdict.INCONCLUSIVE, "interval": (-0.126, 0.3)},
            "Inconclusive: the CI of the slope of click-through rate on Recall@20, −0.13 to 0.30, includes 0.",
        ),
        (
            {"verdict": Verdict.UNDEFINED, "undefined_reason": UndefinedReason.NO_SUCCESSES},
            "No slope: no trial succeeded.",
        ),
    ],
)
def test_without_a_value_there_are_a_note_and_the_groups(data, changed, note):
    view = view_of(data, **changed)

    assert view.expected is None
    assert view.notes == [note]
    assert [one.group for one in view.groups] == ["g1", "g2", "g3"]


def test_a_blocked_experiment_has_no_values_at_all(data):
    view = view_of(data, verdict=Verdict.BLOCKED)

    assert (view.expected, view.groups) == (None, [])
    assert (
        view.notes[0]
        == "Blocked: a diagnostic failed (sample ratio or lost outcomes); see the report."
    )


def test_an_interim_analysis_is_noted(data):
    view = view_of(data, is_interim=True, days=Days(observed=3, planned=14))

    assert view.expected is not None
    assert view.notes == [
        "Interim analysis on day 3 of 14: the confidence interval is anytime-valid."
    ]


@pytest.mark.parametrize("recall", [recall_of(0) - 0.01, recall_of(1) + 0.01])
def test_extrapolation_is_noted(data, recall):
    view = view_of(data, recall=recall)

    assert view.expected.is_extrapolated
    assert view.notes == ["Extrapolated: Recall@20 is outside the range of the groups."]


def test_without_the_metric_there_is_no_value(data):
    view = view_of(data, recall=None)

    assert view.expected is None
    assert view.notes == ["Recall@20 of this preference is unknown."]


def test_a_substituted_kpi_is_noted(data):
    view = view_of(data, kpi=Kpi.UNITS_PER_IMPRESSION, response=Kpi.ORDERS_PER_IMPRESSION)

    assert view.kpi == "orders per impression"
    assert view.notes == ["Used in place of units per impression, as in the report."]
