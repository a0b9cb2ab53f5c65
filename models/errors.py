"""Errors of models, with messages that say what to do."""


class ModelError(Exception):
    """A model that cannot be built, trained, saved or loaded as configured."""


class TrainingDiverged(ModelError):  # noqa: N818 - names what happened
    """The loss is not finite; the message names epoch, step and sessions."""


class CheckpointError(ModelError):
    """A checkpoint that is damaged, or belongs to another catalogue or configuration."""
