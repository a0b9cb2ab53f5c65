"""What a release would change in the lists of test sessions, before any user gets it."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from math import sqrt

import numpy as np
from scipy import stats

from pipeline.artifacts.storage import StudyPaths
from pipeline.core.contracts import Metric
from pipeline.core.labels import counted
from pipeline.rollout.plan import RolloutPlan
from pipeline.steps.rollout_gates.arm_lists import ArmLists, List, arm_lists
from pipeline.steps.rollout_gates.plan import make_rollout_plan
from pipeline.study import EvaluationConfig, Pin, Study

_ITEMS = 5
_EXAMPLES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricChange:
    """A metric of the last clicks, by their places in the lists.

    Attributes:
        metric: Its name.
        candidate: Under the candidate; None where it is undefined.
        incumbent: Under the incumbent.
        interval: Of candidate less incumbent, 95%, paired by session.
    """

    metric: str
    candidate: float | None
    incumbent: float | None
    interval: tuple[float, float] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemChange:
    """In how many lists an item is.

    Attributes:
        item: Its id.
        candidate: Share of the candidate's lists.
        incumbent: Share of the incumbent's.
    """

    item: str
    candidate: float
    incumbent: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PinKept:
    """A pin of the candidate, and the share of its lists that have the item at that position."""

    item: str
    position: int
    share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A session whose list changes."""

    session: List
    candidate: List
    incumbent: List


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """The lists of a release against those that are served.

    Attributes:
        release: Its name.
        candidate: What is to be served.
        incumbent: What is served.
        sessions: Number of test sessions.
        k: Length of a list.
        changed: Share of the sessions whose list changes, also in its order.
        replaced: Mean number of items of a changed list that the incumbent's has not.
        short: Number of the candidate's lists with fewer than ``k`` items.
        short_before: Number of the incumbent's.
        unknown_items: Number of items of the candidate's rules and filters that its catalogue lacks.
        pins: Where the candidate's pins end: rules after them, filters and the length of a list may move them.
        metrics: Recall and order density.
        more: Items that are in more lists, the largest change first.
        less: Items that are in fewer lists.
        examples: The first sessions whose list changes.
    """

    release: str
    candidate: str
    incumbent: str
    sessions: int
    k: int
    changed: float
    replaced: float
    short: int
    short_before: int
    unknown_items: int
    pins: tuple[PinKept, ...]
    metrics: tuple[MetricChange, ...]
    more: tuple[ItemChange, ...]
    less: tuple[ItemChange, ...]
    examples: tuple[Example, ...]


def preview_release(study: Study, paths: StudyPaths) -> Preview:
    """Compare the lists of the release that ``params.yaml`` describes with those that are served.

    Raises:
        NoRolloutError: if ``rollout`` is null, or the candidate is what is served.
        MissingArtifact: if the traffic plan, a model or the sessions are missing.
        DataError, StudyError, LogError: if an arm cannot be loaded, or its rules do not fit the catalogue.
    """
    plan = make_rollout_plan(study, paths)
    return preview_of(arm_lists(plan, study, paths), plan, study.evaluation)


def preview_of(lists: ArmLists, plan: RolloutPlan, config: EvaluationConfig) -> Preview:
    """Summarise the lists of both arms."""
    pairs = list(zip(lists.sessions, lists.candidate, lists.incumbent, strict=True))
    changed = [(session, new, old) for session, new, old in pairs if new != old]
    items = _item_changes(lists)
    return Preview(
        release=plan.config.release,
        candidate=str(plan.candidate),
        incumbent=str(plan.incumbent),
        sessions=len(pairs),
        k=lists.k,
        changed=len(changed) / len(pairs),
        replaced=float(np.mean([len(set(new) - set(old)) for _, new, old in changed] or [0.0])),
        short=sum(len(new) < lists.k for _, new, _ in pairs),
        short_before=sum(len(old) < lists.k for _, _, old in pairs),
        unknown_items=lists.unknown_items,
        pins=tuple(_pins(lists, plan)),
        metrics=_metric_changes(lists, config),
        more=tuple(one for one in items[:_ITEMS] if one.candidate > one.incumbent),
        less=tuple(one for one in items[: -_ITEMS - 1 : -1] if one.candidate < one.incumbent),
        examples=tuple(
            Example(session=session, candidate=new, incumbent=old)
            for session, new, old in changed[:_EXAMPLES]
        ),
    )


