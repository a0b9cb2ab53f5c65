"""Groups that are variants of another recommender, with offline metrics of their own.

This is the multi-model experiment of Peska & Vojtas. A study that names a table of variants
(``experiment.variants``) trains no model and starts from the traffic plan derived from the table. The
assignment of users is the log's; the plan has only the traffic shares.
"""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self

import polars as pl

from pipeline.artifacts.storage import StudyPaths, atomic_folder, read_json, read_table, write_json
from pipeline.core import table_file
from pipeline.core.cell_numbers import parse_numbers
from pipeline.core.errors import DataError, StudyError
from pipeline.core.file_content import did_you_mean
from pipeline.experiment.design.traffic_plan import AS_LOGGED, PLAN, TrafficPlan
from pipeline.study import ExperimentConfig

VARIANT, SHARE = "variant", "share"

STANDARD_ERROR = "_se"
"""Suffix of the column with a metric's standard errors."""

VARIANTS = "variants.parquet"


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """A test group served by one variant.

    Attributes:
        name: Name of the group in the log.
        share: Planned share of the users, in (0, 1].
    """

    name: str
    share: float

    @property
    def preference_id(self) -> str:
        """Key of the variant in ``offline_metrics``."""
        return self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class VariantPlan:
    """The plan of an experiment with external variants."""

    experiment: str
    groups: tuple[Variant, ...]

    def as_dict(self) -> dict[str, Any]:
        """The plan as plain values for JSON."""
        return {"assignment": AS_LOGGED, **asdict(self)}

    @classmethod
    def from_dict(cls, plan: dict[str, Any]) -> Self:
        """Read back what :meth:`as_dict` wrote."""
        groups = tuple(Variant(**group) for group in plan["groups"])
        return cls(experiment=plan["experiment"], groups=groups)


Plan = TrafficPlan | VariantPlan
"""The plan of an experiment: groups served under preferences, or external variants."""


def load_plan(paths: StudyPaths) -> Plan:
    """Read the plan of a study; raises :class:`MissingArtifact` if there is none."""
    plan = read_json(paths.require("traffic_plan", PLAN))
    plan_type = VariantPlan if plan.get("assignment") == AS_LOGGED else TrafficPlan
    return plan_type.from_dict(plan)


def publish_variants(section: ExperimentConfig, paths: StudyPaths) -> VariantPlan:
    """Write the plan of a study with external variants, and store the variants with it.

    Raises:
        DataError: if ``experiment.variants`` is not a valid table of variants.
    """
    variants = variants_of(section, paths.root)
    plan = variant_plan(variants, section)
    with atomic_folder(paths.artifact("traffic_plan")) as folder:
        write_json(folder / PLAN, plan.as_dict())
        variants.write_parquet(folder / VARIANTS)
    return plan


def variants_of(section: ExperimentConfig, root: Path) -> pl.DataFrame:
    """The variants of a study, one row each; without metrics if ``params.yaml`` names only shares.

    Raises:
        DataError: if ``experiment.variants`` is not a valid table of variants.
    """
    if isinstance(section.variants, dict):
        schema = {VARIANT: pl.String, SHARE: pl.Float64}
        return pl.DataFrame(list(section.variants.items()), schema=schema, orient="row")
    return read_variants(root / str(section.variants))


def check_control(variants: pl.DataFrame, control: str | None) -> None:
    """Check that the declared control is one of the variants.

    Raises:
        StudyError: with the names of the variants.
    """
    names = variants[VARIANT].to_list()
    if control is not None and control not in names:
        msg = (
            f"regression.advice.control = {control} is not a variant; expected one of "
            f"{', '.join(names)}"
        )
        raise StudyError(msg)


def variant_plan(variants: pl.DataFrame, section: ExperimentConfig) -> VariantPlan:
    """The plan for a table of :func:`read_variants`."""
    shares = variants[SHARE] / variants[SHARE].sum()
    return VariantPlan(
        experiment=section.name,
        groups=tuple(
            Variant(name=name, share=share)
            for name, share in zip(variants[VARIANT], shares, strict=True)
        ),
    )


def planned_variants(paths: StudyPaths) -> pl.DataFrame:
    """The table of variants stored with the plan."""
    return read_table(paths.require("traffic_plan", VARIANTS))


