"""The words for the enums of a result; every enum member has one phrase here."""

from collections.abc import Sequence

from pipeline.core.labels import KPI_LABELS
from pipeline.experiment.kpis.contracts import TERMS
from pipeline.results.decisions import EvidenceRating, Limitation
from pipeline.results.hypothesis import Analysis
from pipeline.results.reasons import (
    Concern,
    EvidenceStrength,
    ExclusionReason,
    LimitationKind,
    Support,
    UndefinedReason,
    Verdict,
)

VERDICTS = {
    Verdict.CONFIRMED: "confirmed",
    Verdict.SUGGESTIVE: "suggestive: so few groups could do this by chance",
    Verdict.CONTRADICTED: "significant in the opposite direction",
    Verdict.INCONCLUSIVE: "inconclusive: the interval includes 0",
    Verdict.BLOCKED: "blocked: sample ratio mismatch",
    Verdict.UNDEFINED: "undefined",
}

UNDEFINED = {
    UndefinedReason.METRIC_NOT_POSITIVE: "the metric is undefined, 0 or negative in a group",
    UndefinedReason.METRIC_CONSTANT: "the metric is the same in all groups",
    UndefinedReason.METRIC_WITHIN_NOISE: (
        "the metric varies between the groups by no more than its measurement error"
    ),
    UndefinedReason.NO_TRIALS: "a group has no trials",
    UndefinedReason.NO_SUCCESSES: "no trial succeeded",
    UndefinedReason.NO_FAILURES: "every trial succeeded",
    UndefinedReason.SEPARATION: (
        "the metric separates successes from failures, so the slope has no finite value"
    ),
    UndefinedReason.SUCCESSES_AT_ONE_END: (
        "only groups at one end of the metric have any success, so the slope has no finite value"
    ),
    UndefinedReason.RATES_0_OR_1: "in every group all trials succeeded or none did",
    UndefinedReason.IDENTICAL_USERS: (
        "the users of a group do not differ, so the slope has no cluster-robust error"
    ),
    UndefinedReason.ONE_STUDY: "one study has no variation between studies",
    UndefinedReason.NO_STUDY: "no study has a slope that can be pooled",
    UndefinedReason.METRIC_VARIES_IN_ONE_STUDY: (
        "the metric varies by more than its measurement error in one study only"
    ),
    UndefinedReason.IDENTICAL_SLOPES: "all studies have the same slope, so it has no error",
    UndefinedReason.METRIC_COVARIANCE_UNKNOWN: (
        "the report has no metric_covariance, the measurement errors of the metric"
    ),
    UndefinedReason.RATE_WITHOUT_ERROR: "a group's rate is 0 or 1, or its error is unknown",
}

_NO_EVIDENCE = {
    Verdict.INCONCLUSIVE: "the interval includes 0 and effects in both directions",
    Verdict.BLOCKED: "the sample ratio does not match the plan",
    Verdict.UNDEFINED: "the slope is undefined",
}
_SUPPORT = {
    Support.BOTH_INTERVALS: "both intervals exclude 0",
    Support.NO_INFLUENTIAL_GROUP: "no single group determines the sign of the slope",
    Support.NO_LACK_OF_FIT: "the groups show no lack of fit",
    Support.DIAGNOSTICS_PASSED: "all diagnostics that could be run passed",
}
_CONCERNS = {
    Concern.INTERIM: "it is an interim analysis",
    Concern.SMALL_SAMPLE: "the small-sample interval includes 0",
    Concern.INFLUENTIAL_GROUP: "the slope changes its sign without one of the groups",
    Concern.MULTIPLICITY: "it is not significant after correction for all hypotheses",
    Concern.MEASUREMENT_ERROR: "with the measurement error of the metric, 0 is not excluded",
    Concern.USERS_UNKNOWN: "the users are unknown, so impressions count as independent",
    Concern.EVENT_LOSS: "too many clicks or orders were lost",
    Concern.AA_RERANDOMISATION: "the A/A re-randomisation has too many false positives",
    Concern.CARRY_OVER: "the slope changes after the users' first day (carry-over)",
    Concern.PRE_EXPERIMENT_BALANCE: "the groups differed before the experiment",
    Concern.AA_REPLICATES: "groups with the same preference differ",
    Concern.COMPLETE_DAYS: "a group has no impressions on some day",
    Concern.LACK_OF_FIT: "the groups show lack of fit: they deviate by more than sampling explains",
    Concern.NON_LINEAR: "the relation is non-linear",
    Concern.LOW_RELIABILITY: "much of the metric's variance between groups is measurement error",
    Concern.WHOLE_WEEKS: "some weekdays occur more often than others",
}

