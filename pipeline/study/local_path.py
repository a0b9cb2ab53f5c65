"""The types of every path in ``params.yaml``."""

from typing import Annotated

from annotated_types import Len
from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

from pipeline.core.errors import StudyError
from pipeline.core.local_paths import url_problem
from pipeline.core.object_urls import parse_object_url

URL = "url"
"""The type of the problem of a path that is a URL."""


def _local(path: str) -> str:
    if problem := url_problem(path):
        raise PydanticCustomError(URL, "{problem}", {"problem": problem})
    return path


LocalPath = Annotated[str, Len(1), AfterValidator(_local)]
"""A path, absolute or relative to the project's folder; no URL."""


def _local_or_object(path: str) -> str:
    try:
        url = parse_object_url(path)
        if url and not url.key:
            msg = f"{url} is a whole bucket; expected the object or folder of the data, s3://BUCKET/KEY"
            raise PydanticCustomError(URL, "{problem}", {"problem": msg})
        return path if url else _local(path)
    except StudyError as error:
        raise PydanticCustomError(URL, "{problem}", {"problem": str(error)}) from error


DataPath = Annotated[str, Len(1), AfterValidator(_local_or_object)]
"""A path, or ``s3://bucket/key``; :func:`pipeline.core.object_urls.local_copy` is where this machine has it."""
