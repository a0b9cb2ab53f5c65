"""``paretoscope doctor``."""

from collections import Counter
from dataclasses import asdict, replace

from pipeline.cli.context import adapted, study_file
from pipeline.cli.output import print_result
from pipeline.doctor.finding import Status
from pipeline.doctor.run import run_checks


def doctor(*, json: bool) -> int:
    """Print the findings; returns 1 if there is an error."""
    findings = [replace(one, fix=one.fix and adapted(one.fix)) for one in run_checks(study_file())]
    counts = Counter(one.status for one in findings)
    errors, warnings = counts[Status.ERROR], counts[Status.WARNING]
    numbers = {status.value: counts[status] for status in Status}
    lines: list[str] = []
    for one in findings:
        lines.append(f"{one.status.symbol} {one.check}: {one.message}")
        lines += [f"    → {one.fix}"] if one.fix else []
    print_result(
        {**numbers, "findings": [asdict(one) for one in findings]},
        [*lines, f"errors: {errors}, warnings: {warnings}"],
        json=json,
    )
    return 1 if errors else 0
