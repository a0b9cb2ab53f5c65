"""All formats give the same rows; malformed files are refused, malformed rows rejected."""

import bz2
import gzip
import json
import time
import zipfile
from decimal import Decimal
from io import BytesIO
from shutil import copytree

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.core.contracts import IMPRESSIONS
from pipeline.core.errors import LogError
from tests.pipeline.experiment.logs import (
    PLAN,
    TS,
    contents,
    impression,
    ingest,
    ingest_folder,
    outcomes,
    users_in,
    write_impressions,
)

HEAD = ",".join(IMPRESSIONS.columns)
USER = users_in("g1", 1)[0]
GOOD = f"spring,good,{USER},g1,{TS},true,true,2"
GOOD_JSON = json.dumps(impression("good"))


def as_csv(rows, separator=","):
    table = pl.DataFrame(rows, schema=IMPRESSIONS.columns)
    return table.write_csv(separator=separator).encode()


def zipped(data, *names):
    archive = BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("__MACOSX/._log.csv", b"resource fork")
        for name in names or ("log.csv",):
            file.writestr(name, data)
    return archive.getvalue()


def as_json_lines(rows):
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def zstd(data):
    return pa.compress(data, codec="zstd", asbytes=True)


FORMATS = {
    "log.csv": as_csv,
    "log.csv.gz": lambda rows: gzip.compress(as_csv(rows)),
    "log.csv.zst": lambda rows: zstd(as_csv(rows)),
    "log.jsonl": as_json_lines,
    "log.ndjson": as_json_lines,
    "log.CSV": as_csv,
    "log.csv.bz2": lambda rows: bz2.compress(as_csv(rows)),
    "log.csv.zip": lambda rows: zipped(as_csv(rows)),
    "log.Csv.GZIP": lambda rows: gzip.compress(as_csv(rows)),
    "log.tsv": lambda rows: as_csv(rows, separator="\t"),
    "log.json": as_json_lines,
    "log-array.json": lambda rows: json.dumps(rows, indent=1).encode(),
    "log.jsonl.gz": lambda rows: gzip.compress(as_json_lines(rows)),
    "log.jsonl.zst": lambda rows: zstd(as_json_lines(rows)),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_rows_of_parquet(tmp_path, name):
    rows = [
        impression("x1"),
        impression("x2", clicked=False, ordered=False, units=0),
        impression('comma, "quote" and é\nline', units=2**31 - 1),
        impression("x3", units=-1),
        impression("x4", user=None),
    ]
    write_impressions(tmp_path / "log.parquet", rows)
    (tmp_path / name).write_bytes(FORMATS[name](rows))
    results = []
    for file in ("log.parquet", name):
        database = tmp_path / f"{file}.duckdb"
        results.append((ingest([tmp_path / file], PLAN, database), outcomes(database)))

    assert results[0] == results[1]
    assert results[1][0].impressions == 3


@pytest.mark.slow
def test_files_may_have_different_formats(tmp_path):
    names = ["a.parquet", "b.csv", "c.parquet", "d.jsonl", "e.csv.gz", "f.parquet"]
    for name in names:
        if name.endswith("parquet"):
            write_impressions(tmp_path / name, [impression(name)])
        else:
            (tmp_path / name).write_bytes(FORMATS[f"log.{name[2:]}"]([impression(name)]))

    result = ingest_folder(tmp_path)

    assert (result.impressions, result.rejected) == (6, {})
    assert list(outcomes(tmp_path / "log.duckdb")) == names


def csv(*lines, head=HEAD, end="\n"):
    return (end.join([head, *lines]) + end).encode()


def field(name, value):
    """The good row's CSV line with another id and one field replaced."""
    fields = dict(zip(IMPRESSIONS.columns, GOOD.split(","), strict=True)) | {"impression": "bad"}
    return ",".join((fields | {name: value}).values())


LONG = as_csv([impression(f"x{n}") for n in range(20_000)])

REFUSED = {
    "an empty parquet": ("log.parquet", b""),
    "not a parquet file": ("log.parquet", b"hello"),
    "CSV with the suffix of parquet": ("log.parquet", csv(GOOD)),
    "a plain CSV with the suffix of gz": ("log.csv.gz", csv(GOOD)),
    "a truncated gz": ("log.csv.gz", gzip.compress(LONG)[:4000]),
    "a gz without its last bytes": ("log.csv.gz", gzip.compress(LONG)[:-4]),
    "a gz with a wrong checksum": ("log.csv.gz", gzip.compress(LONG)[:-8] + bytes(8)),
    "a truncated zst": ("log.csv.zst", zstd(LONG)[:4000]),
    "not a zst file": ("log.jsonl.zst", as_json_lines([impression("good")])),
    "a truncated bz2": ("log.csv.bz2", bz2.compress(LONG)[:-20]),
    "a damaged zip": ("log.csv.zip", zipped(LONG)[:400]),
    "a zip with two files": ("log.csv.zip", zipped(csv(GOOD), "a.csv", "b.csv")),
    "an additional field": ("log.csv", csv(GOOD, GOOD.replace("good", "x") + ",7")),
    "a missing field": ("log.csv", csv(GOOD, GOOD.replace("good", "x").rsplit(",", 1)[0])),
    "an open quote": ("log.csv", csv(GOOD, 'spring,"x,u,g1,1,true,true,2')),
    "invalid UTF-8": ("log.csv", csv(GOOD) + field("user", "\xff").encode("latin-1")),
    "UTF-16": ("log.csv", csv(GOOD).decode().encode("utf-16")),
    "no header": ("log.csv", (GOOD + "\n").encode()),
    "a missing column": ("log.csv", csv(GOOD.replace("spring,", ""), head=HEAD[11:])),
    "a renamed column": ("log.csv", csv(GOOD, head=HEAD.replace("user,", "visitor,"))),
    "a repeated column": ("log.csv", csv(GOOD + ",u", head=f"{HEAD},user")),
    "a truncated line of JSON": ("log.jsonl", f'{GOOD_JSON}\n{{"experiment": "spr'.encode()),
    "a number instead of an object": ("log.jsonl", f"{GOOD_JSON}\n5\n".encode()),
    "two objects on a line": ("log.jsonl", f"{GOOD_JSON} {GOOD_JSON}\n".encode()),
    "a repeated key": ("log.jsonl", f'{GOOD_JSON[:-1]}, "units": 3}}\n'.encode()),
    "a missing key": ("log.jsonl", GOOD_JSON.replace('"user"', '"visitor"').encode()),
    "JSON with invalid UTF-8": ("log.jsonl", GOOD_JSON.replace("good", "\xff").encode("latin-1")),
    "an invalid number in JSON": ("log.jsonl", GOOD_JSON.replace(str(TS), "NaN.").encode()),
}

REJECTED = {
    "text instead of a time": (field("ts", "yesterday"), "a field has the wrong type"),
    "a date instead of a time": (field("ts", "2026-01-05"), "a field has the wrong type"),
    "a fraction of units": (field("units", "1.5"), "a field has the wrong type"),
    "an exponent": (field("units", "1e3"), "a field has the wrong type"),
    "a space before a number": (field("units", " 1"), "a field has the wrong type"),
    "units beyond 32 bits": (field("units", "3000000000"), "a field has the wrong type"),
    "a time beyond 64 bits": (field("ts", "9" * 25), "a field has the wrong type"),
    "perhaps instead of true": (field("clicked", "perhaps"), "a field has the wrong type"),
    "an empty id": (field("impression", ""), "a field is missing"),
    "a quoted empty id": (field("user", '""'), "a field is missing"),
    "seconds instead of milliseconds": (
        field("ts", str(TS // 1000)),
        "time outside 2000-01-01 to 2100-01-01",
    ),
    "a group with a space": (field("group", "g1 "), "unknown group"),
}


@pytest.fixture(scope="module")
def earlier(tmp_path_factory):
    """A folder with a database and its file; copied, not changed."""
    folder = tmp_path_factory.mktemp("earlier")
    file = folder / "before" / "a.parquet"
    file.parent.mkdir()
    write_impressions(file, [impression("old")])
    ingest([file], PLAN, folder / "log.duckdb")
    return folder


@pytest.fixture
def database(earlier, tmp_path):
    """A database with one earlier file."""
    copytree(earlier, tmp_path, dirs_exist_ok=True)
    return tmp_path / "log.duckdb"


@pytest.mark.parametrize("kind", REFUSED)
def test_a_malformed_file_is_refused_and_the_database_is_unchanged(tmp_path, database, kind):
    name, data = REFUSED[kind]
    (tmp_path / name).write_bytes(data)
    before = database.read_bytes()

    with pytest.raises(LogError, match=rf"{name}[ :].+"):
        ingest([tmp_path / "before" / "a.parquet", tmp_path / name], PLAN, database)

    assert database.read_bytes() == before
    assert not [file for file in tmp_path.iterdir() if ".new" in file.name]


@pytest.mark.parametrize("kind", REJECTED)
def test_a_malformed_row_is_rejected_and_the_others_are_ingested(tmp_path, kind):
    line, reason = REJECTED[kind]
    (tmp_path / "log.csv").write_bytes(csv(GOOD, line))

    result = ingest([tmp_path / "log.csv"], PLAN, tmp_path / "log.duckdb")

    assert (result.impressions, result.rejected) == (1, {reason: 1})


def test_at_least_thirty_cases_are_covered():
    assert len(REFUSED) + len(REJECTED) >= 30


@pytest.mark.parametrize(
    "data",
    [
        csv(GOOD, end="\r\n"),
        f"{HEAD}\r\n{GOOD}\n".encode(),
        f"{HEAD}\n{GOOD}\r\n".encode(),
        f'{HEAD},note\r\n{GOOD},"two\nlines"\r\n'.encode(),
        b"\xef\xbb\xbf" + csv(GOOD),
        csv(GOOD)[:-1],
        csv(GOOD.replace("true", "TRUE")),
        csv(GOOD.replace("true", "1")),
        csv(GOOD + ",more", head=HEAD + ",note"),
        csv(GOOD).replace(b",", b";"),
        csv(GOOD).replace(b",", b"\t"),
        csv(",".join(reversed(GOOD.split(","))), head=",".join(reversed(HEAD.split(",")))),
    ],
    ids=[
        "crlf",
        "crlf-of-the-header-only",
        "crlf-of-the-rows-only",
        "crlf-with-lf-in-a-field",
        "byte-order-mark",
        "no-last-newline",
        "TRUE",
        "1",
        "additional-column",
        "semicolons",
        "tabs",
        "order",
    ],
)
def test_valid_variations_of_csv_are_read(tmp_path, data):
    (tmp_path / "log.csv").write_bytes(data)

    ingest([tmp_path / "log.csv"], PLAN, tmp_path / "log.duckdb")

    assert outcomes(tmp_path / "log.duckdb") == {"good": (True, True, 2, None)}


@pytest.mark.parametrize("dtype", [pl.Int8, pl.UInt16, pl.Int64, pl.UInt32])
def test_integers_of_any_width_are_read_from_parquet(tmp_path, dtype):
    frame = pl.DataFrame([impression("x1")], schema=IMPRESSIONS.columns)
    frame.with_columns(pl.col("units").cast(dtype)).write_parquet(tmp_path / "a.parquet")

    ingest([tmp_path / "a.parquet"], PLAN, tmp_path / "log.duckdb")

    assert outcomes(tmp_path / "log.duckdb") == {"x1": (True, True, 2, None)}


@pytest.mark.parametrize(
    ("user", "dtype"),
    [
        (Decimal(100000), pa.decimal128(38, 0)),  # Snowflake's and Oracle's integers
        (b"100000", pa.binary()),  # Impala's and old Hive's texts
        ("100000", pa.dictionary(pa.int32(), pa.string())),
        ("100000", pa.large_string()),
    ],
    ids=["decimal", "binary", "dictionary", "large-string"],
)
def test_ids_of_any_parquet_type_of_texts_and_integers_are_read(tmp_path, user, dtype):
    group = PLAN.group_of("100000").name
    table = pl.DataFrame([impression("x", group=group)], schema=IMPRESSIONS.columns).to_arrow()
    place = table.schema.get_field_index("user")
    users = pa.array([user], dtype.value_type if pa.types.is_dictionary(dtype) else dtype)
    users = users.dictionary_encode() if pa.types.is_dictionary(dtype) else users
    pq.write_table(table.set_column(place, "user", users), tmp_path / "a.parquet")

    ingest([tmp_path / "a.parquet"], PLAN, tmp_path / "log.duckdb")

    with duckdb.connect(str(tmp_path / "log.duckdb")) as connection:
        assert connection.sql("SELECT user FROM logged_impressions").fetchall() == [("100000",)]


def test_revenue_is_ingested(tmp_path):
    rows = [impression("x1", revenue=1999), impression("x2", revenue=-1)]
    write_impressions(tmp_path / "a.parquet", rows, revenue=pl.Int64)

    result = ingest([tmp_path / "a.parquet"], PLAN, tmp_path / "log.duckdb")

    assert outcomes(tmp_path / "log.duckdb") == {"x1": (True, True, 2, 1999)}
    assert result.rejected == {"negative revenue": 1}


def test_a_column_in_only_some_files_is_named(tmp_path):
    write_impressions(tmp_path / "a.parquet", [impression("x1")])
    write_impressions(tmp_path / "b.parquet", [impression("x2", revenue=5)], revenue=pl.Int64)

    with pytest.raises(LogError, match=r"b\.parquet and a\.parquet differ in the column revenue"):
        ingest_folder(tmp_path)


def test_an_empty_text_file_adds_no_rows(tmp_path):
    (tmp_path / "a.csv").write_bytes(csv(GOOD))
    (tmp_path / "b.csv").write_bytes(csv())
    (tmp_path / "c.csv").write_bytes(b"")
    (tmp_path / "d.jsonl").write_bytes(b"")
    files = sorted(tmp_path.iterdir())

    result = ingest(files, PLAN, tmp_path / "log.duckdb")

    assert (result.impressions, result.files) == (1, 4)
    assert [row[-2] for row in contents(tmp_path / "log.duckdb")["ingested_files"]] == [1, 0, 0, 0]


NO_ORDER = {"ordered": False, "units": 0, "revenue": None}


@pytest.mark.slow
def test_json_lines_without_an_order_may_omit_revenue(tmp_path):
    without = [impression("x1") | NO_ORDER, impression("x2", clicked=False) | NO_ORDER]
    with_revenue = [impression("x3") | {"revenue": 1999}, impression("x4") | NO_ORDER]
    del without[0]["revenue"]
    results = []
    for first, second in (
        (without, with_revenue),
        (with_revenue, without),
        (without, without),
    ):
        (tmp_path / "a.jsonl").write_bytes(as_json_lines(first))
        (tmp_path / "b.jsonl").write_bytes(as_json_lines(second))
        result = ingest_folder(tmp_path)
        results.append((result.rejected, outcomes(tmp_path / "log.duckdb").get("x3")))

    found = (True, True, 2, 1999)
    assert results == [({}, found), ({}, found), ({"duplicate impression": 2}, None)]


def test_json_lines_with_orders_without_revenue_are_refused(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(as_json_lines([impression("x1") | {"revenue": 1999}]))
    (tmp_path / "b.jsonl").write_bytes(as_json_lines([impression("x2") | {"revenue": None}]))

    with pytest.raises(LogError, match=r"b\.jsonl and a\.jsonl differ in the column revenue"):
        ingest_folder(tmp_path)


def wide(columns, suffix):
    names = [f"c{n}" for n in range(columns)]
    if suffix == "parquet":
        stream = BytesIO()
        pl.DataFrame({name: [1] for name in names}).write_parquet(stream)
        return stream.getvalue()
    return csv(",".join(["1"] * columns), head=",".join(names))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["log.csv", "log.parquet"])
@pytest.mark.parametrize("columns", [30, 20_000])
def test_a_file_with_many_columns_is_refused_at_once_in_a_short_line(tmp_path, name, columns):
    (tmp_path / name).write_bytes(wide(columns, name.partition(".")[2]))

    started = time.process_time()
    with pytest.raises(LogError) as caught:
        ingest_folder(tmp_path)

    assert time.process_time() - started < 2
    assert len(str(caught.value)) < 600
    expected = "20,000 columns; expected at most 5,000" if columns > 30 else "and 10 more"
    assert expected in str(caught.value)
