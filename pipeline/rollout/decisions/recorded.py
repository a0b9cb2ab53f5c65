"""``decision.json`` of a release: what was decided last, also when it was to wait, and when.

Events say what changed. Most decisions change nothing, and this file alone shows that they are made.
"""

from datetime import datetime
from pathlib import Path
from typing import Annotated

from annotated_types import Len
from pydantic import TypeAdapter, ValidationError
from pydantic import dataclasses as checked

from models.strict import STRICT
from pipeline.artifacts.storage import StudyPaths, atomic_file
from pipeline.core.errors import DataError
from pipeline.rollout.decisions.decide import Decision, Step
from pipeline.rollout.served import FOLDER

DECISION = "decision.json"


@checked.dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class RecordedDecision:
    """The last decision on a release.

    Attributes:
        release: The release.
        at: When it was decided.
        step: What was to happen.
        reason: Why, with numbers.
    """

    release: str
    at: datetime
    step: Step
    reason: Annotated[str, Len(1)]


_DECISION = TypeAdapter(RecordedDecision)


def decision_file(paths: StudyPaths, release: str) -> Path:
    """Where the last decision on a release is."""
    return paths.folder / FOLDER / release / DECISION


def record_decision(paths: StudyPaths, release: str, decision: Decision, at: datetime) -> None:
    """Replace the last decision atomically.

    Raises:
        StorageError: if it cannot be written.
    """
    found = RecordedDecision(release=release, at=at, step=decision.step, reason=decision.reason)
    with atomic_file(decision_file(paths, release)) as file:
        file.write_bytes(_DECISION.dump_json(found) + b"\n")


def read_decision(paths: StudyPaths, release: str) -> RecordedDecision | None:
    """The last decision on a release; None if there was none.

    Raises:
        DataError: if the file is damaged.
    """
    file = decision_file(paths, release)
    try:
        return _DECISION.validate_json(file.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        msg = (
            f"{file.relative_to(paths.root)} cannot be read. The next decision writes it again: "
            "paretoscope rollout watch"
        )
        raise DataError(msg) from error
