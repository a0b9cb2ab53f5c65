"""Folders that are replaced as a whole."""

from collections.abc import Container
from pathlib import Path

from pipeline.core.errors import DataError


def refuse_other_files(folder: Path, known: Container[str], remedy: str) -> None:
    """Raise :class:`DataError` if a folder has files that its replacement would delete.

    Args:
        folder: That is to be replaced.
        known: Names of the files that may be deleted.
        remedy: What to do instead.
    """
    found = sorted(file.name for file in folder.iterdir()) if folder.exists() else []
    if others := [name for name in found if name not in known]:
        msg = (
            f"{folder} contains other files ({', '.join(others[:5])}), which would be deleted; "
            f"{remedy}"
        )
        raise DataError(msg)
