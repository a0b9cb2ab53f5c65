"""Checks the environment: Python, package versions, variables, git and the DVC remote."""

import configparser
import os
import platform
import re
import shlex
import sys
import tomllib
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, distributions, requires
from pathlib import Path

from pipeline.artifacts.project import DEFINITIONS, MODULE_VARIABLE
from pipeline.artifacts.provenance import git
from pipeline.doctor.finding import Finding, Status, ok, shortened

_PYTHON = (3, 11)
"""The oldest Python that works, and the one that the pins were tested with."""

_INSTALL = "pip install --constraint constraints.txt --editable ."


def check_environment(root: Path) -> Iterator[Finding]:
    """Check Python, packages, variables, git and the DVC remote."""
    yield _check_python(sys.version_info[:2])
    constraints = root / "constraints.txt"
    if constraints.is_file():
        yield from check_packages(constraints, installed_versions(), required_packages())
    else:  # not a clone: installed from a wheel
        yield check_requirements(installed_versions(), required_packages())
    yield from check_variables(root, os.environ)
    yield _check_git(root)
    yield check_dvc_remote(root)


def _check_python(version: tuple[int, int]) -> Finding:
    message, fix = (
        f"Python {platform.python_version()}",
        "install into an environment of Python 3.11",
    )
    if version < _PYTHON:
        return Finding("python", Status.ERROR, f"{message}; expected 3.11 or newer", fix)
    if version != _PYTHON:
        return Finding("python", Status.WARNING, f"{message}; the pins are tested with 3.11", fix)
    return ok("python", message)


def installed_versions() -> dict[str, str]:
    """The version of every installed package."""
    return {_normalized(one.metadata["Name"]): one.version for one in distributions()}


def required_packages() -> set[str]:
    """The direct dependencies of Paretoscope, without extras."""
    try:
        requirements = requires("paretoscope") or []
    except PackageNotFoundError:
        return set()
    return {
        _normalized(re.split(r"[^\w.-]", one)[0]) for one in requirements if "extra ==" not in one
    }


def check_packages(
    constraints: Path, installed: Mapping[str, str], required: set[str]
) -> Iterator[Finding]:
    """Compare installed versions with the pins."""
    lines = constraints.read_text(encoding="utf-8").splitlines()
    pairs = (line.partition("==") for line in lines)
    pins = {_normalized(name): pin for name, _, pin in pairs if pin}
    if missing := sorted(required - set(installed)):
        yield Finding("packages", Status.ERROR, f"not installed: {shortened(missing)}", _INSTALL)
    # a local version, as in 2.13.0+cpu, is a build of the same version
    different = [
        f"{name} {installed[name]} (pinned {pin})"
        for name, pin in pins.items()
        if name in installed and installed[name].partition("+")[0] != pin
    ]
    if different:
        message = f"versions differ from the pins: {shortened(different)}; numbers may differ"
        yield Finding("packages", Status.WARNING, message, _INSTALL)
    if not missing and not different:
        same = sum(name in installed for name in pins)
        yield ok("packages", f"{same} packages have the pinned versions")


def check_requirements(installed: Mapping[str, str], required: set[str]) -> Finding:
    """Check that the packages that Paretoscope needs are installed; of a wheel, which pins no others."""
    if missing := sorted(required - set(installed)):
        message = f"not installed: {shortened(missing)}"
        return Finding("packages", Status.ERROR, message, f"pip install {shlex.join(missing)}")
    return ok("packages", f"all {len(required)} that Paretoscope needs are installed")


