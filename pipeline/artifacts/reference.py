"""Reference results: a study's tables kept in git, to compare with those of another machine.

Raw data and sessions must have the md5s pinned in ``dvc.lock`` on any machine. The model's outputs
have them on the same processor type; elsewhere floating-point sums differ in the last digit and
training amplifies the difference. So metrics are compared within :data:`METRIC_TOLERANCE`, KPIs
within :data:`KPI_TOLERANCE`, slopes by whether their cluster-robust confidence intervals overlap,
and the Pareto front must span at least half of the reference front.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import yaml

from pipeline.artifacts.provenance import git
from pipeline.artifacts.storage import StudyPaths, atomic_folder, md5, read_json
from pipeline.core.asset_graph import assets_of
from pipeline.core.contracts import ALL_TARGETS
from pipeline.core.errors import MissingArtifact
from pipeline.study import Study

METRIC_TOLERANCE = 0.1
"""Largest relative difference of an offline metric from its reference value."""

KPI_TOLERANCE = 4.0
"""Largest difference of a KPI from its reference value, in standard errors of the difference."""

DATA_FILES = ("sessions/sessions.parquet", "sessions/items.parquet", "sessions/tokens.safetensors")
"""Outputs that are identical on any machine, as is the raw data."""

MODEL_FILES = (
    "offline_metrics/offline_metrics.parquet",
    "pareto_front/pareto_front.parquet",
    "group_kpis/group_kpis.parquet",
    "regression_estimates/regression_estimates.json",
)
"""Outputs that depend on the model's weights."""

_COMPARED_METRICS = ("recall", "order_density", "recall_order_density", "mrr")
_FRONT_AXES = ("recall", "order_density")


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """The result of comparing a study with its pins and reference results.

    Attributes:
        identical: Files with the pinned md5.
        different: Files that must have the pinned md5 and do not.
        within_tolerance: Model outputs that differ from the pin within the tolerance.
        out_of_tolerance: One message per difference beyond the tolerance.
    """

    identical: tuple[str, ...]
    different: tuple[str, ...]
    within_tolerance: tuple[str, ...]
    out_of_tolerance: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether every file is identical or within the tolerance."""
        return not self.different and not self.out_of_tolerance


def reference_folder(paths: StudyPaths) -> Path:
    """The folder of a study's reference results."""
    return paths.root / "data" / "reference" / paths.name


def update_reference(study: Study, paths: StudyPaths) -> Path:
    """Replace the reference results with the study's current ones; returns their folder."""
    folder = reference_folder(paths)
    with atomic_folder(folder) as fresh:
        for name in _outputs(study):
            asset, file = name.split("/")
            shutil.copyfile(paths.require(asset, file), fresh / file)
    return folder


def verify(study: Study, paths: StudyPaths) -> Verification:
    """Compare a finished study with the committed md5s and the reference results.

    Raises:
        MissingArtifact: if an output, its pin or its reference result is missing.
    """
    pins = _read_pins(paths.root)
    prefix = paths.folder.relative_to(paths.root).as_posix()
    data = (*_inputs(study), *(f"{prefix}/{file}" for file in DATA_FILES if study.trains))
    model = {f"{prefix}/{file}": file for file in _outputs(study)}
    matches = {name: _matches_pin(paths.root, name, pins) for name in (*data, *model)}
    differences = {name: _differences(paths, model[name]) for name in model if not matches[name]}
    return Verification(
        identical=tuple(name for name, is_same in matches.items() if is_same),
        different=tuple(name for name in data if not matches[name]),
        within_tolerance=tuple(name for name, found in differences.items() if not found),
        out_of_tolerance=tuple(one for found in differences.values() for one in found),
    )


def _inputs(study: Study) -> tuple[str, ...]:
    """The study's data: its raw log, or the log of an experiment with external variants."""
    variants = study.experiment.variants
    if study.trains:
        return (study.dataset.path,)
    log = str(study.experiment.log_path)
    return (log, variants) if isinstance(variants, str) else (log,)


def _outputs(study: Study) -> tuple[str, ...]:
    """The outputs that are compared with reference results."""
    assets = assets_of(trains=study.trains)
    return tuple(file for file in MODEL_FILES if file.split("/")[0] in assets)


def _matches_pin(root: Path, name: str, pins: dict[str, str]) -> bool:
    path = root / name
    if not path.exists():
        msg = f"{name} is missing. Create it with: paretoscope study"
        raise MissingArtifact(msg)
    if name not in pins:
        msg = (
            f"{name} is not pinned in dvc.lock; add a stage of the study to dvc.yaml, run 'dvc repro' "
            "and commit dvc.lock"
        )
        raise MissingArtifact(msg)
    return md5(path) == pins[name]


