"""``paretoscope validate-data``."""

from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from pipeline.artifacts.storage import dataset_path
from pipeline.cli.context import open_project, print_result
from pipeline.cli.main import print_error
from pipeline.datasets.dry_run import DataInspection, inspect_data
from pipeline.datasets.raw_rows import FIELDS

_CONTENT = 100
"""Characters of a rejected row that are printed."""


def validate_data(*, json: bool) -> int:
    """Validate the raw log without writing anything; returns 1 if it would be refused."""
    study, paths = open_project()
    found = inspect_data(
        study.dataset,
        dataset_path(study, paths.root),
        max_rejected_share=study.sessions.max_rejected_share,
    )
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
        "refusal": found.refusal,
    }


def _lines(found: DataInspection) -> Iterator[str]:
    summary, examples = found.summary, found.examples.to_dicts()
    yield (
        f"{summary['events']:,} usable events of {summary['sessions']:,} sessions and "
        f"{found.items:,} items in {len(summary['files']):,} files; {summary['rejected']:,} rows "
        "rejected"
    )
    for name in FIELDS:
        column = found.columns.get(name, name)
        values = [one[name] if name != "ts" else _time(one[name]) for one in examples]
        yield f"{name} (column {column}): {', '.join(str(value) for value in values)}"
    yield "event types: " + ", ".join(
        f"{word} → {kind or 'not used'}" for word, kind in found.words.items()
    )
    yield ", ".join(f"{n:,} {kind}s" for kind, n in summary["event_types"].items())
    if summary["first_ts"] is not None:
        yield f"from {_time(summary['first_ts'])} to {_time(summary['last_ts'])}"
    if "revenue" in summary:
        yield (
            f"revenue {summary['revenue']:,.2f} {summary['currency'] or ''}".rstrip()
            + f"; {summary['orders_without_price']:,} orders without a price"
        )
    for kind in found.rejected:
        about = f" ({kind.field})" if kind.field else ""
        place = kind.source if kind.position is None else f"{kind.source} line {kind.position}"
        yield (
            f"{kind.rows:,} rows rejected: {kind.reason}{about}; first in {place}: "
            f"{kind.content[:_CONTENT]!r}"
        )


def _time(ts: int) -> str:
    moment = datetime.fromtimestamp(ts / 1000, tz=UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
