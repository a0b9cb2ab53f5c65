"""What a user brings: a class or function named by its import path in the study."""

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from models.errors import ModelError


def load_extension(path: str, key: str) -> Callable[..., Any]:
    """What ``package.module:name`` names; the folder the program was started in is looked in, too.

    Args:
        path: The import path.
        key: The study's key it stands under, for messages.

    Raises:
        ModelError: if there is no such thing, its module cannot be imported, or it is not callable.
    """
    module_name, _, name = path.partition(":")
    if not module_name or not name:
        msg = f"{key} = {path!r} is not an import path; write 'package.module:name'"
        raise ModelError(msg)
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # the module's own code may raise anything
        msg = f"{key} = {path!r}: cannot import {module_name} ({type(error).__name__}: {error})"
        raise ModelError(msg) from error
    found = getattr(module, name, None)
    if found is None:
        msg = f"{key} = {path!r}: module {module_name} has no {name!r}"
        raise ModelError(msg)
    if not callable(found):
        msg = f"{key} = {path!r} is {type(found).__name__}, expected a class or function"
        raise ModelError(msg)
    return found
