"""The closed sets of a result: verdicts, advice, and the reasons for them.

Enums alone; :mod:`pipeline.reporting.text` turns them into sentences.
"""

from enum import StrEnum


class Verdict(StrEnum):
    """What the confidence intervals say of the declared direction.

    The deciding interval is the cluster-robust one, or the model's where that is wider; before the
    planned end of the experiment it is the anytime-valid one.
    """

    CONFIRMED = "confirmed"
    """The deciding and the small-sample interval exclude 0 on the declared side."""
    SUGGESTIVE = "suggestive"
    """The deciding interval excludes 0 on the declared side, the small-sample interval does not."""
    INCONCLUSIVE = "inconclusive"
    """The deciding interval includes 0."""
    CONTRADICTED = "contradicted"
    """Significant in the opposite direction."""
    BLOCKED = "blocked"
    """The sample ratio does not match the plan, so nothing is concluded."""
    UNDEFINED = "undefined"
    """There is no finite, unique slope."""


class UndefinedReason(StrEnum):
    """Why an estimate has no value."""

    METRIC_NOT_POSITIVE = "metric_not_positive"
    """The metric is missing, 0 or negative in a group."""
    METRIC_CONSTANT = "metric_constant"
    """The metric has the same value in all groups."""
    METRIC_WITHIN_NOISE = "metric_within_noise"
    """The metric varies between the groups by no more than its measurement error."""
    NO_TRIALS = "no_trials"
    """A group has no trials."""
    NO_SUCCESSES = "no_successes"
    """No trial succeeded."""
    NO_FAILURES = "no_failures"
    """Every trial succeeded."""
    SEPARATION = "separation"
    """The metric separates successes from failures, so the slope is infinite."""
    SUCCESSES_AT_ONE_END = "successes_at_one_end"
    """Only groups at one end of the metric have a success, so the slope is infinite."""
    IDENTICAL_USERS = "identical_users"
    """The users of a group do not vary, so the slope has no cluster-robust error."""
    RATES_0_OR_1 = "rates_0_or_1"
    """In every group all trials succeeded or none did."""
    ONE_STUDY = "one_study"
    """One study alone says nothing of the variation between studies."""
    NO_STUDY = "no_study"
    """No study has a slope that can be pooled."""
    METRIC_VARIES_IN_ONE_STUDY = "metric_varies_in_one_study"
    """Without one of the studies, the metric varies by no more than its measurement error."""
    IDENTICAL_SLOPES = "identical_slopes"
    """The slopes of all studies are identical, so the slope has no standard error."""
    METRIC_COVARIANCE_UNKNOWN = "metric_covariance_unknown"
    """The report of a study has no covariance of the metrics' errors."""
    RATE_WITHOUT_ERROR = "rate_without_error"
    """The rate of a group is 0 or 1, or its standard error is unknown."""


class Covariance(StrEnum):
    """The assumption that a standard error rests on."""

    MODEL = "model"
    """Trials are independent, as in the paper (naive, i.i.d.)."""
    CLUSTER_ROBUST = "cluster_robust"
    """Users are independent; the trials of a user may be correlated."""
    CLUSTER_ROBUST_BATCHES = "cluster_robust_batches"
    """Random batches of users are independent."""
    ANYTIME_VALID = "anytime_valid"
    """Random batches of users, the interval valid on all days simultaneously."""
    HARTUNG_KNAPP = "hartung_knapp"
    """Groups (or studies) deviate from the line (or mean) at random; Hartung and Knapp's error."""
    HARTUNG_KNAPP_TRUNCATED = "hartung_knapp_truncated"
    """The same, but at least the error of equal slopes."""
    QUASI_BINOMIAL = "quasi_binomial"
    """The model's error, scaled by Pearson's dispersion."""
    MEASUREMENT_ERROR = "measurement_error"
    """Cluster-robust, plus the measurement error of the offline metric."""
    JACKKNIFE = "jackknife"
    """Jackknife over studies."""
    INDEPENDENT_STUDIES = "independent_studies"
    """The variances of two independent studies add up."""
    INDEPENDENT_STUDIES_SMALL_SAMPLE = "independent_studies_small_sample"
    """The same with the small-sample errors of both studies."""


class EvidenceStrength(StrEnum):
    """The strength of the evidence behind a verdict."""

    HIGH = "high"
    """No diagnostic or sensitivity analysis weakens it."""
    MODERATE = "moderate"
    """Only the linear form, the measurement of the metric or the calendar is in doubt."""
    LOW = "low"
    """At least one finding could reverse the verdict."""
    NONE = "none"
    """The verdict is inconclusive, blocked or undefined."""


