"""``rollout.json``: the two arms and the candidate's share, as the endpoint serves them.

It is derived from the events of the release (:mod:`pipeline.rollout.events`), which are the truth, and is
replaced atomically after each of them.
"""

import os
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import orjson
from annotated_types import Interval, Len
from pydantic import TypeAdapter, ValidationError
from pydantic import dataclasses as checked

from models.strict import STRICT, first_problem
from pipeline.artifacts.durable import sync
from pipeline.artifacts.storage import StudyPaths, atomic_file
from pipeline.core.errors import DataError
from pipeline.experiment.design.assignment import N_BUCKETS, bucket_of
from pipeline.experiment.log.log_files import ArmName
from pipeline.rollout.states import State
from pipeline.study.rollout import Name
from pipeline.study.rules import RuleSet

FORMAT = 1
FOLDER = "rollout"
SERVED = "rollout.json"


@checked.dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Arm:
    """A preference of a model, with the rules of its lists.

    Attributes:
        model: Fingerprint (SHA-256) of the checkpoint.
        study: Name of the other study of the project whose model it is; None for the rollout's own.
        preference_id: Such as ``p07``.
        preference: Weight of each objective.
        rules: Of its lists; None for those of the section ``serving``, also as they change.
    """

    model: Annotated[str, Len(64, 64)]
    study: Name | None
    preference_id: Annotated[str, Len(1)]
    preference: Annotated[tuple[Annotated[float, Interval(ge=0, le=1)], ...], Len(1)]
    rules: RuleSet | None = None

    def __str__(self) -> str:
        study = f" of study {self.study}" if self.study else ""
        return f"{self.preference_id}{study}{self._with_rules}"

    @property
    def with_model(self) -> str:
        """The arm with its model's fingerprint."""
        return f"{self.preference_id} of model {self.model[:8]}{self._with_rules}"

    @property
    def _with_rules(self) -> str:
        return f" with rules {self.rules}" if self.rules else ""

    def paths(self, own: StudyPaths) -> StudyPaths:
        """The paths of the study whose folder has the model; ``own`` are those of the rollout's study."""
        return own if self.study is None else StudyPaths(own.root, self.study)


@checked.dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class ServedRollout:
    """What the endpoint needs to know of a rollout.

    Attributes:
        format: Of the file.
        release: Name of the release.
        salt: Of the hash that selects the candidate's users.
        seq: Number of the event that this follows from.
        head: SHA-256 of that event's line.
        state: Of the rollout.
        stage: Name of the stage; None before the first.
        share: Share of the users who get the candidate now; 0 before the first stage and after a
            rollback.
        peak_share: Largest share so far.
        holdback: Share of the users who keep the incumbent until the rollout is settled.
        started: When the first stage began; None before.
        candidate: The candidate.
        incumbent: The incumbent.
    """

    format: Literal[1]
    release: Name
    salt: Annotated[str, Len(1)]
    seq: Annotated[int, Interval(ge=1)]
    head: Annotated[str, Len(64, 64)]
    state: State
    stage: str | None
    share: Annotated[float, Interval(ge=0, le=1)]
    peak_share: Annotated[float, Interval(ge=0, le=1)]
    holdback: Annotated[float, Interval(ge=0, le=0.5)]
    started: datetime | None
    candidate: Arm
    incumbent: Arm

    def arm_of(self, user: str) -> ArmName:
        """The arm of a user. A rising share adds users to the candidate and moves none back."""
        is_candidate = bucket_of(user, self.salt) < _buckets(self.share)
        return ArmName.CANDIDATE if is_candidate else ArmName.INCUMBENT

    def switched(self, user: str) -> bool:
        """Whether a user got the candidate before and gets the incumbent now, and counts for no arm."""
        return _buckets(self.share) <= bucket_of(user, self.salt) < _buckets(self.peak_share)

    def arm(self, name: ArmName) -> Arm:
        """The arm with this name."""
        return self.candidate if name is ArmName.CANDIDATE else self.incumbent


_SERVED = TypeAdapter(ServedRollout)


def served_file(paths: StudyPaths) -> Path:
    """The file that the endpoint follows."""
    return paths.folder / FOLDER / SERVED


def read_served(paths: StudyPaths) -> ServedRollout | None:
    """The rollout of a study as it is to be served; None if there is none.

    Raises:
        DataError: if the file is damaged.
    """
    file = served_file(paths)
    try:
        return _SERVED.validate_json(file.read_bytes())
    except (FileNotFoundError, NotADirectoryError):  # a file among the studies has none
        return None
    except (OSError, ValidationError) as error:
        problem = error.strerror if isinstance(error, OSError) else first_problem(error)
        msg = (
            f"{file} cannot be read: {problem}. It is derived from the events of the release; write it again "
            "with: paretoscope rollout status"
        )
        raise DataError(msg) from error


def write_served(served: ServedRollout, paths: StudyPaths) -> None:
    """Replace ``rollout.json`` atomically, and return when that is on the disk.

    Raises:
        StorageError: if it cannot be written.
    """
    content = orjson.dumps(served_dict(served), option=orjson.OPT_INDENT_2) + b"\n"
    with atomic_file(served_file(paths)) as file, file.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    sync(served_file(paths).parent)


def served_dict(served: ServedRollout) -> dict[str, Any]:
    """As plain values for JSON."""
    return _SERVED.dump_python(served, mode="json")


def whole_buckets(share: float) -> float:
    """The share of the users that a share is in effect: users are divided by whole buckets."""
    return _buckets(share) / N_BUCKETS


def _buckets(share: float) -> int:
    return round(share * N_BUCKETS)
