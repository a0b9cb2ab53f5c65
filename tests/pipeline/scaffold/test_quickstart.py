"""From data to params.yaml: columns that are guessed."""

import bz2
import csv
import gzip
from datetime import datetime
from io import BytesIO
from zipfile import ZipFile

import polars as pl
import pyarrow as pa
import pytest

from pipeline.artifacts.project import choose_study
from pipeline.cli import main
from pipeline.core.errors import DataError
from pipeline.scaffold.from_data import values_from
from pipeline.scaffold.guess import first_rows, guess_control, guess_time
from pipeline.scaffold.templates import Template
from pipeline.study import LogTime


def write(file, rows):
    file.parent.mkdir(exist_ok=True)
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0])
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture
def exports(tmp_path, monkeypatch):
    """An A/B test as another platform exports it, in seconds since 1970."""
    monkeypatch.chdir(tmp_path)
    users = range(40)
    write(
        tmp_path / "exports/exposures.csv",
        [
            {"Visitor ID": f"v{u}", "Variation": "AB"[u % 2], "Exposure Time": 1_772_445_600 + u}
            for u in users
        ],
    )
    clicks = [{"visitorId": f"v{u}", "time": 1_772_445_700 + u} for u in users if u % 4 < 3]
    write(tmp_path / "exports/clicks.csv", clicks)
    return tmp_path


def test_an_ab_test_of_another_platform_is_a_study_without_questions(exports, capsys):
    command = ["quickstart", "--template", "ab-test", "--name", "mine", "--data", "exports"]

    status = main([*command, "--control", "B", "--no-run"])

    text = capsys.readouterr().out
    assert status == 0, text
    assert "A: 20 users, 20 impressions, 20 with a click" in text
    assert "B: 20 users, 20 impressions, 10 with a click" in text
    assert "the run will take 10 seconds to 2 minutes (no earlier run to go by)" in text
    assert text.endswith("to run it: paretoscope study\n")
    study, _ = choose_study(params=exports / "mine/params.yaml").load()
    assert study.experiment.variants == {"A": 1.0, "B": 1.0}
    assert study.regression.advice.control == "B"
    assert study.experiment.columns.impressions.group == "Variation"
    assert study.experiment.columns.time is LogTime.SECONDS


def test_what_cannot_be_asked_or_recognised_is_named(exports, capsys):
    assert main(["quickstart", "--template", "ga4"]) == 1
    assert "--data is required where nobody can be asked" in capsys.readouterr().err
    write(exports / "odd/exposures.csv", [{"who": "u", "variant": "A", "when": "2026-03-02"}])
    with pytest.raises(
        DataError, match="no column that looks like user or ts; it has who, variant"
    ):
        values_from(Template.AB_TEST, exports / "odd", None)
    wrong = ["--template", "ab-test", "--name", "x", "--data", "exports", "--control", "C"]
    assert main(["quickstart", *wrong]) == 1
    assert "--control C: not a variant of the data; expected one of A, B" in capsys.readouterr().err
    assert not (exports / "x").exists()


def test_events_of_any_tool_are_mapped_by_their_names(tmp_path):
    row = {"sku": "a", "visit_id": "v", "Time": "2026-03-02T10:00:00Z", "Action": "view"}
    write(tmp_path / "log/events.csv", [row, row | {"Action": "buy"}, row | {"Action": "scroll"}])

    generic = values_from(Template.GA4, tmp_path / "log", None)["generic"]

    assert "session: visit_id\nitem: sku\ntime: Time\nevent_type: Action\n" in generic
    assert "  view: click\n  buy: order\n  scroll: null\n" in generic
    assert "time_unit: iso8601\n" in generic


