"""Counts, or means and variances, of variants: compared with the control of their own test."""

from collections.abc import Sequence

import polars as pl

from pipeline.core.contracts import Kpi
from pipeline.core.errors import DataError
from pipeline.core.table_file import ReadAs, ReadNote
from pipeline.experiment.kpis.contracts import COUNTS, TERMS
from pipeline.inference.counts.columns import CONTROLS
from pipeline.inference.past_tests.columns import (
    CONTROL,
    COUNT,
    MEAN,
    NAME,
    TEST,
    TREATMENT,
    VARIANCE,
    VARIANT,
    PastTestsOptions,
    error_columns,
)
from pipeline.inference.past_tests.summary_rows import FOUND, Effects, check_once, select
from pipeline.results.past_tests import LeftOutReason

_OF_A_SIDE = ("mean", "error", "known", "reason")


def counted_effects(source: str, rows: pl.DataFrame, options: PastTestsOptions) -> Effects:
    """Of counts per variant, such as ``impressions`` and ``clicks``, and of columns of metrics."""
    check_once(source, rows, [TEST, VARIANT])
    counts = [name for name in COUNTS if name in rows.columns]
    _check_counts(source, rows, counts)
    rates = {kpi.value: TERMS[kpi] for kpi in Kpi if set(TERMS[kpi]) <= set(counts)}
    columns = [name for name in rows.columns if name not in {TEST, VARIANT, *counts}]
    errors = error_columns([*rates, *columns], columns)
    taken = {one for where in errors.values() for one in where.names()}
    measured = [name for name in columns if name not in taken]
    usable = [name for name in rates if errors[name].error or _is_share(name, rates, rows)]
    kpis, metrics = select(source, [*usable, *measured], options)
    if not options.kpis:
        kpis = [name for name in usable if name not in options.metrics]
    if not options.metrics:
        metrics = [name for name in measured if name not in kpis]
    parts = [
        rows.select(
            TEST,
            VARIANT,
            name=pl.lit(name),
            **(
                _rate(*rates[name], errors[name].error)
                if name in rates
                else _column(name, errors[name].error)
            ),
        )
        for name in (*kpis, *metrics)
    ]
    found = pl.DataFrame(schema=FOUND)
    if parts:
        found = _against_control(source, pl.concat(parts, how="vertical_relaxed"), options)
    return Effects(
        effects=found,
        kpis=tuple(kpis),
        metrics=tuple(metrics),
        candidates=(*usable, *measured),
        scale=options.scale,
        form_words="a row is one variant of one test",
        notes=_notes(
            [one for one in (*kpis, *metrics) if one in rates and not errors[one].error], rates
        ),
    )


def moment_effects(source: str, rows: pl.DataFrame, options: PastTestsOptions) -> Effects:
    """Of means and variances, one row per test, variant and metric."""
    check_once(source, rows, [TEST, VARIANT, NAME])
    names = rows[NAME].unique(maintain_order=True).to_list()
    kpis, metrics = select(source, names, options)
    wanted = rows.filter(pl.col(NAME).is_in([*kpis, *metrics]))
    sides = wanted.select(TEST, VARIANT, name=pl.col(NAME), **_moments(""))
    return Effects(
        effects=_against_control(source, sides, options),
        kpis=tuple(kpis),
        metrics=tuple(metrics),
        candidates=tuple(names),
        scale=options.scale,
        form_words="a row is one metric of one variant",
    )


def paired_effects(source: str, rows: pl.DataFrame, options: PastTestsOptions) -> Effects:
    """Of means and variances, one row per test, variant and metric, with those of the control."""
    check_once(source, rows, [TEST, VARIANT, NAME])
    names = rows[NAME].unique(maintain_order=True).to_list()
    kpis, metrics = select(source, names, options)
    wanted = rows.filter(pl.col(NAME).is_in([*kpis, *metrics]))
    variant = pl.col(VARIANT) if VARIANT in rows.columns else pl.lit(None, dtype=pl.String)
    treated = {f"{name}_variant": one for name, one in _moments(TREATMENT).items()}
    sides = wanted.select(
        test=pl.col(TEST),
        variant=variant,
        name=pl.col(NAME),
        **treated,
        **{f"{name}_control": one for name, one in _moments(CONTROL).items()},
    )
    return Effects(
        effects=_effects(sides, options),
        kpis=tuple(kpis),
        metrics=tuple(metrics),
        candidates=tuple(names),
        scale=options.scale,
        form_words="a row is one metric of one variant and its control",
    )


def _moments(side: str) -> dict[str, pl.Expr]:
    """Mean and its standard error."""
    count, mean, variance = (pl.col(f"{name}{side}") for name in (COUNT, MEAN, VARIANCE))
    return {
        "mean": mean,
        "error": (variance / count).sqrt(),
        "known": pl.lit(value=True),
        "reason": pl.when(~(count >= 2)).then(pl.lit(LeftOutReason.ONE_USER.value)),
    }


def _rate(trials: str, successes: str, error: str | None) -> dict[str, pl.Expr]:
    """A rate and its standard error; where a variant of the test has none or only successes, ½ more."""
    m, y = pl.col(trials).cast(pl.Float64), pl.col(successes).cast(pl.Float64)
    if error:
        return {
            "mean": y / m,
            "error": pl.col(error),
            "known": pl.lit(value=True),
            "reason": _NO_REASON,
        }
    empty = ((y <= 0) | (y >= m)).any().over(TEST)
    half = pl.when(empty).then(0.5).otherwise(0.0)
    p, n = (y + half) / (m + 2 * half), m + 2 * half
    return {
        "mean": p,
        "error": (p * (1 - p) / n).sqrt(),
        "known": pl.lit(value=True),
        "reason": pl.when(~(m > 0)).then(pl.lit(LeftOutReason.ONE_USER.value)),
    }


