"""Provenance: code version, packages, processor and data."""

import hashlib
import json
import platform
import subprocess
from importlib.metadata import version

import pytest

from pipeline.artifacts.provenance import PACKAGES, code_version, output_md5s, provenance
from pipeline.artifacts.storage import StudyPaths
from pipeline.core.errors import MissingArtifact
from pipeline.study import load_study


def git(folder, *arguments):
    identity = ["-c", "user.name=Ada", "-c", "user.email=ada@example.com"]
    done = subprocess.run(
        ["git", "-C", folder, *identity, *arguments], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.fixture
def outside(tmp_path, monkeypatch):
    """A folder outside any repository, on a machine with Paretoscope 9.8.7 installed."""
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    metadata = tmp_path / "site" / "paretoscope-9.8.7.dist-info" / "METADATA"
    metadata.parent.mkdir(parents=True)
    metadata.write_text("Metadata-Version: 2.1\nName: paretoscope\nVersion: 9.8.7\n", "utf-8")
    monkeypatch.syspath_prepend(tmp_path / "site")
    folder = tmp_path / "project"
    folder.mkdir()
    return folder


@pytest.fixture
def repository(outside):
    """A repository with one commit."""
    git(outside, "init", "--quiet")
    (outside / "code.py").write_text("x = 1\n", encoding="utf-8")
    git(outside, "add", ".")
    git(outside, "commit", "--quiet", "--message", "first")
    return outside


def test_the_code_version_is_the_commit(repository):
    assert code_version(repository) == git(repository, "rev-parse", "HEAD")


def test_local_changes_are_marked_and_untracked_files_ignored(repository):
    commit = git(repository, "rev-parse", "HEAD")

    (repository / "note.txt").write_text("new\n", encoding="utf-8")
    with_note = code_version(repository)
    (repository / "code.py").write_text("x = 2\n", encoding="utf-8")
    with_change = code_version(repository)

    assert (with_note, with_change) == (commit, f"{commit} with local changes")


def test_outside_git_the_code_version_is_the_package_version(outside):
    assert code_version(outside) == "paretoscope 9.8.7"


def test_without_a_commit_the_code_version_is_the_package_version(outside):
    git(outside, "init", "--quiet")

    assert code_version(outside) == "paretoscope 9.8.7"


def test_without_git_the_code_version_is_the_package_version(repository, monkeypatch):
    monkeypatch.setenv("PATH", "")

    assert code_version(repository) == "paretoscope 9.8.7"


def test_provenance_contains_code_packages_processor_and_data(repository, project_root):
    study = load_study(project_root / "params.yaml", {"dataset.path": "raw.jsonl"})
    (repository / "raw.jsonl").write_bytes(b"one session\n")

    found = provenance(study, repository)

    assert found == {
        "code": git(repository, "rev-parse", "HEAD"),
        "packages": {name: version(name) for name in PACKAGES},
        "python": platform.python_version(),
        "machine": platform.machine(),
        "dataset": {"path": "raw.jsonl", "md5": hashlib.md5(b"one session\n").hexdigest()},
    }
    assert json.loads(json.dumps(found)) == found


def test_provenance_requires_the_data(repository, project_root):
    study = load_study(project_root / "params.yaml", {"dataset.path": "raw.jsonl"})

    with pytest.raises(MissingArtifact, match=r"raw data raw\.jsonl is missing"):
        provenance(study, repository)


def test_the_manifest_lists_every_file_except_itself(tmp_path):
    paths = StudyPaths(root=tmp_path, name="shop")
    files = {"report/index.html": b"page", "events/manifest.json": b"{}", "manifest.json": b"old"}
    for name, content in files.items():
        (paths.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (paths.folder / name).write_bytes(content)

    assert output_md5s(paths) == {
        "events/manifest.json": hashlib.md5(b"{}").hexdigest(),
        "report/index.html": hashlib.md5(b"page").hexdigest(),
    }
