"""Artifacts on object storage: what other machines see, and that no change is lost."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.artifacts.objects.bucket import Bucket
from pipeline.artifacts.objects.published import PublishedStudy
from pipeline.artifacts.storage import StudyPaths
from pipeline.core.errors import StorageError, StudyError
from pipeline.core.object_urls import parse_object_url
from pipeline.steps.storage import on_storage, pull_study
from pipeline.study import parse_study

URL = "s3://shop/shared folder"
pytestmark = pytest.mark.usefixtures("storage")

POINTER = "shared folder/spring/pointer.json"


class Machine:
    """A machine with its own disk, which shares the storage."""

    def __init__(self, root: Path) -> None:
        self.paths = StudyPaths(root=root, name="spring")
        self.folder = self.paths.folder

    @property
    def published(self) -> PublishedStudy:
        url = parse_object_url(URL)
        assert url is not None
        return PublishedStudy(url, self.paths)

    def write(self, name: str, content: str) -> None:
        file = self.folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content, encoding="utf-8")

    def contents(self) -> dict[str, str]:
        """The files of all artifacts."""
        return {
            file.relative_to(self.folder).as_posix(): file.read_text("utf-8")
            for file in sorted(self.folder.rglob("*"))
            if file.is_file() and not _is_hidden(file.relative_to(self.folder).parts)
        }


def _is_hidden(parts: tuple[str, ...]) -> bool:
    return any(part.startswith(".") and part != ".models" for part in parts)


@pytest.fixture
def one(tmp_path) -> Machine:
    return Machine(tmp_path / "one")


@pytest.fixture
def other(tmp_path) -> Machine:
    return Machine(tmp_path / "other")


def test_another_machine_has_the_same_artifacts(one, other):
    one.write("sessions/train.bin", "train")
    one.write("sessions/nested/items.bin", "items")
    one.write("experiment.duckdb", "rows")
    one.write(".models/abc/conditioned_model/weights.bin", "weights")
    assert one.published.push() == [".models", "experiment.duckdb", "sessions"]

    assert other.published.pull(["sessions", "experiment.duckdb"]) == [
        "experiment.duckdb",
        "sessions",
    ]
    assert other.published.pull() == [".models"]
    assert other.published.pull() == []

    assert other.contents() == one.contents()
    times = [machine.folder / "sessions/train.bin" for machine in (one, other)]
    assert times[0].stat().st_mtime == pytest.approx(times[1].stat().st_mtime, abs=1)


def test_an_artifact_is_replaced_as_a_whole(one, other):
    one.write("sessions/a", "1")
    one.write("sessions/b", "1")
    one.published.push()
    other.published.pull()
    other.write("sessions/a", "2")
    (other.folder / "sessions/b").unlink()
    other.write("sessions/c", "2")
    other.published.push()

    one.published.pull()

    assert one.contents() == {"sessions/a": "2", "sessions/c": "2"}


def test_content_is_stored_once(one, storage):
    one.write("sessions/a", "the same")
    one.write("events/b", "the same")
    one.published.push()
    one.write("events/c", "the same")
    one.published.push()

    assert len(storage.keys("shared folder/spring/objects")) == 1


def test_what_only_this_machine_has_changed_stays_and_is_published(one, other):
    """As after a kill between a step's end and its publication."""
    one.write("conditioned_model/weights", "old")
    one.published.push()
    one.write("conditioned_model/weights", "ten hours of training")

    assert one.published.pull() == []
    one.published.push()

    other.published.pull()
    assert other.contents() == {"conditioned_model/weights": "ten hours of training"}


def test_of_two_changes_the_published_one_stays_and_a_warning_says_so(one, other, caplog):
    one.write("sessions/a", "0")
    one.published.push()
    other.published.pull()
    other.write("sessions/a", "of the other")
    other.published.push()
    one.write("sessions/a", "of this one")

    one.published.pull()

    assert one.contents() == {"sessions/a": "of the other"}
    assert "sessions of this machine was replaced by the published one" in caplog.text


def test_an_old_copy_that_a_step_does_not_read_is_not_published(one, other):
    for name in ("sessions", "events"):
        one.write(f"{name}/a", "old")
    one.published.push()
    other.published.pull()
    one.write("sessions/a", "new")
    one.published.push()

    other.published.pull(["events"])
    other.write("events/a", "new")
    assert other.published.push() == ["events"]

    one.published.pull()
    assert one.contents() == {"sessions/a": "new", "events/a": "new"}


def test_a_deleted_copy_comes_back(one):
    one.write("sessions/a", "1")
    one.published.push()
    (one.folder / "sessions/a").unlink()
    (one.folder / "sessions").rmdir()

    one.published.push()
    one.published.pull()

    assert one.contents() == {"sessions/a": "1"}


def test_of_two_writers_at_the_same_time_none_is_lost(one, other, monkeypatch):
    one.write("sessions/a", "of one")
    other.write("events/a", "of the other")
    swap, done = Bucket.swap, []

    def slow_swap(self, key, content, e_tag):
        if not done:
            done.append(True)
            other.published.push()
        return swap(self, key, content, e_tag)

    monkeypatch.setattr(Bucket, "swap", slow_swap)
    one.published.push()

    listed = one.published.read_pointer().artifacts
    assert sorted(listed) == ["events", "sessions"]


def test_a_writer_that_is_always_too_late_says_so(one, monkeypatch):
    one.write("sessions/a", "1")
    monkeypatch.setattr(Bucket, "swap", lambda *_: False)
    with pytest.raises(StorageError, match="is replaced again and again by others"):
        one.published.push()


