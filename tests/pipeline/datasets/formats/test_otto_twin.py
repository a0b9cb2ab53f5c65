"""OTTO's fast way reads every line as the json module does, however the line is written."""

import json
import random
from functools import partial

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.datasets.formats.otto import read_block
from pipeline.datasets.io.blocks import Block, read_blocks
from pipeline.datasets.io.thread_map import ordered_thread_map
from pipeline.datasets.raw_rows import Reason

INT64 = 2**63
SECONDS, TIME = 1_659_304_800, 1_659_304_800_025
BOM = b"\xef\xbb\xbf"


def slow(data):
    """Rows, and refused positions with their reasons, by nothing but the json module."""
    rows, refused = [], []
    for position, line in enumerate(data.removeprefix(BOM).split(b"\n"), start=1):
        for row in _read_line(line):
            (refused if isinstance(row, Reason) else rows).append((position, row))
    return rows, refused


def _read_line(line):
    try:
        text = line.decode("utf-8")
        value = json.loads(text) if text.strip() else {"session": 0, "events": []}
    except UnicodeDecodeError:
        return [Reason.NOT_TEXT]
    except (ValueError, RecursionError):
        return [Reason.UNREADABLE]
    if not isinstance(value, dict) or not {"session", "events"} <= value.keys():
        return [Reason.MISSING_FIELD]
    if not _is_int64(value["session"]) or not isinstance(value["events"], list):
        return [Reason.WRONG_TYPE]
    return [_read_event(value["session"], event) for event in value["events"]]


def _read_event(session, event):
    if not isinstance(event, dict) or None in (event.get(name) for name in ("aid", "ts", "type")):
        return Reason.MISSING_FIELD
    if not _is_int64(event["aid"]) or type(event["ts"]) is not int:
        return Reason.WRONG_TYPE
    if not isinstance(event["type"], str) or event["type"] not in ("clicks", "carts", "orders"):
        return Reason.UNKNOWN_EVENT_TYPE
    ts = min(max(event["ts"], -INT64), INT64 - 1)  # beyond any calendar, it stays so
    return session, ts, event["aid"], event["type"]


def _is_int64(value):
    return type(value) is int and -INT64 <= value < INT64


def fast(*blocks):
    """What :func:`slow` gives, by the adapter."""
    rows, refused = [], []
    for block in blocks:
        read = read_block(block)
        rows += zip(read.positions.tolist(), read.frame.rows(), strict=True)
        refused += [(line.position, line.reason) for line in read.errors]
    return rows, refused