def _pins(lists: ArmLists, plan: RolloutPlan) -> Iterator[PinKept]:
    for rule in plan.candidate.rules.rules if plan.candidate.rules else ():
        if isinstance(rule, Pin):
            at = rule.position - 1
            kept = sum(one[at : at + 1] == (rule.item,) for one in lists.candidate)
            yield PinKept(item=rule.item, position=rule.position, share=kept / len(lists.candidate))


def _item_changes(lists: ArmLists) -> list[ItemChange]:
    """Every item that is in a list, the largest gain first."""
    new, old = (
        Counter(item for one in arm for item in one) for arm in (lists.candidate, lists.incumbent)
    )
    n = len(lists.candidate)
    names = sorted(new | old, key=lambda item: (old[item] - new[item], item))
    return [
        ItemChange(item=item, candidate=new[item] / n, incumbent=old[item] / n) for item in names
    ]


def _metric_changes(lists: ArmLists, config: EvaluationConfig) -> tuple[MetricChange, ...]:
    found = lists.estimates([Metric.RECALL, Metric.ORDER_DENSITY], config)
    z, difference = float(stats.norm.ppf(0.975)), np.array([1.0, -1.0])
    changes: list[MetricChange] = []
    for name, estimate in found.items():
        values = [float(one) if np.isfinite(one) else None for one in estimate.value_G]
        variance = float(difference @ estimate.covariance_GG @ difference)
        middle = float(difference @ estimate.value_G)
        half = z * sqrt(max(variance, 0.0)) if np.isfinite(variance) else None
        changes.append(
            MetricChange(
                metric=name,
                candidate=values[0],
                incumbent=values[1],
                interval=None if half is None else (middle - half, middle + half),
            )
        )
    return tuple(changes)


def preview_lines(preview: Preview) -> list[str]:
    """The preview as text."""
    lines = [
        f"release {preview.release}: {preview.candidate} instead of {preview.incumbent}",
        f"lists of {preview.k} items for {preview.sessions:,} test sessions, before their last click:",
        f"  {preview.changed:.1%} of the lists change; {preview.replaced:.1f} of their items on average are new",
        f"  lists with fewer items: {preview.short_before:,} before, {preview.short:,} after",
    ]
    if preview.unknown_items:
        lines.append(
            f"  {counted(preview.unknown_items, 'item')} of its rules and filters not in the catalogue, without effect"
        )
    lines += [
        f"  {one.item} is pinned to position {one.position}: it is there in {one.share:.1%} of the lists"
        for one in preview.pins
    ]
    lines += [f"  {_metric_line(one)}" for one in preview.metrics]
    for title, items in (("in more lists", preview.more), ("in fewer lists", preview.less)):
        lines += [f"{title}:"] if items else []
        lines += [
            f"  {one.item}: {one.incumbent:.1%} before, {one.candidate:.1%} after" for one in items
        ]
    for one in preview.examples:
        lines += [
            f"session {' '.join(one.session)}:",
            f"  before: {' '.join(one.incumbent)}",
            f"  after:  {' '.join(one.candidate)}",
        ]
    return lines


def _metric_line(one: MetricChange) -> str:
    if one.candidate is None or one.incumbent is None or one.interval is None:
        return f"{one.metric} of the last clicks: undefined"
    low, high = one.interval
    return (
        f"{one.metric} of the last clicks: {one.incumbent:.2%} before, {one.candidate:.2%} after; change "
        f"{100 * (one.candidate - one.incumbent):+.2f} points ({100 * low:+.2f} to {100 * high:+.2f})"
    )
