"""The environment: Python, pinned versions, variables, git, and where DVC keeps data."""

import configparser
import os
import platform
import re
import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, distributions, requires
from pathlib import Path

from pipeline.artifacts.provenance import git
from pipeline.doctor.finding import Finding, Status, ok

OLDEST_PYTHON = (3, 11)
_TRIED_PYTHON = (3, 11)
_NAMED = 4
"""So many packages are named; the others are counted."""

_MODULE = "assets.definitions"
_ACTIVATE = "source .venv/bin/activate"
_INSTALL = "pip install --constraint constraints.txt --editable ."


def check_environment(root: Path) -> Iterator[Finding]:
    """Python, packages, variables, git and DVC's remote."""
    yield _python(sys.version_info[:2])
    yield from check_packages(root / "constraints.txt", installed_versions(), required_packages())
    yield from check_variables(root, os.environ)
    yield _repository(root)
    yield check_dvc_remote(root)


def _python(found: tuple[int, int]) -> Finding:
    words = f"Python {platform.python_version()}"
    if found < OLDEST_PYTHON:
        words += "; 3.11 or newer is needed"
        return Finding("python", Status.ERROR, words, "make install PYTHON=/path/to/python3.11")
    if found != _TRIED_PYTHON:
        words += "; the pins were tried together on 3.11"
        return Finding("python", Status.WARNING, words, "make install PYTHON=/path/to/python3.11")
    return ok("python", words)


def installed_versions() -> dict[str, str]:
    """The version of every package that can be imported."""
    return {_plain(one.metadata["Name"]): one.version for one in distributions()}


def required_packages() -> set[str]:
    """The packages that Paretoscope itself names, without those of extras."""
    try:
        named = requires("paretoscope") or []
    except PackageNotFoundError:
        return set()
    return {_plain(re.split(r"[^\w.-]", one)[0]) for one in named if "extra ==" not in one}


def check_packages(
    constraints: Path, there: Mapping[str, str], wanted: set[str]
) -> Iterator[Finding]:
    """Compare what is installed with the pins."""
    if not constraints.is_file():
        words = f"no {constraints.name}; versions cannot be compared"
        yield Finding("packages", Status.WARNING, words, "git checkout constraints.txt")
        return
    lines = constraints.read_text(encoding="utf-8").splitlines()
    pins = {_plain(name): pin for name, _, pin in (line.partition("==") for line in lines) if pin}
    if missing := sorted(wanted - set(there)):
        yield Finding("packages", Status.ERROR, f"not installed: {_some(missing)}", _INSTALL)
    # a local part, as of 2.13.0+cpu, names a build of the same version
    others = [
        f"{name} {there[name]} (pinned {pin})"
        for name, pin in pins.items()
        if name in there and there[name].partition("+")[0] != pin
    ]
    if others:
        words = f"other versions than the pinned ones: {_some(others)}; numbers may differ"
        yield Finding("packages", Status.WARNING, words, _INSTALL)
    if not missing and not others:
        same = sum(name in there for name in pins)
        yield ok("packages", f"{same} packages have the pinned versions")


def check_variables(root: Path, environment: Mapping[str, str]) -> Iterator[Finding]:
    """What the ``dagster`` command must be told; ``paretoscope study`` tells it by itself."""
    home = environment.get("DAGSTER_HOME")
    if not home:
        words = "not set: what 'dagster' runs from this shell leaves no history"
        yield Finding("DAGSTER_HOME", Status.WARNING, words, _ACTIVATE)
    elif not Path(home).is_dir():
        yield Finding("DAGSTER_HOME", Status.ERROR, f"{home} is no folder", f"mkdir -p {home}")
    elif Path(home).resolve() != (root / ".dagster").resolve():
        words = f"{home} is not this project's .dagster: another history is shown"
        yield Finding("DAGSTER_HOME", Status.WARNING, words, _ACTIVATE)
    else:
        yield ok("DAGSTER_HOME", home)
    module = environment.get("DAGSTER_MODULE_NAME")
    if module == _MODULE:
        yield ok("DAGSTER_MODULE_NAME", module)
    else:
        words = f"is {module}" if module else "not set"
        words += ": 'dagster asset materialize' will not find the assets"
        yield Finding("DAGSTER_MODULE_NAME", Status.WARNING, words, _ACTIVATE)


def _repository(root: Path) -> Finding:
    commit = git(root, "rev-parse", "--short", "HEAD")
    if commit is None:
        words = "not a git repository: a result cannot say which code made it"
        return Finding("git", Status.WARNING, words, "git init && git add -A && git commit")
    if git(root, "status", "--porcelain", "--untracked-files=no"):
        words = f"commit {commit} with local changes: a result made now cannot be told from others"
        return Finding("git", Status.WARNING, words, "git commit")
    return ok("git", f"commit {commit}, nothing changed")


def check_dvc_remote(root: Path) -> Finding:
    """Where pinned data is pushed to; a place on the network is not asked."""
    folder = root / ".dvc"
    if not folder.is_dir():
        words = "this project is not under DVC: data is not pinned"
        return Finding("DVC remote", Status.WARNING, words, "dvc init")
    config = configparser.ConfigParser(interpolation=None)
    try:
        config.read([folder / "config", folder / "config.local"], encoding="utf-8")
    except (configparser.Error, UnicodeDecodeError) as error:
        words = f"{folder / 'config'} cannot be read: {error}"
        return Finding("DVC remote", Status.ERROR, words, "git checkout .dvc/config")
    name = config.get("core", "remote", fallback=None)
    section = f"'remote \"{name}\"'"
    url = config.get(section, "url", fallback=None)
    if not name or not url:
        words = "none: data that is pinned here lies on this machine alone"
        return Finding("DVC remote", Status.WARNING, words, "dvc remote add --default NAME URL")
    if "://" not in url and not (folder / url).exists():
        words = f"{name} is the folder {url}, which is not there"
        return Finding("DVC remote", Status.ERROR, words, f"dvc remote modify {name} url FOLDER")
    return ok("DVC remote", f"{name}: {url}" + (" (not asked)" if "://" in url else ""))


def _plain(name: str) -> str:
    """A package's name as it is compared."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _some(names: list[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")