# A, B and C stand for values. What is plain stands first and is drawn most often.
NUMBERS = ["0", "5", "1000", f"{SECONDS}", f"{TIME}", f"{INT64 - 1}", "-5", f"{-INT64}"]
NO_NUMBERS = [
    *("1e3", "1e03", "1E03", "1e18", "15e1", "1.5e1", "5.0", "5.4", "9.9", "5.00000000000000000"),
    *("05", "-0", "+5", "5.", ".5", "1_0", "0x1f", "NaN", "-Infinity", "true", "false", "null"),
    *('"5"', '"1e03"', '"0x1f"', '"0xfffffffffffffff"', '"0b11"', '""', '" 5"', '"\\ud800"'),
    *(" 5", "5 ", "\t5", "5\r", "", "[]", "[5]", "{}", "9" * 5000, "[" * 2000 + "]" * 2000),
    *(f"{INT64}", f"{-INT64 - 1}", f"{2**70}", f"{-(2**70)}"),
]
WORDS = ['"clicks"', '"carts"', '"orders"']
NO_WORDS = [
    *('"views"', '"click"', '"Orders"', '"cl\\u0069cks"', '"ord\\u0065rs"', '"orders "', '"ü"'),
    *('"\\udfff"', '"\\ud83d\\ude00"', '"a, b: c"', '"', "clicks", "3", "1e3", "null", '["carts"]'),
]
EVENT = '{"aid":A,"ts":B,"type":C}'
EVENTS = [EVENT, '{"aid": A, "ts": B, "type": C}', '{"type":C,"ts":B,"aid":A}']
NO_EVENTS = [
    *('{"aid":A,"ts":B}', '{"aid":A,"type":C}', '{"ts":B,"type":C}', "{}", "null", "A", "C", "[]"),
    *('{"aid":A,"aid":A,"ts":B,"type":C}', '{"aid":A,"ts":B,"type":C,"x":A}', '"{aid:5,ts:5}"'),
    *('{"AID":A,"ts":B,"type":C}', '{"a\\u0069d":A,"ts":B,"typ\\u0065":C}', "{aid:A,ts:B,type:C}"),
    *('{"aid":A,"ts":B,"type":C,}', '{\t"aid":A ,"ts":B,"type" :C}', '{"aid":A,"ts":B,"type":C'),
]
LINES = [
    '{"session":A,"events":[E]}',
    '{"session": A, "events": [E]}',
    '{"events":[E],"session":A}',
]
NO_LINES = [
    *('{"session":A}', '{"events":[E]}', '{"session":A,"events":E}', '{"session":A,"events":null}'),
    *('{"session":A,"events":"[]"}', '{"session":A,"events":[E,]}', '{"session":A,"events":[E]},'),
    *('{"session":A,"events":[E],"session":A}', '{"session":A,"events":[E],"x":[A]}', "[A]", "A"),
    *('{"s\\u0065ssion":A,"\\u0065v\\u0065nts":[E]}', '{"SESSION":A,"events":[E]}', "", " ", "\t"),
    *('{"session":A,"events":[E]} {"session":A,"events":[E]}', ' {"session":A,"events":[E]}'),
    *(
        '{"session":A,"events":[E]}\r',
        '\r{"session":A,"events":[E]}',
        '{"session":A,\r"events":[]}',
    ),
    *(
        "\u2028",
        "\ufeff",
        '\ufeff{"session":A,"events":[E]}',
        '[{"session":A,"events":[E]}]',
        "null",
    ),
]


