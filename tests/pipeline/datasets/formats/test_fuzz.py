"""Wounded copies of the real samples: nothing but DataError, no row lost, no good row changed."""

import gzip
from collections import Counter
from datetime import UTC, date, datetime

import numpy as np
import pytest

from pipeline.core.contracts import DAY_MS
from pipeline.core.errors import DataError
from pipeline.study import DatasetConfig, DatasetFormat, Duplicates

F = DatasetFormat


def at_ms(text):
    """Milliseconds of a time in ISO 8601, UTC if it names no zone."""
    moment = datetime.fromisoformat(text)
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return int(moment.timestamp()) * 1000 + moment.microsecond // 1000


def yoochoose(fields):
    session, time, item, _ = fields
    return int(session), at_ms(time), int(item), "click"


def views(fields):
    session, _, item, timeframe, day = fields
    return int(session), midnight(day) + int(timeframe), int(item), "click"


def purchases(fields):
    session, _, timeframe, day, _, item = fields
    return int(session), midnight(day) + int(timeframe), int(item), "order"


def midnight(day):
    return (date.fromisoformat(day) - date(1970, 1, 1)).days * DAY_MS


def retailrocket(fields):
    ts, visitor, word, item, _ = fields
    return int(visitor), int(ts), int(item), {"view": "click", "addtocart": "cart"}[word]


def rees46(fields):
    event_type = {"view": "click", "cart": "cart", "purchase": "order"}[fields[1]]
    return fields[-1], at_ms(fields[0].removesuffix(" UTC")), int(fields[2]), event_type


def jdata(fields):
    time, _, item, event_type, session, _ = fields
    event_types = {"1": "click", "2": "order", "3": None, "4": None, "5": "cart"}
    return int(session), at_ms(time), int(item), event_types[event_type]


SAMPLES = {
    "yoochoose": (F.YOOCHOOSE, "yoochoose/yoochoose-clicks.dat", yoochoose, ","),
    "diginetica-views": (F.DIGINETICA, "diginetica/train-item-views.csv", views, ";"),
    "diginetica-purchases": (F.DIGINETICA, "diginetica/train-purchases.csv", purchases, ";"),
    "retailrocket": (F.RETAILROCKET, "retailrocket/events.csv", retailrocket, ","),
    "rees46": (F.REES46, "rees46/2019-Oct.csv", rees46, ","),
    "jdata": (F.JDATA, "jdata/train.csv", jdata, ","),
}
JUNK = [
    *(b"NaN", b"nan", b"inf", b"-1", b"1e30", b"9" * 30, b"9223372036854775808", b"0x5", b"5.0"),
    *(
        b"",
        b" ",
        b"\x00",
        b"\xff\xfe",
        b"\xed\xa0\x80",
        b"\xef\xbb\xbf",
        b'"',
        b'""',
        b'"5"5',
        b"\r",
    ),
    *(b"2019-10-01 00:00:00 UTC", b"2014-09-24T09:58:32.124+09:00", b"2018-03-01 00:00:06"),
    *(b"2016-02-30", b"1999-12-31", b"2100-01-01T00:00:00Z", b"true", b"null", "😀".encode()),
]


def wound(line, separator, rng):
    """A line after an accident; it may be several lines then, or none."""
    fields = line.split(separator.encode())
    at = int(rng.integers(len(line) + 1))
    match rng.integers(9):
        case 0:
            return line[:at]
        case 1:
            return line[at:]
        case 2:
            one, two = rng.integers(len(fields), size=2)
            fields[one], fields[two] = fields[two], fields[one]
        case 3 | 4:
            fields[rng.integers(len(fields))] = JUNK[rng.integers(len(JUNK))]
        case 5:
            fields.insert(int(rng.integers(len(fields) + 1)), JUNK[rng.integers(len(JUNK))])
        case 6:
            return line[:at] + rng.bytes(int(rng.integers(1, 9))) + line[at:]
        case 7:
            return line[:at] + b"\n" + line[at:]
        case _:
            return line + b"\n" + line
    return separator.encode().join(fields)


def wounded_copy(lines, separator, rng):
    """A copy of a file, and which of its lines are whole in it."""
    hurt = set(rng.choice(len(lines), size=int(rng.integers(1, 12))).tolist())
    copy = [wound(line, separator, rng) if n in hurt else line for n, line in enumerate(lines)]
    end = [b"\n", b"\r\n"][rng.integers(2)]
    return end.join(copy) + end * int(rng.integers(3)), set(range(len(lines))) - hurt


def sample(real_data, case, rng, rows):
    """The header, if there is one, and some of the other lines."""
    dataset_format, path, *_ = case
    lines = (real_data / path).read_bytes().rstrip(b"\n").split(b"\n")
    header = [] if dataset_format is F.YOOCHOOSE else lines[:1]
    body = lines[len(header) :]
    start = int(rng.integers(max(1, len(body) - rows)))
    return header, body[start : start + rows]


