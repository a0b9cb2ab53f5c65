"""The diagnostics of an experiment: every check with its numbers."""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from datetime import date

from pipeline.results.slopes import Finite, SlopeTest


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleRatio:
    """The sample ratio (SRM) check: whether the users per group match the planned shares.

    Attributes:
        passed: Whether the p-value is at least 0.0005, and the e-value at most 1000 on every day; if
            not, every verdict is blocked.
        users: Of each group.
        expected: Users by the planned shares.
        p_value: Of Pearson's χ² test, which is valid for one look.
        e_value: Evidence against the planned shares, 0 or more; valid at any number of looks.
        largest_e_value: Of all days; ``e_value`` if days are unknown.
    """

    passed: bool
    users: tuple[int, ...]
    expected: tuple[Finite, ...]
    p_value: Finite
    e_value: Finite
    largest_e_value: Finite


@dataclass(frozen=True, slots=True, kw_only=True)
class CompleteDays:
    """Whether every group has impressions on every day; ``missing`` are the other days (UTC)."""

    passed: bool
    days: int
    missing: tuple[date, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class WholeWeeks:
    """Whether the log covers every weekday equally often."""

    passed: bool
    days: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LossTest:
    """Whether the share of lost rows of one table differs between groups.

    Attributes:
        passed: Whether the p-value is at least 0.0005 or the shares differ by less than 0.01.
        shares: Lost / (lost + used) rows of each group, in [0, 1].
        chi2: Of the test that the shares are equal, corrected for the correlation of a user's rows.
        df: Groups with rows, less one.
        p_value: Of ``chi2``.
        design_effect: By which factor that correlation increases the variance, at least 1.
    """

    passed: bool
    shares: dict[str, Finite]
    chi2: Finite
    df: int
    p_value: Finite
    design_effect: Finite


@dataclass(frozen=True, slots=True, kw_only=True)
class SilentGroup:
    """A group without any outcome, as if those of the whole group were lost.

    Attributes:
        group: Its name.
        outcome: ``clicks`` or ``orders``.
        expected: How many it would have at the rate of the other groups, at least 30.
    """

    group: str
    outcome: str
    expected: Finite


@dataclass(frozen=True, slots=True, kw_only=True)
class LostOutcomes:
    """Whether clicks, orders and impressions are lost, in total or in some groups.

    Attributes:
        passed: Whether at most 1% of the clicks and orders are lost (or fewer than 10), no test of
            ``tables`` fails and no group is silent; if not, every verdict is blocked.
        lost: Clicks and orders that are invalid, or have no impression or click before them.
        lost_share: Of these and the attributed ones, in [0, 1].
        unknown_group: How many of the lost ones are of a group that is not known.
        tables: The test of each table with lost rows; late ones and duplicates count here, too.
        silent: Groups without a click or an order.
    """

    passed: bool
    lost: int
    lost_share: Finite
    unknown_group: int
    tables: dict[str, LossTest]
    silent: tuple[SilentGroup, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AaTest:
    """A/A re-randomisation: the cluster-robust test on groups that differ by chance alone.

    Attributes:
        passed: Whether the false positives are compatible with a rate of 5%.
        divisions: How often the batches of users were re-randomised.
        false_positives: Share of those with a p-value below 5%.
        p_value: Of the null hypothesis that the p-values are uniform (Kolmogorov–Smirnov).
    """

    passed: bool
    divisions: int
    false_positives: Finite
    p_value: Finite


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicateTest:
    """A χ² test that the KPI differs between comparable groups by sampling alone.

    Attributes:
        chi2: Σ (link - mean of the preference)² / variance over the groups, cluster-robust.
        df: Groups less preferences.
        p_value: Of ``chi2``.
    """

    chi2: Finite
    df: int
    p_value: Finite


@dataclass(frozen=True, slots=True, kw_only=True)
class AaRerandomisation:
    """The A/A re-randomisation test per hypothesis; None where it could not be run.

    ``passed`` is None if no test could be run; so it is for the checks below.
    """

    passed: bool | None
    hypotheses: dict[str, AaTest | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class CarryOver:
    """The change of the slope after the users' first day, per hypothesis; None if not run."""

    passed: bool | None
    hypotheses: dict[str, SlopeTest | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Replicates:
    """Tests of groups that should not differ, per KPI; empty if none could be run."""

    passed: bool | None
    kpis: dict[str, ReplicateTest]


Check = (
    SampleRatio
    | LostOutcomes
    | CompleteDays
    | WholeWeeks
    | AaRerandomisation
    | CarryOver
    | Replicates
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnostics:
    """All checks of an experiment; None where the data does not allow one.

    :data:`pipeline.reporting.text.diagnostics.CHECK_LABELS` says what each requires; only those of
    :data:`BLOCKING` block verdicts.
    """

    sample_ratio: SampleRatio | None = None
    lost_outcomes: LostOutcomes | None = None
    complete_days: CompleteDays | None = None
    whole_weeks: WholeWeeks | None = None
    aa_rerandomisation: AaRerandomisation | None = None
    carry_over: CarryOver | None = None
    pre_experiment_balance: Replicates | None = None
    aa_replicates: Replicates | None = None

    def items(self) -> Iterator[tuple[str, Check]]:
        """The checks there are, by name."""
        for field in fields(self):
            if (check := getattr(self, field.name)) is not None:
                yield field.name, check

    @property
    def failed(self) -> tuple[str, ...]:
        """The checks that fail; one that could not be run does not."""
        return tuple(name for name, check in self.items() if check.passed is False)

    @property
    def allow_verdicts(self) -> bool:
        """Whether no check that blocks verdicts fails."""
        return not set(BLOCKING) & set(self.failed)


UNLIKELY = 1e-3
"""An A/A test fails at a p-value below this; it is small because the test runs every week."""

SAMPLE_RATIO = "sample_ratio"
BLOCKING = (SAMPLE_RATIO, "lost_outcomes")
"""Checks whose failure means that the KPIs of the groups cannot be compared."""

CHECKS = tuple(field.name for field in fields(Diagnostics))
"""Names of all checks."""
