"""Checks whether disk and memory suffice for the study; estimates are rough."""

import shutil
from collections.abc import Iterator
from pathlib import Path

from pipeline.artifacts.raw_data import dataset_path
from pipeline.artifacts.storage import StudyPaths, read_json
from pipeline.datasets.io.files import is_compressed
from pipeline.doctor.finding import Finding, Status, ok
from pipeline.study import Study

GIB = 2**30

_STUDY_TO_RAW = 4
"""A study takes about twice the bytes of the raw log; sorting events spills as much again while the
old artifact still exists."""

_COMPRESSION_RATIO = 8
_BYTES_PER_IMPRESSION = 90
"""In the log's files, in the database, and in the copy that replaces it."""

_PREPARATION = 2 * GIB
"""Peak memory of reading and splitting, for a log of any size (benchmarks/results/preprocessing.md)."""

_COPIES = 4
"""Arrays per weight: the weight, its gradient and two moments of the optimizer."""

_FLOAT = 4


def check_resources(study: Study, paths: StudyPaths) -> Iterator[Finding]:
    """Check disk and memory."""
    free = shutil.disk_usage(paths.root).free
    yield check_capacity("disk", free=free, need=disk_bytes(study, paths))
    need, available = memory_bytes(study, paths), available_memory(Path("/proc/meminfo"))
    if available is None:
        message = f"free memory is unknown on this system; the study needs about {_gib(need)}"
        yield Finding("memory", Status.WARNING, message, "check the system monitor")
    else:
        yield check_capacity("memory", free=available, need=need)


def check_capacity(resource: str, *, free: int, need: int) -> Finding:
    """Compare free with required bytes; less than 1.5 times the requirement is a warning."""
    message = f"{_gib(free)} free; the study needs about {_gib(need)}"
    if free < need:
        fix = "free disk space" if resource == "disk" else "stop other processes, or add memory"
        return Finding(resource, Status.ERROR, message, fix)
    if free < 1.5 * need:
        return Finding(resource, Status.WARNING, f"{message}, which is close", f"watch {resource}")
    return ok(resource, message)


def disk_bytes(study: Study, paths: StudyPaths) -> int:
    """Bytes that the study's folder will take, including old artifacts during replacement."""
    traffic = study.experiment.planning.impressions_per_day * study.experiment.days
    raw = 0
    if study.trains:
        path = dataset_path(study, paths.root)
        files = path.rglob("*") if path.is_dir() else [path]
        raw = sum(
            file.stat().st_size
            * (
                _COMPRESSION_RATIO
                if is_compressed(file) or file.suffix.lower() == ".parquet"
                else 1
            )
            for file in files
            if file.is_file()
        )
    return _STUDY_TO_RAW * raw + round(_BYTES_PER_IMPRESSION * traffic)


def memory_bytes(study: Study, paths: StudyPaths) -> int:
    """Peak memory of the study: that of preparing sessions or of training."""
    summary = paths.artifact("sessions", "summary.json")
    items = read_json(summary)["items"] if summary.exists() else 0
    weights = _COPIES * _FLOAT * items * study.model.hidden_size
    positions = study.training.batch_size * study.model.max_length
    # logits of all items and their gradient, if negatives are not sampled
    scores = 2 * _FLOAT * positions * items if study.training.negatives.all else 0
    return max(_PREPARATION, GIB + weights + scores)


def available_memory(file: Path) -> int | None:
    """Bytes available without swapping, from Linux' ``/proc/meminfo``; None on other systems."""
    if not file.is_file():
        return None
    lines = file.read_text(encoding="ascii").splitlines()
    kib = next((line.split()[1] for line in lines if line.startswith("MemAvailable:")), None)
    return None if kib is None else int(kib) * 1024


def _gib(size: float) -> str:
    return f"{size / GIB:.1f} GiB"
