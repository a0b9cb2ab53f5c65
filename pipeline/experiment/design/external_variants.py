"""Groups that are variants of a recommender which is not this project's.

The multi-model experiment of Peska & Vojtas: each variant has offline metrics of its own, whoever
measured them, and users were divided by whoever served them. So a study may name a table of its
variants (``experiment.variants``) instead of training a model, and begins with the traffic plan that
is made of it. The log's assignment is taken as given; only the shares are planned.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import polars as pl

from pipeline.artifacts.storage import StudyPaths, atomic_folder, read_json, read_table, write_json
from pipeline.core.errors import DataError
from pipeline.experiment.design.traffic_plan import PLAN, TrafficPlan
from pipeline.study import ExperimentConfig

VARIANT, SHARE = "variant", "share"

STANDARD_ERROR = "_se"
"""Behind a metric's name: the column of its standard errors."""

VARIANTS = "variants.parquet"

_AS_LOGGED = "as logged"


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """A group of users that one variant served.

    Attributes:
        name: What the log calls it.
        share: Of the users, as planned; in (0, 1].
    """

    name: str
    share: float

    @property
    def preference_id(self) -> str:
        """What its offline metrics are found under."""
        return self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class VariantPlan:
    """Who was to get what: the experiment's name, and its variants."""

    experiment: str
    groups: tuple[Variant, ...]

    def as_dict(self) -> dict[str, Any]:
        """The plan as JSON holds it."""
        return {"assignment": _AS_LOGGED, **asdict(self)}

    @classmethod
    def from_dict(cls, plan: dict[str, Any]) -> Self:
        """Read back what :meth:`as_dict` wrote."""
        groups = tuple(Variant(**group) for group in plan["groups"])
        return cls(experiment=plan["experiment"], groups=groups)


Plan = TrafficPlan | VariantPlan
"""Of an experiment: groups under preferences of ours, or variants of whatever kind."""


def load_plan(paths: StudyPaths) -> Plan:
    """The traffic plan of a study; raises :class:`MissingArtifact` if it has none yet."""
    plan = read_json(paths.require("traffic_plan", PLAN))
    kind = VariantPlan if plan.get("assignment") == _AS_LOGGED else TrafficPlan
    return kind.from_dict(plan)


def publish_variants(section: ExperimentConfig, paths: StudyPaths) -> VariantPlan:
    """Make the traffic plan of a study of variants, and keep the variants beside it.

    Raises:
        DataError: if the study's table of variants is none.
    """
    variants = read_variants(paths.root / str(section.variants))
    plan = variant_plan(variants, section)
    with atomic_folder(paths.artifact("traffic_plan")) as folder:
        write_json(folder / PLAN, plan.as_dict())
        variants.write_parquet(folder / VARIANTS)
    return plan


def variant_plan(variants: pl.DataFrame, section: ExperimentConfig) -> VariantPlan:
    """The plan of the variants that :func:`read_variants` read."""
    shares = variants[SHARE] / variants[SHARE].sum()
    return VariantPlan(
        experiment=section.name,
        groups=tuple(
            Variant(name=name, share=share)
            for name, share in zip(variants[VARIANT], shares, strict=True)
        ),
    )


def planned_variants(paths: StudyPaths) -> pl.DataFrame:
    """The variants as the plan was made of them."""
    return read_table(paths.require("traffic_plan", VARIANTS))


def read_variants(path: Path) -> pl.DataFrame:
    """One row a variant: its name, its share, its metrics and what is known of their errors.

    Every column of numbers is an offline metric, but for those that end in ``_se``: the standard
    errors of the metric before it. Texts describe the variant and say nothing.

    Raises:
        DataError: if the file cannot be read or is not such a table.
    """
    try:
        table = (
            pl.read_parquet(path)
            if path.suffix == ".parquet"
            else pl.read_csv(path, schema_overrides={VARIANT: pl.String})
        )
    except (OSError, pl.exceptions.PolarsError) as error:
        msg = (
            f"experiment.variants: cannot read {path}: {error}; expected CSV or parquet with one row "
            "a variant"
        )
        raise DataError(msg) from error
    if absent := [name for name in (VARIANT, SHARE) if name not in table.columns]:
        msg = (
            f"{path} lacks {' and '.join(absent)}; expected the columns {VARIANT} (as the log calls "
            f"it), {SHARE} (what part of the users it was to get: any positive numbers, such as all "
            f"1) and one an offline metric; it has {table.columns}"
        )
        raise DataError(msg)
    if not (table[VARIANT].dtype.is_integer() or table[VARIANT].dtype == pl.String):
        msg = f"{path}: {VARIANT} is {table[VARIANT].dtype}; expected texts or whole numbers"
        raise DataError(msg)
    table = table.with_columns(pl.col(VARIANT).cast(pl.String))
    _check_names(table, path)
    _check_numbers(table, path)
    return table


def _check_names(table: pl.DataFrame, path: Path) -> None:
    names = table[VARIANT]
    if names.null_count() or (names == "").any() or names.is_duplicated().any() or len(names) < 2:
        msg = f"{path}: the variants are {names.to_list()}; expected two or more, each named once"
        raise DataError(msg)


def _check_numbers(table: pl.DataFrame, path: Path) -> None:
    shares = table[SHARE]
    if not _all_finite(shares) or (shares <= 0).any():
        msg = f"{path}: {SHARE} is {shares.to_list()}; expected a number above 0 each"
        raise DataError(msg)
    for name in filter(_is_standard_error, table.columns):
        metric, errors = name.removesuffix(STANDARD_ERROR), table[name]
        if metric not in table.columns:
            msg = f"{path}: {name} are the standard errors of {metric}, which is no column; name it so"
            raise DataError(msg)
        if not _all_finite(errors) or (errors < 0).any():
            msg = f"{path}: {name} is {errors.to_list()}; expected a number from 0 up each"
            raise DataError(msg)


def _is_standard_error(column: str) -> bool:
    return column.endswith(STANDARD_ERROR)


def _all_finite(values: pl.Series) -> bool:
    return values.dtype.is_numeric() and not values.null_count() and values.is_finite().all()
