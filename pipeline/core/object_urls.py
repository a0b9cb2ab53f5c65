"""URLs of data on S3-compatible storage, and where this machine has its copies."""

import re
from dataclasses import dataclass
from pathlib import PurePosixPath

from pipeline.core.errors import StudyError

_SCHEME = "s3://"
_BUCKET = re.compile(r"[A-Za-z0-9][\w.-]+", re.ASCII)
_COPIES = PurePosixPath("data/objects")
"""The folder of all copies, in the project."""


@dataclass(frozen=True, slots=True)
class ObjectUrl:
    """``s3://bucket/key``: an object, or a folder of objects; ``key`` may be empty."""

    bucket: str
    key: str

    def __str__(self) -> str:
        """As it was given, without a slash at the end."""
        return f"{_SCHEME}{self.bucket}/{self.key}".rstrip("/")

    @property
    def copy(self) -> str:
        """The path of its copy, relative to the project's folder."""
        return str(_COPIES / self.bucket / self.key)


def parse_object_url(text: str) -> ObjectUrl | None:
    """An object's URL; None for a path.

    Raises:
        StudyError: if it is incomplete, or would leave the folder of copies.
    """
    if not text.lower().startswith(_SCHEME):
        return None
    bucket, _, key = text[len(_SCHEME) :].partition("/")
    key = key.rstrip("/")
    if _BUCKET.fullmatch(bucket) is None or not is_safe_key(key):
        # the URL may have a password, so it is not repeated
        msg = "s3://… names no object; expected s3://BUCKET/KEY, without . and .. and empty names between slashes"
        raise StudyError(msg)
    return ObjectUrl(bucket, key)


def is_safe_key(key: str) -> bool:
    """Whether a key can be a path below a folder."""
    return key == "" or all(
        name not in {"", ".", ".."} and "\0" not in name and "\\" not in name
        for name in key.split("/")
    )


def local_copy(path: str) -> str:
    """The path of the copy of a URL; a path is its own."""
    url = parse_object_url(path)
    return path if url is None else url.copy
