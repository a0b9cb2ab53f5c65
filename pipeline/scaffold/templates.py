"""The templates of ``paretoscope init``: the files of a study folder, filled in for one study."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from importlib.metadata import version
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from pipeline.artifacts.project import STUDIES_FOLDER
from pipeline.core.template_names import TEMPLATES
from pipeline.study import PARAMS_FILE

_FOLDER = Path(__file__).parent / "templates"
_ENVIRONMENT = Environment(
    loader=FileSystemLoader(_FOLDER),
    undefined=StrictUndefined,
    keep_trailing_newline=True,
    autoescape=False,  # noqa: S701 - YAML, TOML and Markdown of the user's own
)

_DEFAULTS: Mapping[str, Any] = {
    "variants": "{control: 1, treatment: 1}",
    "control": "control",
    "columns": {
        "impressions": "{user: user, group: variant, ts: timestamp}",
        "clicks": "{user: user, ts: timestamp}",
        "orders": "{user: user, ts: timestamp, units: units, revenue: revenue}",
    },
    "time": "iso8601-utc",
    "generic": None,
}
"""What the templates assume of data that is not there yet."""


class Template(StrEnum):
    """What a study starts from."""

    SYNTHETIC = "synthetic"
    GA4 = "ga4"
    AB_TEST = "ab-test"
    SPREADSHEET = "spreadsheet"
    OTTO = "otto"
    SERVE = "serve"

    @property
    def summary(self) -> str:
        """What the user has, in a few words."""
        return TEMPLATES[self.value]

    @property
    def generates(self) -> bool:
        """Whether its raw log is written by ``paretoscope generate``."""
        return self in {Template.SYNTHETIC, Template.SERVE}

    @property
    def trains(self) -> bool:
        """Whether its studies train a model."""
        return self not in {Template.AB_TEST, Template.SPREADSHEET}


@dataclass(frozen=True, slots=True, kw_only=True)
class NewStudy:
    """A study that a template is filled in for.

    Attributes:
        name: Of the study.
        template: What it starts from.
        is_added: Whether it is a further study of a project.
        data: Path of its data, if that is not in the folder to fill.
        known: What the data is known to contain, by variable of the template.
    """

    name: str
    template: Template
    is_added: bool = False
    data: str | None = None
    known: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def params(self) -> str:
        """The file of its parameters, relative to the project."""
        return f"{STUDIES_FOLDER}/{self.name}.yaml" if self.is_added else PARAMS_FILE

    @property
    def folder(self) -> str:
        """The folder to fill with data."""
        if self.is_added:
            return f"data/{self.name}"
        return "data/log" if self.template is Template.AB_TEST else "data/raw"

    def values(self) -> dict[str, Any]:
        """What the templates refer to."""
        data = f"{self.folder}/synthetic-shop.jsonl" if self.template.generates else self.folder
        return {
            "name": self.name,
            "template": self.template.value,
            "trains": self.template.trains,
            "is_added": self.is_added,
            "params": self.params,
            "folder": self.folder,
            "data": self.data or data,
            "stage": self.name if self.is_added else "study",
            "flag": f" --study {self.name}" if self.is_added else "",
            "version": version("paretoscope"),
            **_DEFAULTS,
            **self.known,
        }


def render(file: str, values: Mapping[str, Any]) -> str:
    """One file of the templates, filled in."""
    return _ENVIRONMENT.get_template(f"{file}.j2").render(values)


def study_files(study: NewStudy) -> dict[str, str]:
    """The text of the files of one study, by path in the project: parameters, and where data goes."""
    values = study.values()
    files = {study.params: render(f"{study.template}/params.yaml", values)}
    if study.data is None:
        files[f"{study.folder}/.gitignore"] = render("common/data_gitignore", values)
    return files


def project_files(study: NewStudy) -> dict[str, str]:
    """The text of the files of a new project with one study, by path in it."""
    values = study.values()
    readme = render(f"{study.template}/README.md", values)
    if study.template is Template.SPREADSHEET:
        tests = render("spreadsheet/tests.csv", values)
        return {"README.md": readme, "tests.csv": tests}
    return study_files(study) | {
        "README.md": readme + render("common/README_end.md", values),
        "dvc.yaml": render("common/dvc.yaml", values) + stage(study),
        "requirements.txt": render("common/requirements.txt", values),
        "pyproject.toml": render("common/pyproject.toml", values),
        ".gitignore": render("common/gitignore", values),
        ".env": render("common/env", values),
        ".dagster/dagster.yaml": render("common/dagster.yaml", values),
        ".dagster/.nux/nux.yaml": render("common/nux.yaml", values),
    }


def stage(study: NewStudy) -> str:
    """The stages of ``dvc.yaml`` of one study."""
    return render("common/stage", study.values()).lstrip("\n")
