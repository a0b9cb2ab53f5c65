"""A step on object storage: what it reads is brought here before it, what it has written is published after it."""

from collections.abc import Iterator
from contextlib import contextmanager

from pipeline.artifacts.objects.data_copies import download_data
from pipeline.artifacts.objects.published import STORAGE_VARIABLE, PublishedStudy, storage_url
from pipeline.artifacts.storage import ASSET_PATHS, StudyPaths
from pipeline.core.asset_graph import ASSET_GRAPH
from pipeline.core.errors import StorageError
from pipeline.study import Study


@contextmanager
def on_storage(asset: str, study: Study, paths: StudyPaths) -> Iterator[None]:
    """Run the step of an asset inside, on this machine's copies; a step that fails publishes nothing.

    Nothing is done for data and artifacts that are on this machine only.

    Raises:
        DataError, StorageError, StudyError: if the storage cannot be used.
    """
    download_data(study, paths.root)
    url = storage_url()
    if url is None:
        yield
        return
    published = PublishedStudy(url, paths)
    unread = {ASSET_PATHS.get(one, one) for one in set(ASSET_GRAPH) - {asset, *ASSET_GRAPH[asset]}}
    published.pull(unread=unread, skips_damaged=True)
    yield
    published.push()


def pull_study(study: Study, paths: StudyPaths) -> list[str]:
    """Bring data and all artifacts of a study to this machine; returns the artifacts that were replaced.

    Raises:
        DataError, StorageError, StudyError: if the storage cannot be used.
    """
    download_data(study, paths.root)
    url = storage_url()
    if url is None:
        return []
    published = PublishedStudy(url, paths)
    if published.read_pointer().e_tag is None:
        msg = f"nothing of study {paths.name} is published in {url}; check {STORAGE_VARIABLE} and the study's name"
        raise StorageError(msg)
    return published.pull()