def survive(load, real_data, tmp_path, case, *, mutants, rows):
    dataset_format, path, of, separator = case
    rng = np.random.default_rng(20250922)
    for n in range(mutants):
        header, lines = sample(real_data, case, rng, rows)
        body, whole = wounded_copy(lines, separator, rng)
        mark = b"\xef\xbb\xbf" if n % 3 == 0 else b""
        data = mark + b"".join(line + b"\n" for line in header) + body
        compressed = n % 2 == 0
        target = tmp_path / (path.rsplit("/")[-1] + (".gz" if compressed else ""))
        target.write_bytes(gzip.compress(data) if compressed else data)
        duplicates = Duplicates.KEEP if n % 4 else Duplicates.REJECT
        dataset = DatasetConfig(format=dataset_format, path="copy", duplicates=duplicates)

        summary, events, rejected = load(dataset, target, max_rejected_share=1.0)
        target.unlink()

        rows_in = sum(1 for line in body.split(b"\n") if line.strip())
        assert events.height + rejected.height == rows_in
        assert summary["events"] == events.height
        assert summary["rejected"] == rejected.height
        if dataset.lacks_sessions:
            user = events["session"].str.replace("-[0-9]+$", "").cast(int)
            events = events.with_columns(session=user)
        got = Counter(events.select("session", "ts", "item", "event_type").rows())
        good = Counter(of(lines[n].decode().split(separator)) for n in whole)
        good = Counter({row: times for row, times in good.items() if row[-1]})
        if duplicates is Duplicates.REJECT:
            good = Counter(good.keys())
        assert not good - got


@pytest.mark.real_data
@pytest.mark.parametrize("case", SAMPLES.values(), ids=SAMPLES)
def test_wounded_copies_lose_no_row_and_change_no_good_one(load, real_data, tmp_path, case):
    survive(load, real_data, tmp_path, case, mutants=16, rows=120)


@pytest.mark.slow
@pytest.mark.real_data
@pytest.mark.parametrize("case", SAMPLES.values(), ids=SAMPLES)
def test_many_wounded_copies_of_long_files_do_neither(load, real_data, tmp_path, case):
    survive(load, real_data, tmp_path, case, mutants=30, rows=2_000)


@pytest.mark.slow
@pytest.mark.real_data
@pytest.mark.parametrize("case", SAMPLES.values(), ids=SAMPLES)
def test_random_bytes_in_a_file_end_as_rows_or_as_data_error(load, real_data, tmp_path, case):
    dataset_format, path, _, _ = case
    rng = np.random.default_rng(20250922)
    dataset = DatasetConfig(format=dataset_format, path="copy")
    target, read = tmp_path / path.rsplit("/")[-1], 0
    for _ in range(14):
        header, lines = sample(real_data, case, rng, 60)
        wounded = bytearray(b"\n".join([*header, *lines]))
        for _ in range(int(rng.integers(1, 6))):
            at = int(rng.integers(len(wounded)))
            wounded[at : at + int(rng.integers(30))] = rng.bytes(int(rng.integers(1, 30)))
        target.write_bytes(wounded)

        try:
            _, events, rejected = load(dataset, target, max_rejected_share=1.0)
        except DataError:
            assert header
            assert not wounded.startswith(header[0] + b"\n")
            continue
        read += 1
        rows_in = [line for line in bytes(wounded).split(b"\n") if line.strip()]
        assert events.height + rejected.height == len(rows_in) - len(header)

    assert read >= 5


@pytest.mark.real_data
@pytest.mark.parametrize("case", SAMPLES.values(), ids=SAMPLES)
def test_a_damaged_compressed_file_is_rejected_or_read_whole(load, real_data, tmp_path, case):
    dataset_format, path, _, _ = case
    rng = np.random.default_rng(20250922)
    dataset = DatasetConfig(format=dataset_format, path="copy", duplicates=Duplicates.KEEP)
    header, lines = sample(real_data, case, rng, 400)
    compressed = gzip.compress(b"\n".join([*header, *lines]), mtime=0)
    target = tmp_path / (path.rsplit("/")[-1] + ".gz")
    for _ in range(14):
        wounded = bytearray(compressed)
        at = int(rng.integers(len(compressed)))
        if rng.integers(2):
            wounded[at] ^= 1 << int(rng.integers(8))
        else:
            del wounded[at:]
        target.write_bytes(wounded)

        try:
            _, events, rejected = load(dataset, target, max_rejected_share=1.0)
        except DataError:
            continue
        assert events.height + rejected.height == len(lines)
        assert rejected.filter(~rejected["reason"].str.contains("does not use")).is_empty()
