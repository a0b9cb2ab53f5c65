"""Checks a study's artifacts: complete, not older than their inputs, and those of the report."""

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.progress import track
from pipeline.artifacts.provenance import code_version, environment_info, git
from pipeline.artifacts.raw_data import dataset_path, pinned_md5, require_dataset, writing_stage
from pipeline.artifacts.storage import ASSET_PATHS, DATABASE, StudyPaths, md5, read_json
from pipeline.core.asset_graph import (
    ASSET_GRAPH,
    OPTIONAL,
    assets_of,
    rematerialize_command,
)
from pipeline.core.errors import MissingArtifact
from pipeline.core.labels import counted
from pipeline.core.object_urls import parse_object_url
from pipeline.doctor.environment import dvc_init
from pipeline.doctor.finding import Finding, Status, ok, shortened
from pipeline.experiment.log.ingest import ingested_md5s, summarise
from pipeline.experiment.log.reading.log_folder import log_location, study_log
from pipeline.study import LogSource, Study, flatten

_SAME_SECONDS = 1.0
"""Artifacts whose times differ by less were copied together."""

_STUDY = "paretoscope study"


@dataclass(frozen=True, slots=True)
class Artifact:
    """An artifact on disk.

    Attributes:
        path: A file or folder.
        written_at: Modification time of its newest file, in seconds.
        is_in_manifest: Whether its files have the md5s of the report's manifest.
        is_input: Whether it is a log of the user's, which the manifest does not list.
    """

    path: Path
    written_at: float
    is_in_manifest: bool
    is_input: bool


def check_raw_data(study: Study, paths: StudyPaths) -> Iterator[Finding]:
    """Check that the raw data exists and matches its pin."""
    if not study.trains:
        yield ok("raw data", "not required: the experiment has external variants")
        return
    name = study.dataset.path
    try:
        digest = require_dataset(study, paths.root)
    except MissingArtifact as error:
        fix = error.command or f"copy the log to {name}, or correct dataset.path in params.yaml"
        if parse_object_url(name):
            message = f"{name} has no copy on this machine yet; a run downloads it"
            yield Finding("raw data", Status.WARNING, message, "paretoscope pull")
            return
        yield Finding("raw data", Status.ERROR, f"{name} is missing", fix)
        return
    if pinned_md5(study, paths.root) is None:
        message = f"{name} is not pinned: changes would not be noticed"
        yield Finding("raw data", Status.WARNING, message, pin_command(study, paths.root))
    else:
        yield ok("raw data", f"{name} has the pinned md5 {digest}")


def pin_command(study: Study, root: Path) -> str:
    """The command that pins raw data; DVC pins only what is in the project, and not in git."""
    name = study.dataset.path
    if parse_object_url(name):
        return f"dvc import-url {shlex.quote(name)} data/raw, and set dataset.path to the file"
    if not (root / name).resolve().is_relative_to(root.resolve()):
        return (
            f"DVC pins data inside the project only: copy it to data/raw/{Path(name).name}, set "
            "dataset.path, and run this again"
        )
    # this may not be the only finding that initialises DVC
    steps = [] if (root / ".dvc").is_dir() else [f"(test -d .dvc || {dvc_init(root)})"]
    if stage := writing_stage(study, root):
        return " && ".join([*steps, f"dvc repro {stage}"])
    path = shlex.quote(f"./{name}" if name.startswith("-") else name)
    if git(root, "ls-files", "--", name):
        steps.append(f"git rm -r --cached --quiet -- {path}")
    return " && ".join([*steps, f"dvc add {path}"])


def check_artifacts(study: Study, paths: StudyPaths) -> Iterator[Finding]:
    """Check every artifact, the database, and the manifest of the last report."""
    manifest_file = paths.artifact("manifest.json")
    manifest = read_json(manifest_file) if manifest_file.exists() else None
    assets = _assets_of(study)
    found = _find_artifacts(assets, study, paths, manifest)
    needed = [asset for asset in assets if asset not in OPTIONAL]
    if missing := [asset for asset in needed if asset not in found]:
        message = f"{len(missing)} of {len(needed)} are missing: {', '.join(missing)}"
        fix = _STUDY if len(missing) == len(needed) else rematerialize_command(missing[0])
        yield Finding("artifacts", Status.WARNING, message, fix)
    outdated = list(_outdated(study, paths, found))
    yield from outdated
    if not missing and not outdated:
        yield ok("artifacts", f"all {len(needed)} exist, none is older than its inputs")
    if "experiment_log" in found:
        log = summarise(paths.artifact(DATABASE))
        yield ok(
            "database",
            f"{counted(log['impressions'], 'impression')} from {counted(log['files'], 'file')}",
        )
    if manifest is not None:
        yield from check_manifest(manifest, study, paths, found)


