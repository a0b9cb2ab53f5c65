"""Files of other programs: separators, encodings, empty rows, typed files; names are literal."""

import gzip
import json

import polars as pl
import pytest

from pipeline.core.errors import DataError
from pipeline.core.table_file import ReadAs, read_table, table_of_frame

WANTED = {"group": ["01", "1"], "n": ["5", "6"]}


@pytest.fixture
def write(tmp_path):
    def to(content, name="t.csv"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return to


@pytest.mark.parametrize(
    ("content", "kinds"),
    [
        ("group,n\n01,5\n1,6\n", []),
        ("group;n\n01;5\n1;6\n", [ReadAs.SEPARATOR]),
        ("group\tn\r\n01\t5\r\n1\t6\r\n", [ReadAs.SEPARATOR]),
        ("group|n\n01|5\n1|6", [ReadAs.SEPARATOR]),
        ("sep=;\ngroup;n\n01;5\n1;6\n", [ReadAs.SEPARATOR]),
        ("\n\ngroup,n\n01,5\n\n1,6\n\n\n", []),
        ("group,n\n01,5\n1,6\n,\n,\n", [ReadAs.EMPTY_ROWS]),
        ("group,n,,\n01,5,,\n1,6,,\n", []),
        ("group,n\n01,5,\n1,6,\n", []),
        (' group , n\n"01", 5\n1 , 6\n', []),
        ("\ufeffgroup,n\n01,5\n1,6\n".encode(), []),
        ("group,n\n01,5\n1,6\n".encode("utf-16"), [ReadAs.ENCODING]),
        (gzip.compress(b"group,n\n01,5\n1,6\n", mtime=0), []),
        (",group,n\n0,01,5\n1,1,6\n", [ReadAs.UNNAMED_COLUMN]),  # the index of pandas
        ("Unnamed: 0,group,n\n0,01,5\n1,1,6\n", [ReadAs.UNNAMED_COLUMN]),
    ],
    ids=str,
)
def test_a_text_file_is_read_and_says_how(write, content, kinds):
    found = read_table(write(content))

    assert found.columns == WANTED
    assert [note.kind for note in found.notes] == kinds


@pytest.mark.parametrize("name", ["counts[1].csv", "a*b?.csv", "~x.csv", "$HOME {x}.csv", "t.TXT"])
def test_the_name_of_a_file_is_literal(write, name):
    write("group,n\na,0\nb,0\n", "counts1.csv")

    assert read_table(write("group,n\n01,5\n1,6\n", name)).columns == WANTED


def test_json_keeps_strings_and_integers_of_any_size(write):
    rows = [{"group": "01", "n": 2**70}, {"group": 1, "n": 6}]
    wanted = {"group": ["01", 1], "n": [2**70, 6]}

    assert read_table(write(json.dumps(rows), "t.json")).columns == wanted
    assert read_table(write(json.dumps(wanted), "t.json")).columns == wanted
    lines = "\n".join(json.dumps(row) for row in rows) + "\n\n"
    assert read_table(write(lines, "t.jsonl")).columns == wanted


def test_parquet_is_read_whatever_its_suffix(tmp_path):
    pl.DataFrame(WANTED).write_parquet(tmp_path / "t.parquet")
    pl.DataFrame(WANTED).write_parquet(tmp_path / "t.pq")

    assert read_table(tmp_path / "t.parquet").columns == WANTED
    assert read_table(tmp_path / "t.pq").columns == WANTED


@pytest.mark.parametrize(
    ("content", "name", "words"),
    [
        ("", "t.csv", "is empty"),
        ("group,n\n", "t.csv", "the table has no rows"),
        ("group,n\n,\n", "t.csv", "the table has no rows"),
        ("group,n\na,1,2\n", "t.csv", r"row 1 \(a\) has 3 fields, the header has 2"),
        ("group,n\na\n", "t.csv", r"row 1 \(a\) has 1 fields, the header has 2"),
        ("group,n,n\na,1,2\n", "t.csv", "the column n occurs 2 times"),
        ("group,n\na,\xe9\n".encode("latin-1"), "t.csv", "is not UTF-8: .* save it as CSV UTF-8"),
        ("group,n\na,1\n".encode("utf-16-le"), "t.csv", "it is UTF-16 text; save it as UTF-8"),
        (b"PK\x03\x04", "t.xlsx", "is a spreadsheet; save the sheet as CSV"),
        (b"PAR1 broken", "t.parquet", "is not valid parquet"),
        ("[1, 2]", "t.json", "expected an array of objects"),
        ("{", "t.json", "is not valid JSON"),
        ("group,n\n" + "a,1\n" * 10_001, "t.csv", "has more than 10,000 rows"),
        (
            ",".join(f"c{n}" for n in range(20_000)) + "\n" + ",1" * 19_999,
            "t.csv",
            "20,000 columns",
        ),
        (gzip.compress(b"group,n\na,1\n", mtime=0)[:-8], "t.csv.gz", "cannot read"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_file_that_is_no_table_is_refused_with_the_remedy(write, content, name, words):
    with pytest.raises(DataError, match=words):
        read_table(write(content, name))


def test_a_folder_and_a_missing_file_are_refused(tmp_path):
    with pytest.raises(DataError, match="it is a folder; expected a CSV"):
        read_table(tmp_path)
    with pytest.raises(DataError, match="No such file"):
        read_table(tmp_path / "none.csv")


def test_a_frame_keeps_its_types():
    frame = pl.DataFrame({"group": ["a"], "n": pl.Series([2**100], dtype=pl.Int128), "x": [0.5]})

    assert table_of_frame(frame, "the frame").columns == {"group": ["a"], "n": [2**100], "x": [0.5]}
    with pytest.raises(DataError, match="no rows"):
        table_of_frame(frame[:0], "the frame")
