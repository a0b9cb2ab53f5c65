"""Runs, each in a process of its own; what finished is kept, so that a stopped benchmark goes on."""

import argparse
import json
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from machine import run_alone

from equal_search import neighbours, ours
from equal_search.logs import PeerLog
from equal_search.programs import PROGRAMS, Setting
from equal_search.ranks import (
    Accuracy,
    accuracy_of_file,
    prefixes_of,
    ranks_of_scores,
    targets_of,
)
from models.scoring.target_scores import score_targets
from models.tokens import SessionTokens

CHILD = Path(__file__).parent / "children" / "peer.py"
KINDS = {"item-kNN": neighbours.ItemKNN, "V-SKNN": neighbours.VSKNN}


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What is run.

    Attributes:
        log: Name of the log.
        program: Name of the program.
        setting: Its settings, the searched one among them.
        seed: Seed of everything random.
        seconds: Training time, in processor seconds of one thread.
    """

    log: str
    program: str
    setting: Setting
    seed: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a run found.

    Attributes:
        validation: By which the setting is chosen.
        test: What is reported.
        seconds: Processor seconds of training.
        details: Epochs or steps, and versions.
    """

    validation: Accuracy
    test: Accuracy
    seconds: float
    details: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Result":
        """The inverse of ``asdict``."""
        accuracies = {name: Accuracy(**values.pop(name)) for name in ("validation", "test")}
        return cls(**accuracies, **values)


class Store:
    """Finished runs, one line of JSON each."""

    def __init__(self, file: Path) -> None:
        self._file, self._lock = file, threading.Lock()
        self._results: dict[str, Result] = {}
        text = file.read_text(encoding="utf-8") if file.exists() else ""
        # a benchmark that is stopped while it writes leaves a line without its end
        for line in text.splitlines(keepends=True):
            if line.endswith("\n"):
                values = json.loads(line)
                self._results[_key(Run(**values["run"]))] = Result.from_json(values["result"])
        if text and not text.endswith("\n"):
            file.write_text(text[: text.rfind("\n") + 1], encoding="utf-8")

    def find(self, run: Run) -> Result | None:
        """The result of a finished run."""
        return self._results.get(_key(run))

    def get(self, run: Run, execute: Callable[[Run], Result]) -> Result:
        """The result of a run, which is executed if it is not finished."""
        found = self.find(run)
        if found is None:
            found = execute(run)
            line = json.dumps({"run": asdict(run), "result": asdict(found)})
            with self._lock, self._file.open("a", encoding="utf-8") as stream:
                stream.write(line + "\n")
            self._results[_key(run)] = found
            print(time.strftime("%H:%M:%S"), line, file=sys.stderr, flush=True)
        return found


def _key(run: Run) -> str:
    return json.dumps(asdict(run), sort_keys=True)


def execute(run: Run, log: PeerLog, arguments: argparse.Namespace) -> Result:
    """Run in a process of its own, and rank all targets."""
    program = PROGRAMS[run.program]
    if program.is_ours or not program.is_trained:
        return execute_ours(run, arguments)
    output = log.file.with_name(f"vectors-{threading.get_ident()}.npz")
    task = {"log": str(log.file), "output": str(output), "program": run.program}
    task |= {"setting": run.setting, "seed": run.seed, "seconds": run.seconds}
    task["checkout"] = program.checkout and str(getattr(arguments, program.checkout).resolve())
    command = [str(arguments.peers_python), str(CHILD), json.dumps(task)]
    found, _ = run_alone(command, OMP_NUM_THREADS="1")
    seconds = found.pop("seconds")
    accuracies = {
        name: accuracy_of_file(output, name, getattr(log.log, name))
        for name in ("validation", "test")
    }
    output.unlink()
    return Result(**accuracies, seconds=seconds, details=found)


def execute_ours(run: Run, arguments: argparse.Namespace) -> Result:
    """Run what needs the project's environment, in a process of its own."""
    command = [sys.executable, str(arguments.script), "--work", str(arguments.work)]
    command += ["--child", json.dumps(asdict(run))]
    found, _ = run_alone(command, OMP_NUM_THREADS="1")
    return Result.from_json(found)


def run_here(run: Run, log: PeerLog) -> Result:
    """A run of ours, or of a method without training, in this process."""
    if PROGRAMS[run.program].is_ours:
        return _run_ours(run, log)
    return _run_neighbours(run, log)


def _run_ours(run: Run, log: PeerLog) -> Result:
    setting = dict(run.setting)
    alone = setting.pop("clicks_alone", False)
    overrides = {"training.learning_rate": setting.pop("learning_rate"), **setting}
    model, config = ours.configuration(log, overrides, clicks_alone=alone)
    trained = ours.train_for(log, model, config, seconds=run.seconds, seed=run.seed)

    def accuracy(tokens: SessionTokens) -> Accuracy:
        (scores,) = score_targets(trained.model, tokens, ours.CLICKS, with_click_loss=False)
        return Accuracy.of(scores.rank, tokens)

    return Result(
        validation=accuracy(log.log.validation),
        test=accuracy(log.log.test),
        seconds=trained.seconds,
        details={"epochs": trained.epochs},
    )


def _run_neighbours(run: Run, log: PeerLog) -> Result:
    started = time.process_time()
    method = KINDS[run.program].fit(log.log.train, log.log.n_items, **run.setting)
    seconds = time.process_time() - started

    def accuracy(tokens: SessionTokens) -> Accuracy:
        blocks = neighbours.score_blocks(method, prefixes_of(tokens))
        return Accuracy.of(ranks_of_scores(blocks, targets_of(tokens)), tokens)

    return Result(
        validation=accuracy(log.log.validation), test=accuracy(log.log.test), seconds=seconds
    )
