"""``paretoscope study``: runs Dagster in a subprocess and parses its log."""

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orjson import dumps

from models.progress import SECONDS_BETWEEN_LINES, progress_bar
from pipeline.artifacts.project import (
    DEFINITIONS,
    MODULE_VARIABLE,
    ONLY_VARIABLE,
    PARAMS_VARIABLE,
    StudyFile,
)
from pipeline.artifacts.storage import REPORT, StudyPaths
from pipeline.cli import INTERRUPTED
from pipeline.cli.context import study_file
from pipeline.cli.dispatch import print_error
from pipeline.cli.output import echo_progress, print_result
from pipeline.core.asset_graph import (
    ASSET_GRAPH,
    EVERYTHING,
    downstream_selection,
    report_assets,
    resource_key,
    study_selection,
)
from pipeline.core.errors import StudyError
from pipeline.core.local_paths import local_path
from pipeline.reporting.text.message import answer_lines
from pipeline.results.reader import REPORT_FILE, read_report
from pipeline.sessions.on_spark.cluster import spark_master
from pipeline.steps.duration import RUN_TAKES
from pipeline.study import SECTIONS, Study, parse_yaml

_LINE = re.compile(r" - (?P<level>[A-Z]+) - \S+ - [0-9a-f-]{36} - (?P<message>.*)$")
_ASSET = re.compile(r"^(?:[a-z0-9_]+__)?(?P<asset>[a-z]\w*) - (?P<message>.*)$")
_DONE = re.compile(r"^done in (?P<seconds>[\d.]+) s(; (?P<left>.* left))?$")
_FAILURE = re.compile(r"^\S*\bFailure: (?P<message>.*)$")
_KEPT_LINES = 40


@dataclass(slots=True)
class RunProgress:
    """The progress of a run, as parsed from Dagster's log.

    Attributes:
        status: The current step.
        asset: The current asset; None before the first.
        is_announced: Whether the command has said how long the run takes.
        left: How long the rest takes; empty if unknown.
        seconds: The duration of each finished asset.
        failures: Error messages of Paretoscope.
        warnings: Its warnings, such as that the study waits for another process.
        lines: The last lines, printed for an unexpected error.
    """

    status: str = "loading the asset graph"
    asset: str | None = None
    is_announced: bool = False
    left: str = ""
    seconds: dict[str, float] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    _in_failure: bool = False

    @property
    def announces(self) -> bool:
        """Whether the status is how long the run takes."""
        return self.status.startswith(RUN_TAKES)

    def parse_line(self, line: str) -> None:
        """Parse one line of the log."""
        self.lines = [*self.lines, line][-_KEPT_LINES:]
        if found := _LINE.search(line):
            self._in_failure = False
            self._parse_event(found["message"], found["level"])
        elif found := _FAILURE.match(line):
            self.failures.append(found["message"])
            self._in_failure = True
        elif self._in_failure and line and not line.startswith("Stack Trace"):
            self.failures[-1] += f"\n{line}"  # a message of several lines
        else:
            self._in_failure = False

    def _parse_event(self, message: str, level: str) -> None:
        found = _ASSET.match(message)
        if found is None:
            return
        asset, message = found["asset"], found["message"]
        if asset in ASSET_GRAPH:
            self.asset = asset
        if level == "WARNING":
            self.warnings.append(message)
        if done := _DONE.match(message):
            self.seconds[asset] = float(done["seconds"])
            self.left = done["left"] or ""
        self.status = message if message.startswith(RUN_TAKES) else f"{asset}: {message}"


def study(
    *,
    select: str,
    overrides: list[tuple[str, str]],
    verbose: bool,
    json: bool,
    is_announced: bool = False,
) -> int:
    """Materialise the selected assets; returns Dagster's exit code.

    With ``is_announced`` the caller has said how long it will take.
    """
    file = study_file()
    overrides_by_key = {key: _value(key, text) for key, text in overrides}
    # the run itself checks the sections that other selections touch
    is_everything = select == EVERYTHING
    parameters, paths = file.load(overrides_by_key, SECTIONS if is_everything else ())
    _check_engines(parameters, select)
    run, started = RunProgress(is_announced=is_announced), time.perf_counter()
    command = _command(file, select, overrides_by_key)
    total = len(report_assets(trains=parameters.trains)) if is_everything else None
    try:
        status = _follow(command, file, run, total=total, verbose=verbose)
    except KeyboardInterrupt:
        print_error("study", _interruption(run, select, overrides))
        return INTERRUPTED
    if status and not verbose:
        print_error("study", "\n".join(dict.fromkeys(run.failures) or run.lines))
    result = _summary(status, run, paths) | {"seconds": round(time.perf_counter() - started, 1)}
    print_result(result, [] if status else _lines(result), json=json)
    return status


def _check_engines(parameters: Study, select: str) -> None:
    """Raise a ParetoscopeError if an engine of a selected asset has no address or is not installed.

    The asset does so, too, after Dagster has been loaded and the assets before it are made.
    """
    warehouse, is_everything = parameters.compute.warehouse, select == EVERYTHING
    selected = report_assets(trains=parameters.trains) if is_everything else select
    if parameters.compute.sessions is not None and "sessions" in selected:
        spark_master()
    if warehouse is not None and "experiment_log" in selected:
        from pipeline.experiment.warehouse.connection import (  # noqa: PLC0415 - Ibis takes a second
            check_driver,
            warehouse_address,
        )

        warehouse_address(warehouse)
        check_driver(warehouse)


