"""The command line and the report of a benchmark of claims."""

import argparse
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from machine import described, use_two_cores

from claims.result import Claim, Row

RESULTS = Path(__file__).parents[1] / "results"
ALLOWANCE = 2.0
"""Standard errors that a row may be outside its target by chance."""

MeasureClaims = Callable[[int], list[Claim]]
"""Measures claims with a number of worlds per row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimBenchmark:
    """A benchmark whose rows are claims, each with a target.

    Attributes:
        name: Of the file in ``benchmarks``, and of that with the results.
        description: What ``--help`` prints.
        claims: What is measured; ``--only`` names some of them.
        worlds: Simulated worlds per row, by default.
        more: How many times as many worlds a claim has.
        exceptions: What the report says of rows with more worlds.
        note: A sentence on the setting, at the end of the report's introduction.
        tables: More tables in Markdown, after the summary.
    """

    name: str
    description: str | None
    claims: tuple[MeasureClaims, ...]
    worlds: int
    more: Mapping[MeasureClaims, int] = field(default_factory=dict[MeasureClaims, int])
    exceptions: str = ""
    note: str = ""
    tables: Callable[[], list[str]] = list

    def main(self) -> None:
        """Parse the command line and run the benchmark."""
        parser = argparse.ArgumentParser(
            description=self.description, formatter_class=argparse.RawTextHelpFormatter
        )
        parser.add_argument("--write", action="store_true")
        parser.add_argument("--worlds", type=int, default=self.worlds)
        parser.add_argument("--only", nargs="+", choices=[one.__name__ for one in self.claims])
        arguments = parser.parse_args()
        use_two_cores()
        text = self.report(arguments.worlds, arguments.only)
        print(text)
        if arguments.write:
            (RESULTS / f"{self.name}.md").write_text(text, encoding="utf-8")

    def report(self, worlds: int, only: list[str] | None) -> str:
        """Run the claims; returns the report in Markdown."""
        started = time.perf_counter()
        chosen = [one for one in self.claims if only is None or one.__name__ in only]
        claims = [claim for one in chosen for claim in one(worlds * self.more.get(one, 1))]
        minutes = (time.perf_counter() - started) / 60
        exceptions = f" ({self.exceptions})" if self.exceptions else ""
        introduction = (
            f"`python benchmarks/{self.name}.py --write` with {worlds:,} worlds per row{exceptions} on "
            f"{described('numpy', 'scipy')}; {minutes:.0f} minutes. Standard errors in parentheses. *Within "
            f"error* is outside by at most two of them. {self.note}"
        ).rstrip()
        title = self.name.replace("_", " ").capitalize()
        lines = [f"# {title}", "", introduction, "", *_summary(claims)]
        for part in (self.tables(), *(_section(claim) for claim in claims)):
            lines += ["", *part] if part else []
        return "\n".join([*lines, ""])


def _summary(claims: list[Claim]) -> list[str]:
    """One row per claim: the range over its settings."""
    lines = ["| claim | target | smallest | largest | reached |", "|---|---|---|---|---|"]
    for one in claims:
        low = min(one.rows, key=lambda row: row.value)
        high = max(one.rows, key=lambda row: row.value)
        missed = sum(row.misses_by > ALLOWANCE for row in one.rows)
        reached = "yes" if not missed else f"not in {missed} of {len(one.rows)} settings; see below"
        targets = {_target(row) for row in one.rows}
        target = targets.pop() if len(targets) == 1 else "see below"
        lines.append(f"| {one.title} | {target} | {_value(low)} | {_value(high)} | {reached} |")
    return lines


def _section(claim: Claim) -> list[str]:
    """All settings of a claim."""
    lines = [f"## {claim.title}", ""]
    if claim.limit:
        lines += [claim.limit, ""]
    lines += ["| setting | measured | target | reached |", "|---|---|---|---|"]
    for row in claim.rows:
        lines.append(f"| {row.setting} | {_value(row)} | {_target(row)} | {_reached(row)} |")
    return lines


def _value(row: Row) -> str:
    return f"{row.value:.3f} ({row.error:.3f})"


def _reached(row: Row) -> str:
    if _target(row) == "none":
        return ""
    if row.misses_by > ALLOWANCE:
        return "**no**"
    return "within error" if row.misses_by else "yes"


def _target(row: Row) -> str:
    if np.isfinite(row.low) and np.isfinite(row.high):
        return f"{row.low:g} to {row.high:g}"
    if np.isfinite(row.high):
        return f"≤ {row.high:g}"
    if np.isfinite(row.low):
        return f"≥ {row.low:g}"
    return "none"
