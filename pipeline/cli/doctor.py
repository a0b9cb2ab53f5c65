"""``paretoscope doctor``."""

from collections import Counter

from pipeline.artifacts.storage import find_project_root
from pipeline.cli.output import echo, print_json
from pipeline.doctor.finding import State
from pipeline.doctor.run import run_checks


def doctor(*, json: bool) -> int:
    """Print what was found; returns 1 if something must be mended."""
    found = run_checks(find_project_root())
    counts = Counter(one.state for one in found)
    status = 1 if counts[State.MEND] else 0
    if json:
        numbers = {state.value: counts[state] for state in State}
        print_json({**numbers, "findings": [one.as_dict() for one in found]})
        return status
    for one in found:
        echo(f"{one.state.mark} {one.subject}: {one.words}")
        if one.remedy:
            echo(f"    → {one.remedy}")
    echo(_sum(counts))
    return status


def _sum(counts: Counter[State]) -> str:
    if counts[State.MEND]:
        return f"{counts[State.MEND]} to mend, {counts[State.LOOK]} to look at"
    return f"nothing to mend, {counts[State.LOOK]} to look at"
