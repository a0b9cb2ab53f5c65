"""Whether disk and memory hold what the study will need, about so."""

import shutil
from collections.abc import Iterator
from pathlib import Path

from pipeline.artifacts.storage import StudyPaths, dataset_path, read_json
from pipeline.datasets.io.blocks import is_compressed
from pipeline.doctor.finding import Finding, Status, ok
from pipeline.study import Study

GIB = 2**30

_OF_RAW = 4
"""The study's folder holds about twice the raw log's bytes, and sorting events spills them once more
beside the old artifact that is still there."""

_UNPACKED = 8
_AN_IMPRESSION = 90
"""Bytes of an impression in the log's files, and in the database and the copy that replaces it."""

_PREPARATION = 2 * GIB
"""What reading and splitting take at most, however large the log (benchmarks/results/preprocessing.md)."""

_COPIES = 4
"""Of each weight: itself, its gradient and the optimiser's two means."""

_FLOAT = 4


def check_resources(study: Study, paths: StudyPaths) -> Iterator[Finding]:
    """Disk and memory."""
    yield check_capacity(
        "disk", free=shutil.disk_usage(paths.root).free, need=disk_bytes(study, paths)
    )
    available = available_memory(Path("/proc/meminfo"))
    if available is None:
        words = "how much is free is not known here; the study will take about "
        words += f"{_amount(memory_bytes(study, paths))}"
        yield Finding("memory", Status.WARNING, words, "look at your system's monitor")
    else:
        yield check_capacity("memory", free=available, need=memory_bytes(study, paths))


def check_capacity(what: str, *, free: int, need: int) -> Finding:
    """Whether what is free holds what is needed; with less than half as much again, look at it."""
    words = f"{_amount(free)} free; the study will take about {_amount(need)}"
    if free < need:
        remedy = "make room" if what == "disk" else "end other work, or use a larger machine"
        return Finding(what, Status.ERROR, words, remedy)
    if free < 1.5 * need:
        return Finding(what, Status.WARNING, f"{words}, which is close", f"keep an eye on {what}")
    return ok(what, words)


def disk_bytes(study: Study, paths: StudyPaths) -> int:
    """What the study's folder will take, old artifacts beside new ones."""
    traffic = study.experiment.planning.impressions_per_day * study.experiment.days
    raw = 0
    if study.experiment.variants is None:
        place = dataset_path(study, paths.root)
        files = place.rglob("*") if place.is_dir() else [place]
        raw = sum(
            file.stat().st_size
            * (_UNPACKED if is_compressed(file) or file.suffix == ".parquet" else 1)
            for file in files
            if file.is_file()
        )
    return _OF_RAW * raw + round(_AN_IMPRESSION * traffic)


def memory_bytes(study: Study, paths: StudyPaths) -> int:
    """The most that a step will take: preparing sessions, or training."""
    summary = paths.artifact("sessions", "summary.json")
    items = read_json(summary)["items"] if summary.exists() else 0
    weights = _COPIES * _FLOAT * items * study.model.hidden_size
    positions = study.training.batch_size * study.model.max_length
    # scores of all items and their gradient, where no items are sampled
    scores = 2 * _FLOAT * positions * items if study.training.negatives.all else 0
    return max(_PREPARATION, GIB + weights + scores)


def available_memory(file: Path) -> int | None:
    """Bytes that can be had without swapping, as Linux says; None elsewhere."""
    if not file.is_file():
        return None
    lines = file.read_text(encoding="ascii").splitlines()
    kib = next((line.split()[1] for line in lines if line.startswith("MemAvailable:")), None)
    return None if kib is None else int(kib) * 1024


def _amount(size: float) -> str:
    return f"{size / GIB:.1f} GiB"
