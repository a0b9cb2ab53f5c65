"""The outcome of an attack: one row of ``results/attacks.md``."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What was tried and what was lost or wrong.

    Attributes:
        tried: The attack, in one line.
        times: How often it was tried.
        wrong: The number of losses, wrong values and tracebacks, 0 if the product holds.
        note: What happened instead, with measured numbers; for ``wrong`` > 0, what remains and why.
    """

    tried: str
    times: int
    wrong: int
    note: str

    def cells(self) -> str:
        """The cells of the row after the name."""
        cells = (self.tried, f"{self.times:,}", f"{self.wrong:,}", self.note)
        return " | ".join(cell.replace("|", "\\|") for cell in cells)
