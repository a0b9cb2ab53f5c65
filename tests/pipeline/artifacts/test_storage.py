"""Paths of artifacts, the message for a missing one, and DVC pins."""

import errno
import hashlib
import math

import duckdb
import polars as pl
import pyarrow as pa
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.artifacts.project_root import find_project_root
from pipeline.artifacts.raw_data import dataset_path, pinned_md5, require_dataset
from pipeline.artifacts.storage import (
    StudyPaths,
    atomic_file,
    atomic_folder,
    md5,
    read_json,
    write_json,
)
from pipeline.core.errors import DataError, MissingArtifact, StorageError
from pipeline.study import load_study

FULL = "No space left on device"
RAW = "data/raw/log.jsonl"
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    # a lone surrogate cannot be encoded in UTF-8
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text("ab", max_size=3), inner),
    max_leaves=8,
)


@pytest.fixture
def study(project_root):
    return load_study(project_root / "params.yaml", {"study.name": "shop", "dataset.path": RAW})


@pytest.fixture
def paths(study, tmp_path):
    return StudyPaths.of(study, tmp_path)


def _digest(content):
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def _raw(root, content=b"one\n"):
    path = root / RAW
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def _cache(folder, digest):
    """Bytes with this md5 in DVC's cache."""
    file = folder / ".dvc/cache/files/md5" / digest[:2] / digest[2:]
    file.parent.mkdir(parents=True)
    file.touch()


def _lock(root, *outs):
    """A dvc.lock with one stage per (path, md5)."""
    stages = {
        f"stage-{number}": {"cmd": "true", "outs": [{"path": path, "md5": pin, "size": 4}]}
        for number, (path, pin) in enumerate(outs)
    }
    text = yaml.safe_dump({"schema": "2.0", "stages": stages})
    (root / "dvc.lock").write_text(text, encoding="utf-8")


def _pin(root, pin):
    path = root / f"{RAW}.dvc"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump({"outs": [{"md5": pin, "path": "log.jsonl"}]}))


def test_the_project_root_is_the_nearest_folder_with_params(tmp_path):
    (tmp_path / "params.yaml").touch()
    inner = tmp_path / "project"
    deep = inner / "data" / "raw"
    deep.mkdir(parents=True)

    assert find_project_root(deep) == tmp_path
    (inner / "params.yaml").touch()
    assert find_project_root(deep) == inner
    (deep / "params.yaml").mkdir()
    assert find_project_root(deep) == inner


def test_outside_a_project_the_error_says_where_to_run(tmp_path):
    with pytest.raises(MissingArtifact) as caught:
        find_project_root(tmp_path)

    assert f"no params.yaml in {tmp_path} or above it; run this in a folder of the project" in str(
        caught.value
    )


def test_an_artifact_is_in_a_folder_named_after_study_and_asset(paths, tmp_path):
    folder = tmp_path / "data" / "studies" / "shop"

    assert paths.folder == folder
    assert paths.artifact("sessions") == folder / "sessions"
    assert paths.artifact("sessions", "tokens.safetensors") == (
        folder / "sessions" / "tokens.safetensors"
    )


@pytest.mark.parametrize(
    ("file", "path"),
    [
        (None, "data/studies/shop/sessions"),
        ("items.parquet", "data/studies/shop/sessions/items.parquet"),
    ],
)
def test_a_missing_artifact_is_named_with_the_command_that_creates_it(paths, file, path):
    with pytest.raises(MissingArtifact) as caught:
        paths.require("sessions", file)

    assert str(caught.value) == (
        f"{path} is missing. Create it with: dagster asset materialize --select sessions "
        "(or '*sessions' to include everything upstream)"
    )


def test_an_artifact_without_the_required_file_is_missing(paths):
    (paths.artifact("sessions")).mkdir(parents=True)

    assert paths.require("sessions") == paths.artifact("sessions")
    with pytest.raises(MissingArtifact, match=r"items\.parquet is missing"):
        paths.require("sessions", "items.parquet")


