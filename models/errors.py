"""What can go wrong with a model, in words its user can act on."""


class ModelError(Exception):
    """A model that cannot be built, trained, saved or loaded as asked."""


class TrainingDiverged(ModelError):  # noqa: N818 - names what happened
    """The loss stopped being a number; the message names epoch, step and sessions."""


class CheckpointError(ModelError):
    """A checkpoint that is damaged, or belongs to another catalogue or configuration."""
