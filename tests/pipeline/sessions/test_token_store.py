"""The token store: what was appended comes back through a memory map, damage as one message."""

import json
import re
from dataclasses import fields
from itertools import chain, pairwise

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file

from models.tokens import SessionTokens
from pipeline.core.contracts import Split
from pipeline.core.errors import DataError
from pipeline.sessions.token_store import open_times, open_tokens
from pipeline.sessions.token_store_writer import TokenWriter

SESSIONS = {
    Split.TRAIN: [[(3, 0, 0), (1, 1, 0)], [(0, 0, 1), (0, 0, 0), (2, 1, 1)]],
    Split.VALIDATION: [[(2, 0, 1), (3, 0, 0)]],
    Split.TEST: [[(1, 1, 0), (1, 0, 1), (1, 0, 0)], [(0, 1, 0), (3, 0, 1)]],
}
ARRAYS = [field.name for field in fields(SessionTokens)]
CLICK = st.tuples(st.integers(0, 2**31 - 1), st.integers(0, 1), st.integers(0, 1))
PART = st.lists(st.lists(CLICK, max_size=5), max_size=4)


def write(path, sessions, pieces=1):
    """Write sessions piece by piece; the click at place n of a split happens at n hours."""
    with TokenWriter(path) as writer:
        for split, part in sessions.items():
            clicks = [(*click, 3_600_000 * n) for n, click in enumerate(chain.from_iterable(part))]
            lengths = [len(session) for session in part]
            bounds = np.linspace(0, len(part), pieces + 1).astype(int).tolist()
            for first, behind in pairwise(bounds):
                start, end = sum(lengths[:first]), sum(lengths[:behind])
                frame = pl.DataFrame(
                    clicks[start:end], schema=["item", "ordered", "carted", "ts"], orient="row"
                )
                writer.append(split, frame, np.array(lengths[first:behind], dtype=np.int64))
    return path


def open_all(path):
    for split in Split:
        open_tokens(path, split)
        open_times(path, split)


def same(left, right):
    return left.dtype == right.dtype and np.array_equal(left, right)


@pytest.mark.slow
@given(parts=st.tuples(PART, PART, PART), pieces=st.integers(1, 3))
@settings(max_examples=60)
def test_every_split_comes_back_as_appended_even_without_sessions(parts, pieces, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "tokens.safetensors"

    write(path, dict(zip(Split, parts, strict=True)), pieces)

    for split, part in zip(Split, parts, strict=True):
        found, expected = open_tokens(path, split), SessionTokens.from_lists(part)
        assert all(same(getattr(found, name), getattr(expected, name)) for name in ARRAYS)
        assert open_times(path, split).tolist() == [3_600_000 * n for n in range(len(found.items))]


def test_any_reader_of_safetensors_opens_the_store(tmp_path):
    path = write(tmp_path / "tokens.safetensors", SESSIONS)

    found = load_file(path)

    assert found.keys() == {f"{split}.{name}" for split in Split for name in (*ARRAYS, "ts")}
    for split in Split:
        ours = open_tokens(path, split)
        assert all(same(found[f"{split}.{name}"], getattr(ours, name)) for name in ARRAYS)
        assert same(found[f"{split}.ts"], open_times(path, split))


def test_the_layout_is_the_documented_one(tmp_path, project_root):
    text = (project_root / "docs" / "datasets.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `<split>\.(\w+)` \| (\w+) \| ([\w ]+?)( \+ 1)? \|", text, re.MULTILINE)

    found = load_file(write(tmp_path / "tokens.safetensors", SESSIONS))

    sizes = {"clicks": 2 + 3, "sessions": 2}  # of train
    documented = {name: (dtype, sizes[of] + bool(more)) for name, dtype, of, more in rows}
    assert documented == {
        name.removeprefix("train."): (str(array.dtype), len(array))
        for name, array in found.items()
        if name.startswith("train.")
    }


def test_tokens_are_mapped_into_memory_and_cannot_be_changed(tmp_path):
    path = write(tmp_path / "tokens.safetensors", SESSIONS)

    found = open_tokens(path, Split.TRAIN)

    for array in (*(getattr(found, name) for name in ARRAYS), open_times(path, Split.TRAIN)):
        assert isinstance(array, np.memmap)
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1


@pytest.mark.parametrize("clicks", [0, 1, 2, 3, 5])
def test_every_array_begins_at_a_multiple_of_its_items_size(tmp_path, clicks):
    one = [[(1, 0, 0)] * clicks]
    path = write(tmp_path / "tokens.safetensors", dict.fromkeys(Split, one))

    content = path.read_bytes()
    base = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:base])

    sizes = {"I64": 8, "I32": 4, "U8": 1}
    ends = [0]
    for entry in header.values():
        start, end = entry["data_offsets"]
        assert start == ends[-1]  # one after another, without holes
        assert (base + start) % sizes[entry["dtype"]] == 0
        assert end - start == entry["shape"][0] * sizes[entry["dtype"]]
        ends.append(end)
    assert base + ends[-1] == len(content)


