"""The plan in words and pictures; every number is one of ``power.json``."""

from copy import deepcopy

import pytest
from matplotlib.colors import to_hex

from pipeline.reporting.figures.charts import as_markdown
from pipeline.reporting.text.power_summary import design_figure, plan_lines, power_figure
from tests.pipeline.experiment.fronts import front_of
from tests.pipeline.inference.planned import RECALL, planned_power


@pytest.fixture(scope="module")
def experiment():
    return planned_power()


@pytest.fixture(scope="module")
def power(experiment):
    return experiment.as_dict()


@pytest.fixture(scope="module")
def plan(experiment):
    return experiment.plan.as_dict()


def test_the_lines_say_groups_days_and_what_evenly_spaced_groups_take(plan, power):
    head, *groups, beside, name, shown, enough, even, flattest, second = plan_lines(plan, power, 20)

    assert head == (
        "experiment spring: 3 groups for 10 days, 100 impressions a day (coverage 100%, holdout 0%, "
        "0 testers)"
    )
    assert groups[0] == "  g1: 33.3% of the users, preference p00, π = 0.00, 1.00"
    assert beside.startswith("beside it: p00, p02, p05, evenly spaced")
    assert name == "H1, Recall@20 → click-through rate, if its slope is 1.5:"
    chosen = power["hypotheses"][0]["chosen"]
    assert f"shown with a chance of {chosen['power']['shown']:.0%}" in shown
    assert f"80% after {chosen['days_to_show']} days" in enough
    assert f"({chosen['impressions_to_confirm']:,} impressions) to confirm it" in enough
    assert f"{power['hypotheses'][0]['informed']['gain']:.0%} more information" in even
    assert f"{chosen['detectable_shown']:.3g} shown" in flattest
    assert second == (
        "H2, MRR@20 → click-through rate: the metric is undefined, 0 or negative under a preference"
    )


def test_what_is_never_shown_and_what_is_switched_off_is_said(plan, power):
    changed = deepcopy(power)
    changed["hypotheses"][0]["chosen"] |= {"days_to_confirm": None, "detectable_confirmed": None}
    changed["hypotheses"][0]["chosen"]["power"]["confirmed"] = None
    changed["hypotheses"][0]["direction"] = "negative"

    words = "\n".join(plan_lines(plan | {"enabled": False}, changed, 20))

    assert "experiment spring, switched off: 3 groups" in words
    assert "if its slope is -1.5" in words
    assert "never (more days do not help; more groups may) to confirm it" in words
    assert "confirmed with none (there are two groups)" in words
    assert "none confirmed" in words


def test_the_curves_are_the_chances_and_the_undefined_says_why(power):
    figure = power_figure(power, 20)

    first, second = figure.axes
    curves = {line.get_label(): line for line in first.lines if line.get_label()[0] != "_"}
    assert list(curves) == [
        "shown",
        "shown, evenly spaced",
        "confirmed",
        "confirmed, evenly spaced",
    ]
    chosen = power["hypotheses"][0]["chosen"]
    assert list(curves["shown"].get_xdata()) == chosen["days"]
    assert list(curves["shown"].get_ydata()) == [100 * chance for chance in chosen["chance_shown"]]
    assert [text.get_text() for text in second.texts] == [
        "the metric is undefined, 0 or negative under a preference"
    ]
    assert as_markdown(figure, "power").startswith("![power](data:image/png;base64,")


def test_rings_are_where_evenly_spaced_preferences_lie(plan, power):
    points = front_of(RECALL).points.to_dicts()

    figure = design_figure(points, plan["groups"], power["design"]["even"], 20)

    (rings,) = [line for line in figure.axes[0].lines if line.get_markersize() == 15]
    assert list(rings.get_xdata()) == [RECALL[0], RECALL[2], RECALL[5]]
    assert to_hex(rings.get_markeredgecolor()) == "#e4572e"
