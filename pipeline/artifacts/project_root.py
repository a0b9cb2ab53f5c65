"""The folder of the project."""

from pathlib import Path

from pipeline.core.errors import MissingArtifact
from pipeline.study import PARAMS_FILE


def find_project_root(start: Path | None = None) -> Path:
    """The nearest folder at or above ``start`` that contains ``params.yaml``.

    Raises:
        MissingArtifact: if there is none.
    """
    here = (start or Path.cwd()).resolve()
    for folder in (here, *here.parents):
        if (folder / PARAMS_FILE).is_file():
            return folder
    msg = f"no {PARAMS_FILE} in {here} or above it; run this in a folder of the project"
    raise MissingArtifact(msg)
