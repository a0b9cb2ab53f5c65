"""Lines of files that grow, are renamed, compressed, cut, or damaged."""

import json

from pipeline.experiment.log.log_files import LogTable
from pipeline.monitoring.following.tail import Cursor, new_batches, unread_files
from tests.pipeline.monitoring.endpoint_log import compress, write

TABLE = LogTable.CLICKS


class Reader:
    """Reads a folder again and again, as the follower does."""

    def __init__(self, folder):
        self.folder = folder
        self.cursors = {}
        self.broken = 0

    def new(self):
        """The numbers of the new rows."""
        files, _ = unread_files(self.folder, TABLE, self.cursors)
        found = []
        for file in files:
            for batch in new_batches(self.folder, file, self.cursors.get(file.name, Cursor())):
                found += [row["n"] for row in batch.rows]
                self.broken += batch.broken
                self.cursors[file.name] = batch.cursor
        return found


def rows(*numbers):
    return [{"n": n} for n in numbers]


def append(path, data):
    with path.open("ab") as stream:
        stream.write(data)


def test_a_line_is_read_once_and_when_it_is_complete(tmp_path):
    path, reader = write(tmp_path, TABLE, rows(1, 2)), Reader(tmp_path)
    assert reader.new() == [1, 2]

    append(path, b'{"n": 3')
    assert reader.new() == []
    append(path, b'}\n{"n": 4}\n')

    assert reader.new() == [3, 4]
    assert reader.new() == []


def test_renaming_and_compressing_a_file_changes_nothing(tmp_path):
    path, reader = write(tmp_path, TABLE, rows(1, 2)), Reader(tmp_path)
    assert reader.new() == [1, 2]
    append(path, b'{"n": 3}\n')
    closed = path.rename(path.with_name(path.name.removesuffix(".open")))
    assert reader.new() == [3]

    compress(closed)
    write(tmp_path, TABLE, rows(4), name="20261129T110000-000000")

    assert reader.new() == [4]
    assert (
        unread_files(tmp_path, TABLE, reader.cursors)[0] == []
    )  # the compressed file is done with


def test_a_file_that_is_compressed_before_its_end_was_read_goes_on_after_the_rows_read(tmp_path):
    path, reader = write(tmp_path, TABLE, rows(1, 2), suffix=".jsonl"), Reader(tmp_path)
    assert reader.new() == [1, 2]
    append(path, b'{"n": 3}\n')

    compress(path)

    assert reader.new() == [3]


def test_a_half_compressed_file_is_read_as_far_as_it_goes(tmp_path):
    reader = Reader(tmp_path)
    path = write(tmp_path, TABLE, rows(*range(20_000)), suffix=".jsonl")
    compress(path)
    compressed = path.with_name(path.name + ".gz")
    whole = compressed.read_bytes()
    compressed.write_bytes(whole[: len(whole) // 2])
    found = reader.new()

    compressed.write_bytes(whole)

    assert found + reader.new() == list(range(20_000))


def test_recovery_that_writes_a_file_anew_without_a_broken_line_repeats_no_row(tmp_path):
    path, reader = write(tmp_path, TABLE, rows(1)), Reader(tmp_path)
    append(path, b'{"n": \n{"n": 2}\n{"n": 3')
    assert reader.new() == [1, 2]
    assert reader.broken == 1

    anew = path.with_name("anew")
    anew.write_bytes(b"".join(json.dumps(row).encode() + b"\n" for row in rows(1, 2, 3)))
    anew.replace(path)

    assert reader.new() == [3]


def test_rows_that_a_failed_write_has_taken_back_are_not_repeated(tmp_path):
    path, reader = write(tmp_path, TABLE, rows(1, 2, 3)), Reader(tmp_path)
    reader.new()

    with path.open("r+b") as stream:
        stream.truncate(len(b'{"n": 1}\n'))
    assert reader.new() == []
    append(path, b'{"n": 4}\n')

    assert reader.new() == [4]


def test_lines_that_are_no_objects_are_counted(tmp_path):
    path, reader = write(tmp_path, TABLE, rows(1)), Reader(tmp_path)
    append(path, b'garbage\n[1]\n\xff\n{"n": 2}\n')

    assert reader.new() == [1, 2]
    assert reader.broken == 3


def test_files_of_other_tables_and_programs_are_left_alone(tmp_path):
    write(tmp_path, "impressions", rows(1))
    for name in ("clicks-notes.txt", "clicks-a.parquet", ".clicks-b.jsonl", "clicks.jsonl"):
        (tmp_path / name).write_text('{"n": 9}\n', encoding="utf-8")
    (tmp_path / "clicks-c.jsonl").mkdir()

    assert Reader(tmp_path).new() == []
    assert Reader(tmp_path / "absent").new() == []


def test_files_of_several_servers_with_one_name_are_several_files(tmp_path):
    reader = Reader(tmp_path)
    write(tmp_path / "b", TABLE, rows(2))
    write(tmp_path / "zone" / "a", TABLE, rows(3))
    assert reader.new() == [2, 3]

    path = write(tmp_path / "b", TABLE, rows(4))
    write(tmp_path / "c", TABLE, rows(1), name="20200101T000000-000000")  # arrives late
    path.rename(path.with_name(path.name.removesuffix(".open")))

    assert reader.new() == [1, 4]
    assert set(reader.cursors) == {
        "b/clicks-20261129T100000-000000",
        "c/clicks-20200101T000000-000000",
        "zone/a/clicks-20261129T100000-000000",
    }


def test_files_are_read_in_the_order_they_were_written(tmp_path):
    for hour in (12, 10, 11):
        write(tmp_path, TABLE, rows(hour), name=f"20261129T{hour}0000-000000", suffix=".jsonl")

    assert Reader(tmp_path).new() == [10, 11, 12]
