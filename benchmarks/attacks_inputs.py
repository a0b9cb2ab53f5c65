"""Attacks by files: malformed inputs of every format, and hostile ids from the raw log to every output."""

import hashlib
import os
import shutil
import signal
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Timer
from typing import Any

import hostile_ids
import malformed_inputs as inputs
import yaml
from forked_commands import Ended, commands_in
from malformed_inputs import CASES, Case
from outcome import Outcome

from paretoscope import open_study
from pipeline.study import PARAMS_FILE

ROOT = Path(__file__).parents[1]
SMALL: dict[str, dict[str, Any]] = {
    "study": {"name": "shop"},
    "dataset": {
        "format": "generic",
        "path": "raw",
        "generic": {
            "session": "visit",
            "item": "product",
            "time": "at",
            "price": "price",
            "event_type": "action",
            "event_types": {"view": "click", "buy": "order"},
        },
    },
    "sessions": {"test_days": 3.0, "validation_days": 2.0, "min_item_support": 1},
    "model": {"hidden_size": 16, "layers": 1, "heads": 2, "max_length": 20},
    "training": {"epochs": 1, "negatives": {"uniform": 16}, "threads": 1},
    "evaluation": {"preferences": 5, "bootstrap": 50, "segments": []},
    "experiment": {"groups": 3, "source": "held-out-replay", "list_length": 5, "guardrails": {}},
}
"""What makes a study one of seconds."""

AGENCY: dict[str, dict[str, Any]] = {
    "study": {"name": "agency"},
    "experiment": {"source": "files", "log_path": "log", "variants": "variants.csv", "columns": {}},
    "regression": {
        "hypotheses": [{"id": "H1", "metric": "auc", "kpi": "ctr", "direction": "positive"}]
    },
}
"""What makes it one of variants with a log of its own."""

MOST_LINES, MOST_CHARACTERS, MOST_SECONDS = 12, 2_500, 60


@dataclass(frozen=True, slots=True)
class Reader:
    """How a kind of file is read: its path (``*``: the study's artifacts), project and command."""

    file: str
    project: str
    command: tuple[str, ...]


READERS = {
    "raw CSV": Reader("raw/events.csv", "shop", ("step", "events")),
    "raw JSON lines": Reader("raw/events.jsonl", "shop", ("step", "events")),
    "raw parquet": Reader("raw/events.parquet", "shop", ("step", "events")),
    "OTTO": Reader("raw/events.jsonl", "shop", ("step", "events")),
    "log": Reader("log/impressions.csv", "agency", ("ingest",)),
    "counts": Reader("counts.csv", "shop", ("fit", "counts.csv")),
    "variants": Reader("variants.csv", "agency", ("step", "traffic_plan")),
    "attributes": Reader("items.csv", "shop", ("step", "sessions")),
    "params": Reader(PARAMS_FILE, "shop", ("step", "events")),
    "checkpoint": Reader("*/conditioned_model/model.json", "shop", ("step", "preference_scores")),
    "weights": Reader(
        "*/conditioned_model/weights.safetensors", "shop", ("step", "preference_scores")
    ),
    "report": Reader(
        "*/report/report.json", "shop", ("meta-analysis", "*/report/report.json", "other.json")
    ),
    "scores": Reader(
        "*/preference_scores/p00/targets.parquet", "shop", ("step", "offline_metrics")
    ),
    "plan": Reader("*/traffic_plan/traffic_plan.json", "shop", ("plan",)),
}


def write_params(folder: Path, changes: Mapping[str, Any]) -> Path:
    """Write the repository's params.yaml with some changes to a folder."""
    folder.mkdir(parents=True)
    values = yaml.safe_load((ROOT / PARAMS_FILE).read_text("utf-8"))
    for section, keys in changes.items():
        values[section].update(keys)
    (folder / PARAMS_FILE).write_text(yaml.safe_dump(values, sort_keys=False), "utf-8")
    return folder


def finished_projects(folder: Path) -> None:
    """A study of a shop up to its report, and one of variants up to its KPIs."""
    shop = write_params(folder / "shop", SMALL)
    (shop / "raw").mkdir()
    (shop / "raw/events.csv").write_bytes(inputs.csv_of(inputs.RAW))
    open_study(shop).run()
    report = (shop / "data/studies/shop/report/report.json").read_text("utf-8")
    (shop / "other.json").write_text(report.replace('"pareto-1"', '"pareto-2"'), "utf-8")
    (shop / "counts.csv").write_text(inputs.COUNTS)
    agency = write_params(folder / "agency", AGENCY)
    (agency / "log").mkdir()
    (agency / "log/impressions.csv").write_bytes(inputs.csv_of(inputs.LOG))
    (agency / "variants.csv").write_text(inputs.VARIANTS)
    open_study(agency).run(until="group_kpis")


