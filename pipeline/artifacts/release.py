"""Released results: what a study found, kept in git, and compared with what it finds elsewhere.

Raw data and sessions must have the pinned md5s on any machine. What comes out of the network has
them on the same kind of processor; elsewhere floating-point sums differ in the last digit and
training amplifies that, so the tables are compared within :data:`METRIC_TOLERANCE` and the slopes
by whether their user-clustered intervals overlap; the front must span half of the released one.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import yaml

from pipeline.artifacts.provenance import git
from pipeline.artifacts.storage import StudyPaths, md5, read_json
from pipeline.core.contracts import ALL_TARGETS
from pipeline.core.errors import MissingArtifact

METRIC_TOLERANCE = 0.1
"""Largest relative difference of a Recall@k, OD@k or MRR@k from the released one."""

KPI_TOLERANCE = 4.0
"""Largest difference of a KPI rate from the released one, in standard errors of the difference."""

FROM_DATA = ("sessions/sessions.parquet", "sessions/items.parquet", "sessions/tokens.safetensors")
"""Outputs that are the same on any machine, besides the raw data."""

FROM_NETWORK = (
    "offline_metrics/offline_metrics.parquet",
    "pareto_front/pareto_front.parquet",
    "group_kpis/group_kpis.parquet",
    "regression_estimates/regression_estimates.json",
)
"""Outputs that depend on the network's weights."""

_COMPARED_METRICS = ("recall", "order_density", "recall_order_density", "mrr")


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What a comparison with the released results found.

    Attributes:
        identical: Files with the pinned md5.
        different: Files that had to be identical and are not.
        close: Files from the network that differ, but within the stated tolerance.
        apart: What is outside of the tolerance, in words.
    """

    identical: tuple[str, ...]
    different: tuple[str, ...]
    close: tuple[str, ...]
    apart: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether everything is identical or close."""
        return not self.different and not self.apart


def released_folder(paths: StudyPaths) -> Path:
    """Where a study's released tables are kept in git."""
    return paths.root / "data" / "released" / paths.name


def release(paths: StudyPaths) -> Path:
    """Copy the study's network-dependent tables to the released ones; returns their folder."""
    folder = released_folder(paths)
    folder.mkdir(parents=True, exist_ok=True)
    for name in FROM_NETWORK:
        asset, file = name.split("/")
        shutil.copyfile(paths.require(asset, file), folder / file)
    return folder


def verify(paths: StudyPaths, dataset: str) -> Verification:
    """Compare a finished study with the md5s pinned in git and with the released tables.

    Raises:
        MissingArtifact: if the study, its pins or its released tables are not there.
    """
    pins = _pinned(paths.root)
    prefix = paths.folder.relative_to(paths.root).as_posix()
    identical: list[str] = []
    different: list[str] = []
    close: list[str] = []
    apart: list[str] = []
    for name in (dataset, *(f"{prefix}/{file}" for file in FROM_DATA)):
        (identical if _same(paths.root, name, pins) else different).append(name)
    for file in FROM_NETWORK:
        name = f"{prefix}/{file}"
        if _same(paths.root, name, pins):
            identical.append(name)
        elif differences := _differences(paths, file):
            apart += differences
        else:
            close.append(name)
    return Verification(
        identical=tuple(identical),
        different=tuple(different),
        close=tuple(close),
        apart=tuple(apart),
    )


def _same(root: Path, name: str, pins: dict[str, str]) -> bool:
    path = root / name
    if not path.exists():
        msg = f"{name} is missing. Make it with: make study"
        raise MissingArtifact(msg)
    if name not in pins:
        msg = f"{name} is not pinned in the committed dvc.lock; run 'dvc repro' and commit dvc.lock"
        raise MissingArtifact(msg)
    return md5(path) == pins[name]


def _pinned(root: Path) -> dict[str, str]:
    """Path to md5, from ``dvc.lock`` as committed: a run on this machine may have rewritten it."""
    lock = git(root, "show", "HEAD:dvc.lock")
    if lock is None:
        msg = "git has no committed dvc.lock to compare with; run this in a clone"
        raise MissingArtifact(msg)
    stages: dict[str, Any] = yaml.safe_load(lock)["stages"]
    return {
        out["path"]: out["md5"]
        for stage in stages.values()
        for out in (*stage.get("deps", []), *stage.get("outs", []))
        if "md5" in out
    }


