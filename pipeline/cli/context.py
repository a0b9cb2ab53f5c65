"""The project a command is called in."""

from pipeline.artifacts.storage import StudyPaths, find_root
from pipeline.study import PARAMS_FILE, Study, load_study


def opened() -> tuple[Study, StudyPaths]:
    """The study of the nearest ``params.yaml``, and the places of its files.

    Raises:
        MissingArtifact, StudyError: if there is none, or it is wrong.
    """
    root = find_root()
    study = load_study(root / PARAMS_FILE)
    return study, StudyPaths.of(study, root)