_NO_REASON = pl.lit(None, dtype=pl.String)


def _column(name: str, error: str | None) -> dict[str, pl.Expr]:
    return {
        "mean": pl.col(name),
        "error": pl.col(error) if error else pl.lit(0.0),
        "known": pl.lit(error is not None),
        "reason": _NO_REASON,
    }


def _against_control(source: str, sides: pl.DataFrame, options: PastTestsOptions) -> pl.DataFrame:
    """Effects of variants, each compared with the control of its test."""
    names = sides.select(TEST, VARIANT).unique(maintain_order=True)
    lower = pl.col(VARIANT).str.to_lowercase()
    if options.control is not None:
        is_control = pl.col(VARIANT) == options.control
        if not (names[VARIANT] == options.control).any():
            found = ", ".join(names[VARIANT].unique(maintain_order=True).to_list()[:10])
            msg = f"{source}: no test has a variant {options.control!r}, the control; found {found}"
            raise DataError(msg)
    else:
        named = lower.is_in(CONTROLS)
        first = pl.int_range(pl.len()).over(TEST) == 0
        is_control = pl.when(named.any().over(TEST)).then(named).otherwise(first)
    controls = names.with_columns(is_control=is_control)
    marked = sides.join(controls, on=[TEST, VARIANT], maintain_order="left")
    control = marked.filter("is_control").drop(VARIANT, "is_control")
    treated = marked.filter(~pl.col("is_control")).drop("is_control")
    both = treated.join(
        control, on=[TEST, "name"], how="left", suffix="_control", maintain_order="left"
    ).rename({name: f"{name}_variant" for name in _OF_A_SIDE})
    lone = control.join(treated, on=[TEST, "name"], how="anti", maintain_order="left")
    return pl.concat([_effects(both, options), _uncompared(lone)])


def _uncompared(lone: pl.DataFrame) -> pl.DataFrame:
    """Controls of which the test has no variant, as effects that are not usable."""
    unknown = dict.fromkeys(("estimate", "variance", "shared"), pl.lit(None, dtype=pl.Float64))
    return lone.select(
        TEST,
        "name",
        variant=pl.lit(None, dtype=pl.String),
        **unknown,
        error_known="known",
        reason=pl.lit(LeftOutReason.ONE_VARIANT.value),
    ).select(*FOUND)


def _effects(both: pl.DataFrame, options: PastTestsOptions) -> pl.DataFrame:
    """The logarithm of the ratio of two means, or their difference, with errors (delta method)."""
    mean, base = pl.col("mean_variant"), pl.col("mean_control")
    missing = base.is_null() & pl.col("reason_control").is_null()
    reason = (
        pl.when(missing)
        .then(pl.lit(LeftOutReason.NO_CONTROL.value))
        .otherwise(pl.coalesce("reason_variant", "reason_control"))
    )
    if options.difference:
        estimate, own, shared = mean - base, pl.col("error_variant"), pl.col("error_control")
    else:
        not_positive = (mean <= 0) | (base <= 0)
        reason = (
            pl.when(reason.is_null() & not_positive)
            .then(pl.lit(LeftOutReason.NOT_POSITIVE.value))
            .otherwise(reason)
        )
        estimate = (mean / base).log()
        own, shared = pl.col("error_variant") / mean, pl.col("error_control") / base
    return both.select(
        test=pl.col(TEST),
        variant=pl.col(VARIANT),
        name="name",
        estimate=estimate,
        variance=own**2,
        shared=shared,
        error_known=pl.col("known_variant"),
        reason=reason,
    )


def _check_counts(source: str, rows: pl.DataFrame, counts: Sequence[str]) -> None:
    for name in counts:
        wrong = rows.filter(pl.col(name).is_null() | (pl.col(name) < 0))
        if wrong.height and name not in {"units", "revenue"}:
            test, variant = wrong.select(TEST, VARIANT).row(0)
            msg = f"{source}: {name} of {variant} in test {test} is {wrong[name][0]}; expected a count"
            raise DataError(msg)
    for part, whole in (("clicks", "impressions"), ("orders", "clicks")):
        if {part, whole} <= set(counts):
            wrong = rows.filter(pl.col(part) > pl.col(whole))
            if wrong.height:
                test, variant = wrong.select(TEST, VARIANT).row(0)
                msg = (
                    f"{source}: {variant} in test {test} has {wrong[part][0]:,.0f} {part} and "
                    f"{wrong[whole][0]:,.0f} {whole}; expected no more {part} than {whole}"
                )
                raise DataError(msg)


def _is_share(name: str, rates: dict[str, tuple[str, str]], rows: pl.DataFrame) -> bool:
    """Whether a rate without a known error is a share of its trials, which has one."""
    trials, successes = rates[name]
    if not Kpi(name).is_binary and successes not in {"clicks", "orders"}:
        return False
    return bool((rows[successes] <= rows[trials]).all())


def _notes(shares: Sequence[str], rates: dict[str, tuple[str, str]]) -> tuple[ReadNote, ...]:
    per_user = tuple(one for one in shares if rates[one][0] == "users")
    others = tuple(one for one in shares if one not in per_user)
    found = {ReadAs.SHARE_OF_USERS: per_user, ReadAs.INDEPENDENT_TRIALS: others}
    return tuple(ReadNote(kind=kind, columns=names) for kind, names in found.items() if names)
