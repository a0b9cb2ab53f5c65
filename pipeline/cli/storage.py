"""``paretoscope pull``."""

from pipeline.artifacts.lock import study_lock
from pipeline.artifacts.objects.data_copies import data_urls
from pipeline.artifacts.objects.published import STORAGE_VARIABLE, storage_url
from pipeline.cli.context import open_project
from pipeline.cli.output import print_result
from pipeline.core.errors import StudyError
from pipeline.core.labels import counted
from pipeline.steps.storage import pull_study


def pull(*, json: bool) -> int:
    """Bring data and artifacts of the study from object storage."""
    study, paths = open_project()
    urls, published = data_urls(study), storage_url()
    if not urls and published is None:
        msg = (
            f"nothing of this study is on object storage: set {STORAGE_VARIABLE} (artifacts), or dataset.path or "
            "experiment.log_path (data) to s3://BUCKET/KEY; see docs/how-to/scale.md"
        )
        raise StudyError(msg)
    with study_lock(paths, "paretoscope pull"):
        artifacts = pull_study(study, paths)
    lines = [f"{key}: {url} is in {url.copy}" for key, url in urls.items()]
    if published is not None:
        lines.append(f"{counted(len(artifacts), 'artifact')} replaced by those of {published}")
    found = {"data": {str(url): url.copy for url in urls.values()}, "artifacts": artifacts}
    return print_result(found, lines, json=json)