def prepare(case: Case, base: Path, root: Path) -> list[str]:
    """A copy of the case's project with its file; returns the command."""
    reader = READERS[case.kind]
    shutil.copytree(base / reader.project, root)
    artifacts = f"data/studies/{reader.project}"
    file = root / (case.file or reader.file).replace("*", artifacts)
    changed = dict(case.params)
    if case.kind == "params":
        before = b"" if case.name == "binary" else file.read_bytes()
        file.write_bytes(before + case.content)
    else:
        if file.parent.name in {"raw", "log"}:
            shutil.rmtree(file.parent)
            file.parent.mkdir()
        file.write_bytes(case.content)
    if case.kind == "attributes":
        changed["dataset.item_attributes"] = "items.csv"
    if changed:
        set_keys(root / PARAMS_FILE, changed)
    return [word.replace("*", artifacts) for word in reader.command]


def set_keys(file: Path, changed: Mapping[str, Any]) -> None:
    """Change values of a params.yaml by dotted key."""
    values = yaml.safe_load(file.read_text("utf-8"))
    for key, value in changed.items():
        *sections, name = key.split(".")
        target = values
        for section in sections:
            target = target[section]
        target[name] = value
    file.write_text(yaml.safe_dump(values, sort_keys=False), "utf-8")


def artifacts_of(root: Path) -> dict[str, str]:
    """The md5 of every finished artifact."""
    return {
        str(file.relative_to(root)): hashlib.md5(
            file.read_bytes(), usedforsecurity=False
        ).hexdigest()
        for file in sorted((root / "data").rglob("*"))
        if file.is_file() and file.name not in {".lock", "refused_rows.jsonl"}
    }


def faults_of(case: Case, ended: Ended, *, is_changed: bool) -> list[str]:
    """What is wrong with an answer; nothing if it is right."""
    status, text = ended.status, ended.output
    checks = {
        "a traceback": "Traceback" in text,
        f"exit {status}": status not in {0, 1},
        "refused": case.read and status == 1,
        "accepted": not case.read and status == 0,
        "half-written artifacts": status == 1 and is_changed,
        f"does not say {case.says!r}": case.says not in text,
        "a long message": status == 1
        and (len(text) > MOST_CHARACTERS or text.count("\n") > MOST_LINES),
        "control characters": any(not one.isprintable() for one in text.replace("\n", "")),
    }
    return [name for name, is_wrong in checks.items() if is_wrong]


def malformed(folder: Path) -> Outcome:
    """Every malformed file, each in a process and a project of its own."""
    finished_projects(folder / "base")
    found: list[str] = []
    kinds: Counter[str] = Counter()
    with commands_in(folder / "base") as commands:
        for number, case in enumerate(case for cases in CASES for case in cases()):
            commands.root = folder / str(number)
            words = prepare(case, folder / "base", commands.root)
            before = artifacts_of(commands.root)
            limit = Timer(MOST_SECONDS, os.kill, (commands.start(*words), signal.SIGKILL))
            limit.start()
            ended = commands.end()
            limit.cancel()
            faults = faults_of(case, ended, is_changed=artifacts_of(commands.root) != before)
            kinds[case.kind] += 1
            found += [f"{case.kind}, {case.name}: {fault}" for fault in faults]
            shutil.rmtree(commands.root)
    for fault in found:
        print(fault, file=sys.stderr)
    formats = ", ".join(f"{kind} {n}" for kind, n in kinds.items())
    refused = "each refused with file, place and remedy and nothing written, or read rightly"
    return Outcome(
        tried=f"malformed files of all formats ({formats})",
        times=kinds.total(),
        wrong=len(found),
        note="; ".join(found[:3]) or refused,
    )


def hostile(folder: Path) -> Outcome:
    """Hostile ids and names through a whole study, and what every output makes of them."""
    return hostile_ids.attack(folder, write_params, SMALL, AGENCY)


ATTACKS = {"malformed-inputs": malformed, "hostile-ids": hostile}
"""The attacks, by name."""
