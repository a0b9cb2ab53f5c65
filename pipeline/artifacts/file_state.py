"""Whether a file has changed, without reading it."""

from pathlib import Path

FileState = tuple[str, int, int, int] | None


def file_state(file: Path) -> FileState:
    """Identifies the content of a file; None if there is none."""
    try:
        found = file.stat()
    except OSError:
        return None
    return str(file), found.st_ino, found.st_size, found.st_mtime_ns
