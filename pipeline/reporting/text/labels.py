"""The words for verdicts, reasons, analyses and checks: one sentence part per enum member."""

from collections.abc import Callable, Mapping

from pipeline.core.labels import KPI_LABELS
from pipeline.reporting.text.formatting import kpi, plain
from pipeline.results.decisions import Limitation
from pipeline.results.hypothesis import Analysis
from pipeline.results.reasons import (
    Concern,
    ExclusionReason,
    LimitationKind,
    Support,
    UndefinedReason,
    Verdict,
)

VERDICTS: Mapping[Verdict, str] = {
    Verdict.CONFIRMED: "confirmed",
    Verdict.SUGGESTIVE: "suggestive: not significant with so few groups",
    Verdict.INCONCLUSIVE: "inconclusive: the CI includes 0",
    Verdict.CONTRADICTED: "significant in the opposite direction",
    Verdict.BLOCKED: "blocked: the SRM check failed",
    Verdict.UNDEFINED: "undefined",
}

UNDEFINED: Mapping[UndefinedReason, str] = {
    UndefinedReason.METRIC_NOT_POSITIVE: "the metric is missing, 0 or negative in a group",
    UndefinedReason.METRIC_CONSTANT: "the metric is the same in all groups",
    UndefinedReason.METRIC_WITHIN_NOISE: (
        "the metric varies between groups by no more than its measurement error"
    ),
    UndefinedReason.NO_TRIALS: "a group has no trials",
    UndefinedReason.NO_SUCCESSES: "no trial succeeded",
    UndefinedReason.NO_FAILURES: "every trial succeeded",
    UndefinedReason.SEPARATION: (
        "the metric separates successes from failures, so the slope is infinite"
    ),
    UndefinedReason.SUCCESSES_AT_ONE_END: (
        "only groups at one end of the metric have a success, so the slope is infinite"
    ),
    UndefinedReason.RATES_0_OR_1: "in every group all trials succeeded or none did",
    UndefinedReason.ONE_STUDY: "the variation between studies is unknown with one study",
    UndefinedReason.NO_STUDY: "no study has a slope that can be pooled",
    UndefinedReason.METRIC_VARIES_IN_ONE_STUDY: (
        "without one of the studies, the metric varies by no more than its measurement error"
    ),
    UndefinedReason.IDENTICAL_SLOPES: (
        "all studies have the same slope, so it has no standard error"
    ),
    UndefinedReason.METRIC_COVARIANCE_UNKNOWN: (
        "a report does not contain the covariance of the metric's measurement errors"
    ),
    UndefinedReason.RATE_WITHOUT_ERROR: (
        "the rate of a group is 0 or 1, or its standard error is unknown"
    ),
}

EXCLUSIONS: Mapping[ExclusionReason, str] = {
    ExclusionReason.NOT_DECLARED: "the hypothesis is not tested",
    ExclusionReason.UNDEFINED: "the slope is undefined",
    ExclusionReason.BLOCKED: "blocked: the SRM check failed",
    ExclusionReason.USERS_UNKNOWN: "the slope has no cluster-robust standard error",
}

SUPPORTS: Mapping[Support, str] = {
    Support.BOTH_INTERVALS: "the cluster-robust and the small-sample CI exclude 0",
    Support.NO_INFLUENTIAL_GROUP: "no single group drives the slope (leave-one-out)",
    Support.NO_LACK_OF_FIT: "no evidence of lack of fit",
    Support.DIAGNOSTICS_PASSED: "all diagnostics passed",
}

CONCERNS: Mapping[Concern, str] = {
    Concern.INTERIM: "the experiment has not reached its planned end",
    Concern.SMALL_SAMPLE: "the small-sample CI includes 0",
    Concern.INFLUENTIAL_GROUP: "the slope changes sign without one of the groups (leave-one-out)",
    Concern.MULTIPLICITY: "not significant after Holm correction",
    Concern.MEASUREMENT_ERROR: "the CI with measurement error in the metric includes 0",
    Concern.USERS_UNKNOWN: "without user ids, impressions are treated as independent",
    Concern.EVENT_LOSS: "too many clicks or orders are lost",
    Concern.AA_RERANDOMISATION: "the A/A re-randomisation shows too many false positives",
    Concern.CARRY_OVER: "the effect changes after the users' first day (carry-over)",
    Concern.PRE_EXPERIMENT_BALANCE: "the groups differ before the experiment",
    Concern.AA_REPLICATES: "groups with the same preference differ (A/A replicates)",
    Concern.COMPLETE_DAYS: "a group has no impressions on some day",
    Concern.LACK_OF_FIT: "lack of fit",
    Concern.NON_LINEAR: "the relation is non-linear",
    Concern.LOW_RELIABILITY: ("much of the metric's variance between groups is measurement error"),
    Concern.WHOLE_WEEKS: "weekdays are not covered equally often",
}

