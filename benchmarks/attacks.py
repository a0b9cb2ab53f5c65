"""Attacks on a finished study: what was tried, how often, and what was lost or wrong.

    python benchmarks/attacks.py --write            # all attacks
    python benchmarks/attacks.py --only kill-serve  # some of them, by name

An attack is a function from an empty folder to an :class:`Outcome`; the modules ``attacks_*.py`` list
theirs in ``ATTACKS``. ``--write`` replaces the rows of the attacks that ran in ``results/attacks.md``.
"""

import argparse
import re
import sys
import tempfile
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

from machine import described
from outcome import Outcome

RESULTS = Path(__file__).parent / "results" / "attacks.md"


class Row(NamedTuple):
    """A row of the table."""

    name: str
    cells: str


def main() -> None:
    """Parse the command line and run the attacks."""
    attacks = found_attacks()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--only", nargs="+", choices=attacks, default=list(attacks))
    arguments = parser.parse_args()
    rows = {row.name: row for row in written_rows()} if arguments.write else {}
    for name in arguments.only:
        started = time.perf_counter()
        try:
            with tempfile.TemporaryDirectory() as folder:
                outcome = attacks[name](Path(folder))
        except Exception as error:  # noqa: BLE001 - the other attacks are tried all the same
            note = f"the attack failed: {type(error).__name__} {error}".splitlines()[0]
            outcome = Outcome(tried=name, times=0, wrong=1, note=note)
        print(f"{name}: {time.perf_counter() - started:.0f} s", file=sys.stderr)
        rows[name] = Row(name, outcome.cells())
        text = page([rows[name] for name in attacks if name in rows])
        if arguments.write:
            RESULTS.write_text(text, encoding="utf-8")
    print(text)


def found_attacks() -> dict[str, Callable[[Path], Outcome]]:
    """The attacks of all modules ``attacks_*.py``, by name."""
    modules = sorted(path.stem for path in Path(__file__).parent.glob("attacks_*.py"))
    return {
        name: attack for module in modules for name, attack in import_module(module).ATTACKS.items()
    }


def written_rows() -> list[Row]:
    """The rows of the last results."""
    text = RESULTS.read_text(encoding="utf-8") if RESULTS.exists() else ""
    return [Row(*found) for found in re.findall(r"^\| `([\w-]+)` \| (.*) \|$", text, re.MULTILINE)]


def page(rows: list[Row]) -> str:
    """The page of results."""
    return "\n".join(
        [
            "# Attacks: what was tried, and what was lost or wrong",
            "",
            f"`python benchmarks/attacks.py --write` on {described('torch', 'uvicorn', 'fastapi')}.",
            "A row counts rows of logs and artifacts that were acknowledged and are missing, values that",
            "are wrong, and tracebacks.",
            "",
            "| attack | what was tried | times | lost or wrong | note |",
            "|---|---|---|---|---|",
            *(f"| `{row.name}` | {row.cells} |" for row in rows),
            "",
        ]
    )


if __name__ == "__main__":
    main()