def check_planned(section: ExperimentConfig, paths: StudyPaths) -> None:
    """Check that the plan is of the table of variants as it is today, if the study has one.

    Raises:
        DataError: if the table has changed since, or is not valid any more.
    """
    if section.variants is None:
        return
    table = variants_of(section, paths.root)
    if not table.equals(planned_variants(paths)):
        source = section.variants if isinstance(section.variants, str) else "experiment.variants"
        msg = (
            f"{source} has changed since the traffic plan was made from it. Re-create the "
            "plan and what follows from it: paretoscope study --select 'traffic_plan*'"
        )
        raise DataError(msg, "paretoscope study --select 'traffic_plan*'")


def read_variants(path: Path) -> pl.DataFrame:
    """Read a table with one row per variant: its name, its share and its offline metrics.

    Every numeric column is an offline metric, and ``<metric>_se`` its standard error. String columns
    are ignored.

    Raises:
        DataError: if the file cannot be read or is not a valid table of variants.
    """
    table = table_file.read_table(path)
    if absent := [name for name in (VARIANT, SHARE) if name not in table.columns]:
        wrong = " and ".join(f"{name}{did_you_mean(name, table.columns)}" for name in absent)
        msg = (
            f"{path}: the column {wrong} is missing from {', '.join(table.columns)}; expected "
            f"{VARIANT} (the group's name in the log), {SHARE} (relative traffic share: positive "
            "numbers, such as 1 for each) and one column per offline metric"
        )
        raise DataError(msg)
    names = [_name(cell, path) for cell in table.columns[VARIANT]]
    others = {name: cells for name, cells in table.columns.items() if name != VARIANT}
    parsed = parse_numbers(replace(table, columns=others), names, counts=())
    columns = {VARIANT: pl.Series(names, dtype=pl.String)}
    for name, cells in others.items():
        values = parsed.numbers.get(name, [])
        is_metric = any(value is not None for value in values)
        texts = [None if cell is None else str(cell) for cell in cells]
        columns[name] = (
            pl.Series(values, dtype=pl.Float64) if is_metric else pl.Series(texts, dtype=pl.String)
        )
    variants = pl.DataFrame(columns)
    _check_names(variants, path)
    _check_numbers(variants, path)
    _check_metrics(variants, path)
    return variants


def _name(cell: table_file.Cell, path: Path) -> str:
    """The name of a variant; a decimal number is none."""
    if cell is None or isinstance(cell, str | int):
        return "" if cell is None else str(cell)
    msg = f"{path}: {VARIANT} is {cell!r}; expected strings or integers"
    raise DataError(msg)


def _check_names(table: pl.DataFrame, path: Path) -> None:
    names = table[VARIANT]
    if names.null_count() or (names == "").any() or names.is_duplicated().any() or len(names) < 2:
        msg = f"{path}: the variants are {names.to_list()}; expected two or more unique names"
        raise DataError(msg)


def _check_numbers(table: pl.DataFrame, path: Path) -> None:
    shares = table[SHARE]
    if not _all_finite(shares) or (shares <= 0).any():
        msg = f"{path}: {SHARE} is {shares.to_list()}; expected positive numbers"
        raise DataError(msg)
    for name in (name for name in table.columns if name.endswith(STANDARD_ERROR)):
        metric, errors = name.removesuffix(STANDARD_ERROR), table[name]
        if metric not in table.columns:
            msg = (
                f"{path}: {name} has the standard errors of {metric}, but there is no column "
                f"{metric}; add or rename it"
            )
            raise DataError(msg)
        if not _all_finite(errors) or (errors < 0).any():
            msg = f"{path}: {name} is {errors.to_list()}; expected numbers of 0 or more"
            raise DataError(msg)


def _check_metrics(table: pl.DataFrame, path: Path) -> None:
    """Raise if a metric is known for some variants only."""
    for name in (name for name in table.columns if table[name].dtype.is_numeric()):
        values = table[name].cast(pl.Float64)
        known = values.is_not_null() & values.is_finite().fill_null(value=False)
        if known.all() or not known.any():
            continue
        absent = table.filter(~known)[VARIANT].to_list()
        msg = (
            f"{path}: {name} has no value for the variant {', '.join(absent)}; fill it in, drop the column "
            f"{name}, or leave the variant out: remove its row and set experiment.ignored_groups: "
            f"{absent}"
        )
        raise DataError(msg)


def _all_finite(values: pl.Series) -> bool:
    return values.dtype.is_numeric() and not values.null_count() and values.is_finite().all()
