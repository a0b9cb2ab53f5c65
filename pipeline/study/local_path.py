"""The type of every path in ``params.yaml``."""

from typing import Annotated

from annotated_types import Len
from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

from pipeline.core.local_paths import url_problem

URL = "url"
"""The type of the problem of a path that is a URL."""


def _local(path: str) -> str:
    if problem := url_problem(path):
        raise PydanticCustomError(URL, "{problem}", {"problem": problem})
    return path


LocalPath = Annotated[str, Len(1), AfterValidator(_local)]
"""A path, absolute or relative to the project's folder; no URL."""