def _read_pins(root: Path) -> dict[str, str]:
    """The md5 of each path in ``dvc.lock``: in git, the committed one, as a run may have changed it."""
    file = root / "dvc.lock"
    lock = git(root, "show", "HEAD:./dvc.lock")
    if lock is None and git(root, "rev-parse", "--git-dir") is None and file.is_file():
        lock = file.read_text(encoding="utf-8")
    if lock is None:
        msg = (
            "there is no committed dvc.lock to compare with. It pins data and results: git init && "
            "dvc init && dvc repro, then commit dvc.lock"
        )
        raise MissingArtifact(msg)
    stages: dict[str, Any] = yaml.safe_load(lock)["stages"]
    return {
        out["path"]: out["md5"]
        for stage in stages.values()
        for out in (*stage.get("deps", []), *stage.get("outs", []))
        if "md5" in out
    }


def _differences(paths: StudyPaths, file: str) -> list[str]:
    """One message per difference beyond the tolerance between an output and its reference."""
    asset, name = file.split("/")
    current, reference = paths.folder / file, reference_folder(paths) / name
    if not reference.exists():
        msg = (
            f"{reference.relative_to(paths.root)} is missing: study {paths.name} has no reference "
            "results. Create them with: paretoscope update-reference"
        )
        raise MissingArtifact(msg)
    match asset:
        case "offline_metrics":
            rows = pl.col("metric").is_in(_COMPARED_METRICS) & (pl.col("segment") == ALL_TARGETS)
            both = _joined(current, reference, ["preference_id", "metric"], rows)
            return _beyond_tolerance(both, ["preference_id", "metric"], "value")
        case "group_kpis":
            return _kpi_differences(_joined(current, reference, ["group", "kpi"]))
        case "pareto_front":
            both = _joined(current, reference, ["preference_id"])
            far = [_beyond_tolerance(both, ["preference_id"], axis) for axis in _FRONT_AXES]
            return [*far[0], *far[1], *_narrower_fronts(both)]
        case _:
            return _disjoint_intervals(read_json(current), read_json(reference))


def _joined(
    current: Path, reference: Path, keys: list[str], rows: pl.Expr | None = None
) -> pl.DataFrame:
    """Both tables side by side, one row per key; reference columns end in ``_reference``."""
    tables = [pl.read_parquet(file, glob=False) for file in (current, reference)]
    if rows is not None:
        tables = [table.filter(rows) for table in tables]
    return tables[0].join(tables[1], on=keys, how="full", suffix="_reference", coalesce=True)


def _beyond_tolerance(both: pl.DataFrame, keys: list[str], value: str) -> list[str]:
    both = both.filter(pl.col(value).ne_missing(pl.col(f"{value}_reference")))
    change = (pl.col(value) - pl.col(f"{value}_reference")).abs() / pl.col(f"{value}_reference")
    far = both.filter(change.is_null() | (change > METRIC_TOLERANCE))
    return [
        f"{'/'.join(str(row[key]) for key in keys)}: {value} {row[value]}, reference "
        f"{row[f'{value}_reference']}"
        for row in far.iter_rows(named=True)
    ]


def _kpi_differences(both: pl.DataFrame) -> list[str]:
    """KPIs that differ by more than chance explains between two experiments."""
    error = (pl.col("standard_error") ** 2 + pl.col("standard_error_reference") ** 2).sqrt()
    close = (pl.col("rate") - pl.col("rate_reference")).abs() <= KPI_TOLERANCE * error
    same = pl.col("rate").eq_missing(pl.col("rate_reference"))
    return [
        f"{row['group']}/{row['kpi']}: rate {row['rate']}, reference {row['rate_reference']}"
        for row in both.filter(~(same | close.fill_null(value=False))).iter_rows(named=True)
    ]


def _narrower_fronts(both: pl.DataFrame) -> list[str]:
    """Axes on which the front spans less than half of the reference front."""
    messages: list[str] = []
    for axis in _FRONT_AXES:
        span, reference = (
            float(values.max() / values.min() - 1)  # pyright: ignore[reportOperatorIssue]
            for values in (both[axis], both[f"{axis}_reference"])
        )
        if span < reference / 2:
            messages.append(f"the front spans {span:.1%} in {axis}, reference {reference:.1%}")
    return messages


def _disjoint_intervals(
    current: list[dict[str, Any]], reference: list[dict[str, Any]]
) -> list[str]:
    """Hypotheses whose cluster-robust confidence intervals do not overlap."""
    now, before = ({one["id"]: one for one in estimates} for estimates in (current, reference))
    messages: list[str] = []
    for name in dict.fromkeys((*now, *before)):
        tests: list[Any] = [found.get(name, {}).get("cluster_robust") for found in (now, before)]
        if tests == [None, None]:
            continue
        if None in tests:
            messages.append(f"{name}: estimated in one of the two studies only")
            continue
        (low, high), (low_2, high_2) = (test["interval"] for test in tests)
        if high < low_2 or high_2 < low:
            messages.append(
                f"{name}: {low:.3f} to {high:.3f}, reference {low_2:.3f} to {high_2:.3f}"
            )
    return messages