def test_a_step_that_fails_publishes_nothing(one, storage, small_params, monkeypatch):
    monkeypatch.setenv("PARETOSCOPE_STORAGE_URL", URL)
    study = parse_study(small_params)

    def fail() -> None:
        one.write("sessions/a", "half")
        raise OSError("of the step")

    with pytest.raises(OSError, match="of the step"), on_storage("sessions", study, one.paths):
        fail()
    assert storage.keys() == []
    with on_storage("sessions", study, one.paths):
        one.write("sessions/a", "whole")
    assert storage.get(POINTER)


CHILD = """
import os, signal, sys
from pathlib import Path
from pipeline.artifacts.objects.bucket import Bucket
from tests.pipeline.artifacts.objects.test_published import Machine
calls = 0
def counted(method):
    def call(*arguments):
        global calls
        calls += 1
        if calls == int(sys.argv[2]):
            os.kill(os.getpid(), signal.SIGKILL)
        return method(*arguments)
    return call
for name in ("find", "upload", "read", "swap", "download"):
    setattr(Bucket, name, counted(getattr(Bucket, name)))
machine = Machine(Path(sys.argv[1]))
getattr(machine.published, sys.argv[3])()
"""


@pytest.mark.slow
@pytest.mark.parametrize("action", ["push", "pull"])
def test_killed_anywhere_others_see_the_old_or_the_new_and_the_next_call_ends(
    one, other, tmp_path, project_root, action
):
    for machine in (one, other):
        machine.write("sessions/a", "old a")
        machine.write("sessions/b", "old b")
    one.published.push()
    old = one.contents()
    other.published.pull()
    one.write("sessions/a", "new a")
    one.write("sessions/c", "new c")
    if action == "pull":
        one.published.push()
    new, at = one.contents(), one if action == "push" else other
    kills = 0
    while True:
        kills += 1
        words = [sys.executable, "-c", CHILD, str(at.paths.root), str(kills), action]
        done = subprocess.run(words, cwd=project_root, capture_output=True, text=True, check=False)
        reader = Machine(tmp_path / f"reader-{kills}") if action == "push" else other
        if action == "push":
            reader.published.pull()
        assert reader.contents() in (old, new)
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL, done.stderr
    assert reader.contents() == new
    assert kills > 3


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("[]", "is not a pointer of Paretoscope"),
        ('{"artifacts": {"x": 1}}', "is not a pointer of Paretoscope"),
        ('{"artifacts": {"../x": {"files": {}, "written_at": 0}}}', "cannot be a file of a study"),
        (
            '{"artifacts": {"x": {"files": {"x/../../../y": "0"}, "written_at": 0}}}',
            "cannot be a file of a study",
        ),
        ('{"artifacts": {"x": {"files": {"/etc/y": "0"}, "written_at": 0}}}', "cannot be a file"),
    ],
)
def test_a_pointer_that_is_none_is_refused(one, storage, content, words):
    storage.put(POINTER, content.encode())
    with pytest.raises(StorageError, match=words):
        one.published.pull()


def test_other_bytes_than_the_pointer_lists_are_refused(one, other, storage):
    one.write("sessions/a", "1")
    one.published.push()
    (digest,) = json.loads(storage.get(POINTER))["artifacts"]["sessions"]["files"].values()
    storage.put(f"shared folder/spring/objects/{digest}", b"2")

    with pytest.raises(StorageError, match=r"sessions/a cannot be taken .* has other bytes"):
        other.published.pull()
    assert other.contents() == {}


def test_a_lost_object_is_uploaded_again_by_the_next_step_of_a_machine_that_has_it(
    one, other, storage
):
    one.write("sessions/a", "1")
    one.write("events/a", "2")
    one.published.push()
    storage.delete(*storage.keys("shared folder/spring/objects"))
    with pytest.raises(StorageError, match="does not exist"):
        other.published.pull()
    one.write("events/a", "3")
    one.published.push()

    other.published.pull()
    assert other.contents() == {"sessions/a": "1", "events/a": "3"}


def test_a_step_can_be_run_again_where_its_objects_are_damaged(
    one, other, storage, *, small_params, monkeypatch, caplog
):
    monkeypatch.setenv("PARETOSCOPE_STORAGE_URL", URL)
    study = parse_study(small_params)
    one.write("sessions/a", "1")
    one.published.push()
    (key,) = storage.keys("shared folder/spring/objects")
    storage.put(key, b"2")

    with on_storage("sessions", study, other.paths):
        other.write("sessions/a", "1")

    assert "has other bytes" in caplog.text
    assert storage.get(key) == b"1"


def test_a_bucket_that_does_not_exist_is_an_error_before_the_step(one, small_params, monkeypatch):
    monkeypatch.setenv("PARETOSCOPE_STORAGE_URL", "s3://other-shop/studies")
    study = parse_study(small_params)
    with (
        pytest.raises(StorageError, match="NoSuchBucket"),
        on_storage("sessions", study, one.paths),
    ):
        pytest.fail("the step ran")


def test_nothing_published_is_an_error_of_pull(one, small_params, monkeypatch):
    monkeypatch.setenv("PARETOSCOPE_STORAGE_URL", URL)
    with pytest.raises(StorageError, match="nothing of study spring is published in s3://shop"):
        pull_study(parse_study(small_params), one.paths)


def test_a_storage_url_that_is_none_is_refused(one, small_params, monkeypatch):
    monkeypatch.setenv("PARETOSCOPE_STORAGE_URL", "/mnt/shared")
    with (
        pytest.raises(StudyError, match=r"PARETOSCOPE_STORAGE_URL is not a URL of S3"),
        on_storage("sessions", parse_study(small_params), one.paths),
    ):
        pass