def _interruption(run: RunProgress, select: str, overrides: list[tuple[str, str]]) -> str:
    """What a run that Ctrl-C has ended says, with the command that continues it."""
    if run.asset is None:
        return "interrupted before the first asset; run it again"
    rest = downstream_selection(run.asset) if select == EVERYTHING else select
    changed = "".join(f" --set {shlex.quote(f'{key}={text}')}" for key, text in overrides)
    return (
        f"interrupted in {run.asset}; finished artifacts are kept. Go on with: paretoscope study "
        f"--select '{rest}'{changed}"
    )


def _value(key: str, text: str) -> Any:
    try:
        return parse_yaml(text).values
    except StudyError as error:
        msg = f"--set {key}={text}: not a YAML value: {error}"
        raise StudyError(msg) from error


def _command(file: StudyFile, select: str, changed: dict[str, Any]) -> list[str]:
    child = [sys.executable, "-m", "pipeline.cli.dagster_child"]
    selection = study_selection(select, file.prefix)
    command = [*child, "asset", "materialize", "--select", selection]
    if changed:
        resource = {resource_key(file.prefix): {"config": {"overrides": changed}}}
        command += ["--config-json", dumps({"resources": resource}).decode()]
    return command


def environment(root: Path) -> dict[str, str]:
    """The environment of Dagster, with the variables that ``make install`` sets in the shell."""
    local_path(os.environ.get("DAGSTER_HOME", ""), "DAGSTER_HOME")
    home = root / ".dagster"
    home.mkdir(exist_ok=True)
    defaults = {
        "DAGSTER_HOME": str(home),
        MODULE_VARIABLE: DEFINITIONS,
        "DVC_NO_ANALYTICS": "1",
        "GX_ANALYTICS_ENABLED": "false",
    }
    # the project's .env refers to its folder as PWD
    return defaults | os.environ | {"PYTHONUNBUFFERED": "1", "PWD": str(root)}


def _follow(
    command: list[str], file: StudyFile, run: RunProgress, *, total: int | None, verbose: bool
) -> int:
    """Run Dagster on one study and parse its log until it ends; returns its exit code."""
    process = subprocess.Popen(  # noqa: S603 - our own interpreter; the selection is one argument
        command,
        cwd=file.root,
        env=environment(file.root) | {PARAMS_VARIABLE: str(file.path), ONLY_VARIABLE: "1"},
        stdin=subprocess.PIPE,  # closes with this process, which ends Dagster
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
    )
    assert process.stdout is not None, "stdout is a pipe"
    with process, _terminated_with(process):
        lines = (line.rstrip("\n") for line in process.stdout)
        if verbose:
            for line in lines:
                sys.stderr.write(f"{line}\n")
                run.parse_line(line)
        else:
            _show_progress(lines, run, total=total)
    return process.returncode if process.returncode >= 0 else 128 - process.returncode


def _show_progress(lines: Iterable[str], run: RunProgress, *, total: int | None) -> None:
    """Show a bar on a terminal; elsewhere print a line per asset, and one now and then."""
    is_plain, printed = not sys.stderr.isatty(), time.monotonic()
    with progress_bar(run.status) as update:
        for line in lines:
            warned, done, status = len(run.warnings), len(run.seconds), run.status
            run.parse_line(line)
            for warning in run.warnings[warned:]:
                print_error("study", warning)
            if run.announces and not run.is_announced:
                echo_progress(run.status)
                run.is_announced = True
            is_due = len(run.seconds) > done or time.monotonic() - printed > SECONDS_BETWEEN_LINES
            is_new = run.status != status and not run.announces and len(run.warnings) == warned
            if is_plain and is_due and is_new:
                echo_progress(run.status)
                printed = time.monotonic()
            update(len(run.seconds) / total if total else None, run.status, run.left)


@contextmanager
def _terminated_with(process: "subprocess.Popen[str]") -> Iterator[None]:
    """End as by Ctrl-C on SIGTERM to this process, which Dagster does not get."""

    def interrupt(*_: object) -> None:
        process.terminate()
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _summary(status: int, run: RunProgress, paths: StudyPaths) -> dict[str, Any]:
    page = paths.artifact(REPORT, "index.html")
    has_report = not status and "regression_report" in run.seconds
    return {
        "status": status,
        "study": paths.name,
        "assets": run.seconds,
        "failures": list(dict.fromkeys(run.failures)),
        "report": str(page.relative_to(paths.root)) if has_report else None,
        "summary": answer_lines(read_report(page.with_name(REPORT_FILE))) if has_report else [],
    }


def _lines(result: dict[str, Any]) -> list[str]:
    if result["report"] is None:
        return [f"{asset}: done in {seconds:.1f} s" for asset, seconds in result["assets"].items()]
    return [*result["summary"], f"report: {result['report']}"]
