"""The closed sets of a result: verdicts, advice, and the reasons for them.

Enums alone; :mod:`pipeline.reporting.text.reasons` has the phrase of every member.
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
    METRIC_CONSTANT = "metric_constant"
    METRIC_WITHIN_NOISE = "metric_within_noise"
    NO_TRIALS = "no_trials"
    NO_SUCCESSES = "no_successes"
    NO_FAILURES = "no_failures"
    SEPARATION = "separation"
    SUCCESSES_AT_ONE_END = "successes_at_one_end"
    IDENTICAL_USERS = "identical_users"
    RATES_0_OR_1 = "rates_0_or_1"
    ONE_STUDY = "one_study"
    NO_STUDY = "no_study"
    METRIC_VARIES_IN_ONE_STUDY = "metric_varies_in_one_study"
    IDENTICAL_SLOPES = "identical_slopes"
    METRIC_COVARIANCE_UNKNOWN = "metric_covariance_unknown"
    RATE_WITHOUT_ERROR = "rate_without_error"


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
    NO_INFLUENTIAL_GROUP = "no_influential_group"
    NO_LACK_OF_FIT = "no_lack_of_fit"
    DIAGNOSTICS_PASSED = "diagnostics_passed"


class Concern(StrEnum):
    """What lowers the strength of the evidence."""

    INTERIM = "interim"
    SMALL_SAMPLE = "small_sample"
    INFLUENTIAL_GROUP = "influential_group"
    MULTIPLICITY = "multiplicity"
    MEASUREMENT_ERROR = "measurement_error"
    USERS_UNKNOWN = "users_unknown"
    AA_RERANDOMISATION = "aa_rerandomisation"
    CARRY_OVER = "carry_over"
    PRE_EXPERIMENT_BALANCE = "pre_experiment_balance"
    AA_REPLICATES = "aa_replicates"
    COMPLETE_DAYS = "complete_days"
    LACK_OF_FIT = "lack_of_fit"
    NON_LINEAR = "non_linear"
    LOW_RELIABILITY = "low_reliability"
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
    UNDEFINED = "undefined"
    BLOCKED = "blocked"
    USERS_UNKNOWN = "users_unknown"


class LimitationKind(StrEnum):
    """What a report cannot say."""

    SIMULATED = "simulated"
    DRAWN = "drawn"
    REPLAYED = "replayed"
    ASSOCIATION = "association"
    EXTRAPOLATION = "extrapolation"
    NOTHING_DECLARED = "nothing_declared"
    USERS_UNKNOWN = "users_unknown"
    METRIC_COVARIANCE_UNKNOWN = "metric_covariance_unknown"
    SHARES_UNKNOWN = "shares_unknown"
    COUNTS_UNKNOWN = "counts_unknown"