EXCLUSIONS = {
    ExclusionReason.NOT_DECLARED: "it does not declare the hypothesis",
    ExclusionReason.BLOCKED: "blocked: the sample ratio does not match the plan",
    ExclusionReason.USERS_UNKNOWN: "no cluster-robust error, because the users are unknown",
}

ANALYSES = {
    Analysis.NAIVE: ("naive (i.i.d.)", "impressions are independent"),
    Analysis.CLUSTER_ROBUST: ("cluster-robust", "users are independent"),
    Analysis.HARTUNG_KNAPP: ("small-sample", "groups deviate from the line at random"),
    Analysis.QUASI_BINOMIAL: ("quasi-binomial", "groups are overdispersed"),
    Analysis.MEASUREMENT_ERROR: (
        "measurement error",
        "the metrics are estimates, users are independent",
    ),
    Analysis.DAY_FIXED_EFFECTS: ("day fixed effects", "days differ, users are independent"),
    Analysis.ANYTIME_VALID: ("anytime-valid", "the experiment may stop on any day"),
    Analysis.CUPED: ("CUPED", "adjusted for the users' behaviour before the experiment"),
    Analysis.LEAVE_ONE_OUT: ("leave-one-out", "smallest and largest slope without one group"),
    Analysis.LOG_RATE: ("log link", "the KPI's logarithm is linear, users are independent"),
}
"""Name and assumption of each analysis."""

_LIMITATIONS = {
    LimitationKind.SIMULATED: (
        "The users are simulated: this is a dry run and does not describe your shop."
    ),
    LimitationKind.DRAWN: (
        "Clicks and orders are drawn from planted slopes: this tests the inference and does not "
        "describe your shop."
    ),
    LimitationKind.REPLAYED: (
        "No user saw a list: held-out sessions were replayed (a simulation), and the same sessions "
        "measured the offline metrics."
    ),
    LimitationKind.ASSOCIATION: (
        "A slope describes how a KPI changes from group to group, where all metrics change "
        "together; it is not the effect of one metric with the others held fixed."
    ),
    LimitationKind.EXTRAPOLATION: (
        "The results do not extend beyond the tested groups, nor to effects that need more time "
        "than the experiment ran."
    ),
    LimitationKind.NOTHING_DECLARED: (
        "No hypothesis is declared, and the table does not have the paper's metrics (recall@k and "
        "od@k), so nothing is confirmed or contradicted. Declare hypotheses before the experiment: "
        "--hypothesis METRIC:KPI:SIGN."
    ),
    LimitationKind.USERS_UNKNOWN: (
        "Without per-user statistics, the trials of {kpis} count as independent: intervals are too "
        "short if users see several lists, and cluster_robust is null."
    ),
    LimitationKind.METRIC_COVARIANCE_UNKNOWN: (
        "Without the covariance of the offline metrics, their measurement error is unknown: "
        "measurement_error is null."
    ),
    LimitationKind.SHARES_UNKNOWN: (
        "Without the columns share and users, the sample ratio cannot be checked."
    ),
    LimitationKind.COUNTS_UNKNOWN: "Without {counts}, {kpis} are unknown.",
}


def undefined_words(reason: UndefinedReason | None) -> str:
    """Why an estimate is undefined."""
    return UNDEFINED[reason] if reason else "unknown reason"


def exclusion_words(reason: ExclusionReason, undefined: UndefinedReason | None) -> str:
    """Why a study is not pooled or compared."""
    if reason is ExclusionReason.UNDEFINED:
        return f"undefined: {undefined_words(undefined)}"
    return EXCLUSIONS[reason]


def evidence_words(rating: EvidenceRating, verdict: Verdict) -> str:
    """The strength of evidence behind a verdict, with its reasons, as one sentence."""
    if rating.strength is EvidenceStrength.NONE:
        return f"{rating.strength}, because {_NO_EVIDENCE[verdict]}."
    because = "; ".join(_SUPPORT[one] for one in rating.support)
    concerns = "; ".join(_CONCERNS[one] for one in (*rating.serious, *rating.minor))
    words = f"{rating.strength}, because {because}" if because else str(rating.strength)
    return f"{words}. But {concerns}." if concerns else f"{words}."


def limitation_sentences(limitations: Sequence[Limitation]) -> list[str]:
    """What a report cannot say, one sentence per limitation."""
    return [
        _LIMITATIONS[one.kind].format(
            counts=", ".join(one.counts),
            kpis=", ".join(KPI_LABELS[kpi] for kpi in one.kpis or _lost_kpis(one.counts)),
        )
        for one in limitations
    ]


def _lost_kpis(counts: Sequence[str]) -> list[str]:
    return [kpi.value for kpi, terms in TERMS.items() if set(terms) & set(counts)]