@pytest.mark.slow
@given(value=JSON)
@settings(max_examples=60)
def test_json_round_trips_with_the_same_bytes(value, tmp_path_factory):
    path = tmp_path_factory.mktemp("json") / "value.json"

    write_json(path, value)
    first = path.read_bytes()
    write_json(path, read_json(path))

    assert read_json(path) == value
    assert path.read_bytes() == first


def test_json_rejects_nan(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "value.json", {"recall": math.nan})


def test_md5_of_a_file_larger_than_a_chunk(tmp_path):
    content = bytes(range(256)) * 5000  # 1.28 MB: more than one chunk
    (tmp_path / "file").write_bytes(content)

    assert md5(tmp_path / "file") == _digest(content)


def test_md5_of_a_folder_equals_that_of_dvc(tmp_path):
    # what `dvc add` wrote for a folder of these three files
    (tmp_path / "sub").mkdir()
    for name, content in (("b.csv", "a"), ("sub/x.csv", "c"), ("a.csv", "z")):
        (tmp_path / name).write_text(f"{content}\n", encoding="utf-8")

    assert md5(tmp_path) == "cf877a87fa438a11b2a62cc1dfa74da0.dir"


def test_md5_of_a_folder_does_not_depend_on_creation_order(tmp_path):
    (tmp_path / "sub").mkdir()
    for name in "qwertyuiop":
        (tmp_path / "sub" / name).write_bytes(name.encode())
    (tmp_path / "a").write_bytes(b"1")

    files = [("a", b"1"), *((f"sub/{name}", name.encode()) for name in "eiopqrtuwy")]
    entries = [f'{{"md5": "{_digest(content)}", "relpath": "{name}"}}' for name, content in files]
    assert md5(tmp_path) == _digest(f"[{', '.join(entries)}]".encode()) + ".dir"


@pytest.mark.parametrize(
    ("name", "content"), [("a", b"2"), ("b", b"1"), ("a", b"1\n")], ids=["byte", "name", "length"]
)
def test_md5_of_a_folder_changes_with_names_and_contents(tmp_path, name, content):
    one, other = tmp_path / "one", tmp_path / "other"
    one.mkdir()
    other.mkdir()
    (one / "a").write_bytes(b"1")
    (other / name).write_bytes(content)

    assert md5(one) != md5(other)


def test_a_relative_dataset_path_is_relative_to_the_project(study, project_root, tmp_path):
    elsewhere = load_study(project_root / "params.yaml", {"dataset.path": str(tmp_path / "log")})

    assert dataset_path(study, tmp_path) == tmp_path / RAW
    assert dataset_path(elsewhere, project_root) == tmp_path / "log"


def test_without_lock_or_dvc_file_the_data_is_unpinned(study, tmp_path):
    assert pinned_md5(study, tmp_path) is None


@pytest.mark.parametrize("text", ["", "schema: '2.0'\n", "stages:\n  study: {cmd: make}\n"])
def test_a_lock_without_outputs_pins_nothing(study, tmp_path, text):
    (tmp_path / "dvc.lock").write_text(text)

    assert pinned_md5(study, tmp_path) is None


def test_the_lock_pins_only_the_output_at_the_dataset_path(study, tmp_path):
    _lock(tmp_path, (f"{RAW}.gz", "0" * 32), ("log.jsonl", "2" * 32), (RAW, "1" * 32))

    assert pinned_md5(study, tmp_path) == "1" * 32


def test_a_dvc_file_next_to_the_data_pins_it(study, tmp_path):
    _pin(tmp_path, "3" * 32)

    assert pinned_md5(study, tmp_path) == "3" * 32


@pytest.mark.parametrize("pin", [None, _digest(b"one\n")], ids=["unpinned", "pinned"])
def test_require_dataset_returns_the_md5(study, tmp_path, pin):
    _raw(tmp_path, b"one\n")
    if pin:
        _pin(tmp_path, pin)

    assert require_dataset(study, tmp_path) == _digest(b"one\n")


@pytest.mark.parametrize(
    ("pin", "fix"),
    [
        (None, "Add it, or correct dataset.path"),
        ("1" * 32, f"Create it with: dvc checkout {RAW}"),
    ],
    ids=["unpinned", "pinned"],
)
def test_missing_data_is_named_with_the_fix(study, tmp_path, pin, fix):
    if pin:
        _lock(tmp_path, (RAW, pin))
        _cache(tmp_path, pin)

    with pytest.raises(MissingArtifact) as caught:
        require_dataset(study, tmp_path)

    assert str(caught.value) == f"raw data {RAW} is missing. {fix}"


