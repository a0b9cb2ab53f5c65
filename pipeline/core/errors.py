"""The exception tree: who is at fault, and therefore who can mend it.

ParetoscopeError
├── StudyError       params.yaml (or an override) says something that cannot be
├── DataError        the input data cannot be used at all, or too much of it was rejected
├── LogError         the experiment's log does not fit the experiment's plan
├── QualityError     an artifact broke an expectation and was therefore not written
├── EndpointError    a serving endpoint cannot be reached, or does not answer as it should
└── MissingArtifact  an earlier step of the chain has not been run

Every message says what was found, what was expected and what to do. ``models`` has its own
small tree (:class:`models.errors.ModelError`); :data:`USER_ERRORS` is both, for the edges
(command line, Dagster) that turn them into one readable line.
"""

from models.errors import ModelError


class ParetoscopeError(Exception):
    """Something the user can mend; the message says how."""


class StudyError(ParetoscopeError):
    """A parameter of the study is unknown, ill-typed, out of range or contradicts another."""


class DataError(ParetoscopeError):
    """Input data that cannot be read as the format the study names, or is not enough."""


class LogError(ParetoscopeError):
    """An experiment log that contradicts its plan or its contract."""


class QualityError(ParetoscopeError):
    """Rows that broke a blocking expectation; nothing was written."""


class EndpointError(ParetoscopeError):
    """A serving endpoint that cannot be reached, refuses, or serves something else."""


class MissingArtifact(ParetoscopeError):  # noqa: N818 - names what happened
    """An upstream artifact is absent; the message names it and the command that makes it.

    Attributes:
        command: The command by itself, if one is enough.
    """

    def __init__(self, message: str, command: str | None = None) -> None:
        super().__init__(message)
        self.command = command


USER_ERRORS = (ParetoscopeError, ModelError)
