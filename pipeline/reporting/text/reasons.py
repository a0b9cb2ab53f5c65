"""The words for the enums of a result, one phrase per member."""

from collections.abc import Sequence

from pipeline.core.labels import KPI_LABELS
from pipeline.experiment.kpis.contracts import TERMS
from pipeline.results.decisions import EvidenceRating, Limitation
from pipeline.results.headline import FEWEST_SUCCESSES
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
    Verdict.SUGGESTIVE: "suggestive: not significant, p is below twice the error rate",
    Verdict.SUGGESTIVE_OPPOSITE: (
        "suggestive of the opposite: not significant, p is below twice the error rate"
    ),
    Verdict.CONTRADICTED: "significant in the opposite direction",
    Verdict.INCONCLUSIVE: "inconclusive: the CI includes 0",
    Verdict.BLOCKED: "blocked: sample ratio mismatch (SRM) or lost outcomes",
    Verdict.UNDEFINED: "undefined",
}

UNDEFINED = {
    UndefinedReason.TWO_GROUPS: (
        "two groups do not show how far groups deviate from a line, so there is no small-sample CI"
    ),
    UndefinedReason.FEW_SUCCESSES: (
        f"fewer than {FEWEST_SUCCESSES} events in all groups (of amounts: effective users with an "
        "amount), so a CI would not be calibrated"
    ),
    UndefinedReason.FEW_FAILURES: (
        f"fewer than {FEWEST_SUCCESSES} trials without success in all groups together: a CI would "
        "not be calibrated"
    ),
    UndefinedReason.USER_SUMS_UNKNOWN: ("the CI is not known: the amounts per user are not given"),
    UndefinedReason.NEGATIVE_AMOUNT: "the amount of a group is negative, so it has no logarithm",
    UndefinedReason.EXACT_LINE: "the groups are on the line to the last digit, so it has no error",
    UndefinedReason.METRIC_NOT_POSITIVE: "the metric is undefined, 0 or negative in a group",
    UndefinedReason.METRIC_CONSTANT: "the metric is the same in all groups",
    UndefinedReason.METRIC_WITHIN_NOISE: (
        "the metric varies between the groups by no more than its measurement error"
    ),
    UndefinedReason.NO_ORDERS: "there are no orders",
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
    UndefinedReason.TWO_STUDIES: (
        "two studies cannot separate their variation from their errors; a prediction interval needs three"
    ),
    UndefinedReason.NO_STUDY: "no study has a slope that can be pooled",
    UndefinedReason.METRIC_VARIES_IN_ONE_STUDY: (
        "the metric varies by more than its measurement error in one study only"
    ),
    UndefinedReason.IDENTICAL_SLOPES: "all studies have the same slope, so it has no error",
    UndefinedReason.RATE_NOT_POSITIVE: "the amount of a group is 0 or negative, so it has no logarithm",
    UndefinedReason.RATE_WITHOUT_ERROR: "a group's rate is 0 or 1, or its error is unknown",
    UndefinedReason.NEGATIVE_AMOUNT: "a group's amount is negative (more refunds than sales)",
    UndefinedReason.USER_SUMS_UNKNOWN: (
        "the slope is a point estimate, its interval is not known without sums over users"
    ),
    UndefinedReason.FEWER_THAN_4_GROUPS: "fewer than four groups do not tell metrics apart",
    UndefinedReason.FEWER_THAN_2_TESTS: "fewer than two tests measured both",
    UndefinedReason.FEWER_THAN_4_TESTS: "fewer than four tests measured all metrics",
    UndefinedReason.NOT_ASSOCIATED: "no metric is associated with it",
    UndefinedReason.NO_SLOPE: "no metric has a slope",
    UndefinedReason.FEW_GROUPS_FOR_METRICS: "too few groups for the number of metrics",
    UndefinedReason.COLLINEAR_METRICS: "the groups do not tell the metrics apart",
}

