"""The power of a plan as lines and figures; every number is one of ``power.json``."""

from dataclasses import replace

import pytest
from matplotlib.colors import to_hex

from pipeline.reporting.figures.charts import as_markdown
from pipeline.reporting.text.power_summary import design_picture, plan_lines, power_picture
from pipeline.results.document import FrontPoint
from pipeline.results.serialization import parse
from tests.pipeline.experiment.fronts import front_of
from tests.pipeline.inference.planned import RECALL, planned_power


@pytest.fixture(scope="module")
def experiment():
    return planned_power()


@pytest.fixture(scope="module")
def power(experiment):
    return experiment.analysis


@pytest.fixture(scope="module")
def plan(experiment):
    return experiment.plan


def test_the_lines_have_groups_days_and_the_days_of_evenly_spaced_groups(plan, power):
    head, *groups, even_ids, name, reached, days, even, smallest, second = plan_lines(
        plan, power, 20
    )

    assert head == (
        "experiment spring: 3 groups for 10 days, 100 impressions per day (traffic allocation 100%, "
        "holdout 0%, 0 forced assignments)"
    )
    assert groups[0] == "  g1: 33.3% of the users, preference p00, π = 0.00, 1.00"
    assert even_ids.startswith("compared with: p00, p02, p05, evenly spaced")
    assert name == "H1, Recall@20 → click-through rate, if its slope is 1.5:"
    first = power.hypotheses[0]
    chosen = first.chosen
    assert f"significant {chosen.power.significant:.0%}" in reached
    assert f"80% power after {chosen.days_to_significant} days" in days
    assert f"({chosen.impressions_to_confirmed:,} impressions) (confirmed)" in days
    assert f"{first.information.gain:.0%} more information" in even
    assert f"{chosen.minimum_detectable_significant:.3g} significant" in smallest
    assert second == (
        "H2, MRR@20 → click-through rate: the metric is undefined, 0 or negative in a group"
    )


def test_what_is_never_confirmed_and_a_disabled_experiment_are_stated(plan, power):
    first, *others = power.hypotheses
    chosen = replace(
        first.chosen,
        days_to_confirmed=None,
        minimum_detectable_confirmed=None,
        power=replace(first.chosen.power, confirmed=None),
    )
    changed = replace(first, chosen=chosen, direction="negative")

    words = "\n".join(
        plan_lines(replace(plan, enabled=False), replace(power, hypotheses=(changed, *others)), 20)
    )

    assert "experiment spring, disabled: 3 groups" in words
    assert "if its slope is -1.5" in words
    assert "never (more days do not help; more groups may) (confirmed)" in words
    assert "confirmed none (there are two groups)" in words
    assert "none confirmed" in words


def test_the_curves_are_the_chances_and_the_undefined_says_why(power):
    figure = power_picture(power, 20)

    first, second = figure.axes
    curves = {line.get_label(): line for line in first.lines if line.get_label()[0] != "_"}
    assert list(curves) == [
        "significant",
        "significant, evenly spaced",
        "confirmed",
        "confirmed, evenly spaced",
    ]
    chosen = power.hypotheses[0].chosen
    assert list(curves["significant"].get_xdata()) == list(chosen.days)
    assert list(curves["significant"].get_ydata()) == [100 * p for p in chosen.power_significant]
    assert [text.get_text() for text in second.texts] == [
        "the metric is undefined, 0 or negative in a group"
    ]
    assert as_markdown(figure, "power").startswith("![power](data:image/png;base64,")


def test_rings_are_where_evenly_spaced_preferences_lie(plan, power):
    points = parse(tuple[FrontPoint, ...], front_of(RECALL).points.to_dicts())

    figure = design_picture(points, plan.groups, power.design.even, 20)

    (rings,) = [line for line in figure.axes[0].lines if line.get_markersize() == 15]
    assert list(rings.get_xdata()) == [RECALL[0], RECALL[2], RECALL[5]]
    assert to_hex(rings.get_markeredgecolor()) == "#e4572e"