def _assets_of(study: Study) -> list[str]:
    """The assets that the study has on this machine, without its raw data."""
    inputs = {"raw_events"}
    if study.compute.warehouse is not None:
        inputs.add("experiment_log_files")
    return [asset for asset in assets_of(trains=study.trains) if asset not in inputs]


def _find_artifacts(
    assets: list[str], study: Study, paths: StudyPaths, manifest: dict[str, Any] | None
) -> dict[str, Artifact]:
    outputs = manifest["outputs"] if manifest else {}
    found: dict[str, Artifact] = {}
    for asset in track(assets, len(assets), "reading artifacts", unit="artifacts"):
        path = paths.artifact(ASSET_PATHS.get(asset, asset))
        is_input = asset == "experiment_log_files" and study.experiment.source is LogSource.FILES
        if is_input:
            path = log_location(study.experiment, paths)
        files = sorted(f for f in path.rglob("*") if f.is_file()) if path.is_dir() else [path]
        if path.exists() and files:
            found[asset] = Artifact(
                path=path,
                written_at=max(file.stat().st_mtime for file in files),
                is_in_manifest=not is_input
                and all(
                    outputs.get(file.relative_to(paths.folder).as_posix()) == md5(file)
                    for file in files
                ),
                is_input=is_input,
            )
    return found


def _outdated(study: Study, paths: StudyPaths, found: dict[str, Artifact]) -> Iterator[Finding]:
    """Artifacts that are older than one of their inputs."""
    raw = dataset_path(study, paths.root)
    for asset, artifact in found.items():
        if artifact.is_input:  # a log may be older than the plan of its analysis
            continue
        if asset == "experiment_log":
            # the database is not rewritten if the files are the same, so its time says nothing
            newer = _changed_log_files(study, paths)
        elif asset == "events":
            is_newer = raw.exists() and _is_newer(raw.stat().st_mtime, artifact)
            newer = ["the raw data"] if is_newer and not artifact.is_in_manifest else []
        else:
            newer = [name for name in ASSET_GRAPH[asset] if _is_newer_input(found, name, artifact)]
        if newer:
            message = f"{asset} is older than {', '.join(newer)}"
            yield Finding("artifacts", Status.ERROR, message, rematerialize_command(asset))


def _is_newer_input(found: dict[str, Artifact], name: str, artifact: Artifact) -> bool:
    source = found.get(name)
    if source is None or name == "experiment_log":
        return False
    copied = source.is_in_manifest and artifact.is_in_manifest
    return not copied and _is_newer(source.written_at, artifact)


def _is_newer(seconds: float, artifact: Artifact) -> bool:
    return seconds > artifact.written_at + _SAME_SECONDS


def _changed_log_files(study: Study, paths: StudyPaths) -> list[str]:
    """Log files that the database does not contain in their current version; none in a warehouse."""
    if study.compute.warehouse is not None:
        return []
    ingested = ingested_md5s(paths.artifact(DATABASE))
    files = study_log(study.experiment, paths).md5s()
    names = ingested.keys() | files.keys()
    changed = sorted(name for name in names if ingested.get(name) != files.get(name))
    return [shortened(changed)] if changed else []


def check_manifest(
    manifest: dict[str, Any], study: Study, paths: StudyPaths, found: dict[str, Artifact]
) -> Iterator[Finding]:
    """Check whether the last report has the current parameters, code, versions and files."""
    reported = flatten(manifest["parameters"])
    changed = [
        key
        for key, value in flatten(study.as_dict()).items()
        if reported.get(key, ...) != value and not key.startswith("serving.")
    ]
    if changed:
        message = f"the report has other values of: {shortened(changed)}"
        yield Finding("manifest", Status.ERROR, message, _STUDY)
    before = flatten(manifest["provenance"])
    versions = [
        f"{key.removeprefix('packages.')} {before[key]} (now {value})"
        for key, value in flatten({"code": code_version(paths.root), **environment_info()}).items()
        if before.get(key, value) != value
    ]
    if versions:
        message = f"the report was created with {shortened(versions)}; numbers may differ"
        yield Finding("manifest", Status.WARNING, message, _STUDY)
    unreported = [
        asset for asset, one in found.items() if not one.is_in_manifest and not one.is_input
    ]
    if unreported:
        message = f"changed since the report: {shortened(unreported)}"
        fix = "dagster asset materialize --select regression_report"
        yield Finding("manifest", Status.WARNING, message, fix)
    if not changed and not versions and not unreported:
        yield ok("manifest", "the report has the current parameters, code and versions")
