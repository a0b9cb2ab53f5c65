"""A study's artifacts on object storage: ``PARETOSCOPE_STORAGE_URL=s3://bucket/folder``.

Storage has no rename. So a file is stored under the hash of its content, where it never changes, and one small
object, the pointer, lists the files of every artifact. It is replaced only if nobody else has replaced it
since it was read (compare-and-swap by ETag): readers see an artifact as it was before a step, or as it is
after it, and of two writers none is lost.
"""

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.artifacts.objects.bucket import Bucket, MissingObject
from pipeline.artifacts.objects.remembered import FileFacts, JsonFile
from pipeline.artifacts.storage import (
    KEPT_MODELS,
    StudyPaths,
    atomic_file,
    atomic_folder,
    storage_errors,
)
from pipeline.core.errors import StorageError, StudyError
from pipeline.core.object_urls import ObjectUrl, is_safe_key, parse_object_url

STORAGE_VARIABLE = "PARETOSCOPE_STORAGE_URL"
"""The environment variable with the URL of the folder of all studies."""

_POINTER = "pointer.json"
_OBJECTS = "objects"
_HASHES = ".hashes.json"
_SYNCHRONISED = ".synchronised.json"
_ATTEMPTS = 20

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Artifact:
    """The content of an artifact.

    Attributes:
        files: The SHA-256 of each file, by its path in the study's folder; of an artifact that is a file, its
            name.
        written_at: Seconds since 1970; the time of its copies.
    """

    files: Mapping[str, str]
    written_at: float = field(compare=False)


@dataclass(frozen=True, slots=True)
class Pointer:
    """All published artifacts of a study, and the ETag of the object that lists them."""

    artifacts: Mapping[str, Artifact]
    e_tag: str | None


def storage_url() -> ObjectUrl | None:
    """Where artifacts are published; None if only on this machine.

    Raises:
        StudyError: if the variable is set, and no URL of S3.
    """
    text = os.environ.get(STORAGE_VARIABLE, "").strip()
    if not text:
        return None
    url = parse_object_url(text)
    if url is None:
        msg = f"{STORAGE_VARIABLE} is not a URL of S3; expected s3://BUCKET/FOLDER"
        raise StudyError(msg)
    return url


class DamagedObject(StorageError):  # noqa: N818 - names what happened
    """An object that the pointer lists is missing, or has other bytes."""


