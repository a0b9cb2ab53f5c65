"""A study of seconds, and what its artifacts contain."""

import hashlib
import re
import shutil
import tempfile
from functools import cache
from pathlib import Path

import duckdb
import yaml

from pipeline.artifacts.storage import DATABASE, StudyPaths
from pipeline.steps.run import run
from pipeline.study import PARAMS_FILE, load_study
from pipeline.synthetic.generate_log import generate_log

ROOT = Path(__file__).parents[1]

SMALL = {
    "synthetic": {"items": 200, "categories": 8, "users": 300, "sessions": 3000, "days": 12},
    "sessions": {"test_days": 3.0, "validation_days": 2.0},
    "model": {"hidden_size": 16, "layers": 1, "heads": 2, "max_length": 20},
    "training": {"epochs": 2, "negatives": {"uniform": 64}, "threads": 1, "save_every": 10},
    "evaluation": {"bootstrap": 50, "preferences": 3},
    "experiment": {"groups": 3, "users": 600, "days": 7, "guardrails": {}},
    "simulator": {"truth_users": 100},
}
"""What makes the default study one of seconds."""


def write_project(root: Path) -> StudyPaths:
    """Write ``params.yaml`` and the raw data of the study."""
    values = yaml.safe_load((ROOT / PARAMS_FILE).read_text("utf-8"))
    for section, changes in SMALL.items():
        values[section] |= changes
    root.mkdir()
    (root / PARAMS_FILE).write_text(yaml.safe_dump(values), encoding="utf-8")
    study = load_study(root / PARAMS_FILE)
    generate_log(study.synthetic, root / study.dataset.path)
    return StudyPaths.of(study, root)


@cache
def _finished_template() -> tempfile.TemporaryDirectory[str]:
    folder = tempfile.TemporaryDirectory()
    paths = write_project(Path(folder.name) / "project")
    run(load_study(paths.root / PARAMS_FILE), paths)
    return folder


def finished_project(root: Path) -> StudyPaths:
    """Write the project with its finished study, which is computed once."""
    template = Path(_finished_template().name) / "project"
    shutil.copytree(template, root)
    return StudyPaths.of(load_study(root / PARAMS_FILE), root)


def contents(folder: Path) -> dict[str, str]:
    """A digest of every file in a study's folder by its path, without the lock.

    Of the database it is that of its rows: DuckDB's threads write its blocks in any order. So the
    manifest is compared without its md5.
    """
    return {
        file.relative_to(folder).as_posix(): _digest(file)
        for file in sorted(folder.rglob("*"))
        if not file.is_dir() and file.name != ".lock"
    }


def _digest(file: Path) -> str:
    if file.name == DATABASE:
        return _rows_digest(file)
    content = file.read_bytes()
    if file.name == "manifest.json":
        content = re.sub(rb'("experiment\.duckdb": )"\w+"', rb"\1", content)
    return hashlib.sha256(content).hexdigest()


def _rows_digest(database: Path) -> str:
    digest = hashlib.sha256()
    with duckdb.connect(str(database), read_only=True) as connection:
        tables = connection.execute(
            "SELECT table_name FROM information_schema.tables ORDER BY 1"
        ).fetchall()
        for (table,) in tables:
            rows = connection.execute(f'SELECT * FROM "{table}" ORDER BY ALL').fetchall()  # noqa: S608 - our own names
            digest.update(f"{table} {rows}".encode())
    return digest.hexdigest()