@pytest.mark.parametrize(
    ("output", "command"),
    [(RAW, "dvc repro raw_events"), ("data/raw/other.csv", f"dvc checkout {RAW}")],
    ids=["generated", "not generated"],
)
def test_generated_data_is_restored_by_its_stage(study, tmp_path, output, command):
    stages = f"stages: {{raw_events: {{cmd: x, outs: [{output}]}}}}"
    (tmp_path / "dvc.yaml").write_text(stages, encoding="utf-8")
    _lock(tmp_path, (RAW, _digest(b"one\n")))
    _cache(tmp_path, _digest(b"one\n"))

    with pytest.raises(MissingArtifact) as missing:
        require_dataset(study, tmp_path)
    _raw(tmp_path, b"two\n")
    with pytest.raises(DataError) as different:
        require_dataset(study, tmp_path)

    assert missing.value.command == different.value.command == command
    assert f"restore it with '{command}'" in str(different.value)


def test_data_that_is_not_in_the_cache_is_pulled_or_restored_by_hand(study, tmp_path):
    _lock(tmp_path, (RAW, "1" * 32))

    def command():
        with pytest.raises(MissingArtifact) as caught:
            require_dataset(study, tmp_path)
        return caught.value.command

    nowhere = command()
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc/config").write_text("[core]\n    remote = store\n", "utf-8")

    assert nowhere is None
    assert command() == f"dvc pull {RAW}"


def test_data_that_differs_from_its_pin_is_rejected_with_both_md5s(study, tmp_path):
    _raw(tmp_path, b"two\n")
    _lock(tmp_path, (RAW, _digest(b"one\n")))
    _cache(tmp_path, _digest(b"one\n"))

    with pytest.raises(DataError) as caught:
        require_dataset(study, tmp_path)

    message = str(caught.value)
    assert (
        f"has md5 {_digest(b'two' + bytes([10]))}, expected the pinned "
        f"{_digest(b'one' + bytes([10]))}" in message
    )
    assert "dvc checkout" in message
    assert "dvc commit" in message


def test_a_folder_of_data_gives_the_md5_of_its_contents(project_root, tmp_path):
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "a.csv").write_bytes(b"1")
    study = load_study(project_root / "params.yaml", {"dataset.path": "raw"})

    listing = f'[{{"md5": "{_digest(b"1")}", "relpath": "a.csv"}}]'
    assert require_dataset(study, tmp_path) == _digest(listing.encode()) + ".dir"


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, FULL),
        duckdb.IOException(f'Could not write file "x.duckdb": {FULL}'),
        pa.ArrowException(f"[errno 28] Error writing bytes to file: {FULL}"),
        pl.exceptions.ComputeError(f"{FULL} (os error 28)"),
        RuntimeError(f"PytorchStreamWriter failed writing file: {FULL}"),
    ],
    ids=lambda error: type(error).__module__,
)
@pytest.mark.parametrize("atomic", [atomic_file, atomic_folder])
def test_a_full_disk_is_one_line_whichever_library_meets_it(tmp_path, atomic, error):
    target = tmp_path / "sessions"

    message = rf"sessions cannot be written: {FULL}\. .* free some"
    with pytest.raises(StorageError, match=message), atomic(target):
        raise error

    assert list(tmp_path.iterdir()) == []


def test_an_error_of_another_kind_is_not_taken_for_a_full_disk(tmp_path):
    with pytest.raises(ZeroDivisionError), atomic_file(tmp_path / "x"):
        raise ZeroDivisionError
    with pytest.raises(DataError), atomic_file(tmp_path / "x"):
        raise DataError(f"column 'a' holds {FULL!r}")


def test_a_folder_where_a_file_is_in_the_way_is_named(tmp_path):
    (tmp_path / "study").write_text("")

    with (
        pytest.raises(StorageError, match="study cannot be written: File exists"),
        atomic_file(tmp_path / "study" / "x"),
    ):
        pass
