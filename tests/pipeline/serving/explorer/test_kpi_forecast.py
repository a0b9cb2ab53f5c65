"""What may be said of a KPI follows from the verdict, and no number goes beyond it."""

from dataclasses import replace

import pytest

from pipeline.core.contracts import Kpi
from pipeline.results.hypothesis import Days
from pipeline.results.reasons import UndefinedReason, Verdict
from pipeline.serving.explorer.kpi_forecast import kpi_views
from pipeline.serving.ranking.snapshot import load_snapshot
from tests.pipeline.results.samples import slope_test
from tests.pipeline.serving.shop import (
    finish_study,
    recall_of,
    write_plan,
    write_study,
)


@pytest.fixture(scope="module")
def known(tmp_path_factory, small_params):
    """What is explorable of a study whose groups' CTR rises from 10 to 20 %."""
    root = tmp_path_factory.mktemp("known")
    study, paths = write_study(root, small_params)
    write_plan(paths, preferences=((0.0, 1.0), (0.5, 0.5), (1.0, 0.0)))
    finish_study(study, paths)
    return load_snapshot(study, paths).explorable


def view_of(known, *, recall=0.3, **changed):
    """H1, recall on CTR, with another answer."""
    (answer, line), *_ = known.lines
    changed = replace(known, lines=((replace(answer, **changed), line),))
    (view,) = kpi_views(changed, {"recall": recall})
    return view


def test_a_confirmed_line_gives_a_number_and_needs_no_words(known):
    view = view_of(known, verdict=Verdict.CONFIRMED)

    assert view.expected.low < view.expected.rate < view.expected.high
    assert 0.11 < view.expected.rate < 0.15  # 12.5 % at a quarter of the way from 10 to 20 %
    assert view.words == []


@pytest.mark.parametrize(
    ("verdict", "words"),
    [
        (Verdict.SUGGESTIVE, "Fragile: so few groups might lie like this by chance."),
        (
            Verdict.CONTRADICTED,
            "The line goes against what was declared, which is positive.",
        ),
    ],
)
def test_a_weaker_verdict_gives_the_number_with_its_reservation(known, verdict, words):
    view = view_of(known, verdict=verdict)

    assert view.expected is not None
    assert view.words == [words]


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (
            {"verdict": Verdict.INCONCLUSIVE, "verdict_test": slope_test((-0.126, 0.3))},
            "The experiment does not show that click-through rate changes with Recall@20: the slope's interval, −0.13 to 0.30, holds 0. So no value is given.",
        ),
        (
            {
                "verdict": Verdict.UNDEFINED,
                "undefined_reason": UndefinedReason.NO_SUCCESSES,
            },
            "The slope is undefined: no successes.",
        ),
    ],
)
def test_where_nothing_is_shown_there_are_words_and_what_the_groups_had(known, changed, words):
    view = view_of(known, **changed)

    assert view.expected is None
    assert view.words == [words]
    assert [one.group for one in view.groups] == ["g1", "g2", "g3"]


def test_a_blocked_experiment_gives_no_numbers_at_all(known):
    view = view_of(known, verdict=Verdict.BLOCKED)

    assert (view.expected, view.groups) == (None, [])
    assert view.words[0].startswith("The users are not divided as planned, so nothing may be read")


def test_an_early_look_says_that_the_interval_does_not_allow_for_it(known):
    view = view_of(known, is_interim=True, days=Days(observed=3, planned=14))

    assert view.expected is not None
    assert view.words == [
        "An early look, day 3 of 14: the interval does not allow for looking before the end."
    ]


@pytest.mark.parametrize("recall", [recall_of(0) - 0.01, recall_of(1) + 0.01])
def test_beyond_the_groups_it_is_said_that_nothing_was_tried(known, recall):
    view = view_of(known, recall=recall)

    assert view.expected.is_beyond
    assert view.words == [
        "No group had such Recall@20: the line is carried on beyond what was tried."
    ]


def test_without_the_metric_there_is_no_number(known):
    view = view_of(known, recall=None)

    assert view.expected is None
    assert view.words == ["What Recall@20 is at this preference is not known."]


def test_a_kpi_that_stands_for_another_says_so(known):
    view = view_of(known, kpi=Kpi.UNITS_PER_IMPRESSION, response=Kpi.ORDERS_PER_IMPRESSION)

    assert view.kpi == "orders per impression"
    assert view.words == ["Stands for units per impression, as in the report."]
