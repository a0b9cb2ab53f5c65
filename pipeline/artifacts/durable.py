"""Writes that last: all bytes of them, and on the disk when the call returns."""

import os
from pathlib import Path


def write_all(descriptor: int, data: bytes) -> None:
    """Write all bytes, in as many parts as the system takes."""
    remaining = memoryview(data)
    while remaining:
        remaining = remaining[os.write(descriptor, remaining) :]


def sync(path: Path) -> None:
    """Make a file's content, or the names in a folder, durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
