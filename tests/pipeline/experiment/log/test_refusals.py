"""What is said of a log that is refused, or odd: the file, the place, what was found, and what to do."""

import csv
import gzip
import json
import logging

import pytest

from pipeline.core.errors import DataError, LogError, QualityError
from pipeline.experiment.log.ingest import ingest as ingest_files
from pipeline.experiment.log.reading.log_folder import log_files
from pipeline.quality.runner import check_experiment_log, enforce
from tests.pipeline.experiment.logs import (
    PLAN,
    TS,
    at,
    impression,
    ingest,
    ingest_folder,
    logged_impression,
    users_in,
)

USERS = users_in("g1", 30)
ROWS = [impression(f"x{n}", user=user) for n, user in enumerate(USERS)]


def text(rows, **changes):
    """CSV of the rows, with columns renamed."""
    names = [changes.get(name, name) for name in rows[0]]
    lines = [names, *([str(value) for value in row.values()] for row in rows)]
    return "".join(",".join(line) + "\n" for line in lines)


def refusal(folder):
    with pytest.raises((LogError, DataError)) as caught:
        ingest_folder(folder)
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.csv", text(ROWS) + "x,y\n", "line 32 has 2 fields, the header has 8; quote fields"),
        ("a.csv", text(ROWS) + '"x,y\n', "line 32 opens a quote that is not closed"),
        ("a.csv", text(ROWS).encode() + b"Zo\xeb,,,,,,,\n", "line 32 is not UTF-8; save the file as"),
        ("a.csv", text(ROWS).encode("utf-16"), "it is UTF-16 text; save it as UTF-8"),
        ("a.csv", bytes(range(256)) * 20, "it is binary data, not text"),
        ("a.csv", gzip.compress(text(ROWS).encode(), mtime=0), "it is gzip; give it a name that ends in .gz"),
        ("a.csv", "user" + ",c" * 9000 + "\n", "its header has 9,001 columns"),
        ("a.csv", text(ROWS, user="User"), "user is missing (did you mean 'User'?)"),
        ("a.jsonl", '{"user": "a"}\n{"user": \n', "line 2 is not one JSON object in UTF-8: '{\"user\":'"),
        ("a.json", '[{"user": "a"},', "its array does not end, so the file is truncated"),
        ("a.json", '[{"user": "a"}, {"user" 1}]', "it is not a JSON array: Expecting"),
        ("a.zip", b"PK\x03\x04", "if that is CSV, rename it to a.csv.zip"),
        ("a.csv", text(ROWS).splitlines()[0], "there are no rows at all: check the export"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_read_says_where_and_why(tmp_path, name, content, says):
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())

    message = refusal(tmp_path)

    assert says in message
    assert message.isprintable()
    assert "Error" not in message


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "reason", "found"),
    [
        ({"ts": "soon"}, "a field has the wrong type", "ts is 'soon', expected a number"),
        (
            {"ts": "02.03.2026 10:00"},
            "a field has the wrong type",
            "ts is '02.03.2026 10:00', expected a number (experiment.columns.time: ms)",
        ),
        ({"units": "2.5"}, "a field has the wrong type", "units is '2.5', expected an integer"),
        (
            {"clicked": "Nein"},
            "a field has the wrong type",
            "clicked is 'Nein', expected true and false, or 1 and 0",
        ),
        ({"user": ""}, "a field is missing", "user empty"),
        ({"user": "NULL"}, "a field is missing", "user 'NULL'"),
        ({"user": "\\N"}, "a field is missing", "user '\\\\N'"),
        ({"user": "(not set)"}, "a field is missing", "user '(not set)'"),
        ({"ts": 5}, "time outside 2000-01-01 to 2100-01-01", "ts '5'"),
        (
            {"ts": 1772445604},
            "time outside 2000-01-01 to 2100-01-01",
            "look like seconds: set experiment.columns.time: s",
        ),
        (
            {"ts": 1772445604123456},
            "time outside 2000-01-01 to 2100-01-01",
            "look like microseconds: set experiment.columns.time: us",
        ),
        (
            {"ts": "46083.4168"},
            "time outside 2000-01-01 to 2100-01-01",
            "look like days of a spreadsheet",
        ),
        ({"ordered": True, "clicked": False}, "ordered but not clicked", "clicked '"),
    ],
    ids=str,
)
@pytest.mark.parametrize("suffix", ["csv", "csv.gz", "jsonl"])
def test_a_refusal_names_file_line_and_what_was_found(tmp_path, change, reason, found, suffix):
    rows = [row | change if n >= 5 else row for n, row in enumerate(ROWS)]
    lines = text(rows) if "csv" in suffix else "".join(json.dumps(row) + "\n" for row in rows)
    content = gzip.compress(lines.encode()) if "gz" in suffix else lines.encode()
    file = tmp_path / f"impressions.{suffix}"
    file.write_bytes(content)
    number = 7 if "csv" in suffix else 6

    with pytest.raises(QualityError) as caught:
        ingest(
            [file],
            PLAN,
            tmp_path / "l.duckdb",
            check=lambda new: enforce(check_experiment_log(new)),
        )

    message = str(caught.value)
    assert f"reason = {reason}, rows = 25, faulty = 25, read = 30" in message
    assert f"first = impressions.{suffix} line {number}: " in message
    assert found in message
    assert "{" not in message


