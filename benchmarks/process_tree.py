"""Run a command, and measure the time and memory of the whole tree of its processes."""

import os
import subprocess
import threading
import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_TICKS = os.sysconf("SC_CLK_TCK")
_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Usage:
    """What a command took.

    Attributes:
        status: Its exit status.
        seconds: Wall time.
        cpu_seconds: Processor time, of all processes that were seen.
        peak_gib: Largest sum of the processes' proportional set sizes, mapped files included.
        peak_private_gib: The same without mapped files.
        output: What it printed to stdout.
    """

    status: int
    seconds: float
    cpu_seconds: float
    peak_gib: float
    peak_private_gib: float
    output: str


class TreeMeter:
    """Samples the memory and processor time of a process and its descendants in a thread."""

    def __init__(self, root: int) -> None:
        self._root = root
        self._ended = threading.Event()
        self._cpu: dict[int, float] = {}
        self.peak_gib = 0.0
        self.peak_private_gib = 0.0
        self._thread = threading.Thread(target=self._sample_until_ended, daemon=True)

    def __enter__(self) -> "TreeMeter":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    @property
    def cpu_seconds(self) -> float:
        """Processor time of every process so far, as last seen."""
        return sum(self._cpu.values())

    def _sample_until_ended(self) -> None:
        while not self._ended.wait(_SECONDS):
            self.sample()

    def sample(self) -> None:
        """Take one sample."""
        total = private = 0
        for process in _tree(self._root):
            try:
                total_kib, private_kib = _memory(process)
                self._cpu[process] = _cpu_seconds(process)
            except (OSError, ValueError, IndexError):  # it has just ended
                continue
            total, private = total + total_kib, private + private_kib
        self.peak_gib = max(self.peak_gib, total / 2**20)
        self.peak_private_gib = max(self.peak_private_gib, private / 2**20)


def run_measured(
    command: list[str], *, folder: Path, log: Path, environment: Mapping[str, str] | None = None
) -> Usage:
    """Run a command in a folder; stderr goes to ``log``."""
    started = time.perf_counter()
    with log.open("a", encoding="utf-8") as stream:
        process = subprocess.Popen(  # noqa: S603 - a benchmark's own command
            command,
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=stream,
            text=True,
            env={**os.environ, **(environment or {})},
        )
        with TreeMeter(process.pid) as meter:
            output, _ = process.communicate()
    return Usage(
        status=process.returncode,
        seconds=time.perf_counter() - started,
        cpu_seconds=meter.cpu_seconds,
        peak_gib=meter.peak_gib,
        peak_private_gib=meter.peak_private_gib,
        output=output,
    )


def disk_gb(folder: Path) -> float:
    """Bytes that the files below a folder take, in GB."""
    files = (file.stat() for file in folder.rglob("*") if file.is_file())
    return sum({one.st_ino: one.st_blocks * 512 for one in files}.values()) / 1e9


def _tree(root: int) -> list[int]:
    """A process and its descendants."""
    children: dict[int, list[int]] = defaultdict(list)
    for entry in _PROC.iterdir():
        if entry.name.isdecimal():
            try:
                parent = int(_stat_fields(int(entry.name))[1])
            except (OSError, ValueError, IndexError):
                continue
            children[parent].append(int(entry.name))
    found = [root]
    for process in found:
        found += children[process]
    return found


def _stat_fields(process: int) -> list[str]:
    """The fields of ``stat`` behind the name, which may contain spaces."""
    return (_PROC / str(process) / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()


def _cpu_seconds(process: int) -> float:
    fields = _stat_fields(process)
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _memory(process: int) -> tuple[int, int]:
    """Proportional set size, and that of anonymous memory, in KiB."""
    sizes: dict[str, int] = {}
    text = (_PROC / str(process) / "smaps_rollup").read_text(encoding="utf-8")
    for line in text.splitlines()[1:]:
        name, value, *_ = line.split()
        sizes[name] = int(value)
    return sizes["Pss:"], sizes["Pss_Anon:"]
