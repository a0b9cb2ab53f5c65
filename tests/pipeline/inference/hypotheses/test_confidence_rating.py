"""Trust follows the rules of docs/inference.md: every doubt lowers it as far as it should."""

import pytest

from pipeline.inference.hypotheses.confidence_rating import rate_evidence

HEALTHY = {
    "sample_ratio": {"passed": True},
    "no_carry_over": {
        "passed": True,
        "hypotheses": {"H1": {"p_value": 0.4}, "H2": {"p_value": 0.2}},
    },
}


def test_of(interval):
    return {"interval": interval, "p_value": 0.01}


test_of.__test__ = False


def hypothesis(**changes):
    """One that nothing speaks against."""
    return {
        "id": "H1",
        "verdict": "confirmed",
        "reading": "planned end",
        "slope": 1.0,
        "level": 0.95,
        "holm_p_value": 0.001,
        "few_groups": {"hartung_knapp": test_of([0.5, 1.5])},
        "leave_one_out_range": [0.8, 1.2],
        "lack_of_fit": {"p_value": 0.4},
        "curvature": {"p_value": 0.4},
        "error_in_x": {"reliability": 0.99, "propagated": test_of([0.6, 1.4])},
        "user_clustered": test_of([0.7, 1.3]),
    } | changes


def test_nothing_against_it_is_high_and_says_why():
    found = rate_evidence(hypothesis(), HEALTHY)

    assert (found.level, found.serious, found.minor) == ("high", (), ())
    assert found.because == (
        "both intervals exclude 0",
        "no single group carries the slope",
        "the groups lie on the line as far as chance lets them",
        "every check that could be made passed",
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"reading": "early look"},
        {"few_groups": None},
        {"few_groups": {"hartung_knapp": test_of([-0.1, 1.5])}},
        {"few_groups": {"hartung_knapp": test_of([-1.5, -0.5])}},  # the other side
        {"leave_one_out_range": [-0.1, 1.2]},
        {"holm_p_value": 0.051},
        {"error_in_x": {"reliability": 0.99, "propagated": test_of([-0.1, 1.4])}},
        {"user_clustered": None},
    ],
)
def test_a_doubt_that_could_turn_the_answer_round_is_low(changes):
    found = rate_evidence(hypothesis(**changes), HEALTHY)

    assert (found.level, len(found.serious)) == ("low", 1)


@pytest.mark.parametrize(
    "changes",
    [
        {"lack_of_fit": {"p_value": 0.049}},
        {"curvature": {"p_value": 0.049}},
        {"error_in_x": {"reliability": 0.89, "propagated": test_of([0.6, 1.4])}},
    ],
)
def test_a_doubt_of_the_shape_is_moderate(changes):
    found = rate_evidence(hypothesis(**changes), HEALTHY)

    assert (found.level, found.serious, len(found.minor)) == ("moderate", (), 1)


@pytest.mark.parametrize("verdict", ["not shown", "blocked", "undefined"])
def test_where_there_is_no_answer_there_is_nothing_to_trust(verdict):
    found = rate_evidence({"id": "H1", "verdict": verdict}, {})

    assert (found.level, len(found.because)) == ("none", 1)


def test_a_failed_check_counts_for_the_hypotheses_it_failed_for():
    failed = {"H1": {"p_value": 0.4}, "H2": {"p_value": 0.0001}}
    health = HEALTHY | {"no_carry_over": {"passed": False, "hypotheses": failed}}

    assert rate_evidence(hypothesis(), health).level == "high"
    assert rate_evidence(hypothesis(id="H2"), health).level == "low"


def test_half_a_week_too_much_is_a_minor_doubt_and_lost_events_a_serious_one():
    weeks = HEALTHY | {"whole_weeks": {"passed": False, "days": 9}}
    lost = HEALTHY | {"events_kept": {"passed": False}}

    assert rate_evidence(hypothesis(), weeks).level == "moderate"
    assert rate_evidence(hypothesis(), lost).level == "low"
    assert "every check that could be made passed" not in rate_evidence(hypothesis(), lost).because
