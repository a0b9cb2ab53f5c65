"""The power of a plan as lines and figures; every number is one of ``power.json``."""

from dataclasses import replace

import pytest
from matplotlib.colors import to_hex

from pipeline.evaluation.pareto_front import point_rows
from pipeline.reporting.figures.charts import as_markdown
from pipeline.reporting.figures.power import design_figure, power_figure
from pipeline.reporting.figures.style import COLOURS
from pipeline.reporting.text.power_summary import plan_lines
from pipeline.results.document import FrontPoint, GroupSummary
from pipeline.results.serialization import parse
from tests.pipeline.experiment.fronts import front_of
from tests.pipeline.inference.planned import RECALL, planned_axes, planned_power


@pytest.fixture(scope="module")
def experiment():
    return planned_power()


@pytest.fixture(scope="module")
def power(experiment):
    return experiment.analysis


@pytest.fixture(scope="module")
def plan(experiment):
    return experiment.plan


def test_the_lines_have_the_plan_its_power_and_evenly_spaced_groups(plan, power):
    lines = plan_lines(plan, power, 20)
    head, *groups, spaced, name, planned, target, even, detectable, _ends, second = lines[:12]

    assert head == (
        "experiment spring: 3 groups for 10 days, 100 impressions per day (traffic share 100%, "
        "holdout 0%, forced assignments 0)"
    )
    assert groups[0] == "  g1: 33.3% of users, preference p00, π = 0.00, 1.00"
    assert spaced == "compared with evenly spaced preferences: p00, p02, p05"
    assert name == "H1, Recall@20 → click-through rate, assumed slope 1.5:"
    first = power.hypotheses[0]
    assert f"{first.chosen.power.suggestive:.0%} (at least suggestive)" in planned
    assert f"80% power after {first.chosen.days_to_confirmed} days" in target
    assert f"with {first.chosen.impressions_to_confirmed:,} impressions" in target
    assert f"{first.information.gain:.0%} more information" in even
    smallest = first.chosen.minimum_detectable_slope
    found = "none" if smallest is None else f"{smallest:.3g}"
    assert f"slope at 80% power: {found} (evenly" in detectable
    assert second == (
        "H2, MRR@20 → click-through rate: the metric is undefined, 0 or negative in a group"
    )


def test_the_lines_have_the_end_the_cost_and_what_would_help(plan, power):
    first = power.hypotheses[0]

    text = "\n".join(plan_lines(plan, power, 20))

    end, (clicks,) = first.adaptive, power.cost
    assert f"{end.days:.1f} of 10 days on average ({end.days_without_slope:.1f} where" in text
    assert "no guardrail: a group loses up to 40% of Recall@20 against p05" in text
    assert f"10 days cost {round(clicks.amount)} clicks ({clicks.share:.1%})" in text
    for offer in power.offers:
        assert f"{offer.change}: H1 {offer.power['H1']:.0%}" in text


@pytest.mark.slow
def test_a_guardrail_and_metrics_that_are_told_apart_are_reported():
    section = {"groups": 6, "guardrails": {"recall": 0.3}}
    found = planned_axes(**section).analysis

    text = "\n".join(plan_lines(planned_axes(**section).plan, found, 20))

    first = found.hypotheses[0]
    assert "no group may lose more than 30% of Recall@20 against" in text
    assert "compared with the plan on the front alone: p0" in text
    assert f"told apart with {first.apart.partial:.0%} power" in text
    assert "on the front alone: not told apart (r = −1.0000 with MRR@20" in text
    assert f"significant in {first.apart_one_front.mistaken:.0%} although click-through" in text


@pytest.mark.slow
def test_no_power_is_promised_for_a_slope_that_the_analysis_refuses():
    found = planned_axes(groups=4, guardrails={"recall": 0.3})

    text = "\n".join(plan_lines(found.plan, found.analysis, 20))

    assert found.analysis.hypotheses[0].apart.partial is None
    assert "a slope with the others held fixed needs 5 groups" in text


def test_power_that_is_never_reached_and_a_disabled_plan_are_reported(plan, power):
    first = power.hypotheses[0]
    never = replace(
        first.chosen,
        days_to_confirmed=None,
        minimum_detectable_slope=None,
        power=replace(first.chosen.power, confirmed=None),
    )
    changed = replace(first, chosen=never, direction="negative")

    lines = plan_lines(replace(plan, enabled=False), replace(power, hypotheses=(changed,)), 20)

    text = "\n".join(lines)
    assert "experiment spring (disabled): 3 groups" in text
    assert "assumed slope -1.5" in text
    assert "80% power not reached: more days do not help, more groups may" in text
    assert "undefined with two groups (confirmed)" in text
    assert "at 80% power: none (evenly spaced" in text


def test_the_curves_are_the_power_and_an_undefined_hypothesis_has_its_reason(power):
    figure = power_figure(power, 20)

    first, second = figure.axes
    curves = {line.get_label(): line for line in first.lines if line.get_label()[0] != "_"}
    assert sorted(curves) == ["confirmed", "confirmed, evenly spaced"]
    chosen = power.hypotheses[0].chosen
    assert tuple(curves["confirmed"].get_xdata()) == chosen.days
    assert list(curves["confirmed"].get_ydata()) == [
        100 * chance for chance in chosen.power_confirmed
    ]
    assert [text.get_text() for text in second.texts] == [
        "the metric is undefined, 0 or negative in a group"
    ]
    assert as_markdown(figure, "power").startswith("![power](data:image/png;base64,")


def test_rings_are_at_evenly_spaced_preferences(plan, power):
    points = parse(tuple[FrontPoint, ...], point_rows(front_of(RECALL).points))
    groups = [GroupSummary(name=one.name, preference_id=one.preference_id) for one in plan.groups]

    figure = design_figure(points, ["recall", "order_density"], groups, power.design.even, 20)

    (rings,) = [line for line in figure.axes[0].lines if line.get_markersize() == 15]
    assert list(rings.get_xdata()) == [RECALL[0], RECALL[2], RECALL[5]]
    assert to_hex(rings.get_markeredgecolor()) == COLOURS[3]
