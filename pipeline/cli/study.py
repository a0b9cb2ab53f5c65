"""``paretoscope study``: runs Dagster in a subprocess and parses its log."""

import os
import re
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

from models.progress import progress_bar
from pipeline.artifacts.storage import REPORT, StudyPaths, find_project_root, read_json
from pipeline.cli.context import print_result
from pipeline.cli.main import print_error
from pipeline.core.asset_graph import ASSET_GRAPH, EVERYTHING
from pipeline.core.errors import StudyError
from pipeline.study import PARAMS_FILE, load_study, parse_yaml

_LINE = re.compile(r" - (?P<level>[A-Z]+) - \S+ - [0-9a-f-]{36} - (?P<message>.*)$")
_ASSET = re.compile(r"^(?P<asset>\w+) - (?P<message>.*)$")
_DONE = re.compile(r"^done in (?P<seconds>[\d.]+) s$")
_FAILURE = re.compile(r"^\S*\bFailure: (?P<message>.*)$")
_KEPT_LINES = 40


@dataclass(slots=True)
class RunProgress:
    """The progress of a run, as parsed from Dagster's log.

    Attributes:
        status: The current step.
        seconds: The duration of each finished asset.
        failures: Error messages of Paretoscope.
        lines: The last lines, printed for an unexpected error.
    """

    status: str = "loading the asset graph"
    seconds: dict[str, float] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    _in_failure: bool = False

    def parse_line(self, line: str) -> None:
        """Parse one line of the log."""
        self.lines = [*self.lines, line][-_KEPT_LINES:]
        if found := _LINE.search(line):
            self._in_failure = False
            self._parse_event(found["message"])
        elif found := _FAILURE.match(line):
            self.failures.append(found["message"])
            self._in_failure = True
        elif self._in_failure and line and not line.startswith("Stack Trace"):
            self.failures[-1] += f"\n{line}"  # a message of several lines
        else:
            self._in_failure = False

    def _parse_event(self, message: str) -> None:
        found = _ASSET.match(message)
        if found is None:
            return
        asset, message = found["asset"], found["message"]
        if done := _DONE.match(message):
            self.seconds[asset] = float(done["seconds"])
            self.status = f"{asset} is done"
        else:
            self.status = f"{asset}: {message}"


def study(*, select: str, overrides: list[tuple[str, str]], verbose: bool, json: bool) -> int:
    """Materialise the selected assets; returns Dagster's exit code."""
    root = find_project_root()
    overrides_by_key = {key: _value(key, text) for key, text in overrides}
    paths = StudyPaths.of(load_study(root / PARAMS_FILE, overrides_by_key), root)
    run, started = RunProgress(), time.perf_counter()
    status = _follow(_command(select, overrides_by_key), root, run, select=select, verbose=verbose)
    if status and not verbose:
        print_error("study", "\n".join(dict.fromkeys(run.failures) or run.lines))
    result = _summary(status, run, paths) | {"seconds": round(time.perf_counter() - started, 1)}
    print_result(result, [] if status else _lines(result), json=json)
    return status


def _value(key: str, text: str) -> Any:
    try:
        return parse_yaml(text).values
    except StudyError as error:
        msg = f"--set {key}={text}: not a YAML value: {error}"
        raise StudyError(msg) from error


def _command(select: str, changed: dict[str, Any]) -> list[str]:
    child = [sys.executable, "-m", "pipeline.cli.dagster_child"]
    command = [*child, "asset", "materialize", "--select", select]
    if changed:
        resource = {"study": {"config": {"overrides": changed}}}
        command += ["--config-json", dumps({"resources": resource}).decode()]
    return command


def environment(root: Path) -> dict[str, str]:
    """The environment of Dagster, with the variables that ``make install`` sets in the shell."""
    home = root / ".dagster"
    home.mkdir(exist_ok=True)
    defaults = {
        "DAGSTER_HOME": str(home),
        "DAGSTER_MODULE_NAME": "assets.definitions",
        "DVC_NO_ANALYTICS": "1",
        "GX_ANALYTICS_ENABLED": "false",
    }
    return defaults | os.environ | {"PYTHONUNBUFFERED": "1"}


def _follow(command: list[str], root: Path, run: RunProgress, *, select: str, verbose: bool) -> int:
    """Run Dagster and parse its log until it ends; returns its exit code."""
    process = subprocess.Popen(  # noqa: S603 - our own interpreter; the selection is one argument
        command,
        cwd=root,
        env=environment(root),
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
            _show_progress(lines, run, total=len(ASSET_GRAPH) if select == EVERYTHING else None)
    return process.returncode if process.returncode >= 0 else 128 - process.returncode


def _show_progress(lines: Iterable[str], run: RunProgress, *, total: int | None) -> None:
    with progress_bar(run.status) as update:
        for line in lines:
            run.parse_line(line)
            update(len(run.seconds), total, run.status)


@contextmanager
def _terminated_with(process: "subprocess.Popen[str]") -> Iterator[None]:
    """Terminate Dagster on SIGTERM to this process; Ctrl-C reaches both."""
    before = signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _summary(status: int, run: RunProgress, paths: StudyPaths) -> dict[str, Any]:
    page, data = (paths.artifact(REPORT, name) for name in ("index.html", "report.json"))
    has_report = not status and "regression_report" in run.seconds
    return {
        "status": status,
        "study": paths.name,
        "assets": run.seconds,
        "failures": list(dict.fromkeys(run.failures)),
        "report": str(page.relative_to(paths.root)) if has_report else None,
        "summary": read_json(data)["summary"] if has_report else [],
    }


def _lines(result: dict[str, Any]) -> list[str]:
    if result["report"] is None:
        return [f"{asset}: done in {seconds:.1f} s" for asset, seconds in result["assets"].items()]
    return [*result["summary"], f"report: {result['report']}"]
