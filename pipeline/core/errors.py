"""Errors that a user can fix, by cause.

ParetoscopeError
├── StudyError       params.yaml (or an override) has an invalid value
├── DataError        the input data is unusable, or too much of it was rejected
│   └── TooLittleDataError  there is too little of it for an estimate that nothing else needs
├── LogError         the experiment log contradicts its contract or its traffic plan
├── QualityError     an artifact broke a blocking check and was not written
├── StorageError     the disk is full, or a file cannot be written
├── EndpointError    a serving endpoint cannot be reached, or gives an unexpected answer
├── ClusterError     a cluster of Ray or Spark cannot be reached or used, or loses its workers too often
└── MissingArtifact  an upstream asset has not been materialised

Every message says what was found, what was expected and what to do. ``models`` has its own
small tree (:class:`models.errors.ModelError`). The command line and Dagster catch
:data:`USER_ERRORS`, which covers both trees, and print one readable line.
"""

from models.errors import ModelError


class ParetoscopeError(Exception):
    """An error the user can fix; the message says how.

    Attributes:
        command: The command that fixes it, if a single command is enough.
    """

    def __init__(self, message: str, command: str | None = None) -> None:
        super().__init__(message)
        self.command = command


class StudyError(ParetoscopeError):
    """A study parameter is unknown, of the wrong type, out of range or contradicts another."""


class DataError(ParetoscopeError):
    """The input data is not in the format the study names, or there is not enough of it."""


class TooLittleDataError(DataError):
    """The data is sound, but there is too little of it for an estimate that nothing else needs."""


class LogError(ParetoscopeError):
    """The experiment log contradicts its contract or its traffic plan."""


class QualityError(ParetoscopeError):
    """An artifact broke a blocking check; nothing was written."""


class StorageError(ParetoscopeError):
    """The disk is full, or a file or folder cannot be written."""


class EndpointError(ParetoscopeError):
    """A serving endpoint cannot be reached, refuses a request, or serves something else."""


class ClusterError(ParetoscopeError):
    """A cluster of Ray or Spark cannot be reached or used, or loses its workers too often."""


class MissingArtifact(ParetoscopeError):  # noqa: N818 - names what happened
    """An upstream artifact does not exist."""


USER_ERRORS = (ParetoscopeError, ModelError)
"""Every error that a user can fix."""
