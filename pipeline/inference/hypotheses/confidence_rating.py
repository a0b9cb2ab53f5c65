"""How far to trust a verdict, by rules that are stated before the data is looked at.

A verdict rests on two intervals (see :mod:`pipeline.inference.hypotheses.verdict`). What else was looked at may
cast doubt on it: some doubts could turn the answer round (then trust is low), others say that the
line is a rough description (then it is moderate).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pipeline.inference.diagnostics.aa_tests import UNLIKELY
from pipeline.inference.hypotheses.verdict import Verdict

Json = Mapping[str, Any]

SIGNIFICANT = 0.05
"""P-value below which lack of fit and curvature are doubts."""

_RELIABLE = 0.9
"""Share of the variance of x that must not be error of measurement."""


class EvidenceStrength(StrEnum):
    """How far to trust what a verdict says."""

    HIGH = "high"
    """Nothing that was looked at casts doubt on it."""
    MODERATE = "moderate"
    """Only the shape of the line, the measurement of x or the calendar is in doubt."""
    LOW = "low"
    """Something that could turn the answer round is in doubt."""
    NONE = "none"
    """There is no answer to be trusted: not shown, blocked or undefined."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceRating:
    """How far to trust one verdict, and why.

    Attributes:
        level: See :class:`Trust`.
        because: What speaks for it; of no trust, why there is no answer.
        serious: Doubts that could turn the answer round.
        minor: Doubts that could not.
    """

    level: EvidenceStrength
    because: tuple[str, ...]
    serious: tuple[str, ...]
    minor: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """As ``report.json`` holds it."""
        return {
            "level": self.level.value,
            "because": list(self.because),
            "serious": list(self.serious),
            "minor": list(self.minor),
        }


_NO_ANSWER = {
    Verdict.NOT_SHOWN: "the interval holds 0 and effects in both directions",
    Verdict.BLOCKED: "the users are not divided as planned",
    Verdict.UNDEFINED: "there is no line",
}

_HEALTH = {
    "events_kept": "too many clicks or orders were lost",
    "users_divided_anew": "users divided at random show effects where there are none",
    "no_carry_over": "users answer otherwise after their first day",
    "alike_before": "the groups differed before the experiment",
    "replicates_agree": "groups under the same preference differ",
    "no_day_missing": "a group was shown nothing on some day",
}
"""Checks whose failure could turn an answer round."""


def rate_evidence(hypothesis: Json, health: Mapping[str, Json | None]) -> EvidenceRating:
    """How far to trust the verdict on a hypothesis.

    Args:
        hypothesis: As ``report.json`` has it.
        health: The checks of the experiment, by name; what was not checked is absent or None.
    """
    verdict = Verdict(hypothesis["verdict"])
    if verdict in _NO_ANSWER:
        because = (_NO_ANSWER[verdict],)
        return EvidenceRating(level=EvidenceStrength.NONE, because=because, serious=(), minor=())
    serious = tuple(words for words, of in _SERIOUS.items() if of(hypothesis))
    failed = tuple(words for name, words in _HEALTH.items() if _fails(name, hypothesis, health))
    minor = tuple(words for words, of in _MINOR.items() if of(hypothesis))
    if _fails("whole_weeks", hypothesis, health):
        minor += ("some weekdays are there more often than others",)
    level = EvidenceStrength.HIGH
    if minor:
        level = EvidenceStrength.MODERATE
    if serious or failed:
        level = EvidenceStrength.LOW
    return EvidenceRating(
        level=level, because=_because(hypothesis, health), serious=serious + failed, minor=minor
    )


def _because(hypothesis: Json, health: Mapping[str, Json | None]) -> tuple[str, ...]:
    """What was looked at and speaks for the verdict."""
    few, passed = not _few_groups(hypothesis), [one for one in health.values() if one]
    reasons = {
        "both intervals exclude 0": few,
        "no single group carries the slope": hypothesis["leave_one_out_range"] is not None
        and not _carried_by_one_group(hypothesis),
        "the groups lie on the line as far as chance lets them": hypothesis["lack_of_fit"]
        is not None
        and hypothesis["lack_of_fit"]["p_value"] is not None
        and not _off_the_line(hypothesis)
        and not _bent(hypothesis),
        "every check that could be made passed": bool(passed)
        and all(one.get("passed", True) for one in passed),
    }
    return tuple(words for words, holds in reasons.items() if holds)


def _fails(name: str, hypothesis: Json, health: Mapping[str, Json | None]) -> bool:
    """Whether a check failed; one that is made for each hypothesis, for this one."""
    check = health.get(name)
    if not check or check["passed"]:
        return False
    own = check.get("hypotheses", {}).get(hypothesis["id"])
    if own is None:
        return "hypotheses" not in check
    return not own["passed"] if "passed" in own else own["p_value"] < UNLIKELY


def _few_groups(hypothesis: Json) -> bool:
    few = hypothesis["few_groups"]
    if few is None:
        return True
    low, high = few["hartung_knapp"]["interval"]
    return not (low > 0 if hypothesis["slope"] > 0 else high < 0)


def _carried_by_one_group(hypothesis: Json) -> bool:
    ends = hypothesis["leave_one_out_range"]
    return ends is not None and ends[0] * ends[1] <= 0


def _by_looking_often(hypothesis: Json) -> bool:
    p_value, level = hypothesis["holm_p_value"], hypothesis["level"]
    return p_value is not None and p_value >= 1 - level


def _lost_to_error_in_x(hypothesis: Json) -> bool:
    found = hypothesis["error_in_x"]
    if not found:
        return False
    low, high = found["propagated"]["interval"]
    return low <= 0 <= high


def _off_the_line(hypothesis: Json) -> bool:
    fit = hypothesis["lack_of_fit"]
    return bool(fit) and fit["p_value"] is not None and fit["p_value"] < SIGNIFICANT


def _bent(hypothesis: Json) -> bool:
    bend = hypothesis["curvature"]
    return bool(bend) and bend["p_value"] < SIGNIFICANT


_SERIOUS: dict[str, Callable[[Json], bool]] = {
    "it is an early look": lambda one: one["reading"] == "early look",
    "with so few groups in mind, 0 is not excluded": _few_groups,
    "without one of the groups the slope changes its sign": _carried_by_one_group,
    "corrected for all declared hypotheses, it could be chance": _by_looking_often,
    "with the error of the offline metric in mind, 0 is not excluded": _lost_to_error_in_x,
    "whose the impressions are is not known, so that they count as independent": lambda one: (
        one["user_clustered"] is None
    ),
}
_MINOR: dict[str, Callable[[Json], bool]] = {
    "groups lie further off the line than chance explains": _off_the_line,
    "the relation bends": _bent,
    "much of the metric's spread over the groups is error of measurement": lambda one: (
        bool(one["error_in_x"]) and one["error_in_x"]["reliability"] < _RELIABLE
    ),
}
