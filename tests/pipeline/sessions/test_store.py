"""The token store: what was written comes back through a memory map, damage as one message."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file

from models.tokens import SessionTokens
from pipeline.errors import DataError
from pipeline.schemas import Split
from pipeline.sessions.store import open_times, open_tokens, write_tokens

SESSIONS = {
    Split.TRAIN: [[(3, 0), (1, 1)], [(0, 0), (0, 0), (2, 1)]],
    Split.VALIDATION: [[(2, 0), (3, 0)]],
    Split.TEST: [[(1, 1), (1, 0), (1, 0)], [(0, 1), (3, 0)]],
}
ARRAYS = ("items", "ordered", "offsets")
SESSION = st.lists(st.tuples(st.integers(0, 2**31 - 1), st.integers(0, 1)), max_size=5)


def _write(path, sessions):
    """The store of ``sessions``; the click at place n of a split happens at n milliseconds."""
    tokens = {split: SessionTokens.of(part) for split, part in sessions.items()}
    times = {split: np.arange(len(part.items), dtype=np.int64) for split, part in tokens.items()}
    write_tokens(tokens, times, path)
    return tokens, times


def _open_all(path):
    for split in Split:
        open_tokens(path, split)
        open_times(path, split)


def _same(left, right):
    return left.dtype == right.dtype and np.array_equal(left, right)


@given(
    parts=st.tuples(*[st.lists(SESSION, max_size=4)] * 3),
)
@settings(deadline=None, max_examples=60)
def test_every_split_comes_back_as_written_even_without_sessions(parts, tmp_path_factory):
    path = tmp_path_factory.mktemp("store") / "tokens.safetensors"

    tokens, times = _write(path, dict(zip(Split, parts, strict=True)))

    for split in Split:
        found = open_tokens(path, split)
        assert all(_same(getattr(found, a), getattr(tokens[split], a)) for a in ARRAYS)
        assert _same(open_times(path, split), times[split])


def test_tokens_are_mapped_into_memory_and_cannot_be_changed(tmp_path):
    path = tmp_path / "tokens.safetensors"
    _write(path, SESSIONS)

    found = open_tokens(path, Split.TRAIN)

    for array in (found.items, found.ordered, found.offsets, open_times(path, Split.TRAIN)):
        assert isinstance(array, np.memmap)
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1


def test_any_reader_of_safetensors_opens_the_store(tmp_path):
    path = tmp_path / "tokens.safetensors"
    tokens, times = _write(path, SESSIONS)

    found = load_file(path)

    expected = {f"{s}.{a}": getattr(tokens[s], a) for s in Split for a in ARRAYS}
    expected |= {f"{s}.ts": times[s] for s in Split}
    assert found.keys() == expected.keys()
    assert all(_same(found[name], array) for name, array in expected.items())


def test_the_same_tokens_give_the_same_bytes(tmp_path):
    _write(tmp_path / "one", SESSIONS)
    _write(tmp_path / "other", dict(reversed(SESSIONS.items())))

    assert (tmp_path / "one").read_bytes() == (tmp_path / "other").read_bytes()


def test_arrays_that_are_not_contiguous_are_written_as_they_read(tmp_path):
    path = tmp_path / "tokens.safetensors"
    whole = SessionTokens.of([[(1, 0), (9, 9), (2, 1), (9, 9)]])
    every_other = SessionTokens(
        items=whole.items[::2],
        ordered=whole.ordered[::2],
        offsets=np.array([0, 2], dtype=np.int64),
    )

    write_tokens({Split.TEST: every_other}, {Split.TEST: np.arange(4)[::2]}, path)

    assert open_tokens(path, Split.TEST).items.tolist() == [1, 2]
    assert open_tokens(path, Split.TEST).ordered.tolist() == [0, 1]
    assert open_times(path, Split.TEST).tolist() == [0, 2]


def test_a_store_cut_short_anywhere_is_refused(tmp_path):
    path = tmp_path / "tokens.safetensors"
    _write(path, SESSIONS)
    whole = path.read_bytes()

    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(DataError, match="is not a token store with split"):
            _open_all(path)


def test_a_store_with_a_changed_header_opens_or_is_refused_in_one_message(tmp_path):
    path, rng = tmp_path / "tokens.safetensors", np.random.default_rng(3)
    _write(path, SESSIONS)
    whole = path.read_bytes()
    header = 8 + int.from_bytes(whole[:8], "little")
    refused = 0

    for _ in range(500):
        wounded = bytearray(whole)
        wounded[int(rng.integers(header))] = int(rng.integers(256))
        path.write_bytes(wounded)
        try:
            _open_all(path)
        except DataError:
            refused += 1

    assert refused > 250


def _store(header):
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
        _store(b"not json"),
        _store(b"\xff\xfe"),
        _store(b"[" * 5000),
        _store([]),
        _store({}),
        _store({"train.items": None}),
        _store({"train.items": ENTRY}),
        _store({"train.items": {**ENTRY, "dtype": "F32"}}),
        _store({"train.items": {**ENTRY, "shape": "1"}}),
        _store({"train.items": {**ENTRY, "shape": [-1]}}),
        _store({"train.items": {**ENTRY, "shape": [10**30]}}),
        _store({"train.items": {**ENTRY, "shape": [17]}}),
        _store({"train.items": {**ENTRY, "data_offsets": []}}),
        _store({"train.items": {**ENTRY, "data_offsets": [-(10**30), 0]}}),
        _store({"train.items": {**ENTRY, "data_offsets": [10**6, 10**6 + 4]}}),
        _store({"train.items": {"dtype": "I32"}}),
    ],
    ids=lambda content: content[8:70].split(b"\x00")[0].decode("latin-1")[:60] or str(len(content)),
)
def test_what_is_no_store_is_named_with_the_remedy(tmp_path, content):
    path = tmp_path / "tokens.safetensors"
    path.write_bytes(content)

    with pytest.raises(DataError) as caught:
        open_tokens(path, Split.TRAIN)

    message = str(caught.value)
    assert message.startswith(f"{path} is not a token store with split train: ")
    assert message.endswith("Materialise 'sessions' anew")


def test_a_store_without_the_split_is_named(tmp_path):
    path = tmp_path / "tokens.safetensors"
    _write(path, {Split.TRAIN: SESSIONS[Split.TRAIN]})

    assert open_tokens(path, Split.TRAIN).n_sessions == 2
    with pytest.raises(DataError, match=r"with split test: 'test\.items'"):
        open_tokens(path, Split.TEST)
