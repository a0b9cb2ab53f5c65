"""``paretoscope doctor``."""

from collections import Counter
from dataclasses import asdict

from pipeline.artifacts.storage import find_project_root
from pipeline.cli.context import echo, print_json
from pipeline.doctor.finding import Status
from pipeline.doctor.run import run_checks


def doctor(*, json: bool) -> int:
    """Print the findings; returns 1 if there is an error."""
    findings = run_checks(find_project_root())
    counts = Counter(one.status for one in findings)
    errors, warnings = counts[Status.ERROR], counts[Status.WARNING]
    if json:
        numbers = {status.value: counts[status] for status in Status}
        print_json({**numbers, "findings": [asdict(one) for one in findings]})
    else:
        for one in findings:
            echo(f"{one.status.symbol} {one.check}: {one.message}")
            if one.fix:
                echo(f"    → {one.fix}")
        echo(f"errors: {errors}, warnings: {warnings}")
    return 1 if errors else 0