def _mostly(good, bad):
    return st.sampled_from(good * (3 * len(bad) // len(good)) + bad)


def _filled(template, **values):
    for letter, value in values.items():
        template = template.replace(letter, value)
    return template


NUMBER, WORD = _mostly(NUMBERS, NO_NUMBERS), _mostly(WORDS, NO_WORDS)
FILLED_EVENT = st.builds(_filled, _mostly(EVENTS, NO_EVENTS), A=NUMBER, B=NUMBER, C=WORD)
FILLED_LINE = st.builds(
    _filled,
    _mostly(LINES, NO_LINES),
    A=NUMBER,
    E=st.lists(FILLED_EVENT, max_size=3).map(",".join),
).map(str.encode)
DAMAGED_LINE = st.builds(
    lambda line, share, odd, skip: line[: int(share * len(line))] + odd + line[skip:],
    FILLED_LINE,
    st.floats(0, 1),
    st.sampled_from([b"", b"\xff", b"\xc3", BOM, b"\0", b"\\", b" ", b"e", b'"', b"\r"]),
    st.integers(0, 80),
)
"""A line cut, joined from two halves, or with an odd byte in it."""

FILE = st.lists(FILLED_LINE | FILLED_LINE | FILLED_LINE | DAMAGED_LINE, max_size=6).map(b"\n".join)


@pytest.mark.slow
@given(data=FILE, block_bytes=st.integers(50, 1000))
@example(data=b"\xff", block_bytes=1)
@example(data=b"", block_bytes=1)
@settings(max_examples=100)
def test_any_lines_are_read_as_the_json_module_reads_them_wherever_blocks_end(
    data, block_bytes, tmp_path_factory
):
    file = tmp_path_factory.mktemp("otto") / "log.jsonl"
    file.write_bytes(data)

    expected = slow(data)

    assert fast(*read_blocks(file)) == expected
    assert fast(*read_blocks(file, block_bytes=block_bytes)) == expected


def _event(aid=5, ts=TIME, event_type='"clicks"'):
    return _filled(EVENT, A=str(aid), B=str(ts), C=event_type)


def _line(*events, session=1):
    return _filled(LINES[0], A=str(session), E=",".join(events))


# The last line of each is exactly as long as what DuckDB reads in it takes when it is written out.
# An exponent adds an e; here next to a line that lacks one of its own.
DISGUISED = {
    "exponent": [_line(_event("1e03"))],
    "exponents-next-to-a-blank-line": ["", _line(_event("1e03"), _event("1e03"), _event("1e03"))],
    "exponent-next-to-an-event-without-e": [_line("null"), _line(_event("1e03"))],
    "exponent-in-the-session": [_line("null"), _line(_event(), session="1e03")],
    "saved-bytes-as-spaces": [_line("null"), _line(_event("     1e7"))],
    "saved-bytes-as-another-field": [_line("null"), _line(_event('1e10,"x":12'))],
    "exponent-next-to-escapes-that-hide-an-e": [
        _line(_event("1e14 ", event_type='"ord\\u0065rs"').replace("type", "typ\\u0065")),
        _line(_event("1e03")),
    ],
    "capital-exponent": [_line(_event("1E03"))],
    "hexadecimal-text": [_line(_event('"0xfffffffffffffff"'))],
    "hexadecimal-text-in-capitals": [_line(_event('"0XFFFFFFFFFFFFFFF"'))],
    "fraction-next-to-the-smallest-integer": [
        _line(_event(-INT64)),
        _line(_event("5.000000000000000000")),
    ],
}


@pytest.mark.parametrize("lines", DISGUISED.values(), ids=DISGUISED)
@pytest.mark.parametrize("good", [0, 50], ids=["alone", "among-good-lines"])
def test_a_line_as_long_as_a_plain_one_is_not_taken_for_one(lines, good):
    data = "".join(f"{line}\n" for line in [*lines, *[_line(_event())] * good]).encode()

    rows, refused = fast(Block("log", 1, data))

    assert (rows, refused) == slow(data)
    assert (len(lines), Reason.WRONG_TYPE) in refused


@pytest.mark.parametrize("shift", range(-9, 10))
def test_no_number_of_spared_or_spent_bytes_makes_an_exponent_plain(shift):
    blank = [""] * 3
    data = "\n".join(
        [*blank, *(_line(_event(f"1e{n}" + " " * max(0, n - 2 + shift))) for n in range(1, 19)), ""]
    ).encode()

    assert fast(Block("log", 1, data)) == slow(data)


def test_blocks_read_at_once_are_as_the_file_read_whole(real_data):
    file = real_data / "otto" / "train.jsonl"
    blocks = read_blocks(file, block_bytes=2000)

    pieces = list(ordered_thread_map((partial(fast, block) for block in blocks), workers=4))

    whole = fast(*read_blocks(file))
    assert len(pieces) > 4
    assert ([row for rows, _ in pieces for row in rows], []) == whole


def test_the_real_sample_is_read_as_the_json_module_reads_it(real_data):
    data = (real_data / "otto" / "train.jsonl").read_bytes()

    rows, refused = fast(*read_blocks(real_data / "otto" / "train.jsonl", block_bytes=5000))

    assert (rows, refused) == slow(data)
    assert refused == []


@pytest.mark.parametrize("seed", range(10))
def test_a_damaged_real_sample_is_read_as_the_json_module_reads_it(real_data, seed):
    rng = random.Random(seed)
    data = bytearray((real_data / "otto" / "train.jsonl").read_bytes())
    for _ in range(60):
        place = rng.randrange(len(data))
        data[place : place + rng.choice([0, 1, 1, 1, 30])] = rng.choice(
            [
                b"",
                b"e",
                b"0",
                b"9",
                b'"',
                b"\\",
                b"\n",
                b"\r",
                b" ",
                b",",
                b"-",
                b"\xff",
                b"[",
                b"x",
            ]
        )
    data = bytes(data) + b"\n"

    rows, refused = fast(Block("train.jsonl", 1, data))

    assert (rows, refused) == slow(data)
    assert len(refused) > 5