def test_however_it_is_cut_into_pieces_the_store_has_the_same_bytes(tmp_path):
    one, other = tmp_path / "one", tmp_path / "other"

    write(one, SESSIONS, pieces=1)
    write(other, dict(reversed(SESSIONS.items())), pieces=2)

    assert one.read_bytes() == other.read_bytes()
    assert sorted(tmp_path.iterdir()) == [one, other]  # no other file is left


def test_a_writer_that_fails_leaves_neither_a_store_nor_its_parts(tmp_path):
    clicks = pl.DataFrame({"item": [1], "ordered": [0], "carted": [0], "ts": [0]})

    def interrupted():
        with TokenWriter(tmp_path / "tokens.safetensors") as writer:
            writer.append(Split.TRAIN, clicks, np.array([1]))
            msg = "the disk is full"
            raise OSError(msg)

    with pytest.raises(OSError, match="the disk is full"):
        interrupted()
    assert list(tmp_path.iterdir()) == []


def test_a_store_cut_short_anywhere_is_refused(tmp_path):
    path = write(tmp_path / "tokens.safetensors", SESSIONS)
    whole = path.read_bytes()

    for length in range(0, len(whole), 3):
        path.write_bytes(whole[:length])
        with pytest.raises(DataError, match="is not a token store with split"):
            open_all(path)


def test_a_store_with_a_changed_header_opens_or_is_refused_in_one_message(tmp_path):
    path, rng = write(tmp_path / "tokens.safetensors", SESSIONS), np.random.default_rng(3)
    whole = path.read_bytes()
    header = 8 + int.from_bytes(whole[:8], "little")
    refused = 0

    for _ in range(300):
        wounded = bytearray(whole)
        wounded[int(rng.integers(header))] = int(rng.integers(256))
        path.write_bytes(wounded)
        try:
            open_all(path)
        except DataError:
            refused += 1

    assert refused > 150


@pytest.mark.parametrize("name", ["items", "ordered", "carted", "offsets"])
def test_arrays_that_do_not_fit_each_other_are_refused(tmp_path, name):
    path = write(tmp_path / "tokens.safetensors", SESSIONS)
    content = path.read_bytes()
    base = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:base])
    header[f"train.{name}"]["shape"][0] -= 1
    path.write_bytes(content[:8] + json.dumps(header).encode().ljust(base - 8) + content[base:])

    with pytest.raises(DataError, match="the arrays of split train have inconsistent lengths"):
        open_tokens(path, Split.TRAIN)
    open_tokens(path, Split.TEST)


def store(header):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + bytes(64)


ENTRY = {"dtype": "I32", "shape": [1], "data_offsets": [0, 4]}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"short",
        b"PAR1" + bytes(100),
        b"\xff" * 100,
        (2**62).to_bytes(8, "little") + b"{}",
        store(b"not json"),
        store(b"\xff\xfe"),
        store(b"[" * 5000),
        store([]),
        store({}),
        store({"train.items": None}),
        store({"train.items": ENTRY}),
        store({"train.items": {**ENTRY, "dtype": "F32"}}),
        store({"train.items": {**ENTRY, "dtype": []}}),
        store({"train.items": {**ENTRY, "shape": "1"}}),
        store({"train.items": {**ENTRY, "shape": 1}}),
        store({"train.items": {**ENTRY, "shape": [-1]}}),
        store({"train.items": {**ENTRY, "shape": [10**30]}}),
        store({"train.items": {**ENTRY, "shape": [17]}}),
        store({"train.items": {**ENTRY, "data_offsets": []}}),
        store({"train.items": {**ENTRY, "data_offsets": [-(10**30), 0]}}),
        store({"train.items": {**ENTRY, "data_offsets": [10**6, 10**6 + 4]}}),
        store({"train.items": {"dtype": "I32"}}),
    ],
    ids=lambda content: content[8:70].split(b"\x00")[0].decode("latin-1")[:60] or str(len(content)),
)
def test_an_invalid_store_is_named_with_the_remedy(tmp_path, content):
    path = tmp_path / "tokens.safetensors"
    path.write_bytes(content)

    with pytest.raises(DataError) as caught:
        open_tokens(path, Split.TRAIN)

    message = str(caught.value)
    assert message.startswith(f"{path} is not a token store with split train: ")
    assert message.endswith("Materialise 'sessions' again")


def test_the_reader_is_at_most_a_hundred_lines(project_root):
    reader = project_root / "pipeline" / "sessions" / "token_store.py"

    assert len(reader.read_text(encoding="utf-8").splitlines()) <= 100
