"""A comparison as files: ``comparison.json``, and the two pages that show it."""

import json
from pathlib import Path
from typing import Any

import jinja2

from pipeline.artifacts.storage import atomic_folder, write_json
from pipeline.core.errors import DataError
from pipeline.core.labels import KPI_LABELS
from pipeline.reporting.comparison.pictures import fronts_picture, legend_marker, slopes_picture

DATA = "comparison.json"
FACES = {"comparison.html": "index.html", "comparison.md": "comparison.md"}


def write_comparison(comparison: dict[str, Any], folder: Path) -> Path:
    """Write a comparison into ``folder``, in the place of an older one there; returns its page.

    Raises:
        DataError: if the folder holds anything else, or cannot be written.
    """
    environment = _environment()
    fronts = comparison["fronts"]
    pictures = {
        "keys": [legend_marker(number) for number in range(len(comparison["studies"]))],
        "fronts": fronts_picture(fronts) if fronts else "",
        "slopes": [slopes_picture(one) for one in comparison["hypotheses"]],
    }
    try:
        _refuse_what_is_no_comparison(folder)
        with atomic_folder(folder.resolve()) as fresh:
            write_json(fresh / DATA, comparison)
            for template, name in FACES.items():
                text = environment.get_template(template).render(
                    comparison=comparison, pictures=pictures
                )
                (fresh / name).write_text(text, encoding="utf-8")
    except OSError as error:
        msg = f"cannot write the comparison to {folder}: {error}; name another folder with --out"
        raise DataError(msg) from error
    return folder / FACES["comparison.html"]


def _refuse_what_is_no_comparison(folder: Path) -> None:
    ours = {DATA, *FACES.values()}
    others = {file.name for file in folder.iterdir()} - ours if folder.exists() else set()
    if others:
        names = ", ".join(sorted(others)[:5])
        msg = f"{folder} holds {names}, which would be lost; name a new folder with --out"
        raise DataError(msg)


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("pipeline.reporting.comparison", "."),
        autoescape=jinja2.select_autoescape(["html"]),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "kpi": kpi,
        "number": number,
        "ends": ends,
        "p_value": p_value,
        "value": value,
        "cell": lambda text: str(text).replace("|", "\\|"),
    }
    return environment


def kpi(name: str) -> str:
    """A KPI as reports write it."""
    return KPI_LABELS.get(name, name)


def number(found: float | None, digits: int = 3) -> str:
    """A number with fixed digits; a dash where there is none."""
    return "–" if found is None else f"{found:.{digits}f}"


def ends(interval: list[float] | None, digits: int = 3) -> str:
    """An interval; a dash where there is none."""
    if interval is None:
        return "–"
    return f"{interval[0]:.{digits}f} to {interval[1]:.{digits}f}"


def p_value(found: float | None) -> str:
    """A p-value as a table prints it; never 0."""
    if found is None:
        return "–"
    return f"{found:.4f}" if found >= 1e-4 else "< 0.0001"


def value(found: Any) -> str:
    """A parameter or fact as JSON writes it, texts without quotes, whole numbers with commas."""
    match found:
        case None:
            return "–"
        case str():
            return found
        case bool():
            return str(found).lower()
        case int():
            return f"{found:,}"
        case float():
            return f"{found:.6g}"
        case _:
            return json.dumps(found, ensure_ascii=False)
