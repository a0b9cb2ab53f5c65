"""``experiment.second_axis``: what groups may differ in besides their preference."""

from collections.abc import Iterable
from enum import StrEnum
from typing import Annotated

from annotated_types import Interval, Len
from pydantic.dataclasses import dataclass

from models.strict import STRICT
from pipeline.core.errors import StudyError


class AxisKind(StrEnum):
    """What a level of the second axis changes in a list."""

    DIVERSITY = "diversity"
    NOVELTY = "novelty"
    FRESHNESS = "freshness"
    LIST_LENGTH = "list-length"


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class SecondAxis:
    """A second thing, besides the preference, in which groups differ.

    A cell is a preference with a level. At the neutral level, a cell is the preference itself.

    Attributes:
        kind: ``diversity``, ``novelty`` or ``freshness``: levels are the weight, in [0, 1], of this
            property against relevance when the best items are re-ranked. ``list-length``: levels
            are numbers of items in a list.
        levels: The levels of the grid. One is neutral: 0; for ``list-length`` the largest, which is
            ``experiment.list_length``.
        candidates: Number of best items that are re-ranked; not read for ``list-length``.
    """

    kind: AxisKind
    levels: Annotated[tuple[Annotated[float, Interval(ge=0, le=1000)], ...], Len(2, 20)]
    candidates: Annotated[int, Interval(ge=2, le=10_000)] = 100

    def __post_init__(self) -> None:
        found = f"experiment.second_axis.levels = {[_number(level) for level in self.levels]}"
        if len(set(self.levels)) < len(self.levels):
            msg = f"{found}: a level occurs twice; list each once"
            raise StudyError(msg)
        if self.kind is AxisKind.LIST_LENGTH:
            if any(level < 1 or level % 1 for level in self.levels):
                msg = f"{found}: expected numbers of items, such as [10, 20]"
                raise StudyError(msg)
        elif max(self.levels) > 1 or 0 not in self.levels:
            msg = f"{found}: expected weights in [0, 1] with the neutral 0, such as [0, 0.3]"
            raise StudyError(msg)

    @property
    def neutral(self) -> float:
        """The level at which a cell is what its preference is without a second axis."""
        return max(self.levels) if self.kind is AxisKind.LIST_LENGTH else 0.0

    @property
    def others(self) -> tuple[float, ...]:
        """All levels but the neutral one, ascending."""
        return tuple(sorted(level for level in self.levels if level != self.neutral))

    def cell(self, preference_id: str, level: float) -> str:
        """The id of a cell: of its preference, and off the neutral level such as ``p05+diversity0.3``."""
        return preference_id + self._suffix(level)

    def split(self, cell: str) -> tuple[str, float]:
        """The preference and the level of a cell's id; inverse of :meth:`cell`."""
        for level in self.others:
            if cell.endswith(suffix := self._suffix(level)):
                return cell.removesuffix(suffix), level
        return cell, self.neutral

    def off_front(self, cells: Iterable[str]) -> frozenset[str]:
        """Those of the cells that have another level than the neutral one."""
        return frozenset(cell for cell in cells if self.split(cell)[1] != self.neutral)

    def list_length(self, level: float | None, longest: int) -> int:
        """The number of items in a list at a level (None for the neutral one)."""
        if self.kind is not AxisKind.LIST_LENGTH or level is None:
            return longest
        return int(level)

    def check_lists(self, longest: int, cutoff: int, deepest: int) -> None:
        """Check that the lists of all levels are those that the offline metrics measure.

        Args:
            longest: ``experiment.list_length``.
            cutoff: The k of metrics whose name has none.
            deepest: The largest k of any metric.

        Raises:
            StudyError: with the keys and what to change.
        """
        is_length = self.kind is AxisKind.LIST_LENGTH
        if is_length and not self.neutral == longest == cutoff:
            msg = (
                f"experiment.second_axis.levels has lists of up to {self.neutral:g} items, but "
                f"experiment.list_length = {longest} and evaluation.cutoff = {cutoff}; the longest "
                "lists are the neutral ones, and metrics are of whole lists: use one number"
            )
            raise StudyError(msg)
        needed = max(deepest, longest)
        if not is_length and self.candidates < needed:
            msg = (
                f"experiment.second_axis.candidates = {self.candidates} is below {needed}, the "
                "largest of experiment.list_length and the cutoffs of evaluation; raise it"
            )
            raise StudyError(msg)

    def label(self, level: float) -> str:
        """A level for the reader, such as ``diversity 0.3``."""
        return f"{self.kind.value.replace('-', ' ')} {_number(level)}"

    def _suffix(self, level: float) -> str:
        return "" if level == self.neutral else f"+{self.kind}{_number(level)}"


def level_of(axis: SecondAxis | None, cell: str) -> float | None:
    """The level of a cell's id; None without a second axis."""
    return axis.split(cell)[1] if axis else None


def _number(level: float) -> str:
    """A level without trailing zeros, and without losing a digit."""
    return repr(level).removesuffix(".0")
