"""Checks that an engine computes as the sums need it, before it reads the log.

Engines differ in division, characters and overflow, and Ibis hides it. An engine that rounds, wraps or counts
bytes would give other numbers without a word.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import ibis
import polars as pl
from ibis.backends import BaseBackend
from ibis.util import gen_name

from pipeline.core.contracts import DAY_MS, LATEST_TS
from pipeline.core.errors import LogError
from pipeline.experiment.design.assignment import bucket_of
from pipeline.experiment.kpis.user_totals import exact_quotient, sum_of_products
from pipeline.experiment.warehouse.assign_users import add_buckets

_LARGE = 2**61 + 1
_USERS = ("u1", "zoë", "汉字", "😀", "0123456789abcdef-0123456789abcdef")
_SALT = "é"


def check_engine(connection: BaseBackend, name: str) -> None:
    """Raise LogError with what the engine ``name`` computes in another way."""
    claims = {
        "a sum beyond 64 bits is an error": _overflow_raises,
        "the last millisecond of a day is of that day": _days_are_exact,
        "sums of squares beyond 64 bits are exact": _squares_are_exact,
        "the assignment of users is that of the plan": _buckets_are_equal,
    }
    for claim, holds in claims.items():
        if not holds(connection):
            msg = (
                f"the warehouse ({name}) cannot be used, since it does not hold there that {claim}. Export the log "
                "to files, and set experiment.log_path instead of compute.warehouse"
            )
            raise LogError(msg)


def _days_are_exact(connection: BaseBackend) -> bool:
    times = [LATEST_TS - 1, LATEST_TS - DAY_MS]
    rows = _rows({"ts": times})
    found = _read(connection, rows.select("ts", day=exact_quotient(rows.ts, DAY_MS)))
    return dict(found.iter_rows()) == {ts: ts // DAY_MS for ts in times}


def _squares_are_exact(connection: BaseBackend) -> bool:
    rows = _rows({"y": [10**10, 10**10 + 1]})
    total = sum_of_products("revenue", rows.y, rows.y).cast("string")
    text = str(_read(connection, rows.aggregate(total=total)).item())
    return text.partition(".")[0] == str(10**20 + (10**10 + 1) ** 2)


def _buckets_are_equal(connection: BaseBackend) -> bool:
    users = connection.create_table(gen_name("users"), _rows({"user": _USERS}), temp=True)
    found = _read(connection, add_buckets(users, {"bucket": _SALT}, max(map(len, _USERS))))
    return dict(found.iter_rows()) == {user: bucket_of(user, _SALT) for user in _USERS}


def _overflow_raises(connection: BaseBackend) -> bool:
    rows = _rows({"y": [_LARGE] * 4})
    try:
        _read(connection, rows.aggregate(total=rows.y.sum().cast("int64")))
    except Exception:  # noqa: BLE001 - which one, depends on the engine's driver
        return True
    return False


def _rows(values: Mapping[str, Sequence[Any]]) -> Any:
    return ibis.memtable(pl.DataFrame(values))


def _read(connection: BaseBackend, table: Any) -> pl.DataFrame:
    return connection.to_polars(table)
