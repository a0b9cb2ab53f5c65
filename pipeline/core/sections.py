"""Sections of ``params.yaml``, for help texts that import nothing else."""

SERVED_SECTIONS = (
    *("study", "dataset", "sessions", "model", "training"),
    *("evaluation", "experiment", "serving"),
)
"""The sections that the endpoint reads, and the evaluation of lists that it would show."""
