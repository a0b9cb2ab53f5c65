"""Find the files of a log, and the table of each by its name.

``impressions…``, ``clicks…``, ``orders…`` and ``users…`` are named after their table, in any case; so
are the files of a folder with such a name. ``experiment.files`` names them by patterns. Any other file
has impressions, unless its name suggests another table: then it is an error.
"""

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from pipeline.artifacts.storage import StudyPaths, md5
from pipeline.core.errors import LogError
from pipeline.core.object_urls import local_copy
from pipeline.datasets.io.files import (
    COMPRESSIONS,
    check_all_read,
    decompressed_suffix,
    is_compressed,
    list_folder,
)
from pipeline.experiment.log.log_files import LogFile, LogFormat, LogTable
from pipeline.study import ExperimentConfig, LogFileNames

FORMATS = {
    ".parquet": LogFormat.PARQUET,
    ".pq": LogFormat.PARQUET,
    ".csv": LogFormat.CSV,
    ".tsv": LogFormat.CSV,
    ".jsonl": LogFormat.JSON,
    ".ndjson": LogFormat.JSON,
    ".json": LogFormat.JSON,
}
"""Format by suffix, in lower case."""

TRUTH = "truth.json"
"""The ground truth of a simulated experiment, which is stored with its log."""

_TABLES = (LogTable.IMPRESSIONS, LogTable.CLICKS, LogTable.ORDERS, LogTable.USERS)
_SUGGESTIVE = re.compile(
    "click|order|purchase|transaction|conversion|checkout|user|customer|visitor", re.IGNORECASE
)
_IMPRESSIVE = re.compile("impression|shown|view", re.IGNORECASE)

_NAMES = (
    "A file is named after its table: clicks…, orders… and users… (or a folder of that name), any "
    "other has impressions. Rename it, or say which table it has, such as experiment.files: "
    "{clicks: 'click_events_*.csv'}"
)
_READ = (
    (
        f"The files of a log are those that end in {', '.join(FORMATS)}, text files also compressed "
        f"({', '.join(COMPRESSIONS)}); subfolders are read with experiment.subfolders: true. Convert, move "
        "or remove the others, or name them in experiment.files: {{ignored: '*.xlsx'}}"
    )
    .replace("{{", "{")
    .replace("}}", "}")
)


@dataclass(frozen=True, slots=True)
class LogFolder:
    """The files of a log, sorted by name, and the paths of those that are not read."""

    files: tuple[LogFile, ...]
    ignored: tuple[str, ...] = ()

    def md5s(self) -> dict[str, str]:
        """The md5 of each file."""
        return {file.source: file_md5(file) for file in self.files}


def log_location(section: ExperimentConfig, paths: StudyPaths) -> Path:
    """The folder (or single file) of the log: ``experiment.log_path``, or the simulator's."""
    if section.log_path is not None:
        return paths.root / local_copy(section.log_path)
    return paths.require("experiment_log_files")


def study_log(section: ExperimentConfig, paths: StudyPaths) -> LogFolder:
    """The log files of a study; raises as :func:`log_files` does."""
    return log_files(log_location(section, paths), section.files, subfolders=section.subfolders)


def log_files(
    location: Path, names: LogFileNames | None = None, *, subfolders: bool = False
) -> LogFolder:
    """The log files in a folder, or a single file.

    Raises:
        LogError: if there is none, or the table of one is not clear.
        DataError: if a file that looks like data would not be read, or cannot be.
    """
    names = names or LogFileNames()
    if not location.exists():
        msg = f"the log {location} does not exist; set experiment.log_path to its folder"
        raise LogError(msg)
    if location.is_file():
        return LogFolder((_log_file(location, location.name, names),))
    chosen: list[LogFile] = []
    unread: list[Path] = []
    for path in list_folder(location):
        source = path.relative_to(location).as_posix()
        if _is_left_out(path, source, names):
            unread.append(path)
        elif (subfolders or path.parent == location) and _format_of(path) is not None:
            chosen.append(_log_file(path, source, names))
    _check_patterns(chosen, names, location)
    others = check_all_read(location, [*unread, *(file.path for file in chosen)], _READ)
    if not chosen:
        msg = (
            f"no log file in {location}. {_READ}. Set experiment.log_path to the folder of the log"
        )
        raise LogError(msg)
    ignored = sorted(path.relative_to(location).as_posix() for path in (*unread, *others))
    return LogFolder(tuple(sorted(chosen, key=lambda file: file.source)), tuple(ignored))


def _check_patterns(files: Sequence[LogFile], names: LogFileNames, location: Path) -> None:
    """Check that every table that ``experiment.files`` names has a file."""
    tables = {file.table.value for file in files}
    for table, pattern in asdict(names).items():
        if pattern and table != "ignored" and table not in tables:
            found = ", ".join(sorted(file.source for file in files)) or "none"
            msg = (
                f"experiment.files.{table} = {pattern!r} matches no file in {location}; found {found}. "
                "Correct the pattern, or remove it until there is such a file"
            )
            raise LogError(msg)


def file_md5(file: LogFile) -> str:
    """The md5 of a log file; raises LogError if it cannot be read."""
    try:
        return md5(file.path)
    except OSError as error:
        msg = (
            f"{file.source} cannot be read: {error.strerror}; restore it, or change its permissions"
        )
        raise LogError(msg) from error


def _log_file(path: Path, source: str, names: LogFileNames) -> LogFile:
    file_format = _format_of(path)
    if file_format is None:
        msg = f"{source}: unknown suffix. {_READ}"
        raise LogError(msg)
    return LogFile(path=path, source=source, table=_table_of(source, names), format=file_format)


def _format_of(path: Path) -> LogFormat | None:
    found = FORMATS.get(decompressed_suffix(path))
    return None if found is LogFormat.PARQUET and is_compressed(path) else found


def _is_left_out(path: Path, source: str, names: LogFileNames) -> bool:
    own = path.name == TRUTH or path.name.lower().startswith(LogTable.CONFIRMATIONS)
    return own or (names.ignored is not None and _matches(source, names.ignored))


def _table_of(source: str, names: LogFileNames) -> LogTable:
    patterns = {table: pattern for table, pattern in asdict(names).items() if pattern}
    named = [table for table, pattern in patterns.items() if _matches(source, pattern)]
    if len(named) > 1:
        keys = " and ".join(f"experiment.files.{table}: {patterns[table]!r}" for table in named)
        msg = f"{source} matches {keys}; a file has one table"
        raise LogError(msg)
    if named:
        return LogTable(named[0])
    for part in reversed(PurePosixPath(source).parts):
        for table in _TABLES:
            if part.lower().startswith(table):
                return table
    name = PurePosixPath(source).name
    if (hint := _SUGGESTIVE.search(name)) and not _IMPRESSIVE.search(name):
        msg = f"{source}: its table is not clear: {hint[0]!r} in its name, but no table's name first. {_NAMES}"
        raise LogError(msg)
    return LogTable.IMPRESSIONS


def _matches(source: str, pattern: str) -> bool:
    """Whether a pattern matches a path or its last part, in any case."""
    low = pattern.lower()
    return any(
        text == low or fnmatchcase(text, low)
        for text in (source.lower(), PurePosixPath(source).name.lower())
    )
