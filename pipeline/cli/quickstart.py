"""``paretoscope quickstart``: from data to a report by at most five answers."""

import sys
from collections.abc import Callable
from contextlib import chdir
from pathlib import Path

from rich.prompt import Confirm, Prompt

from pipeline.cli import data, experiment, main
from pipeline.cli.context import open_project
from pipeline.cli.output import echo
from pipeline.cli.study import study as run_study
from pipeline.core.errors import StudyError
from pipeline.core.local_paths import local_path
from pipeline.core.template_names import TEMPLATES
from pipeline.datasets.dry_run import DataInspection
from pipeline.scaffold.from_data import values_from
from pipeline.scaffold.init import create_project
from pipeline.scaffold.templates import NewStudy, Template
from pipeline.steps.duration import DataSize, DurationModel
from pipeline.steps.run import steps_until


def quickstart(
    *,
    name: str | None,
    template: str | None,
    data_path: Path | None,
    control: str | None,
    run: bool | None,
) -> int:
    """Create a study, validate its data, predict the duration and run it."""
    kind = Template(template or _ask("--template", _ask_template))
    source = None if kind.generates else _source(data_path)
    chosen = name or _ask(
        "--name", lambda: Prompt.ask("Name of the study folder", default="my-study")
    )
    known = values_from(kind, source, control) if source else {}
    if kind is Template.AB_TEST and control is None and sys.stdin.isatty():
        control = Prompt.ask("Which variant is the control?", default=str(known["control"]))
        known = values_from(kind, source or Path(), control)
    study = NewStudy(name=chosen, template=kind, data=source and str(source), known=known)
    folder = create_project(study, Path.cwd())
    echo(f"created {folder}")
    with chdir(folder):
        return _in_project(kind, source, run=run)


def _in_project(kind: Template, source: Path | None, *, run: bool | None) -> int:
    if kind is Template.SPREADSHEET:
        return main(["meta-analysis", str(source), "--report", "report"])
    found = None if kind is Template.AB_TEST else _inspect(kind)
    if found is None:
        status = experiment.validate_log(json=False)
    else:
        status = data.print_inspection(found, json=False)
    if status:
        echo("nothing has run: correct params.yaml or the data, then run: paretoscope study")
        return status
    until = "traffic_plan" if kind is Template.SERVE else "regression_report"
    echo(_duration(until, found))
    if run is None and sys.stdin.isatty():
        run = Confirm.ask("Run it now?", default=True)
    if run is False:
        echo("to run it: paretoscope study")
        return 0
    return run_study(select=f"*{until}", overrides=[], verbose=False, json=False, is_announced=True)


def _inspect(kind: Template) -> DataInspection:
    if kind.generates:
        experiment.generate(json=False)
    return data.inspect_project()


def _duration(until: str, found: DataInspection | None) -> str:
    """How long the run will take, from what was found in its raw data; None if no model is trained."""
    study, _ = open_project()
    size = DataSize()
    if found is not None:
        size = DataSize.expected(events=found.summary["events"], items=found.items)
    return DurationModel(study=study, size=size).announce(steps_until(study, until))


def _ask_template() -> str:
    for number, (name, text) in enumerate(TEMPLATES.items(), start=1):
        echo(f"  {number}. {name}: {text}")
    names = list(TEMPLATES)
    answer = Prompt.ask("What do you have?", choices=[str(n) for n in range(1, len(names) + 1)])
    return names[int(answer) - 1]


def _source(path: Path | None) -> Path:
    """The data's absolute path, so that the study finds it wherever its folder is."""
    answer = path or Path(_ask("--data", lambda: Prompt.ask("Path of your data (file or folder)")))
    return local_path(answer, "--data").expanduser().resolve()


def _ask(option: str, question: Callable[[], str]) -> str:
    """The answer to a question; an error where nobody can answer."""
    if not sys.stdin.isatty():
        msg = f"{option} is required where nobody can be asked (standard input is not a terminal)"
        raise StudyError(msg)
    return question()
