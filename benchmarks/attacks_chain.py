"""Attacks on the steps of a study: processes killed at random moments."""

import os
import shutil
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np
from forked_commands import Commands, Ended, commands_in
from outcome import Outcome
from small_chain import contents, finished_project

from pipeline.artifacts.storage import KEPT_MODELS
from pipeline.recommender.train import MODEL

KILLS = 20


def tracebacks(ended: Ended) -> int:
    """The number of tracebacks and leaks in the output of a process."""
    return ended.output.count("Traceback") + ended.output.count("leaked")


def kill(folder: Path, *, words: tuple[str, ...], removed: tuple[str, ...]) -> Outcome:
    """Kill -9 a step at random moments, then run it again.

    Args:
        folder: An empty folder.
        words: The command, as :meth:`Commands.start` takes it.
        removed: Its artifacts, which half of the runs find missing.
    """
    paths, rng = finished_project(folder / "project"), np.random.default_rng(0)
    wrong = unfinished = 0
    with commands_in(paths.root) as commands:
        whole = contents(paths.folder)
        started = time.perf_counter()
        assert commands.run(*words).status == 0
        seconds = time.perf_counter() - started
        assert contents(paths.folder) == whole
        for turn in range(KILLS):
            for name in removed if turn % 2 else ():
                remove(paths.artifact(name))
            killed = kill_one(commands, words, seconds * rng.uniform(0, 1))
            unfinished += killed.status == -signal.SIGKILL
            left = contents(paths.folder)
            hidden = {name for name in left if is_unfinished(name)}
            bad = [n for n in left.keys() - hidden if left[n] != whole.get(n, left[n])]
            again = commands.run(*words)
            wrong += len(bad) + tracebacks(killed) + tracebacks(again)
            if again.status:
                print(again.output)
            after = contents(paths.folder)
            diff = {n for n in after.keys() | whole.keys() if after.get(n) != whole.get(n)}
            if bad or diff:
                print(bad, diff)
            wrong += bool(again.status) + (after != whole)
    return Outcome(
        tried=f"kill -9 of {' '.join(words)} at a random moment, then again",
        times=KILLS,
        wrong=wrong,
        note=f"{unfinished} of {KILLS} killed before their end ({seconds:.1f} s)",
    )


def kill_one(commands: Commands, words: tuple[str, ...], delay: float) -> Ended:
    """Start a process and kill it after ``delay`` seconds, unless it has ended."""
    pid = commands.start(*words)
    time.sleep(delay)
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    return commands.end()


def remove(path: Path) -> None:
    """Remove a file or a folder."""
    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def is_unfinished(name: str) -> bool:
    """Whether a file is one of unfinished work: a hidden one, or the state that training goes on from."""
    hidden = [part for part in name.split("/") if part.startswith(".") and part != KEPT_MODELS]
    return bool(hidden) or name == f"{MODEL}.state.safetensors"


ATTACKS: dict[str, Callable[[Path], Outcome]] = {
    "kill-prepare": partial(kill, words=("until", "sessions"), removed=("events", "sessions")),
    "kill-train": partial(kill, words=("train",), removed=("conditioned_model",)),
    "kill-score": partial(
        kill, words=("step", "preference_scores"), removed=("preference_scores",)
    ),
    "kill-ingest": partial(kill, words=("ingest",), removed=("experiment.duckdb",)),
    "kill-report": partial(
        kill, words=("step", "regression_report"), removed=("report", "manifest.json")
    ),
}
"""The attacks on the steps of a study, by name."""
