"""Small files in which this machine remembers something; lost ones cost time only."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from pipeline.artifacts.file_state import file_state
from pipeline.artifacts.storage import atomic_file


class JsonFile:
    """A file that a crash leaves whole; empty if it is absent or damaged."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.content: dict[str, Any] = {}
        with suppress(OSError, ValueError):
            self.content = json.loads(file.read_text("utf-8"))

    def write(self) -> None:
        """Replace the file by the content."""
        with atomic_file(self._file) as fresh:
            fresh.write_text(json.dumps(self.content), encoding="utf-8")


class FileFacts:
    """A fact about each file of a folder, such as its hash, which holds until the file changes."""

    def __init__(self, file: Path) -> None:
        """Read what ``file`` remembers of the folder that it is in."""
        self._folder = file.parent
        self._facts = JsonFile(file)

    def get(self, file: Path) -> str | None:
        """The fact; None if there is none, or the file has changed since."""
        fact, *state = self._facts.content.get(self._key(file), [None])
        return fact if state == _state(file) else None

    def put(self, file: Path, fact: str) -> None:
        """Remember a fact about the file as it is now."""
        self._facts.content[self._key(file)] = [fact, *_state(file)]

    def write(self) -> None:
        """Replace the file by what is remembered now."""
        self._facts.write()

    def _key(self, file: Path) -> str:
        return file.relative_to(self._folder).as_posix()


def _state(file: Path) -> list[int]:
    """Identifies the content of a file wherever its folder is; empty if there is none."""
    state = file_state(file)
    return [] if state is None else list(state[1:])
