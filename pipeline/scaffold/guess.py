"""Guess which column of a table is which, and what its times are, from its first rows."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from io import BytesIO
from itertools import islice
from pathlib import Path

import polars as pl

from pipeline.core.errors import DataError
from pipeline.datasets.io.files import decompressed_suffix, is_compressed, open_stream
from pipeline.datasets.io.table_files import separator_of

_ROWS = 10_000
_DELIMITED = (".csv", ".tsv")
_BLOCK, _BLOCKS = 1 << 20, 32
"""What is decompressed for them, at most."""

_MOST_VARIANTS = 50

_TIME = (
    "timestamp",
    "ts",
    "time",
    "datetime",
    "event_timestamp",
    "event_time",
    "created_at",
    "date",
)
_USER = (
    *("user", "user_id", "userid", "uid", "visitor_id", "visitorid", "customer_id"),
    *("user_pseudo_id", "client_id", "unit_id", "unit"),
)
ASSIGNMENTS: Mapping[str, Sequence[str]] = {
    "user": _USER,
    "group": (
        *("variant", "group", "variation", "variation_id", "arm", "bucket", "treatment"),
        *("experiment_group", "test_group", "cohort"),
    ),
    "ts": ("assigned_at", "exposed_at", "exposure_time", "assignment_time", *_TIME),
}
"""Names of the columns of assignments, by ours."""

CLICKS: Mapping[str, Sequence[str]] = {"user": _USER, "ts": ("clicked_at", "click_time", *_TIME)}
ORDERS: Mapping[str, Sequence[str]] = {
    "user": _USER,
    "ts": ("ordered_at", "purchased_at", "order_time", "purchase_time", *_TIME),
    "units": ("units", "quantity", "qty"),
    "revenue": ("revenue", "amount", "order_value", "total", "value", "price"),
}
EVENTS: Mapping[str, Sequence[str]] = {
    "session": ("session", "session_id", "sessionid", "visit", "visit_id", "ga_session_id"),
    "user": _USER,
    "item": (
        "item",
        "item_id",
        "itemid",
        "product",
        "product_id",
        "sku",
        "article_id",
        "content_id",
    ),
    "time": (*_TIME, "at"),
    "event_type": ("event_type", "event_name", "event", "type", "action"),
}
_EVENT_TYPES = {
    "click": ("click", "clicks", "view", "view_item", "product_view", "pageview", "page_view"),
    "cart": ("cart", "carts", "add_to_cart", "addtocart", "add"),
    "order": ("order", "orders", "purchase", "buy", "transaction", "bought"),
}
OPTIONAL = frozenset({"units", "revenue"})
"""Columns that orders may lack."""

_TABLE = "expected CSV (UTF-8), parquet or JSON lines"

_CONTROLS = ("control", "baseline", "a", "0", "off", "default", "original")


def first_rows(file: Path) -> pl.DataFrame | None:
    """The first rows of a CSV, parquet or JSON-lines file; None if it is of another kind.

    Raises:
        DataError: if it cannot be read.
    """
    suffix = decompressed_suffix(file)
    try:
        if suffix in {".parquet", ".pq"}:
            return pl.read_parquet(file, n_rows=_ROWS, glob=False)
        if suffix in {".jsonl", ".ndjson"}:
            return pl.read_ndjson(_source(file), n_rows=_ROWS, infer_schema_length=None)
        if suffix in _DELIMITED:
            mark = separator_of(file, _TABLE)
            return pl.read_csv(
                _source(file), n_rows=_ROWS, separator=mark, infer_schema=False, glob=False
            )
    except (OSError, pl.exceptions.PolarsError) as error:
        problem = getattr(error, "strerror", None) or str(error).partition("\n")[0]
        msg = f"cannot read {file}: {problem}; {_TABLE}"
        raise DataError(msg) from error
    return None


def separator_in(file: Path) -> str:
    """The separator of a CSV file's header; a comma for a file of another kind.

    Raises:
        DataError: if a CSV file is something else, such as UTF-16 text.
    """
    return separator_of(file, _TABLE) if decompressed_suffix(file) in _DELIMITED else ","


def _source(file: Path) -> Path | BytesIO:
    """The file, or the first lines of a compressed one."""
    if not is_compressed(file):
        return file
    with open_stream(file) as stream:
        blocks = list(islice(iter(lambda: stream.read(_BLOCK), b""), _BLOCKS))
    text = b"".join(blocks)
    return BytesIO(text if len(blocks) < _BLOCKS else text[: text.rfind(b"\n") + 1])


def guess_columns(
    columns: Iterable[str],
    names: Mapping[str, Sequence[str]],
    *,
    file: Path,
    optional: Collection[str] = OPTIONAL,
) -> dict[str, str]:
    """Which column of a file is which, by the names that such columns have.

    Raises:
        DataError: if none of a required column's names is there.
    """
    plain = {re.sub(r"\W+", "_", one.strip().lower()).strip("_"): one for one in columns}
    found = {
        ours: plain[next(name for name in theirs if name in plain)]
        for ours, theirs in names.items()
        if any(name in plain for name in theirs)
    }
    if absent := [ours for ours in names if ours not in found and ours not in optional]:
        msg = (
            f"{file} has no column that looks like {' or '.join(absent)}; it has "
            f"{', '.join(plain.values())}. Rename it to {names[absent[0]][0]!r}, or use 'paretoscope "
            "init' and name your columns in params.yaml"
        )
        raise DataError(msg)
    return found


def guess_time(values: pl.Series) -> str | None:
    """The format of times: ``s``, ``ms`` or ``us`` since 1970, ``iso8601`` or ``iso8601-utc``.

    None if any would do: without values, or for timestamps with a zone.
    """
    known = values.drop_nulls()
    if known.is_empty() or getattr(known.dtype, "time_zone", None):
        return None
    if known.dtype.is_temporal():
        return "iso8601-utc"
    text = str(known[0]).strip()
    if re.fullmatch(r"\d+(\.\d*)?", text):
        digits = len(text.partition(".")[0])
        return "s" if digits <= 11 else "ms" if digits <= 14 else "us"
    return "iso8601" if re.search(r"(Z|[+-]\d\d:?\d\d)$", text) else "iso8601-utc"


def guess_event_types(values: pl.Series) -> dict[str, str | None]:
    """The event type of each word; None for words that are none of ours.

    Raises:
        DataError: if no word is a click.
    """
    found = {
        str(term): next(
            (kind for kind, theirs in _EVENT_TYPES.items() if str(term).lower() in theirs), None
        )
        for term in values.drop_nulls().unique(maintain_order=True)
    }
    if "click" not in found.values():
        msg = (
            f"none of the event types {', '.join(found)} is known to be a click; use 'paretoscope init' "
            "and map them in dataset.generic.event_types"
        )
        raise DataError(msg)
    return found


def guess_control(variants: Sequence[str]) -> str:
    """The variant that is called the control, or the first one."""
    return min(
        variants, key=lambda one: _CONTROLS.index(one.lower()) if one.lower() in _CONTROLS else 99
    )


def variants_in(groups: pl.Series, *, file: Path) -> list[str]:
    """The variants in a column of assignments.

    Raises:
        DataError: if there are fewer than two, or more than an experiment has.
    """
    found = sorted(str(one) for one in groups.drop_nulls().unique())
    if not 1 < len(found) <= _MOST_VARIANTS:
        msg = (
            f"{file}: column {groups.name} has {len(found):,} values in its first rows; expected the "
            f"names of 2 to {_MOST_VARIANTS} variants"
        )
        raise DataError(msg)
    return found
