"""The headline of a hypothesis: what its sentence, its verdict and its figure quote."""

from dataclasses import dataclass

from pipeline.results.reasons import Reading, Target, UndefinedReason
from pipeline.results.slopes import Finite, Interval, OpenInterval

FEWEST_SUCCESSES = 5
"""Successes, and failures, in all groups together, below which no test is calibrated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Headline:
    """The slope of a hypothesis, and the interval that its verdict is based on.

    The interval allows for correlated trials of a user, for few groups that deviate from the line,
    and for measurement error in the metric; it excludes 0 exactly where ``p_value`` is below
    1 - ``level``, or 1 less the level of the study on a day other than the planned end.

    Attributes:
        slope: Change of the link for a relative change of the metric by 1, corrected for the metric's
            error; None where undefined.
        interval: Its confidence interval, an end None where the metric's error leaves no limit; None
            where undefined.
        level: Nominal coverage of ``interval``.
        target: What the interval covers.
        p_value: Two-sided, against 0. With two groups it is that of the users alone.
        tau: Standard deviation between groups that x does not explain, on the link scale.
        reliability: Share of the variance of x between groups that is not measurement error; may be
            below 0; None where the errors are unknown.
        users_interval: Two-sided interval of the line through these groups, from the users alone.
        small_sample_interval: From the groups' deviations alone (Hartung–Knapp).
        standard_error: The larger of the two errors.
        users_standard_error: From users and the metric's errors alone.
        intercept: Of the line with ``slope``, on the link scale, at x = 0.
        margins: Matrices M: the half-width of the interval of ``c·(intercept, slope)`` is the largest
            √(cᵀ M c). Empty without an interval.
        positive: Whether the test against 0 points to a positive slope; None where undefined.
        reading: The day that is read; None without days.
        conflicting: Whether two days are significant in opposite directions; nothing is concluded.
        undefined_reason: Why the slope or its interval is None.
    """

    slope: Finite | None = None
    interval: OpenInterval | None = None
    level: Finite
    target: Target = Target.NEW_GROUP
    p_value: Finite | None = None
    tau: Finite | None = None
    reliability: Finite | None = None
    users_interval: OpenInterval | None = None
    small_sample_interval: OpenInterval | None = None
    standard_error: Finite | None = None
    users_standard_error: Finite | None = None
    intercept: Finite | None = None
    margins: tuple[tuple[Interval, Interval], ...] = ()
    positive: bool | None = None
    reading: Reading | None = None
    conflicting: bool = False
    undefined_reason: UndefinedReason | None = None

    @property
    def quoted(self) -> OpenInterval | None:
        """The interval; with two groups that of the line through them."""
        return self.interval or self.users_interval
