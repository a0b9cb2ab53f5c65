"""``paretoscope study``: the chain, run by Dagster in a process of its own."""

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

import yaml
from orjson import dumps

from models.progress import progress_bar
from pipeline.artifacts.storage import REPORT, StudyPaths, find_project_root, read_json
from pipeline.cli.output import echo, print_error, print_json
from pipeline.core.asset_graph import ASSET_GRAPH, EVERYTHING
from pipeline.core.errors import StudyError
from pipeline.study import PARAMS_FILE, load_study

_LINE = re.compile(r" - (?P<level>[A-Z]+) - \S+ - [0-9a-f-]{36} - (?P<words>.*)$")
_OF_ASSET = re.compile(r"^(?P<asset>\w+) - (?P<words>.*)$")
_DONE = re.compile(r"^done in (?P<seconds>[\d.]+) s$")
_FAILURE = re.compile(r"^\S*\bFailure: (?P<words>.*)$")
_UNEXPLAINED_LINES = 40


@dataclass(slots=True)
class ChainRun:
    """What Dagster's lines have told so far.

    Attributes:
        now: What is being done, in words.
        seconds: Of each asset that is done.
        failures: The domain's own words on what went wrong.
        lines: The last lines, for what has no words.
    """

    now: str = "loading the asset graph"
    seconds: dict[str, float] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    _in_failure: bool = False

    def parse_line(self, line: str) -> None:
        """Take one more line."""
        self.lines = [*self.lines, line][-_UNEXPLAINED_LINES:]
        if found := _LINE.search(line):
            self._in_failure = False
            self._hear_event(found["words"])
        elif found := _FAILURE.match(line):
            self.failures.append(found["words"])
            self._in_failure = True
        elif self._in_failure and line and not line.startswith("Stack Trace"):
            self.failures[-1] += f"\n{line}"  # a message of several lines
        else:
            self._in_failure = False

    def _hear_event(self, words: str) -> None:
        found = _OF_ASSET.match(words)
        if found is None:
            return
        asset, words = found["asset"], found["words"]
        if done := _DONE.match(words):
            self.seconds[asset] = float(done["seconds"])
            self.now = f"{asset} is done"
        else:
            self.now = f"{asset}: {words}"


def study(*, select: str, overrides: list[tuple[str, str]], verbose: bool, json: bool) -> int:
    """Run the chain, or what is selected of it; returns Dagster's exit code."""
    root = find_project_root()
    changed = {key: _value(key, text) for key, text in overrides}
    paths = StudyPaths.of(load_study(root / PARAMS_FILE, changed), root)
    run, started = ChainRun(), time.perf_counter()
    status = _follow(_command(select, changed), root, run, select=select, verbose=verbose)
    if status and not verbose:
        print_error("study", "\n".join(dict.fromkeys(run.failures) or run.lines))
    result = _result(status, run, paths) | {"seconds": round(time.perf_counter() - started, 1)}
    if json:
        print_json(result)
    elif not status:
        for words in _words(result):
            echo(words)
    return status


def _value(key: str, text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        msg = f"--set {key}={text}: not a YAML value: {error}"
        raise StudyError(msg) from error


def _command(select: str, changed: dict[str, Any]) -> list[str]:
    command = [sys.executable, "-m", "dagster", "asset", "materialize", "--select", select]
    if changed:
        resource = {"study": {"config": {"overrides": changed}}}
        command += ["--config-json", dumps({"resources": resource}).decode()]
    return command


def environment(root: Path) -> dict[str, str]:
    """What Dagster needs to know, as ``make install`` has the virtual environment say it."""
    home = root / ".dagster"
    home.mkdir(exist_ok=True)
    known = {
        "DAGSTER_HOME": str(home),
        "DAGSTER_MODULE_NAME": "assets.definitions",
        "DVC_NO_ANALYTICS": "1",
        "GX_ANALYTICS_ENABLED": "false",
    }
    return known | os.environ | {"PYTHONUNBUFFERED": "1"}


def _follow(command: list[str], root: Path, run: ChainRun, *, select: str, verbose: bool) -> int:
    """Run Dagster and listen to it until it ends; returns its exit code."""
    process = subprocess.Popen(  # noqa: S603 - our own interpreter; the selection is one argument
        command,
        cwd=root,
        env=environment(root),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
    )
    assert process.stdout is not None, "it is piped"
    with process, _ended_with(process):
        lines = (line.rstrip("\n") for line in process.stdout)
        if verbose:
            for line in lines:
                sys.stderr.write(f"{line}\n")
                run.parse_line(line)
        else:
            _draw(lines, run, total=len(ASSET_GRAPH) if select == EVERYTHING else None)
    return process.returncode if process.returncode >= 0 else 128 - process.returncode


def _draw(lines: Iterable[str], run: ChainRun, *, total: int | None) -> None:
    with progress_bar(run.now) as tell:
        for line in lines:
            run.parse_line(line)
            tell(len(run.seconds), total, run.now)


@contextmanager
def _ended_with(process: "subprocess.Popen[str]") -> Iterator[None]:
    """End Dagster when this process is told to end; Ctrl-C reaches both by itself."""
    before = signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _result(status: int, run: ChainRun, paths: StudyPaths) -> dict[str, Any]:
    page, data = (paths.artifact(REPORT, name) for name in ("index.html", "report.json"))
    there = not status and "regression_report" in run.seconds
    return {
        "status": status,
        "study": paths.name,
        "assets": run.seconds,
        "failures": list(dict.fromkeys(run.failures)),
        "report": str(page.relative_to(paths.root)) if there else None,
        "summary": read_json(data)["summary"] if there else [],
    }


def _words(result: dict[str, Any]) -> list[str]:
    if result["report"] is None:
        return [f"{asset}: done in {seconds:.1f} s" for asset, seconds in result["assets"].items()]
    return [*result["summary"], f"the report: {result['report']}"]