class PublishedStudy:
    """The artifacts of one study, on object storage and on this machine.

    What was last the same on both is remembered, so a change of this machine is known from one of others.
    """

    def __init__(self, url: ObjectUrl, paths: StudyPaths) -> None:
        self._bucket = Bucket(url.bucket)
        self._prefix = "/".join(name for name in (url.key, paths.name) if name)
        self._url = ObjectUrl(url.bucket, self._prefix)
        self._folder = paths.folder
        self._damaged: set[str] = set()
        self._hashes = FileFacts(paths.folder / _HASHES)
        self._synchronised = JsonFile(paths.folder / _SYNCHRONISED)

    def read_pointer(self) -> Pointer:
        """What is published; raises :class:`StorageError` if it cannot be read."""
        found = self._bucket.read(f"{self._prefix}/{_POINTER}")
        if found is None:
            return Pointer({}, None)
        try:
            listed = json.loads(found[0])["artifacts"]
            artifacts = {
                name: Artifact(dict(one["files"]), float(one["written_at"]))
                for name, one in listed.items()
            }
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            msg = f"{self._url}/{_POINTER} is not a pointer of Paretoscope ({error}); choose another folder"
            raise StorageError(msg) from error
        keys = [key for name, one in artifacts.items() for key in (name, *one.files)]
        if unsafe := [key for key in keys if not key or not is_safe_key(key)]:
            msg = f"{self._url}/{_POINTER} lists {unsafe[0]!r}, which cannot be a file of a study"
            raise StorageError(msg)
        return Pointer(artifacts, found[1])

    def pull(
        self,
        names: Collection[str] | None = None,
        *,
        unread: Collection[str] = (),
        skips_damaged: bool = False,
    ) -> list[str]:
        """Bring artifacts that others have published since; returns their names.

        An artifact that only this machine has changed stays: the next :meth:`push` publishes it.

        Args:
            names: The artifacts; None for all.
            unread: Those of them that are left as they are.
            skips_damaged: Whether an artifact with a missing or damaged object is left out with a warning.

        Raises:
            DamagedObject: if an object is missing or damaged.
        """
        published, local, synchronised = self.read_pointer().artifacts, self.local(), self._known
        replaced: list[str] = []
        for name, artifact in published.items():
            own, known = local.get(name), synchronised.get(name)
            is_left = name in unread or (names is not None and name not in names)
            if is_left or (own and artifact == known):
                continue
            if own != artifact:
                try:
                    self._replace(name, artifact)
                except DamagedObject as error:
                    if not skips_damaged:
                        raise
                    _log.warning("%s", error)
                    continue
                if own and own != known:
                    _log.warning("%s of this machine was replaced by the published one", name)
                replaced.append(name)
            self._remember({name: artifact})
        return replaced

    def push(self) -> list[str]:
        """Publish what has changed on this machine; returns the artifacts' names.

        Objects of unchanged artifacts that are lost on the storage are uploaded again, too. Nothing is ever
        removed.
        """
        local, known = self.local(), self._known
        changed = {name: one for name, one in local.items() if one != known.get(name)}
        stored = {one.key: one.size for one in self._bucket.find(f"{self._prefix}/{_OBJECTS}")}
        files = {digest: file for one in local.values() for file, digest in one.files.items()}
        for digest, file in sorted(files.items()):
            path, key = self._folder / file, self._object(digest)
            if digest in self._damaged or stored.get(key) != path.stat().st_size:
                self._bucket.upload(path, key)
        for _ in range(_ATTEMPTS):
            pointer = self.read_pointer()
            merged = {**pointer.artifacts, **changed}
            if merged == pointer.artifacts or self._swap(merged, pointer.e_tag):
                self._remember(changed)
                return list(changed)
        msg = f"{self._url}/{_POINTER} is replaced again and again by others; run the command again"
        raise StorageError(msg)

    def local(self) -> dict[str, Artifact]:
        """The artifacts of this machine."""
        found: dict[str, Artifact] = {}
        with storage_errors(self._folder):
            entries = sorted(self._folder.iterdir()) if self._folder.is_dir() else []
            for entry in entries:
                if entry.name.startswith(".") and entry.name != KEPT_MODELS:
                    continue
                files = [file for file in _files(entry) if not _is_hidden(file, entry)]
                hashes = {
                    file.relative_to(self._folder).as_posix(): self._hash(file) for file in files
                }
                if hashes:
                    newest = max(file.stat().st_mtime for file in files)
                    found[entry.name] = Artifact(hashes, newest)
            self._hashes.write()
        return found

    @property
    def _known(self) -> dict[str, Artifact]:
        """What was last the same on this machine and on the storage."""
        artifacts = self._synchronised.content.get(str(self._url), {})
        return {name: Artifact(files, 0.0) for name, files in artifacts.items()}

    def _remember(self, artifacts: Mapping[str, Artifact]) -> None:
        known = {**self._known, **artifacts}
        files = {name: dict(one.files) for name, one in known.items()}
        self._synchronised.content = {str(self._url): files}
        self._synchronised.write()

    def _hash(self, file: Path) -> str:
        """The SHA-256 of a file, which is read again only if it has changed."""
        digest = self._hashes.get(file)
        if digest is None:
            digest = _sha256(file)
            self._hashes.put(file, digest)
        return digest

    def _swap(self, artifacts: Mapping[str, Artifact], e_tag: str | None) -> bool:
        listed: dict[str, Any] = {
            name: {"written_at": one.written_at, "files": dict(one.files)}
            for name, one in sorted(artifacts.items())
        }
        content = json.dumps({"artifacts": listed}, indent=1).encode()
        return self._bucket.swap(f"{self._prefix}/{_POINTER}", content, e_tag)

    def _object(self, digest: str) -> str:
        return f"{self._prefix}/{_OBJECTS}/{digest}"

    def _replace(self, name: str, artifact: Artifact) -> None:
        """Publish the copy of an artifact on this machine, by a rename as a step does."""
        target = self._folder / name
        if set(artifact.files) == {name}:
            if target.is_dir():
                shutil.rmtree(target)
            with atomic_file(target) as fresh:
                self._fetch(name, artifact, fresh)
            return
        if target.is_file():
            target.unlink()
        with atomic_folder(target) as folder:
            for file in artifact.files:
                self._fetch(file, artifact, folder.parent / file)

    def _fetch(self, file: str, artifact: Artifact, target: Path) -> None:
        digest, own = artifact.files[file], self._folder / file
        target.parent.mkdir(parents=True, exist_ok=True)
        if own.is_file() and self._hash(own) == digest:
            shutil.copyfile(own, target)
        else:
            try:
                self._bucket.download(self._object(digest), target)
                problem = "has other bytes" if _sha256(target) != digest else None
            except MissingObject:
                problem = "does not exist"
            if problem:
                self._damaged.add(digest)
                msg = (
                    f"{file} cannot be taken from {self._url}: its object {_OBJECTS}/{digest} {problem}. Any step on a "
                    "machine that has it uploads it again; otherwise materialise the artifact again"
                )
                raise DamagedObject(msg)
        os.utime(target, (artifact.written_at, artifact.written_at))


def _files(entry: Path) -> list[Path]:
    below = sorted(entry.rglob("*")) if entry.is_dir() else [entry]
    return [file for file in below if file.is_file()]


def _is_hidden(file: Path, entry: Path) -> bool:
    """Whether a file is unfinished work in an artifact."""
    return any(name.startswith(".") for name in file.relative_to(entry).parts)


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