@pytest.mark.parametrize(
    ("time", "separator"),
    [("2026-03-02T10:00:00Z", ","), ("2026-03-02 10:00:00", ","), (1_772_445_600, ";")],
)
def test_a_log_is_read_as_quickstart_writes_its_columns(
    tmp_path, monkeypatch, capsys, time, separator
):
    monkeypatch.chdir(tmp_path)
    rows = (("session", "item", "time", "event"), *(("s", one, time, "click") for one in "ab"))
    (tmp_path / "log").mkdir()
    text = "".join(f"{separator.join(map(str, row))}\n" for row in rows)
    (tmp_path / "log/events.csv").write_text(text)

    main(["quickstart", "--template", "ga4", "--name", "mine", "--data", "log", "--no-run"])

    text = capsys.readouterr().out
    assert "2 usable events of 1 session and 2 items in 1 file; 0 rows rejected" in text
    assert "from 2026-03-02T10:00:00.000Z to 2026-03-02T10:00:00.000Z" in text


def test_times_of_two_formats_are_refused_with_the_files_that_have_them(exports):
    write(exports / "exports/orders.csv", [{"user": "v0", "time": "2026-03-02T10:00:00Z"}])
    with pytest.raises(DataError, match=r"need one format \(experiment.columns.time\)") as raised:
        values_from(Template.AB_TEST, exports / "exports", None)
    assert "those of clicks.csv look like s" in str(raised.value)
    assert "those of orders.csv look like iso8601;" in str(raised.value)
    (exports / "exports/orders.csv").write_text("user,time\n")
    assert values_from(Template.AB_TEST, exports / "exports", None)["time"] == "s"


def zipped(text):
    file = BytesIO()
    with ZipFile(file, "w") as archive:
        archive.writestr("events.csv", text)
    return file.getvalue()


COMPRESSED = {
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".zst": lambda text: pa.compress(text, codec="zstd", asbytes=True),
    ".zip": zipped,
}


@pytest.mark.parametrize("suffix", COMPRESSED)
def test_a_compressed_csv_has_the_separator_of_its_header(tmp_path, suffix):
    file = tmp_path / f"EVENTS.CSV{suffix}"
    file.write_bytes(COMPRESSED[suffix](b"session;item\n1;a,b\n"))
    assert first_rows(file).rows(named=True) == [{"session": "1", "item": "a,b"}]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("user,item\n1,a\n".encode("utf-16"), "is not CSV: it is UTF-16 text; save it as UTF-8"),
        ("user,item\n1,é\n".encode("latin-1"), r"expected CSV \(UTF-8\), parquet or JSON lines"),
    ],
)
def test_text_in_another_encoding_is_named(tmp_path, content, problem):
    file = tmp_path / "events.csv"
    file.write_bytes(content)
    with pytest.raises(DataError, match=problem):
        first_rows(file)


def test_a_large_compressed_csv_is_read_in_part(tmp_path):
    file = tmp_path / "events.csv.gz"
    file.write_bytes(gzip.compress(b"item\n" + (b"x" * (1 << 20) + b"\n") * 33, 1))
    assert first_rows(file)["item"].unique().to_list() == ["x" * (1 << 20)]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("1772445600", "s"),
        ("1772445600123", "ms"),
        ("1772445600123456", "us"),
        ("2026-03-02T10:00:00", "iso8601-utc"),
        ("2026-03-02 10:00:00+01:00", "iso8601"),
        ("2026-03-02T10:00:00Z", "iso8601"),
    ],
)
def test_times_are_recognised(value, expected):
    assert guess_time(pl.Series([None, value])) == expected


def test_timestamps_of_parquet_have_a_zone_or_are_taken_for_utc():
    naive = pl.Series([datetime(2026, 3, 2, 10)])  # noqa: DTZ001
    assert guess_time(naive) == "iso8601-utc"
    assert guess_time(naive.dt.replace_time_zone("Europe/Berlin")) is None
    assert guess_time(pl.Series([None], dtype=pl.String)) is None


def test_the_control_is_the_one_that_is_called_so():
    assert guess_control(["treatment", "Control"]) == "Control"
    assert guess_control(["B", "A"]) == "A"
    assert guess_control(["red", "green"]) == "red"