_NO_EVIDENCE = {
    Verdict.INCONCLUSIVE: "the CI includes 0",
    Verdict.BLOCKED: "the sample ratio does not match the plan, or outcomes are lost",
    Verdict.UNDEFINED: "the slope is undefined",
}
_SUPPORT = {
    Support.SIGNIFICANT: (
        "the CI excludes 0, allowing for correlated trials of a user, few groups and measurement "
        "error in the metric"
    ),
    Support.NO_INFLUENTIAL_GROUP: "no single group determines the sign of the slope (leave-one-out)",
    Support.NO_LACK_OF_FIT: "there is no evidence of lack of fit",
    Support.DIAGNOSTICS_PASSED: "all diagnostics that could be run passed",
}
_CONCERNS = {
    Concern.INTERIM: "the experiment has not reached its planned end",
    Concern.NOT_SIGNIFICANT: "it is not significant",
    Concern.FEW_USERS: "the trials are those of few users (fewer than 30 effective users)",
    Concern.FEW_EVENTS: "there are fewer than 30 events in all groups",
    Concern.UNRELIABLE_METRIC: (
        "30% or more of the metric's variance between groups is measurement error"
    ),
    Concern.INFLUENTIAL_GROUP: "the slope changes sign without one of the groups (leave-one-out)",
    Concern.MULTIPLICITY: "it is not significant after Holm correction",
    Concern.METRIC_ERRORS_UNKNOWN: "the metric's measurement error is unknown",
    Concern.USERS_UNKNOWN: "the users are unknown, so impressions count as independent",
    Concern.AA_RERANDOMISATION: "the A/A re-randomisation shows too many false positives",
    Concern.CARRY_OVER: "the slope changes after the users' first day (carry-over)",
    Concern.PRE_EXPERIMENT_BALANCE: "the groups differ before the experiment (pre-experiment balance)",
    Concern.AA_REPLICATES: "groups with the same preference differ (A/A replicates)",
    Concern.COMPLETE_DAYS: "a group has no impressions on some day",
    Concern.LACK_OF_FIT: "there is lack of fit: groups deviate from the line by more than sampling explains",
    Concern.NON_LINEAR: "the relation is non-linear",
    Concern.LOW_RELIABILITY: (
        "10% or more of the metric's variance between groups is measurement error"
    ),
    Concern.WHOLE_WEEKS: "weekdays are not covered equally often",
    Concern.CONFOUNDED: "other metrics cannot be told apart from this one in this experiment",
}

EXCLUSIONS = {
    ExclusionReason.NOT_DECLARED: "the hypothesis is not declared",
    ExclusionReason.BLOCKED: "blocked: sample ratio mismatch (SRM) or lost outcomes",
    ExclusionReason.USERS_UNKNOWN: "no cluster-robust standard error, because the users are unknown",
}

ANALYSES = {
    Analysis.HEADLINE: (
        "headline",
        "users are independent, groups deviate from the line, the metrics are estimates",
    ),
    Analysis.NAIVE: ("naive (i.i.d.)", "impressions are independent, as in the paper"),
    Analysis.CLUSTER_ROBUST: ("cluster-robust", "users are independent"),
    Analysis.HARTUNG_KNAPP: (
        "small-sample",
        "groups deviate from the line at random (Hartung–Knapp)",
    ),
    Analysis.QUASI_BINOMIAL: ("quasi-binomial", "all groups have the same overdispersion"),
    Analysis.MEASUREMENT_ERROR: (
        "measurement error",
        "the metrics are estimates, users are independent",
    ),
    Analysis.DAY_FIXED_EFFECTS: ("day fixed effects", "days differ, users are independent"),
    Analysis.ANYTIME_VALID: ("anytime-valid", "valid at every look, users are independent"),
    Analysis.CUPED: ("CUPED", "adjusted for pre-experiment data, users are independent"),
    Analysis.LEAVE_ONE_OUT: (
        "leave-one-out",
        "smallest and largest slope without one group; not a CI",
    ),
    Analysis.LOG_RATE: ("log link", "the KPI's logarithm is linear, users are independent"),
}
"""Name and assumption of each analysis."""

