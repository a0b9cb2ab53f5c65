"""Per-user sufficient statistics of a table: checked against the counts, and completed.

Of a KPI, user u has m trials and y successes (or their amount); U users have a trial. Not every four
numbers U, Σ m², Σ m·y and Σ y² belong to some users: the matrix of the sums of products of (1, m, y) is
positive semi-definite, m is at least 1, and for yes/no KPIs y is at most m. Sums that break this are
sums of something else, such as of one day's users.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from pipeline.core.cell_numbers import Number
from pipeline.core.contracts import Kpi
from pipeline.core.errors import DataError
from pipeline.experiment.kpis.contracts import TERMS, USER_SUMS

_TOLERANCE = 1e-4
"""Relative, of inequalities: sums may be rounded."""

_ROUND_OFF = 1e-9
"""Relative, of equalities: sums may have been computed in floating point."""

Columns = Mapping[str, Sequence[Number]]


@dataclass(frozen=True, slots=True, kw_only=True)
class KpiUserSums:
    """The sums of a table by KPI.

    Attributes:
        known: All four of every KPI, one number per group. Where they are missing, every trial
            counts as a user.
        missing: The columns that would make them known, of the KPIs that lack some.
        one_trial_per_user: Whether each user has one impression.
    """

    known: Mapping[Kpi, Mapping[str, Sequence[Number]]]
    missing: Mapping[Kpi, tuple[str, ...]]
    one_trial_per_user: bool


def complete_user_sums(
    counts: Columns, groups: Sequence[str], *, one_trial: bool, source: str
) -> KpiUserSums:
    """The sums of every KPI whose counts are known.

    Some follow from the counts. The trials of a KPI per user are its users: m is 1. If the users of
    every group are as many as the trials (or this is declared), m is 1, too, and y² is y for yes/no
    KPIs.

    Args:
        counts: The columns of counts and sums.
        groups: Their names.
        one_trial: Whether each user is declared to have one impression.
        source: Of the table, for messages.

    Raises:
        DataError: if the sums contradict the counts or each other.
    """
    single = one_trial or _same(counts, "users", "impressions")
    if single:
        _check_single(counts, groups, source)
    found: dict[Kpi, Mapping[str, Sequence[Number]]] = {}
    missing: dict[Kpi, tuple[str, ...]] = {}
    for kpi, (trials, successes) in TERMS.items():
        if not {trials, successes} <= set(counts):
            continue
        given = {s: counts[f"{kpi}_{s}"] for s in USER_SUMS if f"{kpi}_{s}" in counts}
        alone = single or trials == "users" or _same(counts, f"{kpi}_users", trials)
        known = _derived(counts, kpi, alone=alone) | given
        sums = _Sums(kpi=kpi, trials=trials, successes=successes, alone=alone, counts=counts)
        if fault := sums.first_fault(known):
            row, problem = fault
            raise DataError(f"{source}: row {row + 1} (group {groups[row]}): {problem}")
        if "sum_yy" not in known:
            shared = known | _squares_of_another(counts, kpi)
            known = known if sums.first_fault(shared) else shared
        if lacking := [f"{kpi}_{name}" for name in USER_SUMS if name not in known]:
            missing[kpi] = tuple(lacking)
            known = _placeholder(counts, kpi)
        found[kpi] = {name: known[name] for name in USER_SUMS}
    return KpiUserSums(known=found, missing=missing, one_trial_per_user=single)


def _squares_of_another(counts: Columns, kpi: Kpi) -> dict[str, Sequence[Number]]:
    """Σ y² of another KPI with the same successes: it is the same, whatever the trials are."""
    _, successes = TERMS[kpi]
    names = (f"{one}_sum_yy" for one, (_, other) in TERMS.items() if other == successes)
    return next(({"sum_yy": counts[name]} for name in names if name in counts), {})


def _placeholder(counts: Columns, kpi: Kpi) -> dict[str, Sequence[Number]]:
    """Sums with every trial as a user; amounts vary by a coefficient of variation of 1.

    What follows from them is the model's of yes/no KPIs, and of amounts the slope alone. They scale
    with the unit of the amount, so that the slope does not depend on it.
    """
    trials, successes = (counts[name] for name in TERMS[kpi])
    squares = [2 * y * y / n if n else 0 for n, y in zip(trials, successes, strict=True)]
    if all(isinstance(y, int) for y in successes):
        squares = [math.ceil(square) for square in squares]
    alone = _derived(counts, kpi, alone=True)
    return alone if kpi.is_binary else {**alone, "sum_yy": squares}


def _same(counts: Columns, one: str, other: str) -> bool:
    return one in counts and other in counts and list(counts[one]) == list(counts[other])


def _derived(counts: Columns, kpi: Kpi, *, alone: bool) -> dict[str, Sequence[Number]]:
    """The sums that follow from the counts if each user has one trial."""
    if not alone:
        return {}
    trials, successes = TERMS[kpi]
    found = {"users": counts[trials], "sum_mm": counts[trials], "sum_my": counts[successes]}
    return found | ({"sum_yy": counts[successes]} if kpi.is_binary else {})


def _check_single(counts: Columns, groups: Sequence[str], source: str) -> None:
    if "users" not in counts:
        return
    for row, group in enumerate(groups):
        users, impressions = counts["users"][row], counts["impressions"][row]
        if users < impressions:
            msg = (
                f"{source}: row {row + 1} (group {group}) has {users} users and {impressions} "
                "impressions, so some user has several; drop --one-trial-per-user "
                "(one_trial_per_user)"
            )
            raise DataError(msg)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sums:
    """The sums of one KPI, with its terms; ``alone`` if each user has one trial."""

    kpi: Kpi
    trials: str
    successes: str
    alone: bool
    counts: Columns

    def first_fault(self, known: Mapping[str, Sequence[Number]]) -> tuple[int, str] | None:
        """The first row whose sums contradict something, and what."""
        for row in range(len(self.counts[self.trials])):
            if fault := next(self._faults({s: known[s][row] for s in known}, row), None):
                return row, fault
        return None

    def _faults(self, sums: Mapping[str, Number], row: int) -> Iterator[str]:
        """What the sums of one group contradict."""
        n, y = self.counts[self.trials][row], self.counts[self.successes][row]
        yield from self._users(sums, row, n)
        yield from self._trials(sums, n)
        yield from self._products(sums, y)
        yield from self._squares(sums, y)
        if len(sums) < len(USER_SUMS):
            return
        if _is_indefinite([sums["users"], n, y], [sums[name] for name in USER_SUMS[1:]]):
            names = ", ".join(f"{self.kpi}_{name} {sums[name]}" for name in USER_SUMS)
            yield (
                f"no users have these sums: {names}, {self.trials} {n}, {self.successes} {y}; "
                "expected sums over users of the whole experiment"
            )

    def _users(self, sums: Mapping[str, Number], row: int, n: Number) -> Iterator[str]:
        name, users = f"{self.kpi}_users", sums.get("users")
        if users is None:
            return
        if self.trials == "users" and users != n:
            yield f"{name} is {users}, and users is {n}; every user is a trial of this KPI"
        if users > n:
            yield (
                f"{name} is {users}, more than the {n} {self.trials}; expected the users with at "
                f"least one of the {self.trials}"
            )
        if (users == 0) != (n == 0):
            yield f"{name} is {users}, and {self.trials} is {n}; expected none or both"
        everybody = self.counts.get("users")
        if everybody is not None and users > everybody[row]:
            yield f"{name} is {users}, more than the {everybody[row]} users"

    def _trials(self, sums: Mapping[str, Number], n: Number) -> Iterator[str]:
        name, mm, users = f"{self.kpi}_sum_mm", sums.get("sum_mm"), sums.get("users")
        if mm is None:
            return
        if self.alone and mm != n:
            yield (
                f"{name} is {mm}, and {self.trials} is {n}; each user has one trial, so that the sum "
                "of squares is their number"
            )
        if mm < n:
            yield f"{name} is {mm}, less than the {n} {self.trials}; expected the sum of m²"
        if users and _less(mm * users, n * n):
            yield (
                f"{name} is {mm}, less than {self.trials}² / {self.kpi}_users = {n}² / {users} = "
                f"{n * n / users:.10g}; expected the sum of m² over users, m the {self.trials} of a "
                "user in the whole experiment, not in a day or a session"
            )
        if users and mm > (n - users + 1) ** 2 + users - 1:
            yield f"{name} is {mm}, more than {users} users with {n} {self.trials} can have"

    def _products(self, sums: Mapping[str, Number], y: Number) -> Iterator[str]:
        name, mm, my = f"{self.kpi}_sum_my", sums.get("sum_mm"), sums.get("sum_my")
        if my is None:
            return
        if self.alone and not _equal(my, y):
            yield (
                f"{name} is {my}, and {self.successes} is {y}; each user has one trial, so that they "
                "are the same"
            )
        if not self.kpi.is_binary:
            return
        if my < y:
            yield f"{name} is {my}, less than the {y} {self.successes}; expected the sum of m·y"
        if mm is not None and my > mm:
            yield f"{name} is {my}, more than {self.kpi}_sum_mm, {mm}; expected y of at most m"

    def _squares(self, sums: Mapping[str, Number], y: Number) -> Iterator[str]:
        users, mm, my, yy = (sums.get(name) for name in USER_SUMS)
        name = f"{self.kpi}_sum_yy"
        if yy is None:
            return
        if users and _less(yy * users, y * y):
            yield (
                f"{name} is {yy}, less than {self.successes}² / {self.kpi}_users = {y}² / {users} = "
                f"{y * y / users:.10g}; expected the sum of y² over users"
            )
        if self.successes != "revenue" and yy < y:
            yield f"{name} is {yy}, less than the {y} {self.successes}; expected the sum of y²"
        if my is None:
            return
        if self.kpi.is_binary and yy > my:
            yield f"{name} is {yy}, more than {self.kpi}_sum_my, {my}; expected y of at most m"
        if mm is not None and _less(mm * yy, my * my):
            yield (
                f"{name} · {self.kpi}_sum_mm is {yy} · {mm}, less than {self.kpi}_sum_my² = {my}²; "
                "expected sums over the same users"
            )


def _less(one: Number, other: Number) -> bool:
    return one < other and other - one > abs(other) * _TOLERANCE


def _equal(one: Number, other: Number) -> bool:
    return abs(one - other) <= abs(other) * _ROUND_OFF


def _is_indefinite(totals: Sequence[Number], products: Sequence[Number]) -> bool:
    """Whether the matrix of sums of products of (1, m, y) has a negative determinant.

    Args:
        totals: Users, Σ m and Σ y.
        products: Σ m², Σ m·y and Σ y².
    """
    u, a, b = map(Fraction, totals)
    aa, ab, bb = map(Fraction, products)
    determinant = u * (aa * bb - ab * ab) - a * (a * bb - ab * b) + b * (a * ab - aa * b)
    return determinant < -Fraction(_TOLERANCE) * u * aa * bb
