"""Extensions: classes and functions of other packages, named in the study.

A name with a colon is an import path, ``package.module:name``. Any other name is that of an entry
point in the group of its :class:`ExtensionPoint`, which an installed package declares.
"""

import importlib
import sys
from collections.abc import Callable, Collection
from enum import StrEnum
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from models.errors import ModelError


class ExtensionPoint(StrEnum):
    """What can be extended; the value is the group of its entry points."""

    FORMATS = "paretoscope.formats"
    METRICS = "paretoscope.metrics"
    OBJECTIVES = "paretoscope.objectives"
    BACKBONES = "paretoscope.backbones"

    def installed(self) -> dict[str, EntryPoint]:
        """The entry points of all installed packages, by name."""
        return {point.name: point for point in entry_points(group=self.value)}

    def check_name(self, name: str, *, key: str, built_in: Collection[str]) -> None:
        """Accept a built-in name, an import path or the name of an installed entry point.

        Raises:
            ModelError: otherwise, with all accepted names.
        """
        if name not in built_in and ":" not in name and name not in self.installed():
            raise ModelError(self._unknown(name, key, built_in))

    def load(self, name: str, *, key: str, built_in: Collection[str]) -> Callable[..., Any]:
        """The class or function that an import path or an entry point names.

        The current folder is on the import path.

        Args:
            name: The import path, or the name of an entry point.
            key: The study's key with this name, for messages.
            built_in: The names that are not extensions, for messages.

        Raises:
            ModelError: if the name is unknown, its module cannot be imported, or it is not callable.
        """
        if ":" in name:
            return _load(name, f"{key} = {name!r}")
        if (point := self.installed().get(name)) is None:
            raise ModelError(self._unknown(name, key, built_in))
        owner = f" of {point.dist.name}" if point.dist else ""
        return _load(point.value, f"{key} = {name!r} (entry point {point.value!r}{owner})")

    def _unknown(self, name: str, key: str, built_in: Collection[str]) -> str:
        return (
            f"{key} = {name!r} is unknown; built-in: {', '.join(built_in)}; installed as "
            f"{self.value}: {', '.join(sorted(self.installed())) or 'none'}; or write an import "
            "path, 'package.module:name'"
        )


def _load(path: str, source: str) -> Callable[..., Any]:
    module_name, _, name = path.partition(":")
    if not module_name or not name:
        msg = f"{source} is not an import path; write 'package.module:name'"
        raise ModelError(msg)
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # the module's own code may raise anything
        msg = f"{source}: cannot import {module_name} ({type(error).__name__}: {error})"
        raise ModelError(msg) from error
    found = getattr(module, name, None)
    if found is None:
        msg = f"{source}: module {module_name} has no {name!r}"
        raise ModelError(msg)
    if not callable(found):
        msg = f"{source} is {type(found).__name__}, expected a class or function"
        raise ModelError(msg)
    return found
