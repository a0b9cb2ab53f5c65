"""Files as blocks of whole lines: the same lines for any block size and packing, or a DataError."""

import gzip
import random

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.errors import DataError
from pipeline.datasets.io import blocks
from pipeline.datasets.io.blocks import (
    Block,
    count_lines,
    find_files,
    input_files,
    line_ends,
    read_blocks,
)
from pipeline.datasets.io.files import decompressed_suffix

BOM = b"\xef\xbb\xbf"
PACK = {
    "": bytes,
    ".gz": lambda data: gzip.compress(data, mtime=0),
    ".zst": lambda data: pa.Codec("zstd").compress(data, asbytes=True),
}
LINES = b"".join(f"{number},{number**2}\n".encode() for number in range(2000))
COMPRESSED = pytest.mark.parametrize("suffix", [".gz", ".zst"])


def _joined(file, **options):
    return b"".join(block.data for block in read_blocks(file, **options))


@pytest.mark.slow
@given(
    content=st.lists(st.sampled_from([b"a", b"bcdefg", b"\n", b"\r", BOM, b"\xff", b"\0"])).map(
        b"".join
    ),
    block_bytes=st.integers(1, 20),
    suffix=st.sampled_from(list(PACK)),
)
@settings(max_examples=200)
def test_blocks_are_the_files_lines_for_any_size_of_block(
    content, block_bytes, suffix, tmp_path_factory
):
    file = tmp_path_factory.mktemp("blocks") / f"log{suffix}"
    file.write_bytes(PACK[suffix](content))

    blocks = list(read_blocks(file, block_bytes=block_bytes))

    without_mark = content.removeprefix(BOM)
    complete = not without_mark or without_mark.endswith(b"\n")
    assert b"".join(block.data for block in blocks) == without_mark + (b"" if complete else b"\n")
    line = 1
    for block in blocks:
        assert (block.source, block.first_line) == (file.name, line)
        assert block.data.endswith(b"\n")
        line += block.data.count(b"\n")


@pytest.mark.parametrize("suffix", PACK, ids=["plain", "gz", "zst"])
def test_a_line_longer_than_a_block_stays_whole(tmp_path, suffix):
    long = random.Random(0).randbytes(50_000).replace(b"\n", b" ")
    file = tmp_path / f"log{suffix}"
    file.write_bytes(PACK[suffix](b"one\n" + long + b"\nthree"))

    blocks = list(read_blocks(file, block_bytes=1000))

    assert [(block.first_line, block.data) for block in blocks] == [
        (1, b"one\n"),
        (2, long + b"\n"),
        (3, b"three\n"),
    ]


@pytest.mark.parametrize("suffix", PACK, ids=["plain", "gz", "zst"])
@pytest.mark.parametrize("content", [b"", BOM], ids=["empty", "byte-order-mark"])
def test_a_file_without_lines_gives_no_block(tmp_path, content, suffix):
    file = tmp_path / f"log{suffix}"
    file.write_bytes(PACK[suffix](content))

    assert list(read_blocks(file)) == []


@COMPRESSED
def test_archives_written_one_behind_another_are_read_to_the_last(tmp_path, suffix):
    file = tmp_path / f"log{suffix}"
    file.write_bytes(PACK[suffix](b"one\n") + PACK[suffix](b"two\n"))

    assert _joined(file) == b"one\ntwo\n"


@COMPRESSED
def test_an_archive_cut_anywhere_is_refused(tmp_path, suffix):
    file = tmp_path / f"log{suffix}"
    whole = PACK[suffix](LINES)
    places = [*range(1, 25), *range(25, len(whole) - 25, 1000), *range(len(whole) - 25, len(whole))]

    for place in places:
        file.write_bytes(whole[:place])
        with pytest.raises(DataError) as caught:
            _joined(file, block_bytes=5000)
        assert str(caught.value) == (
            f"cannot read {file} to its end: Truncated compressed stream. "
            "Restore the file, or correct dataset.path"
        )


@COMPRESSED
@pytest.mark.parametrize("archives", [0, 1], ids=["alone", "behind-an-archive"])
def test_text_where_an_archive_should_be_is_refused(tmp_path, suffix, archives):
    file = tmp_path / f"log{suffix}"
    file.write_bytes(PACK[suffix](LINES) * archives + b"no archive at all\n" * 9)

    with pytest.raises(DataError, match=r"cannot read .* to its end: (zlib|ZSTD) \w+ failed"):
        _joined(file)