class Support(StrEnum):
    """What supports a verdict."""

    BOTH_INTERVALS = "both_intervals"
    """The deciding and the small-sample interval exclude 0."""
    NO_INFLUENTIAL_GROUP = "no_influential_group"
    """The slope keeps its sign without any one group."""
    NO_LACK_OF_FIT = "no_lack_of_fit"
    """Neither lack of fit nor curvature is significant."""
    DIAGNOSTICS_PASSED = "diagnostics_passed"
    """All diagnostics that could be run passed."""


class Concern(StrEnum):
    """What lowers the strength of the evidence."""

    INTERIM = "interim"
    """The experiment has not reached its planned end."""
    SMALL_SAMPLE = "small_sample"
    """The small-sample interval includes 0."""
    INFLUENTIAL_GROUP = "influential_group"
    """The slope changes its sign without one of the groups."""
    MULTIPLICITY = "multiplicity"
    """The p-value is not significant after Holm's correction."""
    MEASUREMENT_ERROR = "measurement_error"
    """The interval that accounts for the metric's measurement error includes 0."""
    USERS_UNKNOWN = "users_unknown"
    """Without per-user statistics, impressions count as independent."""
    EVENT_LOSS = "event_loss"
    AA_RERANDOMISATION = "aa_rerandomisation"
    CARRY_OVER = "carry_over"
    PRE_EXPERIMENT_BALANCE = "pre_experiment_balance"
    AA_REPLICATES = "aa_replicates"
    COMPLETE_DAYS = "complete_days"
    LACK_OF_FIT = "lack_of_fit"
    """Groups deviate from the line by more than sampling explains."""
    NON_LINEAR = "non_linear"
    """The coefficient of x² is significant."""
    LOW_RELIABILITY = "low_reliability"
    """Much of the metric's variance between groups is measurement error."""
    WHOLE_WEEKS = "whole_weeks"


class Advice(StrEnum):
    """What is recommended for a KPI."""

    SHIP = "ship"
    """One group is better than the group with the lowest KPI."""
    NO_DIFFERENCE = "no_difference"
    """No two groups differ significantly in this KPI."""
    WAIT = "wait"
    """The experiment has not reached its planned end."""
    BLOCKED = "blocked"
    """The sample ratio does not match the plan."""
    UNDEFINED = "undefined"
    """The KPI of a group is 0 or unknown."""


class Movement(StrEnum):
    """The direction of a change, if its interval excludes 0."""

    INCREASE = "increase"
    DECREASE = "decrease"
    INCONCLUSIVE = "inconclusive"
    """The interval includes 0."""


class Contrast(StrEnum):
    """Whether the slopes of two studies differ."""

    DIFFERENT = "different"
    """Significant with Holm's correction, and the small-sample interval excludes 0."""
    SUGGESTIVE = "suggestive"
    """Significant with Holm's correction, but the small-sample interval includes 0."""
    INCONCLUSIVE = "inconclusive"
    """The difference may be chance, which does not show that the slopes are equal."""


class ExclusionReason(StrEnum):
    """Why a study has no slope that can be pooled or compared."""

    NOT_DECLARED = "not_declared"
    """The study does not declare the hypothesis."""
    UNDEFINED = "undefined"
    """The slope is undefined."""
    BLOCKED = "blocked"
    """The sample ratio of the study does not match its plan."""
    USERS_UNKNOWN = "users_unknown"
    """The slope has no cluster-robust standard error."""


class LimitationKind(StrEnum):
    """What a report cannot say."""

    SIMULATED = "simulated"
    """The users are simulated."""
    DRAWN = "drawn"
    """Clicks and orders are drawn from planted slopes."""
    REPLAYED = "replayed"
    """Held-out sessions are replayed."""
    ASSOCIATION = "association"
    """A slope is not the effect of one metric with the others held fixed."""
    EXTRAPOLATION = "extrapolation"
    """Nothing is known outside the groups and the duration of the experiment."""
    NOTHING_DECLARED = "nothing_declared"
    """No hypothesis is declared, and the paper's metrics are absent."""
    USERS_UNKNOWN = "users_unknown"
    """Per-user statistics of some KPIs are unknown."""
    METRIC_COVARIANCE_UNKNOWN = "metric_covariance_unknown"
    """The measurement errors of the offline metrics are unknown."""
    SHARES_UNKNOWN = "shares_unknown"
    """The sample ratio cannot be checked."""
    COUNTS_UNKNOWN = "counts_unknown"
    """The log or table does not contain some counts, so some KPIs are unknown."""
