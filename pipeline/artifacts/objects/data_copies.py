"""Copies of raw data and log files that are on object storage.

The copy of ``s3://bucket/key`` is ``data/objects/bucket/key``. An object is downloaded again only if its ETag has
changed, so a log that grows by files costs only the new ones.
"""

import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Self

from models.progress import track
from pipeline.artifacts.file_state import file_state
from pipeline.artifacts.lock import file_lock
from pipeline.artifacts.objects.bucket import Bucket, StoredObject
from pipeline.artifacts.storage import storage_errors
from pipeline.core.errors import DataError
from pipeline.core.object_urls import ObjectUrl, is_safe_key, parse_object_url
from pipeline.study import Study

_FOLDER = Path("data/objects")
_INDEX = ".index.json"
_LOCK = ".lock"


def data_urls(study: Study) -> Mapping[str, ObjectUrl]:
    """The URLs of a study's data, by the key of its parameter."""
    given = {
        "dataset.path": study.dataset.path if study.trains else None,
        "dataset.item_attributes": study.dataset.item_attributes if study.trains else None,
        "experiment.log_path": study.experiment.log_path,
    }
    urls = {key: parse_object_url(text) for key, text in given.items() if text}
    return {key: url for key, url in urls.items() if url}


def download_data(study: Study, root: Path) -> None:
    """Bring this machine's copies of the study's data up to date.

    Raises:
        DataError: if there is no object, or the name of one cannot be that of a file.
        StorageError: if the storage cannot be reached, or the disk is full.
    """
    urls = data_urls(study)
    if not urls:
        return
    folder = root / _FOLDER
    with storage_errors(folder), file_lock(folder / _LOCK, waits=True):
        index = _Index.read(folder / _INDEX)
        try:
            for key, url in urls.items():
                _download(url, key, folder, index)
        finally:
            index.write()


def _download(url: ObjectUrl, parameter: str, folder: Path, index: "_Index") -> None:
    bucket, place = Bucket(url.bucket), folder / url.bucket
    objects = [one for one in bucket.find(url.key) if not one.key.endswith("/")]
    if not objects:
        msg = f"{url} has no object; check {parameter}"
        raise DataError(msg)
    if unsafe := [one.key for one in objects if not is_safe_key(one.key)]:
        msg = f"the object {unsafe[0]!r} of {url} cannot be a file here; rename it"
        raise DataError(msg)
    _remove_others(place / url.key, {place / one.key for one in objects})
    new = [one for one in objects if not index.has(place / one.key, one)]
    with TemporaryDirectory(prefix=".", suffix=".new", dir=folder) as work:
        for one in _tracked(new, str(url)):
            fresh, target = Path(work) / "object", place / one.key
            e_tag = bucket.download(one.key, fresh)
            if target.is_dir():
                shutil.rmtree(target)
            target.parent.mkdir(parents=True, exist_ok=True)
            fresh.replace(target)
            index.add(target, e_tag)


def _tracked(objects: list[StoredObject], name: str) -> Iterator[StoredObject]:
    yield from track(objects, len(objects), f"downloading {name}", unit="objects")


def _remove_others(target: Path, known: set[Path]) -> None:
    """Remove files whose objects are gone, so that they are not read."""
    if target.is_dir():
        for file in target.rglob("*"):
            if not file.is_dir() and file not in known:
                file.unlink()
    for parent in target.parents:  # an object is now a folder
        if parent.is_file():
            parent.unlink()
    if target.is_file() and target not in known:
        target.unlink()


@dataclass(frozen=True, slots=True)
class _Index:
    """The ETag of each copy, and the state of its file."""

    file: Path
    entries: dict[str, list[object]]

    @classmethod
    def read(cls, file: Path) -> Self:
        try:
            return cls(file, json.loads(file.read_text("utf-8")))
        except (OSError, ValueError):  # all are downloaded again
            return cls(file, {})

    def has(self, copy: Path, one: StoredObject) -> bool:
        state = file_state(copy)
        return state is not None and self.entries.get(str(copy)) == [one.e_tag, *state[1:]]

    def add(self, copy: Path, e_tag: str) -> None:
        state = file_state(copy)
        assert state is not None, "it has just been written"
        self.entries[str(copy)] = [e_tag, *state[1:]]

    def write(self) -> None:
        fresh = self.file.with_suffix(".new")
        fresh.write_text(json.dumps(self.entries), encoding="utf-8")
        fresh.replace(self.file)
