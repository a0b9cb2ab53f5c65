"""Paths are on this machine's file systems: a URL is refused by name, instead of becoming a folder ``s3:``.

Every door goes through :func:`url_problem`: the paths of ``params.yaml`` (``pipeline.study.local_path``), of command
lines (``pipeline.cli.arguments``), of environment variables and of the Python API.
"""

import re
from pathlib import Path

from pipeline.core.errors import StudyError

_URL = re.compile(r"\s*([A-Za-z][A-Za-z0-9+.-]+):/+", re.ASCII)
"""A scheme of two or more characters; ``pathlib`` makes one slash of two."""

_COPY = {
    "s3": "aws s3 cp --recursive",
    "s3a": "aws s3 cp --recursive",
    "gs": "gcloud storage cp --recursive",
    "http": "curl --location --output",
    "https": "curl --location --output",
}
"""What copies from a scheme to this machine."""


def url_problem(path: str | Path) -> str | None:
    """Why a path is none, with what to type; None if it is one.

    The rest of the URL is not repeated: it may have a password or a token.
    """
    if (found := _URL.match(str(path))) is None:
        return None
    scheme = found[1].lower()
    if scheme == "file":
        return "is a URL (file://…); expected a path: leave out file://"
    url = f"{scheme}://…"
    words = _COPY.get(scheme, "rclone copy")
    source = "s3://…" if scheme == "s3a" else url  # Hadoop's spelling
    order = f"data/raw/FILE '{source}'" if words.startswith("curl") else f"'{source}' data/raw"
    return (
        f"is a URL ({url}); expected a path on this machine. Copy it first, such as with {words} {order}, or mount "
        "its storage, and give the path"
    )


def local_path(path: str | Path, name: str) -> Path:
    """A path that is one of this machine.

    Args:
        path: What was given.
        name: What it was given as, such as ``PARETOSCOPE_PARAMS``.

    Raises:
        StudyError: if it is a URL.
    """
    if problem := url_problem(path):
        msg = f"{name} {problem}"
        raise StudyError(msg)
    return Path(path)
