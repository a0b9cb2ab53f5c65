"""The options of an analysis of a table of counts."""

from dataclasses import dataclass, field

from pipeline.results.slopes import Finite


@dataclass(frozen=True, slots=True, kw_only=True)
class FitOptions:
    """The options that a table of counts was fitted with; see ``paretoscope fit --help``.

    Attributes:
        columns: The table's column by our name, where it was given.
        metrics: The selected columns of offline metrics; empty for all.
        one_trial_per_user: Whether no user has two impressions.
        error_correlation: Of the metric errors of two groups.
        x_reference: What slopes are relative to.
        control: The group that others are compared with; None for the lowest.
        margin: Relative change of a KPI that is negligible.
    """

    columns: dict[str, str] = field(default_factory=dict[str, str])
    metrics: tuple[str, ...] = ()
    one_trial_per_user: bool = False
    error_correlation: Finite = 0.0
    x_reference: str = "worst"
    control: str | None = None
    margin: Finite | None = None