def test_no_flipped_bit_of_a_gz_goes_unnoticed(tmp_path):
    file, rng = tmp_path / "log.gz", random.Random(1)
    whole = PACK[".gz"](LINES)
    name_and_system = range(4, 10)  # of the header: nothing of the content

    for _ in range(100):
        compressed = bytearray(whole)
        place = rng.choice([i for i in range(len(whole)) if i not in name_and_system])
        compressed[place] ^= 1 << rng.randrange(8)
        file.write_bytes(compressed)
        try:
            assert _joined(file) == LINES
        except DataError:
            continue


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("absent.csv", "No such file or directory"),
        ("absent.csv.gz", "No such file or directory"),
        ("log.csv/within", "Not a directory"),
        ("folder", "is a directory"),
        ("x" * 300, "File name too long"),
    ],
    ids=["absent", "absent-gz", "within-a-file", "folder", "long-name"],
)
def test_a_missing_file_is_named(tmp_path, name, problem):
    (tmp_path / "log.csv").write_text("a\n")
    (tmp_path / "folder").mkdir()

    with pytest.raises(DataError) as caught:
        _joined(tmp_path / name)

    message = str(caught.value)
    assert message.startswith(f"cannot read {tmp_path / name} to its end: ")
    assert problem in message


def test_an_endless_line_is_refused_before_it_fills_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(blocks, "_MAX_LINE_BYTES", 1 << 20)
    file = tmp_path / "log"
    file.write_bytes(b"one\n" + bytes(1_200_000))

    with pytest.raises(DataError) as caught:
        _joined(file, block_bytes=50_000)

    assert str(caught.value) == (
        f"{file}: line 2 is longer than 1 MiB; is this a text file with one event or session per "
        "line?"
    )


def test_a_folder_gives_its_files_of_the_suffixes_in_order_of_name(tmp_path):
    for name in ("c.csv.zst", "b.csv", "a.csv.gz", "d.tsv", "b.csv.bak", "notes.txt", "e.gz"):
        (tmp_path / name).write_bytes(b"")

    assert [file.name for file in input_files(tmp_path, ".csv")] == [
        "a.csv.gz",
        "b.csv",
        "c.csv.zst",
    ]
    assert [file.name for file in input_files(tmp_path, ".tsv", ".txt")] == ["d.tsv", "notes.txt"]
    assert input_files(tmp_path / "any.name", ".csv") == [tmp_path / "any.name"]


def test_named_files_come_in_the_order_of_the_names(tmp_path):
    for name in ("views.csv.gz", "buys.csv", "others.csv"):
        (tmp_path / name).write_bytes(b"")

    assert [file.name for file in find_files(tmp_path, "views.csv", "buys.csv")] == [
        "views.csv.gz",
        "buys.csv",
    ]
    assert [file.name for file in find_files(tmp_path, "buys.csv", "no.csv")] == ["buys.csv"]
    assert find_files(tmp_path / "any", "views.csv") == [tmp_path / "any"]


def test_a_folder_without_the_expected_files_is_rejected(tmp_path):
    (tmp_path / "buys.csv").write_bytes(b"")

    with pytest.raises(DataError) as no_suffix:
        input_files(tmp_path, ".jsonl")
    with pytest.raises(DataError) as no_name:
        find_files(tmp_path, "views.csv", "buys.csv")

    assert str(no_suffix.value) == (
        f"{tmp_path} has no file that ends in .jsonl (compressed: also .gz, .gzip, .zst, .zstd, .bz2, "
        ".zip), only buys.csv; check dataset.path"
    )
    assert str(no_name.value) == (
        f"{tmp_path} has no views.csv (nor .gz, .gzip, .zst, .zstd, .bz2, .zip); check dataset.path"
    )


@pytest.mark.parametrize(
    ("name", "suffix"),
    [("a.csv", ".csv"), ("a.csv.gz", ".csv"), ("a.b.jsonl.zst", ".jsonl"), ("a.gz", ""), ("a", "")],
)
def test_the_suffix_is_that_of_the_decompressed_file(tmp_path, name, suffix):
    assert decompressed_suffix(tmp_path / name) == suffix


def test_lines_are_counted_and_ended_at_newlines_alone():
    data = b"one\r\n\n\x0b\x0c\r\xe2\x80\xa8four\n"

    assert count_lines(data) == 3
    assert line_ends(data).tolist() == [5, 6, 17]
    assert Block("log", 7, data).without_first_line() == Block("log", 8, data[5:])
