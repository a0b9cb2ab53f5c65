"""Attacks on the steps of a study: two processes at once, a full disk, a read-only disk."""

import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from shutil import copytree

import numpy as np
from attacks_chain import is_unfinished, remove, tracebacks
from forked_commands import Commands, Ended, commands_in
from outcome import Outcome
from small_chain import contents, finished_project

TURNS = 20
STEPS = {
    "prepare": (("until", "sessions"), ("events", "sessions")),
    "train": (("train",), ("conditioned_model",)),
    "ingest": (("ingest",), ("experiment.duckdb",)),
    "report": (("step", "regression_report"), ("report", "manifest.json")),
}
"""By name: the command, and its artifacts."""

DISK_MIB = 64
MOST_LEFT = 100_000
"""Bytes of a full disk that may still be free."""


def two_processes(folder: Path) -> Outcome:
    """Two processes of the same command at once, some milliseconds apart."""
    paths, rng = finished_project(folder / "project"), np.random.default_rng(0)
    whole = contents(paths.folder)
    wrong = waited = refused = 0
    with ExitStack() as stack:
        pair = [
            stack.enter_context(commands_in(paths.root, name=name)) for name in ("first", "second")
        ]
        for turn in range(TURNS):
            words, artifacts = list(STEPS.values())[turn % len(STEPS)]
            for name in artifacts if turn % 2 else ():
                remove(paths.artifact(name))
            pair[0].start(*words)
            time.sleep(rng.uniform(0, 0.2))
            pair[1].start(*words)
            both = [commands.end() for commands in pair]
            waited += all(one.status == 0 for one in both)
            locked = [one for one in both if one.status and "process" in one.output]
            refused += len(locked)
            wrong += sum(bool(one.status) for one in both) - len(locked)
            wrong += sum(map(tracebacks, both)) + (contents(paths.folder) != whole)
    return Outcome(
        tried="two processes of one command at once (prepare, train, ingest, report, in turn)",
        times=TURNS,
        wrong=wrong,
        note=f"in {waited} the second waited for the first, in {refused} it named the process that "
        "writes; artifacts as after one run",
    )


def full_disk(folder: Path, *, step: str) -> Outcome:
    """A step on a disk without space, then again when there is some."""
    words, artifacts = STEPS[step]
    root, rng = folder / "project", np.random.default_rng(0)
    wrong = refused = 0
    with _on_tmpfs(root, f"size={DISK_MIB}m") as (commands, study):
        whole = contents(study)
        for _ in range(TURNS):
            for name in artifacts:
                remove(study / name)
            before = contents(study)
            filler = study.parent / "filler"
            _fill(filler, int(rng.integers(MOST_LEFT)))
            ended = commands.run(*words)
            refused += ended.status == 1 and "No space left on device" in ended.output
            wrong += ended.status not in {0, 1} or tracebacks(ended)
            wrong += ended.status == 0 and contents(study) != whole
            wrong += ended.status == 1 and _shown(contents(study)) != before
            filler.unlink()
            again = commands.run(*words)
            wrong += again.status != 0 or tracebacks(again) or contents(study) != whole
    return Outcome(
        tried=f"full disk (a tmpfs of {DISK_MIB} MiB) under `{' '.join(words)}`, then freed",
        times=TURNS,
        wrong=wrong,
        note=f"{refused} refused in one line with the reason; nothing half-written, and the same "
        "artifacts when there was space",
    )


def read_only(folder: Path) -> Outcome:
    """Every step on a study whose disk is read-only."""
    wrong = 0
    for name, (words, artifacts) in STEPS.items():
        with _on_tmpfs(folder / name, f"size={DISK_MIB}m") as (commands, study):
            for artifact in artifacts:
                remove(study / artifact)
            before = contents(study)
            commands.remount_read_only(folder / name / "data/studies")
            ended = commands.run(*words)
            is_named = ended.status == 1 and "Read-only file system" in ended.output
            wrong += (not is_named) + _too_long(ended) + tracebacks(ended)
            wrong += contents(study) != before
    return Outcome(
        tried="prepare, train, ingest and report with the studies on a read-only disk",
        times=len(STEPS),
        wrong=wrong,
        note="one line names the folder and the reason; nothing is changed",
    )


def _on_tmpfs(root: Path, options: str) -> "_Tmpfs":
    return _Tmpfs(root, options)


class _Tmpfs:
    """A finished project whose studies are on a file system of their own, and its commands."""

    def __init__(self, root: Path, options: str) -> None:
        self._root, self._options = root, options

    def __enter__(self) -> tuple[Commands, Path]:
        paths = finished_project(self._root)
        studies = paths.folder.parent
        kept = copytree(studies, self._root.with_name(f"{self._root.name}.kept"))
        mount = f'mount -t tmpfs -o {self._options} tmpfs {studies} && exec "$@"'
        self._commands = Commands(self._root, "unshare", "-rm", "sh", "-c", mount, "sh")
        inside = self._commands.files / studies.relative_to("/")
        copytree(kept, inside, dirs_exist_ok=True)
        return self._commands, inside / paths.folder.name

    def __exit__(self, *_: object) -> None:
        self._commands.close()


def _fill(filler: Path, left: int) -> None:
    """Write a file until only ``left`` bytes are free."""
    with filler.open("wb", buffering=0) as stream:
        written = 0
        while True:
            try:
                written += stream.write(b"\0" * (1 << 16))
            except OSError:
                break
        stream.truncate(max(written - left, 0))


def _shown(files: dict[str, str]) -> dict[str, str]:
    return {name: digest for name, digest in files.items() if not is_unfinished(name)}


def _too_long(ended: Ended) -> bool:
    return len([line for line in ended.output.splitlines() if line.strip()]) > 3


ATTACKS: dict[str, Callable[[Path], Outcome]] = {
    "two-processes": two_processes,
    **{
        f"full-disk-{step}": partial(full_disk, step=step) for step in ("ingest", "train", "report")
    },
    "read-only": read_only,
}
"""The attacks, by name."""
