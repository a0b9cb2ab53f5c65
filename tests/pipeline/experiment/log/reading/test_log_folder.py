"""Every file of a log's folder is read under its literal name, or named."""

import bz2
import gzip
import json
import os
import zipfile

import polars as pl
import pytest

from pipeline.core.contracts import IMPRESSIONS
from pipeline.core.errors import DataError, LogError, ParetoscopeError
from pipeline.datasets.io.files import COMPRESSIONS
from pipeline.experiment.log.log_files import COLUMNS
from pipeline.experiment.log.reading.log_folder import FORMATS, log_files
from pipeline.study import LogFileNames
from tests.pipeline.experiment.logs import PLAN, at, impression, ingest, ingest_folder, outcomes

ORDERS = {name: COLUMNS["orders"][name] for name in ("impression", "ts", "units")}


def orders(*names):
    return pl.DataFrame(
        [{"impression": name, "ts": at(2), "units": 1} for name in names], schema=ORDERS
    )


def clicks(*names):
    return pl.DataFrame([{"impression": name, "ts": at(1)} for name in names])


def impressions(*names):
    columns = {
        n: t for n, t in IMPRESSIONS.columns.items() if n not in {"clicked", "ordered", "units"}
    }
    return pl.DataFrame([impression(name) for name in names], schema=columns)


def zipped(file, data):
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("orders.csv", data)


