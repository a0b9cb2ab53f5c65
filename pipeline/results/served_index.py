"""What the endpoint records of the index that its lists come from, for the report."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.artifacts.storage import StudyPaths, atomic_file
from pipeline.results.serialization import read_result
from pipeline.results.stored import write_result

SERVED_INDEX = "serving_index.json"
"""The file in the study's folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedIndex:
    """The index of a served experiment.

    Attributes:
        model: SHA-256 of the model's checkpoint.
        index: Its kind and size.
        sessions: Test sessions on which recall is measured.
        recall: Share of the 20 best items that a list has, by group or arm; in [0, 1].
    """

    model: str
    index: str
    sessions: int
    recall: Mapping[str, float]


def write_served_index(found: ServedIndex, paths: StudyPaths) -> None:
    """Record the index of the experiment that is served."""
    with atomic_file(paths.artifact(SERVED_INDEX)) as file:
        write_result(found, file)


def read_served_index(paths: StudyPaths) -> ServedIndex | None:
    """The index that groups were last served with; None if they were not.

    Raises:
        DataError: if the file is damaged.
    """
    file: Path = paths.artifact(SERVED_INDEX)
    if not file.exists():
        return None
    return read_result(
        ServedIndex, file, remedy="Delete it, and start 'paretoscope serve' to write it again"
    )
