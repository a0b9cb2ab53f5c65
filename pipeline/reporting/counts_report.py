"""The report on a table of group counts: ``report.json`` and the page that shows it."""

from pathlib import Path
from typing import Any

from pipeline.artifacts.provenance import environment_info
from pipeline.artifacts.storage import atomic_folder, md5, write_json
from pipeline.core.errors import DataError
from pipeline.reporting.render import PAGE, jinja_environment, render
from pipeline.reporting.report import (
    SCHEMA_VERSION,
    finalize,
    pictures_of_hypotheses,
    to_svg,
    with_analyses,
)

FILES = ("report.json", "index.html")


def build_counts_report(found: dict[str, Any], counts: Path) -> dict[str, Any]:
    """Everything the report says.

    Args:
        found: What :func:`pipeline.inference.hypotheses.from_counts.fit_counts` found.
        counts: The file it was found in.
    """
    return finalize(
        {
            "schema_version": SCHEMA_VERSION,
            **found,
            "hypotheses": with_analyses(found["hypotheses"]),
            "provenance": {
                **environment_info(),
                "counts": {"path": counts.name, "md5": md5(counts)},
            },
        }
    )


def write_counts_report(report: dict[str, Any], folder: Path) -> Path:
    """Write the report into ``folder``, in the place of an older report there; returns its page.

    Raises:
        DataError: if the folder holds anything else, or cannot be written.
    """
    values = {
        "title": report["provenance"]["counts"]["path"],
        "report": report,
        "pictures": to_svg(pictures_of_hypotheses(report)),
    }
    text = render(jinja_environment(PAGE, report["cutoff"]), PAGE, "counts.j2", values)
    try:
        _refuse_what_is_no_report(folder)
        with atomic_folder(folder.resolve()) as fresh:
            write_json(fresh / "report.json", report)
            (fresh / "index.html").write_text(text, encoding="utf-8")
    except OSError as error:
        msg = f"cannot write the report to {folder}: {error}; name another folder"
        raise DataError(msg) from error
    return folder / "index.html"


def _refuse_what_is_no_report(folder: Path) -> None:
    others = {file.name for file in folder.iterdir()} - set(FILES) if folder.exists() else set()
    if others:
        msg = f"{folder} holds {', '.join(sorted(others))}, which would be lost; name a new folder"
        raise DataError(msg)
