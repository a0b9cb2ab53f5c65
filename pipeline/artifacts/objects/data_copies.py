"""Copies of raw data and log files that are on object storage.

The copy of ``s3://bucket/key`` is ``data/objects/bucket/key``. An object is downloaded again only if its ETag has
changed, so a log that grows by files costs only the new ones.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path

from models.progress import track
from pipeline.artifacts.lock import file_lock
from pipeline.artifacts.objects.bucket import Bucket
from pipeline.artifacts.objects.remembered import FileFacts
from pipeline.artifacts.storage import atomic_file, storage_errors
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
        e_tags = FileFacts(folder / _INDEX)
        try:
            for key, url in urls.items():
                _download(url, key, folder, e_tags)
        finally:
            e_tags.write()


def _download(url: ObjectUrl, parameter: str, folder: Path, e_tags: FileFacts) -> None:
    bucket, place = Bucket(url.bucket), folder / url.bucket
    objects = [one for one in bucket.find(url.key) if not one.key.endswith("/")]
    if not objects:
        msg = f"{url} has no object; check {parameter}"
        raise DataError(msg)
    if unsafe := [one.key for one in objects if not is_safe_key(one.key)]:
        msg = f"the object {unsafe[0]!r} of {url} cannot be a file here; rename it"
        raise DataError(msg)
    _remove_others(place / url.key, {place / one.key for one in objects})
    new = [one for one in objects if e_tags.get(place / one.key) != one.e_tag]
    for one in track(new, len(new), f"downloading {url}", unit="objects"):
        target = place / one.key
        with atomic_file(target) as fresh:
            e_tag = bucket.download(one.key, fresh)
            if target.is_dir():
                shutil.rmtree(target)
        e_tags.put(target, e_tag)


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
