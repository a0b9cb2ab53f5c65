r"""What intervals, verdicts, advice and predictions claim, against what is true in simulated worlds.

    python benchmarks/calibration.py --write

Every row is a setting with at least ``--worlds`` simulated worlds (1,500; the coverage of the slope's interval
has four times as many), and calls the functions that reports are made of. ``--only`` runs some of the claims.
``--write`` writes ``results/calibration.md``.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from claims.groups import shipping, stated_gain
from claims.metrics import best_metric, one_front
from claims.planning import meta_analysis, planned_power
from claims.result import Claim, Row
from claims.slopes import daily_looks, noise_metric, printed_interval, slopes, user_segments
from machine import described, use_two_cores

RESULTS = Path(__file__).parent / "results" / "calibration.md"
WORLDS = 1500
ALLOWANCE = 2.0
"""Standard errors that a row may be outside its target by chance."""

MORE_FOR_COVERAGE = 4
CLAIMS: tuple[Callable[[int], list[Claim]], ...] = (
    slopes,
    printed_interval,
    noise_metric,
    daily_looks,
    user_segments,
    one_front,
    best_metric,
    shipping,
    stated_gain,
    planned_power,
    meta_analysis,
)


def main() -> None:
    """Parse the command line and run the benchmark."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--worlds", type=int, default=WORLDS)
    parser.add_argument("--only", nargs="+", choices=[one.__name__ for one in CLAIMS])
    arguments = parser.parse_args()
    use_two_cores()
    text = report(arguments.worlds, arguments.only)
    print(text)
    if arguments.write:
        RESULTS.write_text(text, encoding="utf-8")


def report(worlds: int, only: list[str] | None) -> str:
    """Run the claims; returns the report in Markdown."""
    started = time.perf_counter()
    chosen = [one for one in CLAIMS if only is None or one.__name__ in only]
    claims: list[Claim] = []
    for one in chosen:
        claims += one(worlds * MORE_FOR_COVERAGE if one is slopes else worlds)
    minutes = (time.perf_counter() - started) / 60
    introduction = (
        f"`python benchmarks/calibration.py --write` with {worlds:,} worlds per row "
        f"({MORE_FOR_COVERAGE * worlds:,} for slopes and verdicts) on {described('numpy', 'scipy')}; "
        f"{minutes:.0f} minutes. Standard errors in parentheses. *Within error* is outside by at most two of them."
    )
    lines = ["# Calibration", "", introduction, "", *summary(claims)]
    for claim in claims:
        lines += ["", *section(claim)]
    return "\n".join([*lines, ""])


def summary(claims: list[Claim]) -> list[str]:
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


def section(claim: Claim) -> list[str]:
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
    return "none"


if __name__ == "__main__":
    main()