CHECKS: Mapping[str, str] = {
    "sample_ratio": "SRM check: users per group match the planned shares (else no verdict)",
    "complete_days": "every group has impressions on every day",
    "whole_weeks": "every weekday is covered equally often",
    "event_loss": "at most 1% of clicks and orders lack their impression or click",
    "aa_rerandomisation": "A/A re-randomisation: 5% of false positives",
    "carry_over": "no carry-over: the slope does not change after the users' first day",
    "pre_experiment_balance": "pre-experiment balance: the groups do not differ",
    "aa_replicates": "A/A replicates: groups with the same preference do not differ",
}
"""The checks of :class:`pipeline.results.diagnostics.Diagnostics`, by field."""

ANALYSES: Mapping[Analysis, tuple[str, str]] = {
    Analysis.NAIVE: ("naive (i.i.d.)", "impressions are independent, as in the paper"),
    Analysis.CLUSTER_ROBUST: ("cluster-robust", "users are independent"),
    Analysis.HARTUNG_KNAPP: ("small-sample", "random deviations of groups (Hartung–Knapp)"),
    Analysis.QUASI_BINOMIAL: ("quasi-binomial", "the same overdispersion in all groups"),
    Analysis.MEASUREMENT_ERROR: ("measurement error", "metrics are estimates"),
    Analysis.DAY_FIXED_EFFECTS: ("day fixed effects", "the KPI differs between days"),
    Analysis.ANYTIME_VALID: ("anytime-valid", "holds at every look"),
    Analysis.CUPED: ("CUPED", "adjusted for pre-experiment data"),
    Analysis.LEAVE_ONE_OUT: ("leave-one-out", "smallest and largest slope; not a CI"),
    Analysis.LOG_RATE: ("log link", "the logarithm of the KPI is linear"),
}
"""Name and assumption of each analysis."""

_LIMITATIONS: Mapping[LimitationKind, str] = {
    LimitationKind.SIMULATED: (
        "All users are simulated: this is a dry run, and says nothing about your shop."
    ),
    LimitationKind.DRAWN: (
        "Clicks and orders are drawn from planted slopes: this tests the inference, and says "
        "nothing about your shop."
    ),
    LimitationKind.REPLAYED: (
        "Held-out sessions are replayed, which is a simulation: no user saw a recommendation list, "
        "and the same sessions measure the offline metrics."
    ),
    LimitationKind.ASSOCIATION: (
        "A slope is the association of a KPI with a metric across groups, in which all metrics "
        "change together; it is not the effect of one metric with the others held fixed."
    ),
    LimitationKind.EXTRAPOLATION: (
        "The results apply to the tested range of groups and the duration of the experiment; "
        "long-term effects are unknown."
    ),
    LimitationKind.NOTHING_DECLARED: (
        "No hypothesis is declared, and the metrics do not include recall@k and od@k of the paper, "
        "so nothing is confirmed. Declare hypotheses before the experiment: "
        "--hypothesis METRIC:KPI:SIGN."
    ),
    LimitationKind.USERS_UNKNOWN: (
        "Without per-user sufficient statistics, the trials of {kpis} are treated as independent: "
        "CIs are too narrow if users have several impressions."
    ),
    LimitationKind.METRIC_COVARIANCE_UNKNOWN: (
        "The standard errors of the offline metrics are unknown, so the CIs do not include "
        "measurement error in the metric."
    ),
    LimitationKind.SHARES_UNKNOWN: (
        "Without users and planned shares, the SRM check cannot be run."
    ),
    LimitationKind.COUNTS_UNKNOWN: ("There are no counts of {counts}, so {kpis} are not analysed."),
}


def limitation(one: Limitation) -> str:
    """A limitation as a sentence."""
    kpis = ", ".join(KPI_LABELS[kpi] for kpi in one.kpis)
    return _LIMITATIONS[one.kind].format(kpis=kpis, counts=", ".join(one.counts))


LABELS: Mapping[str, Callable[..., str]] = {
    "kpi": kpi,
    "plain": plain,
    "verdict": VERDICTS.__getitem__,
    "undefined": UNDEFINED.__getitem__,
    "exclusion": EXCLUSIONS.__getitem__,
    "support": SUPPORTS.__getitem__,
    "concern": CONCERNS.__getitem__,
    "check": CHECKS.__getitem__,
    "analysis": lambda name: ANALYSES[name][0],
    "assumption": lambda name: ANALYSES[name][1],
    "limitation": limitation,
}
"""The filters that write labels and parameters."""
