"""``init``, ``quickstart`` and ``ui``: a study folder of the user's own, and Dagster on it."""

import os
import sys
from pathlib import Path

from pipeline.artifacts.project import DEFINITIONS, MODULE_VARIABLE, PARAMS_VARIABLE
from pipeline.artifacts.provenance import git
from pipeline.cli.context import study_file
from pipeline.cli.output import print_result
from pipeline.cli.study import environment
from pipeline.core.errors import StudyError
from pipeline.scaffold.init import add_study, create_project
from pipeline.scaffold.templates import NewStudy, Template


def init(*, name: str, template: str, add: bool, json: bool) -> int:
    """Create a project with one study, or add a study to a project."""
    study = NewStudy(name=name, template=Template(template), is_added=add)
    if add:
        params = add_study(study, Path.cwd())
        found = {"params": str(params), "data": study.folder, "template": template}
        lines = [f"added {study.params}", f"  {_first_command(study)}"]
        return print_result(found, lines, json=json)
    folder = create_project(study, Path.cwd())
    found = {"folder": str(folder), "data": study.folder, "template": template}
    return print_result(found, _next_steps(study, folder), json=json)


def _next_steps(study: NewStudy, folder: Path) -> list[str]:
    head = f"created {folder} for {study.template.summary}; README.md there says how to go on"
    if study.template is Template.SPREADSHEET:
        return [head, f"  cd {study.name} && paretoscope meta-analysis tests.csv"]
    lines = [head, f"  cd {study.name} && {_first_command(study)}"]
    if git(folder, "rev-parse", "--git-dir") is None:
        lines.append(
            "not in a git repository: everything works, but results do not record a commit and nothing "
            "is pinned. To pin data and results: git init && dvc init"
        )
    elif not (folder / ".dvc").is_dir():
        lines.append("DVC is optional; to pin data and results: dvc init --subdir")
    return lines


def _first_command(study: NewStudy) -> str:
    """What to type first; the data is generated, or the user's."""
    flag = f" --study {study.name}" if study.is_added else ""
    selection = " --select '*traffic_plan'" if study.template is Template.SERVE else ""
    run = f"paretoscope study{flag}{selection}"
    if study.template.generates:
        return f"paretoscope generate{flag} && {run}"
    return f"{run}   # after you have put your data into {study.folder}"


def ui(*, host: str, port: int) -> int:
    """Replace this process with Dagster's on the project; it shows every study."""
    file = study_file()
    os.chdir(file.root)
    variables = environment(file.root)
    variables.pop(MODULE_VARIABLE)  # the processes of `dagster dev` that inherit it wait for ever
    if file.flag.startswith("--params"):
        variables[PARAMS_VARIABLE] = str(file.path)
    command = [sys.executable, "-m", "dagster", "dev", "--host", host, "--port", str(port)]
    if not any((file.root / name).is_file() for name in ("workspace.yaml", "pyproject.toml")):
        command += ["--module-name", DEFINITIONS]
    try:
        os.execve(sys.executable, command, variables)  # noqa: S606 - our own interpreter
    except OSError as error:
        msg = f"cannot start Dagster: {error}"
        raise StudyError(msg) from error
