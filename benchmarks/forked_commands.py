"""Processes of the product that begin at once: forks of a process that has imported everything.

    python benchmarks/forked_commands.py    # commands on standard input, one JSON object per line

Imports take four of the five seconds of a command on a small study; an attack of hundreds of
processes would do little else. :class:`Commands` is the other end of the pipe.
"""

import gc
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from pipeline.artifacts.storage import StudyPaths
from pipeline.cli import main
from pipeline.cli.dispatch import print_error
from pipeline.core.errors import USER_ERRORS
from pipeline.steps.run import run, run_step
from pipeline.study import PARAMS_FILE, load_study

_SELF = Path(__file__)
_LAZY = (
    "great_expectations.expectations",
    "matplotlib.backends.backend_svg",
    "pipeline.cli.data",
    "pipeline.cli.experiment",
    "pipeline.cli.fit",
    "pipeline.cli.model",
    "pipeline.cli.past_tests",
    "pipeline.cli.results",
    "torch._dynamo",
)
"""Modules that commands import when they run."""


@dataclass(frozen=True, slots=True)
class Ended:
    """A process that has ended.

    Attributes:
        status: Its exit status; negative for the signal that ended it.
        output: What it printed.
    """

    status: int
    output: str


class Commands:
    """Starts processes in a project.

    Args:
        root: The project.
        *before: A command that starts the processes' parent.
        name: Of the file next to the project with the output of a process.
    """

    def __init__(self, root: Path, *before: str, name: str = "output") -> None:
        self.root = root
        self._output = root.with_name(f"{root.name}.{name}")
        self._parent = subprocess.Popen(  # noqa: S603 - this file
            [*before, sys.executable, str(_SELF)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
            env={**os.environ, "OMP_NUM_THREADS": "1", "GX_ANALYTICS_ENABLED": "false"},
        )
        self._answer()

    @property
    def files(self) -> Path:
        """The root of the file system that the processes see."""
        return Path(f"/proc/{self._parent.pid}/root")

    def start(self, *words: str) -> int:
        """Start a process; returns its id. One at a time.

        Args:
            *words: A command and its arguments, or ``until``/``step`` and an asset.
        """
        request = {"root": str(self.root), "words": words, "output": str(self._output)}
        assert self._parent.stdin is not None
        self._parent.stdin.write(json.dumps(request) + "\n")
        return int(self._answer())

    def end(self) -> Ended:
        """Wait for the process."""
        status = int(self._answer())
        return Ended(status, (self.files / self._output.relative_to("/")).read_text("utf-8"))

    def run(self, *words: str) -> Ended:
        """Run a process to its end."""
        self.start(*words)
        return self.end()

    def remount_read_only(self, mounted: Path) -> None:
        """Make a file system that the parent has mounted read-only."""
        inside = ["nsenter", "-U", "-m", "-t", str(self._parent.pid)]
        remount = ["mount", "-o", "remount,ro", str(mounted)]
        subprocess.run([*inside, *remount], check=True)  # noqa: S603 - as written here

    def close(self) -> None:
        """End the parent."""
        assert self._parent.stdin is not None
        assert self._parent.stdout is not None
        self._parent.stdin.close()
        self._parent.stdout.close()
        self._parent.wait()

    def _answer(self) -> str:
        assert self._parent.stdout is not None
        return self._parent.stdout.readline()


@contextmanager
def commands_in(root: Path, *before: str, name: str = "output") -> Iterator[Commands]:
    """Commands in a project, ended at the end."""
    commands = Commands(root, *before, name=name)
    try:
        yield commands
    finally:
        commands.close()


def serve() -> None:
    """Fork a process for every line of standard input; print its id, then its status."""
    for name in _LAZY:
        import_module(name)
    gc.freeze()  # the children copy no memory
    print("ready", flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        if (pid := os.fork()) == 0:
            status = work(Path(request["root"]), request["words"], Path(request["output"]))
            sys.stdout.flush()
            os._exit(
                status
            )  # the end of an interpreter that has imported everything takes a second
        print(pid, flush=True)
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def work(root: Path, words: list[str], output: Path) -> int:
    """Run a command in this process, which is new."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(root)
    descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    if words[0] not in {"until", "step"}:
        return main(words)
    steps = {"until": run, "step": lambda study, paths, asset: run_step(asset, study, paths)}
    try:
        study = load_study(root / PARAMS_FILE)
        steps[words[0]](study, StudyPaths.of(study, root), words[1])
    except USER_ERRORS as error:
        print_error(words[1], str(error))
        return 1
    return 0


if __name__ == "__main__":
    serve()
