"""``paretoscope validate-data``."""

from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from pipeline.artifacts.objects.data_copies import download_data
from pipeline.artifacts.raw_data import dataset_path, raw_data_errors
from pipeline.cli.context import open_project
from pipeline.cli.dispatch import print_error
from pipeline.cli.output import print_result
from pipeline.core.labels import counted
from pipeline.datasets.dry_run import DataInspection, inspect_data
from pipeline.datasets.raw_rows import FIELDS


def validate_data(*, json: bool) -> int:
    """Validate the raw log without writing anything; returns 1 if it would be refused."""
    return print_inspection(inspect_project(), json=json)


def inspect_project() -> DataInspection:
    """What the study would read of its raw log."""
    study, paths = open_project()
    download_data(study, paths.root)
    with raw_data_errors(study, paths.root):
        return inspect_data(
            study.dataset,
            dataset_path(study, paths.root),
            max_rejected_share=study.sessions.max_rejected_share,
        )


def print_inspection(found: DataInspection, *, json: bool) -> int:
    """Print what was read; returns 1 if it would be refused."""
    print_result(_as_dict(found), _lines(found), json=json)
    if found.refusal:
        print_error("validate-data", found.refusal)
    return 1 if found.refusal else 0


def _as_dict(found: DataInspection) -> dict[str, Any]:
    return {
        **found.summary,
        "items": found.items,
        "columns": dict(found.columns),
        "words": dict(found.words),
        "examples": found.examples.to_dicts(),
        "rejected_kinds": [asdict(kind) for kind in found.rejected],
        "warnings": list(found.warnings),
        "refusal": found.refusal,
    }


def _lines(found: DataInspection) -> Iterator[str]:
    summary, examples = found.summary, found.examples.to_dicts()
    yield (
        f"{counted(summary['events'], 'usable event')} of {counted(summary['sessions'], 'session')} and "
        f"{counted(found.items, 'item')} in {counted(len(summary['files']), 'file')}; "
        f"{counted(summary['rejected'], 'row')} rejected"
    )
    for name in FIELDS:
        column = found.columns.get(name, name)
        values = [one[name] if name != "ts" else _time(one[name]) for one in examples]
        yield f"{name} (column {column}): {', '.join(str(value) for value in values)}"
    yield "event types: " + ", ".join(
        f"{word} → {kind or 'not used'}" for word, kind in found.words.items()
    )
    yield ", ".join(counted(n, kind) for kind, n in summary["event_types"].items())
    if summary["first_ts"] is not None:
        yield f"from {_time(summary['first_ts'])} to {_time(summary['last_ts'])}"
    if "revenue" in summary:
        yield (
            f"revenue {summary['revenue']:,.2f} {summary['currency'] or ''}".rstrip()
            + f"; {counted(summary['orders_without_price'], 'order')} without a price"
        )
    for kind in found.rejected:
        yield f"{counted(kind.rows, 'row')} rejected: {kind.label}; first in {kind.place}"
    yield from found.warnings


def _time(ts: int) -> str:
    moment = datetime.fromtimestamp(ts / 1000, tz=UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
