"""The rows of the first screen."""

from dataclasses import dataclass

from pipeline.core.contracts import Kpi
from pipeline.reporting.first_screen.axis import Axis, Bar, Tone
from pipeline.results.decisions import Advice, EvidenceRating, KpiChange, RankedMetric
from pipeline.results.hypothesis import HypothesisResult


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultRow:
    """A hypothesis on the first screen.

    Attributes:
        number: Its row in the data table.
        result: The hypothesis.
        evidence: Its rating.
        tone: Of its chip and bar.
        word: Of its chip.
        lift: With two groups, the change of the KPI from one to the other, instead of the slope.
        bar: Of the effect; None where there is none.
        note: Why there is no effect.
        partial: The word for the verdict on its partial slope; empty where none is stated.
    """

    number: int
    result: HypothesisResult
    evidence: EvidenceRating
    tone: Tone
    word: str
    lift: KpiChange | None
    bar: Bar | None
    note: str
    partial: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RankedRow:
    """The best metric of a KPI where no hypothesis is declared, with its row in the data table."""

    number: int
    found: RankedMetric
    bar: Bar | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeCell:
    """The change of one KPI; ``number`` is its row in the data table, ``own`` the KPI's own advice."""

    number: int
    change: KpiChange
    own: bool
    bar: Bar


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionRow:
    """The advice for one KPI, with the change of every KPI, None where not known."""

    advice: Advice
    reason: str
    cells: tuple[ChangeCell | None, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstScreen:
    """All that the first screen shows.

    Attributes:
        headline: The answer in one line.
        alert: The failed checks that block verdicts; empty without one.
        failed: Checks that fail.
        passed: Checks that pass.
        axis: Of the effects.
        level: Of their intervals; None if they differ.
        rows: Of the hypotheses shown.
        hidden_rows: Number of the others.
        ranked: Instead of them, where none is declared.
        two_groups: Whether the effects are changes between two groups, not slopes.
        lead: The hypothesis of the figure.
        kpis: The columns of the decisions.
        change_axis: Of the changes.
        decisions: One per KPI.
        hidden_decisions: Number of the other KPIs.
        changes: Every change, in the order of the data table.
        control: Whether groups are compared with a declared control.
        blocked: Whether nothing may be compared.
        no_orders: Whether the data has no orders.
    """

    headline: str
    alert: str
    failed: int
    passed: int
    axis: Axis
    level: float | None
    rows: tuple[ResultRow, ...]
    hidden_rows: int
    ranked: tuple[RankedRow, ...]
    two_groups: bool
    lead: HypothesisResult | None
    kpis: tuple[Kpi, ...]
    change_axis: Axis
    decisions: tuple[DecisionRow, ...]
    hidden_decisions: int
    changes: tuple[tuple[Advice, KpiChange], ...]
    control: bool
    blocked: bool
    no_orders: bool