def check_variables(root: Path, environment: Mapping[str, str]) -> Iterator[Finding]:
    """Check how the ``dagster`` command finds history and assets; ``paretoscope`` sets both itself."""
    home, ours = environment.get("DAGSTER_HOME"), (root / ".dagster").resolve()
    export = f"mkdir -p {shlex.quote(str(ours))} && export DAGSTER_HOME={shlex.quote(str(ours))}"
    if not home and _names(root / ".env", "DAGSTER_HOME"):
        yield ok("DAGSTER_HOME", ".env sets it for 'dagster' in this folder")
    elif not home:
        message = "not set: runs of 'dagster' in this shell are not recorded"
        yield Finding("DAGSTER_HOME", Status.WARNING, message, export)
    elif not Path(home).is_dir():
        message = f"{home} is not a folder"
        yield Finding("DAGSTER_HOME", Status.ERROR, message, f"mkdir -p {shlex.quote(home)}")
    elif Path(home).resolve() != ours:
        message = f"{home} is not the project's .dagster: runs are recorded elsewhere"
        yield Finding("DAGSTER_HOME", Status.WARNING, message, export)
    else:
        yield ok("DAGSTER_HOME", home)
    module = environment.get(MODULE_VARIABLE)
    if module is not None:
        message = f"is {module}: the processes of 'dagster dev' inherit it, and wait for ever"
        yield Finding(MODULE_VARIABLE, Status.WARNING, message, f"unset {MODULE_VARIABLE}")
    elif _dagster_module(root / "pyproject.toml") == DEFINITIONS:
        message = "not set; 'dagster dev' has it from pyproject.toml, 'paretoscope study' sets it"
        yield ok(MODULE_VARIABLE, message)
    else:
        message = f"not set, and pyproject.toml does not name the assets: 'dagster' needs -m {DEFINITIONS}"
        lines = f'\\n[tool.dagster]\\nmodule_name = "{DEFINITIONS}"\\n'
        command = f"printf {shlex.quote(lines)} >> {shlex.quote(str(root / 'pyproject.toml'))}"
        yield Finding(MODULE_VARIABLE, Status.WARNING, message, command)


def _names(file: Path, variable: str) -> bool:
    """Whether a file of environment variables sets one."""
    text = file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""
    return any(line.startswith(f"{variable}=") for line in text.splitlines())


def _dagster_module(file: Path) -> str | None:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))["tool"]["dagster"]["module_name"]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _check_git(root: Path) -> Finding:
    commit = git(root, "rev-parse", "--short", "HEAD")
    if commit is None:
        message = "not a git repository: results will not record the code version"
        fix = "git init && git add -A && git commit --message 'First state'"
        return Finding("git", Status.WARNING, message, fix)
    if git(root, "status", "--porcelain", "--untracked-files=no"):
        message = f"commit {commit} with local changes: results cannot be reproduced from git"
        fix = "git commit --all --message 'Describe the change'"
        return Finding("git", Status.WARNING, message, fix)
    return ok("git", f"commit {commit}, no local changes")


def check_dvc_remote(root: Path) -> Finding:
    """Check the default DVC remote; a URL is not contacted."""
    check, folder = "DVC remote", root / ".dvc"
    if not folder.is_dir():
        message = "DVC is not initialised: data is not pinned"
        return Finding(check, Status.WARNING, message, dvc_init(root))
    config = configparser.ConfigParser(interpolation=None)
    try:
        config.read([folder / "config", folder / "config.local"], encoding="utf-8")
    except (configparser.Error, UnicodeDecodeError) as error:
        message = f"{folder / 'config'} cannot be parsed: {error}"
        is_tracked = git(root, "ls-files", "--error-unmatch", ".dvc/config") is not None
        fix = "git checkout .dvc/config" if is_tracked else "correct the file"
        return Finding(check, Status.ERROR, message, fix)
    name = config.get("core", "remote", fallback=None)
    url = config.get(f"'remote \"{name}\"'", "url", fallback=None)
    if not name or not url:
        message = "no default remote: pinned data is stored on this machine only"
        fix = "name a storage of your own, as in: dvc remote add --default NAME URL"
        return Finding(check, Status.WARNING, message, fix)
    if "://" not in url and not (folder / url).exists():
        message = f"{name} is the folder {url}, which does not exist"
        target = shlex.quote(str((folder / url).resolve()))
        return Finding(check, Status.ERROR, message, f"mkdir -p {target}")
    return ok(check, f"{name}: {url}" + (" (not contacted)" if "://" in url else ""))


def dvc_init(root: Path) -> str:
    """The command that initialises DVC in a project: in git, in a folder of it, or without git."""
    top = git(root, "rev-parse", "--show-toplevel")
    if top is None:
        return "dvc init --no-scm"
    return "dvc init" if Path(top).resolve() == root.resolve() else "dvc init --subdir"


def _normalized(name: str) -> str:
    """A package name, normalised as in PEP 503."""
    return re.sub(r"[-_.]+", "-", name).lower()
