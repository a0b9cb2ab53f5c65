"""What became of the rows of a log in a warehouse: sums by group, kind and reason.

The same tables as :mod:`pipeline.experiment.log.row_fates` has of files.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import ibis
import polars as pl

from pipeline.experiment.design.external_variants import Plan
from pipeline.experiment.kpis.user_totals import as_integer, sum_of_products
from pipeline.experiment.log.log_files import LogTable
from pipeline.experiment.log.reasons import RowKind, kind_of
from pipeline.experiment.warehouse.materialise import materialise
from pipeline.experiment.warehouse.stage_rows import StagedLog

FAULTY_KINDS = (RowKind.INVALID, RowKind.DUPLICATE)
"""Kinds of rows of impressions and users that are wrong by themselves or repeat another one."""

COLUMNS = ("table", "group", "kind", "reason", "rows")


@dataclass(frozen=True, slots=True)
class Fates:
    """Sums over the rows of a log.

    Attributes:
        rejected: table, group (as the log has it), kind, reason and rows of the rows that are not used.
        fates: As the table ``row_fates``.
        loss_sums: As the table ``loss_sums``, of impressions; without columns if no row is faulty.
        outcomes: As the table ``group_outcomes``.
    """

    rejected: pl.DataFrame
    fates: pl.DataFrame
    loss_sums: pl.DataFrame
    outcomes: pl.DataFrame


def faulty_reasons(log: StagedLog) -> list[str]:
    """The reasons of the impressions that are faulty."""
    staged = log.impressions
    found = staged.filter(staged.reason.notnull()).select("reason").distinct().to_polars()
    return [reason for reason in sorted(found["reason"]) if kind_of(reason) in FAULTY_KINDS]


def sum_fates(log: StagedLog, faulty: Sequence[str], users: Any, valid: Any, plan: Plan) -> Fates:
    """Sum the fates of all rows up.

    Args:
        log: All rows with their reasons.
        faulty: The result of :func:`faulty_reasons`.
        users: The result of :func:`pipeline.experiment.warehouse.exclude_users.find_users`.
        valid: The valid impressions, with batch and exclusion of their user.
        plan: Plan of the experiment.
    """
    staged, groups = log.impressions, [group.name for group in plan.groups]
    kept = _count(valid.select("group", reason="exclusion"))
    rejected = _count(staged.filter(staged.reason.notnull()))
    lost = materialise(with_exclusion(_with_groups(staged, users, faulty, groups), users))
    of_users = _count(log.users).with_columns(table=pl.lit(LogTable.USERS.value))
    in_plan = pl.when(pl.col("group").is_in(groups)).then("group")
    fates = (
        kept,
        _lost_counts(lost),
        rejected.filter(~_is_faulty()).with_columns(group=in_plan),
        of_users,
    )
    not_used = (part.filter(pl.col("reason").is_not_null()) for part in (kept, rejected, of_users))
    return Fates(
        rejected=pl.concat(not_used),
        fates=pl.concat(fates),
        loss_sums=_loss_sums(valid, lost) if faulty else pl.DataFrame(),
        outcomes=_outcomes(valid),
    )


def _count(rows: Any) -> pl.DataFrame:
    """Rows of the log by group and reason, with their kind; a row without a reason is used."""
    if "group" not in rows.columns:
        rows = rows.mutate(group=ibis.literal(None, "string"))
    found = rows.group_by("group", "reason").agg(rows=rows.count().cast("int64")).to_polars()
    kinds = [RowKind.USED if reason is None else kind_of(reason) for reason in found["reason"]]
    named = found.with_columns(
        pl.Series("kind", [kind.value for kind in kinds], pl.String),
        table=pl.lit(LogTable.IMPRESSIONS.value),
    )
    return named.select(COLUMNS).sort(COLUMNS)


def _is_faulty() -> pl.Expr:
    return pl.col("kind").is_in([kind.value for kind in FAULTY_KINDS])


def with_exclusion(rows: Any, users: Any) -> Any:
    """Rows with the batch of their user, and why it is excluded."""
    return rows.left_join(users.select("user", "batch", "exclusion"), "user").drop("user_right")


def _with_groups(staged: Any, users: Any, faulty: Sequence[str], groups: Sequence[str]) -> Any:
    """Faulty rows with the group that they, their impression or their user has; null if unknown."""
    rows = staged.filter(staged.reason.isin(faulty)).select("impression", "user", "group", "reason")
    rows = materialise(rows.mutate(group=rows.group.isin(groups).ifelse(rows.group, None)))
    known = staged.filter(staged.reason.isnull()).select("impression", of="user", was="group")
    rows = rows.left_join(known, "impression").drop("impression_right")
    is_open = rows.group.isnull()
    rows = rows.mutate(
        user=is_open.ifelse(ibis.coalesce(rows.user, rows.of), rows.user),
        group=ibis.coalesce(rows.group, rows.was),
    ).drop("of", "was")
    others = rows.group_by("impression").agg(another=rows.user.min())
    rows = rows.left_join(others, "impression").drop("impression_right")
    is_nobody = rows.group.isnull() & rows.user.isnull()
    rows = rows.mutate(user=is_nobody.ifelse(rows.another, rows.user)).drop("another")
    rows = rows.left_join(users.select("user", "assigned"), "user").drop("user_right")
    return rows.mutate(group=ibis.coalesce(rows.group, rows.assigned)).drop("assigned")


def _lost_counts(lost: Any) -> pl.DataFrame:
    """Faulty rows by group and reason; those of excluded users are out of scope."""
    is_out = lost.exclusion.notnull()
    return pl.concat(
        _count(part).with_columns(kind=kind)
        for part, kind in (
            (lost.filter(~is_out), pl.col("kind")),
            (lost.filter(is_out), pl.lit(RowKind.OUT_OF_SCOPE.value)),
        )
    )


def _loss_sums(valid: Any, lost: Any) -> pl.DataFrame:
    """Per-user sums of used and lost rows, by group."""
    used = valid.filter(valid.exclusion.isnull())
    gone = lost.filter(lost.exclusion.isnull() & lost.group.notnull())
    rows = used.select("group", "user", lost=ibis.literal(0, "int64")).union(
        gone.select("group", "user", lost=ibis.literal(1, "int64"))
    )
    by_user = rows.group_by("group", "user").agg(n=rows.count(), r=rows.lost.sum())
    n, r = by_user.n, by_user.r.cast("int64")
    counts = {"users": by_user.count(), "rows": n.sum(), "lost": r.sum()}
    products = {"sum_nn": (n, n), "sum_nr": (n, r), "sum_rr": (r, r)}
    found = by_user.group_by("group").agg(
        **{name: count.cast("int64") for name, count in counts.items()},
        **{name: sum_of_products("units", *two).cast("float64") for name, two in products.items()},
    )
    return found.to_polars().sort("group")


def _outcomes(valid: Any) -> pl.DataFrame:
    """Usable impressions of each group, and those with a click and an order."""
    rows = valid.filter(valid.exclusion.isnull())
    counts = {
        "impressions": rows.count(),
        "clicks": as_integer(rows.clicked).sum().fill_null(0),
        "orders": as_integer(rows.ordered).sum().fill_null(0),
    }
    found = rows.group_by("group").agg(**{name: n.cast("int64") for name, n in counts.items()})
    return found.to_polars().sort("group")
