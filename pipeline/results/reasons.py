"""The closed sets of a result: verdicts, actions, and the reasons for them.

Enums alone; :mod:`pipeline.reporting.text.reasons` has the phrase of every member.
"""

from enum import StrEnum


class Verdict(StrEnum):
    """What the headline says of the declared direction; both directions need the same evidence.

    p is the headline's p-value. It is significant below 1 less the headline's level.
    """

    CONFIRMED = "confirmed"
    """Significant in the declared direction."""
    SUGGESTIVE = "suggestive"
    """Not significant, but p is below 10% (twice the error rate) in the declared direction."""
    INCONCLUSIVE = "inconclusive"
    """Neither."""
    SUGGESTIVE_OPPOSITE = "suggestive of the opposite"
    """Not significant, but p is below 10% (twice the error rate) in the opposite direction."""
    CONTRADICTED = "contradicted"
    """Significant in the opposite direction."""
    BLOCKED = "blocked"
    """The sample ratio does not match the plan, so nothing is concluded."""
    UNDEFINED = "undefined"
    """The slope cannot be tested."""


class Target(StrEnum):
    """What an interval covers."""

    NEW_GROUP = "a new group like these"
    """The line that groups deviate from: what to expect of a preference or variant that was not tested."""
    THESE_GROUPS = "the line through these groups"
    """Only the users vary."""


class Reading(StrEnum):
    """The day whose sums the headline is based on."""

    PLANNED_END = "planned end"
    EARLY_LOOK = "early look"
    """Before the planned end: anytime-valid."""
    LATE_LOOK = "after the planned end"
    """Anytime-valid."""


class UndefinedReason(StrEnum):
    """Why an estimate has no value."""

    TWO_GROUPS = "two_groups"
    FEW_SUCCESSES = "few_successes"
    FEW_FAILURES = "few_failures"
    USER_SUMS_UNKNOWN = "user_sums_unknown"
    NEGATIVE_AMOUNT = "negative_amount"
    EXACT_LINE = "exact_line"

    METRIC_NOT_POSITIVE = "metric_not_positive"
    METRIC_CONSTANT = "metric_constant"
    METRIC_WITHIN_NOISE = "metric_within_noise"
    NO_ORDERS = "no_orders"
    NO_TRIALS = "no_trials"
    NO_SUCCESSES = "no_successes"
    NO_FAILURES = "no_failures"
    SEPARATION = "separation"
    SUCCESSES_AT_ONE_END = "successes_at_one_end"
    IDENTICAL_USERS = "identical_users"
    RATES_0_OR_1 = "rates_0_or_1"
    ONE_STUDY = "one_study"
    TWO_STUDIES = "two_studies"
    NO_STUDY = "no_study"
    METRIC_VARIES_IN_ONE_STUDY = "metric_varies_in_one_study"
    IDENTICAL_SLOPES = "identical_slopes"
    RATE_NOT_POSITIVE = "rate_not_positive"
    RATE_WITHOUT_ERROR = "rate_without_error"
    FEWER_THAN_4_GROUPS = "fewer_than_4_groups"
    FEWER_THAN_2_TESTS = "fewer_than_2_tests"
    FEWER_THAN_4_TESTS = "fewer_than_4_tests"
    NOT_ASSOCIATED = "not_associated"
    NO_SLOPE = "no_slope"
    FEW_GROUPS_FOR_METRICS = "few_groups_for_metrics"
    COLLINEAR_METRICS = "collinear_metrics"


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
    """Groups deviate from the line at random; Hartung and Knapp's error."""
    RANDOM_EFFECTS = "random_effects"
    """Studies deviate from the mean at random, by a standard deviation that is itself uncertain."""
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
    """Only the linear form, the metric, its measurement or the calendar is in doubt."""
    LOW = "low"
    """At least one finding could reverse the verdict."""
    NONE = "none"
    """The verdict is inconclusive, blocked or undefined."""


class Support(StrEnum):
    """What supports a verdict."""

    SIGNIFICANT = "significant"
    NO_INFLUENTIAL_GROUP = "no_influential_group"
    NO_LACK_OF_FIT = "no_lack_of_fit"
    DIAGNOSTICS_PASSED = "diagnostics_passed"


class Concern(StrEnum):
    """What lowers the strength of the evidence."""

    INTERIM = "interim"
    NOT_SIGNIFICANT = "not_significant"
    FEW_USERS = "few_users"
    FEW_EVENTS = "few_events"
    UNRELIABLE_METRIC = "unreliable_metric"
    INFLUENTIAL_GROUP = "influential_group"
    MULTIPLICITY = "multiplicity"
    USERS_UNKNOWN = "users_unknown"
    METRIC_ERRORS_UNKNOWN = "metric_errors_unknown"
    AA_RERANDOMISATION = "aa_rerandomisation"
    CARRY_OVER = "carry_over"
    PRE_EXPERIMENT_BALANCE = "pre_experiment_balance"
    AA_REPLICATES = "aa_replicates"
    COMPLETE_DAYS = "complete_days"
    LACK_OF_FIT = "lack_of_fit"
    NON_LINEAR = "non_linear"
    LOW_RELIABILITY = "low_reliability"
    WHOLE_WEEKS = "whole_weeks"
    CONFOUNDED = "confounded"


class Action(StrEnum):
    """What to do about the groups, for one KPI."""

    SHIP = "ship"
    """One group is significantly better than the baseline."""
    NO_DIFFERENCE = "no difference"
    """All groups are within a declared margin of each other, or of the control."""
    INCONCLUSIVE = "inconclusive"
    """No group is significantly better than the baseline, which does not show that they are equal."""
    WAIT = "wait"
    """The experiment has not reached its planned end."""
    BLOCKED = "blocked"
    """The sample ratio does not match the plan."""
    UNDEFINED = "undefined"
    """The groups cannot be compared."""


class AdviceReason(StrEnum):
    """Why an action is advised."""

    BETTER = "better"
    """Ship: the pair test is significant, for all comparisons simultaneously."""
    WITHIN_MARGIN = "within_margin"
    """No difference: the intervals of all comparisons are within the margin."""
    NOT_SIGNIFICANT = "not_significant"
    """Inconclusive: the pair test is not significant."""
    CONTROL_LEADS = "control_leads"
    """Inconclusive: no group has a higher KPI than the control."""
    FEW_USERS = "few_users"
    """Inconclusive: one of the two groups has fewer than 10 users with a trial."""
    FEW_EVENTS = "few_events"
    """Inconclusive: the two groups have fewer than 10 events."""
    BEFORE_PLANNED_END = "before_planned_end"
    """Wait: the anytime-valid test is not significant yet."""
    SAMPLE_RATIO = "sample_ratio"
    """Blocked."""
    USERS_UNKNOWN = "users_unknown"
    """Undefined: there are no per-user sufficient statistics, and trials may be correlated."""
    NO_COUNTS = "no_counts"
    """Undefined: the KPI is not counted."""
    NO_TRIALS = "no_trials"
    """Undefined: a group has no trials."""
    NOT_POSITIVE = "not_positive"
    """Undefined: the revenue of a group is 0 or less, so relative changes are undefined."""


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
    NO_METRICS = "no_metrics"
    USERS_UNKNOWN = "users_unknown"
    INTERVAL_UNKNOWN = "interval_unknown"
    METRIC_COVARIANCE_UNKNOWN = "metric_covariance_unknown"
    SHARES_UNKNOWN = "shares_unknown"
    COUNTS_UNKNOWN = "counts_unknown"
    NO_ORDERS = "no_orders"
    APPROXIMATE_LISTS = "approximate_lists"