WRITERS = {
    "orders-2.CSV": lambda file, rows: file.write_bytes(rows.write_csv().encode()),
    "Orders-2.csv": lambda file, rows: file.write_bytes(rows.write_csv().encode()),
    "orders-2.tsv": lambda file, rows: rows.write_csv(file, separator="\t"),
    "orders-2.json": lambda file, rows: file.write_text(json.dumps(rows.to_dicts()), "utf-8"),
    "orders-2.JSONL": lambda file, rows: file.write_bytes(rows.write_ndjson().encode()),
    "orders-2.csv.bz2": lambda file, rows: file.write_bytes(
        bz2.compress(rows.write_csv().encode())
    ),
    "orders-2.csv.zip": lambda file, rows: zipped(file, rows.write_csv()),
    "orders-2.csv.gzip": lambda file, rows: file.write_bytes(
        gzip.compress(rows.write_csv().encode())
    ),
    "orders-2.PARQUET": lambda file, rows: rows.write_parquet(file),
    "orders-2.pq": lambda file, rows: rows.write_parquet(file),
    "orders-[2].csv": lambda file, rows: file.write_bytes(rows.write_csv().encode()),
    "orders-*.csv": lambda file, rows: file.write_bytes(rows.write_csv().encode()),
    "orders-?.parquet": lambda file, rows: rows.write_parquet(file),
    "orders-{a,b}.csv": lambda file, rows: file.write_bytes(rows.write_csv().encode()),
    "orders '2' é.jsonl": lambda file, rows: file.write_bytes(rows.write_ndjson().encode()),
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_file_is_read_whatever_its_name_and_compression(tmp_path, name):
    impressions("x1", "x2").write_csv(tmp_path / "impressions.csv")
    clicks("x1", "x2").write_csv(tmp_path / "clicks.csv")
    orders("x1").write_csv(tmp_path / "orders-1.csv")
    WRITERS[name](tmp_path / name, orders("x2"))

    result = ingest_folder(tmp_path)

    assert (result.files, result.rejected) == (4, {})
    assert [row[1] for row in outcomes(tmp_path / "log.duckdb").values()] == [True, True]


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
@pytest.mark.parametrize("folder", ["log", "ml [v2]", "a*b"])
def test_a_name_with_brackets_is_no_pattern(tmp_path, suffix, folder):
    log = tmp_path / folder
    log.mkdir()
    impressions("x1", "x2", "x3").write_csv(log / "impressions.csv")
    for name, of in (("clicks1", "x1"), ("clicks[1]", "x2"), ("clicks[12]", "x3")):
        write = clicks(of).write_csv if suffix == "csv" else clicks(of).write_parquet
        write(log / f"{name}.{suffix}")
    orders().write_csv(log / "orders.csv")

    result = ingest_folder(log)

    assert result.rejected == {}
    assert [row[0] for row in outcomes(log / "log.duckdb").values()] == [True, True, True]


@pytest.mark.parametrize(
    "name",
    ["clicks.xlsx", "clicks.csv.xz", "clicks.avro", "orders-2.txt", "clicks.parquet.gz", "more"],
)
def test_data_that_would_not_be_read_is_an_error_with_the_rule(tmp_path, name):
    impressions("x1").write_csv(tmp_path / "impressions.csv")
    (tmp_path / name).write_text("impression,ts,units\nx1,5,1\n")

    with pytest.raises(DataError) as caught:
        log_files(tmp_path)

    message = str(caught.value)
    assert f"{name} would not be read" in message
    assert all(suffix in message for suffix in (*FORMATS, *COMPRESSIONS))
    ignored = LogFileNames(ignored=name)
    assert log_files(tmp_path, ignored).ignored == (name,)


def test_notes_and_unfinished_files_are_named_and_not_read(tmp_path):
    impressions("x1").write_csv(tmp_path / "impressions.csv")
    for name in ("README.md", "_SUCCESS", "clicks.jsonl.open", "clicks.csv.part", "LICENSE"):
        (tmp_path / name).write_text("a note")
    (tmp_path / ".hidden.csv").write_text("a,b,c\n")

    found = log_files(tmp_path)

    assert [file.source for file in found.files] == ["impressions.csv"]
    assert found.ignored == (
        "LICENSE",
        "README.md",
        "_SUCCESS",
        "clicks.csv.part",
        "clicks.jsonl.open",
    )


@pytest.mark.parametrize(
    "name",
    [
        "_delta_log/00000.json",
        "__MACOSX/._a.csv",
        "_temporary/0/a.csv",
        "Thumbs.db",
        "~$a.xlsx",
        ".a.csv",
    ],
)
def test_what_other_programs_keep_beside_data_is_no_data(tmp_path, name):
    (tmp_path / "day=1").mkdir()
    (tmp_path / "day=1" / "part-0.parquet").write_bytes(b"PAR1")
    (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
    (tmp_path / name).write_text("{}")

    found = log_files(tmp_path, subfolders=True)

    assert [file.source for file in found.files] == ["day=1/part-0.parquet"]


def test_subfolders_are_read_if_asked_and_named_otherwise(tmp_path):
    impressions("x1").write_csv(tmp_path / "impressions.csv")
    (tmp_path / "clicks" / "day=2026-01-05").mkdir(parents=True)
    clicks("x1").write_csv(tmp_path / "clicks/day=2026-01-05/part-0.csv")

    with pytest.raises(
        DataError, match=r"clicks/day=2026-01-05/part-0\.csv would not be read.*subfolders"
    ):
        log_files(tmp_path)

    found = log_files(tmp_path, subfolders=True).files
    assert [(file.source, file.table) for file in found] == [
        ("clicks/day=2026-01-05/part-0.csv", "clicks"),
        ("impressions.csv", "impressions"),
    ]


def test_files_of_the_same_name_in_two_subfolders_are_two_files(tmp_path):
    for day in ("1", "2"):
        (tmp_path / day).mkdir()
        impressions(f"x{day}").write_csv(tmp_path / day / "impressions.csv")
    (tmp_path / "1" / "clicks.csv").write_text(f"impression,ts\nx1,{at(1)}\n")
    files = [file.path for file in log_files(tmp_path, subfolders=True).files]

    assert len(files) == 3
    assert len({file.source for file in log_files(tmp_path, subfolders=True).files}) == 3


@pytest.mark.parametrize(
    "name", ["click_events_2025-09.csv", "my-orders.csv", "user_export.csv", "purchases.csv"]
)
def test_a_name_that_suggests_another_table_is_an_error_with_the_key(tmp_path, name):
    clicks("x1").write_csv(tmp_path / name)

    with pytest.raises(
        LogError, match=rf"{name}: its table is not clear.*experiment\.files: {{clicks:"
    ):
        log_files(tmp_path)


def test_the_files_of_a_table_can_be_named_by_a_pattern(tmp_path):
    impressions("x1").write_csv(tmp_path / "served.csv")
    clicks("x1").write_csv(tmp_path / "click_events_2025-09.CSV")
    names = LogFileNames(clicks="click_events_*.csv", orders="basket*")
    orders("x1").write_csv(tmp_path / "basket [1].csv")

    assert [(file.source, file.table) for file in log_files(tmp_path, names).files] == [
        ("basket [1].csv", "orders"),
        ("click_events_2025-09.CSV", "clicks"),
        ("served.csv", "impressions"),
    ]
    both = LogFileNames(clicks="click*", orders="*events*")
    with pytest.raises(
        LogError, match=r"matches experiment\.files\.clicks.* and experiment\.files\.orders"
    ):
        log_files(tmp_path, both)


def test_a_single_file_is_a_log(tmp_path):
    impressions("x1").write_csv(tmp_path / "log.csv")

    assert [file.source for file in log_files(tmp_path / "log.csv").files] == ["log.csv"]


def broken_link(folder):
    (folder / "clicks.csv").symlink_to(folder / "gone.csv")


def pipe(folder):
    os.mkfifo(folder / "clicks.csv")


def folder_of_that_name(folder):
    (folder / "clicks.csv").mkdir()
    (folder / "clicks.csv" / "part-0.csv").write_text("a,b,c\n")


def forbidden(folder):
    (folder / "clicks.csv").write_text("impression,ts\n")
    (folder / "clicks.csv").chmod(0)


@pytest.mark.parametrize("fault", [broken_link, pipe, folder_of_that_name, forbidden])
def test_what_cannot_be_read_is_one_line(tmp_path, fault, monkeypatch):
    impressions("x1").write_csv(tmp_path / "impressions.csv")
    fault(tmp_path)
    monkeypatch.setattr(os, "access", lambda path, _: path.stat().st_mode & 0o400)

    with pytest.raises(ParetoscopeError, match=r"clicks\.csv") as caught:
        log_files(tmp_path)

    assert "\n" not in str(caught.value)


def test_a_folder_that_does_not_exist_is_one_line(tmp_path):
    with pytest.raises(LogError, match=r"nowhere does not exist; set experiment\.log_path"):
        log_files(tmp_path / "nowhere")


def test_a_damaged_archive_is_named(tmp_path):
    (tmp_path / "impressions.csv.zip").write_bytes(b"PK\x03\x04 no archive")

    with pytest.raises(LogError, match=r"impressions\.csv\.zip cannot be read completely"):
        ingest([tmp_path / "impressions.csv.zip"], PLAN, tmp_path / "log.duckdb")


def test_an_encrypted_archive_is_named(tmp_path):
    file = tmp_path / "impressions.csv.zip"
    zipped(file, b"a,b\n")
    content = bytearray(file.read_bytes())
    for entry, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.find(entry) + flags] |= 1
    file.write_bytes(content)

    with pytest.raises(LogError, match=r"zip is encrypted; unzip it with its password"):
        ingest([file], PLAN, tmp_path / "log.duckdb")


@pytest.mark.parametrize("pattern", ["klick*.csv", "Clicks-9.csv", "clicks/[a-z]"])
def test_a_pattern_without_a_file_is_refused(tmp_path, pattern):
    impressions("x").write_csv(tmp_path / "impressions.csv")
    orders("x").write_csv(tmp_path / "purchases.csv")

    with pytest.raises(
        LogError, match=r"experiment\.files\.clicks = .*found impressions.csv, purch"
    ):
        log_files(tmp_path, LogFileNames(clicks=pattern, orders="purchases*"))


@pytest.mark.parametrize("column", ["user", "impression"])
@pytest.mark.parametrize("write", ["write_csv", "write_ndjson"])
def test_ids_that_became_decimal_numbers_are_refused(tmp_path, column, write):
    suffix = write.removeprefix("write_").replace("ndjson", "jsonl")
    rows = impressions("x", "y").with_columns(pl.lit("1965.0").alias(column))
    getattr(rows, write)(tmp_path / f"impressions.{suffix}")

    with pytest.raises(LogError, match=rf"column {column} has ids that became .* '1965.0'"):
        ingest_folder(tmp_path)


@pytest.mark.parametrize("name", ["v1.0", "1.05", "1.0.0", "A-12.0", ".0"])
def test_ids_with_a_point_are_ids(tmp_path, name):
    impressions(name).write_csv(tmp_path / "impressions.csv")
    clicks(name).write_csv(tmp_path / "clicks.csv")

    ingest_folder(tmp_path)

    assert outcomes(tmp_path / "log.duckdb")[name][0]
