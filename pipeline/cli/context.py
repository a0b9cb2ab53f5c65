"""The project a command is called in."""

from pipeline.artifacts.storage import StudyPaths, find_project_root
from pipeline.study import PARAMS_FILE, Study, load_study


def open_project() -> tuple[Study, StudyPaths]:
    """The study of the nearest ``params.yaml``, and the places of its files.

    Raises:
        MissingArtifact, StudyError: if there is none, or it is wrong.
    """
    root = find_project_root()
    study = load_study(root / PARAMS_FILE)
    return study, StudyPaths.of(study, root)
