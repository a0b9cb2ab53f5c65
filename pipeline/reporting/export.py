"""Tables as files: CSV, parquet, and one workbook, which a spreadsheet opens as what they are."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from pathlib import Path

import polars as pl
from xlsxwriter import Workbook

from pipeline.artifacts.storage import atomic_folder, md5, read_json, write_json
from pipeline.core.errors import DataError
from pipeline.reporting.output_folder import refuse_other_files

WORKBOOK = "report.xlsx"
CONTENTS = "export.json"
_FORMULA = r"^[=+\-@\t\r]"
"""Text that a spreadsheet takes for a formula when it opens a CSV file."""

_LONGEST_CELL = 32_767
"""Characters of a workbook's cell."""

_CREATED = datetime(2000, 1, 1)  # noqa: DTZ001 - a workbook has no time zones; equal bytes for equal tables


class TableFormat(StrEnum):
    """A format of exported tables."""

    CSV = "csv"
    PARQUET = "parquet"
    XLSX = "xlsx"


def write_tables(
    tables: Mapping[str, pl.DataFrame], folder: Path, formats: Sequence[TableFormat], source: Path
) -> list[Path]:
    """Write tables into a folder, replacing an older export there; returns the files.

    In CSV, text that a spreadsheet would take for a formula begins with an apostrophe; in the workbook
    and in parquet it stays as it is. ``export.json`` names the report and the files.

    Args:
        tables: By name, which becomes the name of the file or sheet.
        folder: New, empty, or an earlier export to which nothing was added.
        formats: Of the files.
        source: The report.

    Raises:
        DataError: if the folder contains other files, or cannot be written.
    """
    try:
        _refuse_other_files(folder)
        with atomic_folder(folder.resolve()) as fresh:
            for name, frame in tables.items():
                if TableFormat.CSV in formats:
                    _without_formulas(frame).write_csv(fresh / f"{name}.csv")
                if TableFormat.PARQUET in formats:
                    frame.write_parquet(fresh / f"{name}.parquet")
            if TableFormat.XLSX in formats:
                _write_workbook(tables, fresh / WORKBOOK)
            files = sorted(file.name for file in fresh.iterdir())
            report = {"path": str(source), "md5": md5(source)}
            write_json(fresh / CONTENTS, {"report": report, "files": files})
    except OSError as error:
        msg = f"cannot write to {folder}: {error}; choose another folder with --out"
        raise DataError(msg) from error
    return [folder / name for name in files]


def _refuse_other_files(folder: Path) -> None:
    """Refuse to replace a folder with files that no export wrote."""
    written = read_json(folder / CONTENTS) if (folder / CONTENTS).exists() else None
    match written:
        case {"report": _, "files": [*names]}:
            known = {CONTENTS, *map(str, names)}
        case _:  # no export, or a file of somebody else
            known = set[str]()
    refuse_other_files(folder, known, "choose a new or empty folder with --out")


def _without_formulas(frame: pl.DataFrame) -> pl.DataFrame:
    text = pl.col(pl.String)
    safe = pl.when(text.str.contains(_FORMULA)).then(pl.lit("'") + text).otherwise(text)
    return frame.with_columns(safe.name.keep())


def _write_workbook(tables: Mapping[str, pl.DataFrame], path: Path) -> None:
    """One sheet per table, with its header fixed."""
    options = {"strings_to_formulas": False, "strings_to_urls": False, "in_memory": True}
    with Workbook(str(path), options) as workbook:
        workbook.set_properties({"created": _CREATED})
        for name, frame in tables.items():
            frame.with_columns(pl.col(pl.String).str.slice(0, _LONGEST_CELL)).write_excel(
                workbook,
                worksheet=name,
                freeze_panes=(1, 0),
                autofit=True,
                float_precision=6,
            )