def test_a_log_without_a_usable_row_says_why_in_sentences(tmp_path):
    (tmp_path / "impressions.csv").write_text(text([row | {"ts": "soon"} for row in ROWS]))

    assert refusal(tmp_path) == (
        "no usable impression in 1 file; 30 rows rejected: a field has the wrong type (first: "
        "impressions.csv line 2: ts is 'soon', expected a number (experiment.columns.time: ms) or a "
        "timestamp with a zone; for dates and timestamps set iso8601, iso8601-utc or iso8601-local). "
        "Check experiment.log_path, experiment.name and experiment.columns"
    )


def odd(folder, caplog):
    """The warnings of an ingestion."""
    with caplog.at_level(logging.WARNING, logger="pipeline.experiment.log.ingest"):
        ingest_files(log_files(folder).files, PLAN, folder.parent / "log.duckdb")
    return [record.getMessage() for record in caplog.records]


def test_copies_of_files_are_named(tmp_path, caplog):
    folder = tmp_path / "log"
    folder.mkdir()
    bare = [logged_impression(f"x{n}", user=user) for n, user in enumerate(USERS)]
    clicks = [{"impression": f"x{n}", "ts": at(1) + n} for n in range(30)]
    orders = [{"impression": f"x{n}", "ts": at(2), "units": 1} for n in range(3)]
    for name, rows in {"impressions": bare, "clicks": clicks, "orders": orders}.items():
        (folder / f"{name}.csv").write_text(text(rows))
    (folder / "impressions (1).csv").write_text(text(bare))
    (folder / "clicks-b.csv").write_text(text(clicks[::-1]))
    (folder / "orders-2.csv").write_text("impression,ts,units\n")
    (folder / "orders-3.csv").write_text("impression,ts,units\n")

    found = odd(folder, caplog)

    assert found[0] == "without a row: orders-2.csv, orders-3.csv"
    assert found[1].startswith(
        "impressions (1).csv and impressions.csv have the same bytes; remove"
    )
    assert "repeats rows of other files (30 of 30); if it is a copy, remove" in found[2]
    assert found[2].startswith("clicks")
    assert len(found) == 3


@pytest.mark.parametrize(
    ("padded", "plain", "named"),
    [("000012", "12", True), ("012", "12", True), ("0x12", "x12", False), ("12", "120", False)],
)
def test_ids_that_differ_in_leading_zeros_are_named(tmp_path, caplog, padded, plain, named):
    folder = tmp_path / "log"
    folder.mkdir()
    bare = [logged_impression(padded), logged_impression("y")]
    (folder / "impressions.csv").write_text(text(bare))
    with (folder / "clicks.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([("impression", "ts"), (plain, TS), ("y", TS)])

    found = " ".join(odd(folder, caplog))

    says = f"impression: {padded!r} and {plain!r} are two ids (1 such in all); if a spreadsheet has"
    assert (says in found) == named
