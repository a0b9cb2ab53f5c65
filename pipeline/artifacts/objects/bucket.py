"""Objects of S3-compatible storage, through obstore.

Address and credentials are read from the variables that every S3 client knows: ``AWS_ENDPOINT_URL``,
``AWS_REGION``, ``AWS_ACCESS_KEY_ID`` and ``AWS_SECRET_ACCESS_KEY``, or the role of the machine.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from pipeline.core.errors import StorageError, StudyError
from pipeline.core.object_urls import ObjectUrl

_CHUNK = 8 << 20
_RETRIES = 5
_PATIENCE = timedelta(seconds=60)

_NO_BUCKET = "NoSuchBucket"
_ENDPOINT = re.compile(r"https?://[^\s/@?#]+(/[^\s@?#]*)?")
_CREDENTIALS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
_VARIABLES = (*_CREDENTIALS, "AWS_SESSION_TOKEN", "AWS_REGION", "AWS_ENDPOINT_URL")

_CODE = re.compile(r"<Code>(\w+)</Code>")
_CAUSE = re.compile(r'(?:message|error): "([^"]+)"')
"""The innermost cause, of DNS, TLS or the connection, in the client's debug output."""
_NO_PATH = re.compile(r"object with invalid path: (.+)")
_ADVICE = (
    "Check the URL, AWS_ENDPOINT_URL, AWS_REGION and the credentials (AWS_ACCESS_KEY_ID and "
    "AWS_SECRET_ACCESS_KEY, or the machine's role), and run the command again"
)
_STATUS = re.compile(r"status code: (\d+ [\w ]+)")


@dataclass(frozen=True, slots=True)
class StoredObject:
    """One object.

    Attributes:
        key: Its name in the bucket.
        size: Bytes.
        e_tag: Changes with its content.
    """

    key: str
    size: int
    e_tag: str


class MissingObject(StorageError):  # noqa: N818 - names what happened
    """An object is not there."""


class Bucket:
    """The objects of one bucket; every method raises :class:`StorageError` if it cannot be reached or refuses.

    An object that is not there is a :class:`MissingObject`.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._client, self._store = _connect(name)

    def find(self, key: str) -> list[StoredObject]:
        """The object of that name, or all in that folder, sorted by key.

        Raises:
            StorageError: if there is both.
        """
        with self._errors(key):
            listed = (one for part in self._client.list(self._store, key or None) for one in part)
            objects = [StoredObject(one["path"], one["size"], one["e_tag"] or "") for one in listed]
            # consoles represent a folder by an object of no bytes that ends with a slash
            below = [one for one in objects if one.key != key]
            try:
                found = self._client.head(self._store, key) if key else None
            except FileNotFoundError:
                found = None
        if found is None:
            return sorted(below, key=lambda one: one.key)
        if below:
            msg = f"{ObjectUrl(self._name, key)} is an object and also a folder, with {below[0].key}; rename one of them"
            raise StorageError(msg)
        return [StoredObject(key, found["size"], found["e_tag"] or "")]

    def download(self, key: str, file: Path) -> str:
        """Write an object to a file; returns its ETag."""
        with self._errors(key):
            found = self._client.get(self._store, key)
            with file.open("wb") as out:
                for chunk in found.stream(min_chunk_size=_CHUNK):
                    out.write(chunk)
            return found.meta["e_tag"] or ""

    def upload(self, file: Path, key: str) -> None:
        """Store a file; one of that name is replaced."""
        with self._errors(key):
            self._client.put(self._store, key, file)

    def read(self, key: str) -> tuple[bytes, str] | None:
        """The content and ETag of a small object; None if there is none."""
        with self._errors(key):
            try:
                found = self._client.get(self._store, key)
            except FileNotFoundError as error:
                if _NO_BUCKET in str(error):
                    raise
                return None
            return bytes(found.bytes()), found.meta["e_tag"] or ""

    def swap(self, key: str, content: bytes, e_tag: str | None) -> bool:
        """Replace a small object that still has this ETag (None: create it); False if another was faster."""
        errors = self._client.exceptions
        with self._errors(key):
            try:
                self._client.put(
                    self._store, key, content, mode="create" if e_tag is None else {"e_tag": e_tag}
                )
            except (errors.AlreadyExistsError, errors.PreconditionError):
                return False
        return True

    @contextmanager
    def _errors(self, key: str) -> Iterator[None]:
        try:
            yield
        except (self._client.exceptions.BaseError, PermissionError, FileNotFoundError) as error:
            url = ObjectUrl(self._name, key)
            if isinstance(error, FileNotFoundError) and _NO_BUCKET not in str(error):
                if "Object at location" not in str(error):
                    raise  # a file of this machine
                raise MissingObject(f"{url} does not exist") from error
            raise StorageError(_message(url, str(error))) from error


def _connect(name: str) -> tuple[Any, Any]:
    """The module ``obstore``, which is an extra, and its store of a bucket."""
    try:
        import obstore.store  # noqa: PLC0415
    except ModuleNotFoundError as error:
        msg = "URLs s3://… need obstore: pip install 'paretoscope[s3]'"
        raise StudyError(msg) from error
    _check_variables()
    endpoint = os.environ.get("AWS_ENDPOINT_URL", "")
    store = obstore.store.S3Store(
        name,
        client_options={"allow_http": endpoint.startswith("http://")},
        retry_config={"max_retries": _RETRIES, "retry_timeout": _PATIENCE},
    )
    return obstore, store


def _check_variables() -> None:
    """Raise StudyError, without a value, for what the client would answer with a panic or show."""
    found = {name: os.environ[name] for name in _VARIABLES if name in os.environ}
    for name, value in found.items():
        if not value or not value.isprintable() or value != value.strip():
            msg = f"{name} is empty or has white space around it or control characters; correct it, or unset {name}"
            raise StudyError(msg)
    endpoint = found.get("AWS_ENDPOINT_URL")
    if endpoint is not None and _ENDPOINT.fullmatch(endpoint) is None:
        msg = (
            "AWS_ENDPOINT_URL is not the address of a server; expected one such as https://storage.example.org:9000, "
            "without user and password"
        )
        raise StudyError(msg)
    if len(given := [name for name in _CREDENTIALS if name in found]) == 1:
        (missing,) = set(_CREDENTIALS) - set(given)
        msg = f"{given[0]} is set and {missing} is not; set both, or neither (the machine's role)"
        raise StudyError(msg)


def _message(url: ObjectUrl, text: str) -> str:
    """What went wrong, from what the client says with its debug output, and what to check."""
    if name := _NO_PATH.search(text):
        return f"{url} has an object whose name cannot be a file here ({name[1]}); rename it"
    advice = _ADVICE
    if code := _CODE.search(text):
        reason = code[1]
    elif status := _STATUS.search(text):
        reason = f"the answer is {status[1].strip()}"
    elif not (cause := _CAUSE.findall(text)):
        reason = text.partition("\n")[0]
    elif os.environ.keys() >= set(_CREDENTIALS):
        reason = f"no answer from the storage ({cause[-1]})"
        advice = "Check AWS_ENDPOINT_URL and the network"
    else:  # without credentials, the service of the machine's role is asked first
        reason = f"no answer from the storage or the machine's role ({cause[-1]})"
    return f"{url} cannot be used: {reason}. {advice}"
