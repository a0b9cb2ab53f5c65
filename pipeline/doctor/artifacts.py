"""A study's artifacts: whether each is there, is younger than what it was made from, and whole."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.progress import track
from pipeline.artifacts.provenance import code_version, environment_info
from pipeline.artifacts.storage import (
    DATABASE,
    REPORT,
    StudyPaths,
    dataset_path,
    md5,
    pinned_md5,
    read_json,
    require_dataset,
)
from pipeline.core.asset_graph import ASSET_GRAPH, rematerialize_command
from pipeline.doctor.finding import Finding, Status, ok
from pipeline.experiment.log.ingest import ingested_md5s, summarise
from pipeline.experiment.log.log_files import log_files, log_folder
from pipeline.study import LogSource, Study, flatten

RAW = "raw_events"
_PLACES = {"regression_report": REPORT, "experiment_log": DATABASE}
"""Where artifacts lie that are not named after their asset."""

_SECONDS = 1.0
"""Artifacts whose times differ by less were copied together."""

_NAMED = 3
_STUDY = "paretoscope study"


@dataclass(frozen=True, slots=True)
class Artifact:
    """An artifact that is there.

    Attributes:
        path: A file or folder.
        made: When the newest of its files was written, in seconds.
        is_of_the_report: Whether its files are those that the report's manifest tells of.
    """

    path: Path
    written_at: float
    is_in_manifest: bool


def check_raw_data(study: Study, paths: StudyPaths) -> Iterator[Finding]:
    """The raw data: there, and the pinned bytes."""
    if study.experiment.variants is not None:
        yield ok("raw data", "not needed: the experiment has variants of your own")
        return
    digest = require_dataset(study, paths.root)
    name = study.dataset.path
    if pinned_md5(study, paths.root) is None:
        words = f"{name} is not pinned: a change of it would go unnoticed"
        yield Finding("raw data", Status.WARNING, words, f"dvc add {name}")
    else:
        yield ok("raw data", f"{name} has the pinned md5 {digest}")


def check_artifacts(study: Study, paths: StudyPaths) -> Iterator[Finding]:
    """Every artifact of the chain, the database, and the manifest of the last report."""
    manifest_file = paths.artifact("manifest.json")
    manifest = read_json(manifest_file) if manifest_file.exists() else None
    there = _artifacts(study, paths, manifest)
    wanted = [asset for asset in ASSET_GRAPH if asset != RAW and _belongs(asset, study)]
    if missing := [asset for asset in wanted if asset not in there]:
        words = f"{len(missing)} of {len(wanted)} not made yet: {', '.join(missing)}"
        remedy = _STUDY if len(missing) == len(wanted) else rematerialize_command(missing[0])
        yield Finding("artifacts", Status.WARNING, words, remedy)
    outdated = list(_outdated(study, paths, wanted, there))
    yield from outdated
    if not missing and not outdated:
        yield ok("artifacts", f"all {len(wanted)} are there, none older than what it is made from")
    if "experiment_log" in there:
        held = summarise(paths.artifact(DATABASE))
        yield ok("database", f"{held['impressions']:,} impressions of {held['files']} files")
    if manifest is not None:
        yield from check_manifest(manifest, study, paths, there)


def _belongs(asset: str, study: Study) -> bool:
    """Whether the study makes the asset; one of variants of your own begins with their plan."""
    if study.experiment.variants is None:
        return True
    names = list(ASSET_GRAPH)
    return names.index(asset) >= names.index("traffic_plan")


def _artifacts(study: Study, paths: StudyPaths, manifest: Any) -> dict[str, Artifact]:
    told = manifest["outputs"] if manifest else {}
    found: dict[str, Artifact] = {}
    names = [asset for asset in ASSET_GRAPH if asset != RAW and _belongs(asset, study)]
    for asset in track(names, len(names), "reading artifacts"):
        path = paths.artifact(_PLACES.get(asset, asset))
        brought = asset == "experiment_log_files" and study.experiment.source is LogSource.FILES
        if brought:
            path = log_folder(study.experiment, paths)
        files = sorted(f for f in path.rglob("*") if f.is_file()) if path.is_dir() else [path]
        if not path.exists() or not files:
            continue
        same = not brought and all(
            told.get(file.relative_to(paths.folder).as_posix()) == md5(file) for file in files
        )
        found[asset] = Artifact(path, max(file.stat().st_mtime for file in files), same)
    return found


def _outdated(
    study: Study, paths: StudyPaths, wanted: list[str], there: dict[str, Artifact]
) -> Iterator[Finding]:
    """Artifacts that were made before what they are made from."""
    raw = dataset_path(study, paths.root)
    for asset in wanted:
        if asset not in there:
            continue
        one = there[asset]
        if asset == "experiment_log":
            # it is left as it is when its files say the same as before, so times tell nothing
            late = _other_files(study, paths)
        elif asset == "events":
            late = ["the raw data"] if _is_newer(raw, one) else []
        else:
            late = [name for name in ASSET_GRAPH[asset] if _is_later(there.get(name), one)]
        if late:
            words = f"{asset} is older than {', '.join(late)}"
            yield Finding("artifacts", Status.ERROR, words, rematerialize_command(asset))


def _is_newer(raw: Path, made: Artifact) -> bool:
    """Whether the raw data was written later; a copy of the same bytes changes nothing."""
    if made.is_in_manifest or not raw.exists():
        return False
    return raw.stat().st_mtime > made.written_at + _SECONDS


def _is_later(source: Artifact | None, made: Artifact) -> bool:
    if source is None or (source.is_in_manifest and made.is_in_manifest):
        return False
    return source.written_at > made.written_at + _SECONDS and not source.path.name.endswith(".duckdb")


def _other_files(study: Study, paths: StudyPaths) -> list[str]:
    """Files of the log that the database does not hold, or not as they are now."""
    held = ingested_md5s(paths.artifact(DATABASE))
    now = {file.name: md5(file) for file in log_files(log_folder(study.experiment, paths))}
    changed = sorted(name for name in held.keys() | now.keys() if held.get(name) != now.get(name))
    more = [f"{len(changed) - _NAMED} more files"] if len(changed) > _NAMED else []
    return changed[:_NAMED] + more


def check_manifest(
    manifest: dict[str, Any], study: Study, paths: StudyPaths, there: dict[str, Artifact]
) -> Iterator[Finding]:
    """Whether the last report was made by these parameters, this code and these versions."""
    changed = [
        key
        for key, now in flatten(study.as_dict()).items()
        if flatten(manifest["parameters"]).get(key, ...) != now and not key.startswith("serving.")
    ]
    if changed:
        words = f"the report was made with other parameters: {_some(changed)}"
        yield Finding("manifest", Status.ERROR, words, _STUDY)
    now = flatten({"code": code_version(paths.root), **environment_info()})
    before = flatten(manifest["provenance"])
    others = [
        f"{key.removeprefix('packages.')} {before[key]} (now {value})"
        for key, value in now.items()
        if before.get(key, value) != value
    ]
    if others:
        words = f"the report was made by {_some(others)}; numbers may differ"
        yield Finding("manifest", Status.WARNING, words, _STUDY)
    if newer := [asset for asset, one in there.items() if _is_unreported(asset, one, study)]:
        words = f"not the files that the report tells of: {_some(newer)}"
        remedy = "dagster asset materialize --select regression_report"
        yield Finding("manifest", Status.WARNING, words, remedy)
    if not changed and not others and not newer:
        yield ok("manifest", "the report was made by this code, these parameters and versions")


def _is_unreported(asset: str, one: Artifact, study: Study) -> bool:
    brought = asset == "experiment_log_files" and study.experiment.source is LogSource.FILES
    return not one.is_in_manifest and not brought


def _some(names: list[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")