def _differences(paths: StudyPaths, file: str) -> list[str]:
    """What in a study's output is too far from the released one."""
    ours, released = paths.folder / file, released_folder(paths) / file.split("/")[1]
    if not released.exists():
        msg = f"no released {released.name} for study {paths.name}; make it with: make release"
        raise MissingArtifact(msg)
    match file.split("/", maxsplit=1)[0]:
        case "offline_metrics":
            keep = pl.col("metric").is_in(_COMPARED_METRICS)
            keep &= pl.col("segment") == ALL_TARGETS
            return _far(ours, released, ["preference_id", "metric"], "value", keep)
        case "group_kpis":
            return _beyond_chance(ours, released)
        case "pareto_front":
            keys = ["preference_id"]
            keep = pl.lit(value=True)
            far = [_far(ours, released, keys, axis, keep) for axis in ("recall", "order_density")]
            return [*far[0], *far[1], *_narrower(ours, released)]
        case _:
            return _disjoint(read_json(ours), read_json(released))


def _far(ours: Path, released: Path, keys: list[str], value: str, keep: pl.Expr) -> list[str]:
    both = (
        pl.read_parquet(ours)
        .filter(keep)
        .join(
            pl.read_parquet(released).filter(keep),
            on=keys,
            how="full",
            suffix="_released",
            coalesce=True,
        )
        .filter(pl.col(value).ne_missing(pl.col(f"{value}_released")))
    )
    change = (pl.col(value) - pl.col(f"{value}_released")).abs() / pl.col(f"{value}_released")
    far = both.filter(change.is_null() | (change > METRIC_TOLERANCE))
    return [
        f"{'/'.join(str(row[key]) for key in keys)}: {value} {row[value]}, released "
        f"{row[f'{value}_released']}"
        for row in far.iter_rows(named=True)
    ]


def _beyond_chance(ours: Path, released: Path) -> list[str]:
    """KPI rates that differ by more than chance explains between two experiments."""
    both = pl.read_parquet(ours).join(
        pl.read_parquet(released),
        on=["group", "kpi"],
        how="full",
        suffix="_released",
        coalesce=True,
    )
    error = (pl.col("standard_error") ** 2 + pl.col("standard_error_released") ** 2).sqrt()
    close = (pl.col("rate") - pl.col("rate_released")).abs() <= KPI_TOLERANCE * error
    same = pl.col("rate").eq_missing(pl.col("rate_released"))
    return [
        f"{row['group']}/{row['kpi']}: rate {row['rate']}, released {row['rate_released']}"
        for row in both.filter(~(same | close.fill_null(value=False))).iter_rows(named=True)
    ]


def _narrower(ours: Path, released: Path) -> list[str]:
    """Axes on which the front spans less than half of the released one."""
    words: list[str] = []
    for axis in ("recall", "order_density"):
        span, before = (
            float(values.max() / values.min() - 1)  # pyright: ignore[reportOperatorIssue]
            for values in (pl.read_parquet(file)[axis] for file in (ours, released))
        )
        if span < before / 2:
            words.append(f"the front spans {span:.1%} in {axis}, released {before:.1%}")
    return words


def _disjoint(ours: list[dict[str, Any]], released: list[dict[str, Any]]) -> list[str]:
    """Hypotheses whose cluster-robust intervals do not overlap."""
    now, before = ({estimate["id"]: estimate for estimate in found} for found in (ours, released))
    apart: list[str] = []
    for name in dict.fromkeys((*now, *before)):
        tests: list[Any] = [found.get(name, {}).get("cluster_robust") for found in (now, before)]
        if tests == [None, None]:
            continue
        if None in tests:
            apart.append(f"{name}: not answered in both")
            continue
        (low, high), (low_2, high_2) = (test["interval"] for test in tests)
        if high < low_2 or high_2 < low:
            apart.append(f"{name}: {low:.3f} to {high:.3f}, released {low_2:.3f} to {high_2:.3f}")
    return apart