_LIMITATIONS = {
    LimitationKind.APPROXIMATE_LISTS: (
        "Lists came from an approximate index (serving.index) and had {recall} of the 20 best items, by group; "
        "offline metrics are those of exact lists, so slopes also contain what the index leaves out."
    ),
    LimitationKind.SIMULATED: (
        "The users are simulated: this is a dry run and does not describe your shop."
    ),
    LimitationKind.DRAWN: (
        "Clicks and orders are drawn from planted slopes: this tests the inference and does not "
        "describe your shop."
    ),
    LimitationKind.REPLAYED: (
        "Held-out sessions are replayed, which is a simulation: no user saw a recommendation list, "
        "and the same sessions measure the offline metrics."
    ),
    LimitationKind.ASSOCIATION: (
        "A slope is an association across groups, in which all metrics change together; it is not "
        "the effect of one metric with the others held fixed."
    ),
    LimitationKind.EXTRAPOLATION: (
        "The results apply to the range of the tested groups and the duration of the experiment; "
        "long-term effects are unknown."
    ),
    LimitationKind.NO_METRICS: (
        "The table has no column of an offline metric, so there is no slope; comparing the groups needs "
        "none."
    ),
    LimitationKind.NOTHING_DECLARED: (
        "No hypothesis is declared, and the table does not have the paper's metrics (recall@k and "
        "od@k), so nothing is confirmed. Declare hypotheses before the experiment: "
        "--hypothesis METRIC:KPI:SIGN."
    ),
    LimitationKind.USERS_UNKNOWN: (
        "Without per-user sufficient statistics, the trials of {kpis} count as independent: CIs are "
        "too narrow if users have several impressions, and cluster_robust is null. Add {counts}; or, "
        "if no user has two impressions, --one-trial-per-user."
    ),
    LimitationKind.INTERVAL_UNKNOWN: (
        "The interval of {kpis} is not known: an amount needs sums over users, and has a point "
        "estimate only. Add {counts}."
    ),
    LimitationKind.METRIC_COVARIANCE_UNKNOWN: (
        "The errors of {metrics} are not known: slopes are pulled towards 0 by an unknown factor. Add "
        "the standard errors, such as {column}_se."
    ),
    LimitationKind.SHARES_UNKNOWN: (
        "Without the columns share and users, the SRM check is not run."
    ),
    LimitationKind.NO_ORDERS: (
        "There are no orders: order density and the KPIs of orders are unknown, not zero, and "
        "nothing is concluded about them."
    ),
    LimitationKind.COUNTS_UNKNOWN: "Without counts of {counts}, {kpis} are unknown.",
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
    """The strength of evidence behind a verdict, with its reasons."""
    if rating.strength is EvidenceStrength.NONE:
        return f"{rating.strength}. {_sentence([_NO_EVIDENCE[verdict]])}"
    concerns = [_CONCERNS[one] for one in (*rating.serious, *rating.minor)]
    parts = [
        f"{rating.strength}.",
        _sentence([_SUPPORT[one] for one in rating.support]),
        f"Caveats: {'; '.join(concerns)}." if concerns else "",
    ]
    return " ".join(filter(None, parts))


def _sentence(clauses: Sequence[str]) -> str:
    text = "; ".join(clauses)
    return f"{text[0].upper()}{text[1:]}." if text else ""


_MOST_NAMES = 4


def limitation_sentences(limitations: Sequence[Limitation]) -> list[str]:
    """The limitations of a report, one sentence each."""
    return [
        _LIMITATIONS[one.kind].format(
            counts=_listed(one.counts),
            kpis=", ".join(KPI_LABELS[kpi] for kpi in one.kpis or _lost_kpis(one.counts)),
            metrics=_listed(one.metrics),
            column=next(iter(one.metrics), ""),
            recall=" to ".join(f"{share:.1%}" for share in one.recall),
        )
        for one in limitations
    ]


def _listed(names: Sequence[str]) -> str:
    """The first names, and how many there are besides."""
    more = len(names) - _MOST_NAMES
    return ", ".join(names[:_MOST_NAMES]) + (f" and {more} more" if more > 0 else "")


def _lost_kpis(counts: Sequence[str]) -> list[str]:
    return [kpi.value for kpi, terms in TERMS.items() if set(terms) & set(counts)]
