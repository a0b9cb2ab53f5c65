"""Malformed files of every format, each with what the product must say of it.

A case replaces one file of a finished project. ``says`` are words of the refusal: the place, what was
found, or the remedy. With ``read`` the file is fine after all, and ``says`` are words of the result.
"""

import bz2
import gzip
import io
import json
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

START = 1_756_684_800_000
"""2025-09-01 UTC in milliseconds."""

_DAY = 86_400_000
Rows = list[dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Case:
    """A malformed file.

    Attributes:
        kind: Its format, which decides the command that reads it.
        name: What is wrong with it.
        content: Its bytes.
        says: Words of the message.
        file: Its name, if not that of its kind.
        read: Whether the file is read; ``says`` are then words of the result.
        params: Parameters that differ, by dotted key.
    """

    kind: str
    name: str
    content: bytes = b""
    says: str = ""
    file: str | None = None
    read: bool = False
    params: dict[str, Any] = field(default_factory=dict[str, Any])


def raw_rows() -> Rows:
    """A raw log of clicks and orders over 12 days."""
    rng = np.random.default_rng(1)
    rows: Rows = []
    for session in range(600):
        at = START + int(rng.integers(12 * _DAY))
        for item in rng.integers(30, size=3):
            at += 30_000
            row = {"visit": f"v{session}", "product": f"p{item}", "at": at, "action": "view"}
            rows.append({**row, "price": ""})
            if rng.random() < 0.3:
                rows.append({**row, "at": at + 1000, "action": "buy", "price": "9.90"})
    return rows


def log_rows() -> Rows:
    """Impressions of two variants."""
    return [
        {
            "impression": f"i{n}",
            "user": f"u{n // 2}",
            "group": "ab"[n // 2 % 2],
            "ts": START + n * 60_000,
            "clicked": n % 3 == 0,
            "ordered": n % 12 == 0,
            "units": int(n % 12 == 0),
        }
        for n in range(400)
    ]


RAW, LOG = raw_rows(), log_rows()
COUNTS = (
    "group,impressions,clicks,orders,recall@20\na,1000,100,10,0.30\nb,1000,110,12,0.33\n"
    "c,1000,125,13,0.36\n"
)
VARIANTS = "variant,share,auc\na,1,0.70\nb,1,0.72\n"
ATTRIBUTES = "item,value,category\n" + "".join(f"p{n},{n}.5,c\n" for n in range(30))
NOISE = np.random.default_rng(2).bytes(4000)
HTML = b"<!DOCTYPE html>\n<html><head><title>504 Gateway Time-out</title></head></html>\n"
DEEP = b"[" * 100_000


def csv_of(rows: Rows, separator: str = ",", end: str = "\n") -> bytes:
    """Rows as CSV, without quotes."""
    lines = [list(rows[0]), *(list(row.values()) for row in rows)]
    return "".join(separator.join(map(str, line)) + end for line in lines).encode()


def json_of(rows: Rows) -> bytes:
    """Rows as JSON lines."""
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def parquet_of(rows: Rows, **columns: pl.Series) -> bytes:
    """Rows as parquet, with other columns in place of some."""
    stream = io.BytesIO()
    pl.DataFrame(rows).with_columns(**columns).write_parquet(stream)
    return stream.getvalue()


def zip_of(**files: bytes) -> bytes:
    """A zip archive."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return stream.getvalue()


def with_field(rows: Rows, name: str, value: Any) -> Rows:
    """The rows with another value in a third of them."""
    return [row | {name: value} if n % 3 == 0 else row for n, row in enumerate(rows)]


def renamed(rows: Rows, name: str, new: str | None) -> Rows:
    """The rows with another name of a field, or without it."""
    pairs = [[(new if key == name else key, value) for key, value in row.items()] for row in rows]
    return [{key: value for key, value in row if key} for row in pairs]


Texts = dict[str, tuple[bytes, str]]


def of_files(kind: str, rows: Rows, file: str) -> Iterator[Case]:
    """What happens to any CSV of single events as a whole."""
    good = csv_of(rows)
    case = partial(Case, kind=kind)
    foreign: Texts = {
        "UTF-16": (good.decode().encode("utf-16"), "it is UTF-16 text; save it as UTF-8"),
        "UTF-16 without its mark": (good.decode().encode("utf-16-le"), "it is UTF-16 text"),
        "binary": (NOISE, "it is binary data, not text"),
        "parquet": (parquet_of(rows), "it is parquet; give it a name that ends in .parquet"),
        "gzip": (gzip.compress(good), "it is gzip; give it a name that ends in .gz"),
        "zip": (zip_of(a=good), "a zip archive or a spreadsheet; unzip it, or save the sheet"),
    }
    for name, (content, says) in foreign.items():
        yield case(name=f"{name} in a .csv", content=content, says=says)
    packed = {
        "gz": (good, gzip.compress(good)),
        "zst": (good, pa.Codec("zstd").compress(good, asbytes=True)),
        "bz2": (good, bz2.compress(good)),
        "zip": (good, zip_of(a=good)),
    }
    for suffix, (plain, content) in packed.items():
        yield case(
            name=f"plain text in a .{suffix}", content=plain, file=f"{file}.{suffix}", says="estore"
        )
        yield case(
            name=f"truncated .{suffix}",
            content=content[:-500],
            file=f"{file}.{suffix}",
            says="estore",
        )
        yield case(name=f"good .{suffix}", content=content, file=f"{file}.{suffix}", read=True)
    yield case(
        name="zip of two", content=zip_of(a=good, b=good), file=f"{file}.zip", says="2 files (a, b)"
    )
    yield case(name="empty zip", content=zip_of(), file=f"{file}.zip", says="contains 0 files")
    stem = file.removesuffix(".csv")
    hint = f"{stem.rpartition('/')[2]}.csv.zip"
    yield case(
        name="zip without .csv in its name", content=zip_of(a=good), file=f"{stem}.zip", says=hint
    )
    yield case(name="tar.gz", content=gzip.compress(good), file=f"{stem}.tar.gz", says=".tar.gz")
    yield case(name="spreadsheet", content=zip_of(a=good), file=f"{stem}.xlsx", says=".xlsx")


def of_rows(kind: str, rows: Rows, key: str, time: str) -> Iterator[Case]:
    """What happens to rows and columns of a CSV of single events."""
    good, is_log = csv_of(rows), kind == "log"
    case = partial(Case, kind=kind)
    texts: Texts = {
        "empty": (b"", "no usable"),
        "only blank lines": (b"\n\n \n", f"{key}"),
        "header only": (good[: good.index(b"\n") + 1], "no row"),
        "HTML": (HTML, "it is a web page"),
        "JSON lines": (json_of(rows), "it is JSON" if is_log else "missing or repeated"),
        "latin-1": (
            csv_of(with_field(rows, key, "Zoë")).replace("ë".encode(), b"\xeb"),
            "not UTF-8",
        ),
        "binary after the header": (good[:200] + NOISE, "binary data" if is_log else "not UTF-8"),
        "a column twice": (
            csv_of([{**row, "x": 1} for row in rows]).replace(b",x\n", f",{key}\n".encode(), 1),
            key,
        ),
        "a column is missing": (csv_of(renamed(rows, key, None)), key),
        "a column in another case": (
            csv_of(renamed(rows, key, key.title())),
            f"did you mean '{key.title()}'",
        ),
        "a field too many": (csv_of(with_field(rows, key, "a,b")), "line 2"),
        "a quote that is not closed": (csv_of(with_field(rows, key, '"a')), "line 2"),
        "year 9999": (csv_of(with_field(rows, time, 253_402_300_799_000)), "253402300799000"),
        "negative time": (csv_of(with_field(rows, time, -5)), "-5"),
        "seconds": (csv_of(with_field(rows, time, START // 1000)), str(START // 1000)),
        "text time": (csv_of(with_field(rows, time, "yesterday")), "yesterday"),
        "ISO time": (
            csv_of(with_field(rows, time, "2025-09-01T10:00:00Z")),
            "2025-09-01T10:00:00Z",
        ),
        "NaN time": (csv_of(with_field(rows, time, "nan")), "line 2"),
        "infinite time": (csv_of(with_field(rows, time, "inf")), "line 2"),
        "time beyond 64 bits": (csv_of(with_field(rows, time, 10**30)), str(10**30)),
    }
    for name, (content, says) in texts.items():
        yield case(name=name, content=content, says=says)
    yield case(name="byte order mark", content=b"\xef\xbb\xbf" + good, read=True)
    yield case(name="CRLF", content=csv_of(rows, end="\r\n"), read=True)
    yield case(
        name="CR only",
        content=csv_of(rows, end="\r"),
        read=is_log,
        says="" if is_log else "carriage returns",
    )
    semicolons = "" if is_log else "it is separated by ';'"
    yield case(name="semicolons", content=csv_of(rows, separator=";"), read=is_log, says=semicolons)
    wide = csv_of([row | {f"c{n}": "" for n in range(20_000)} for row in rows[:3]])
    yield case(
        name="20,000 columns", content=wide, read=not is_log, says="columns" if is_log else ""
    )
    long = csv_of([*rows, rows[0] | {key: "x" * 10_000_000}])
    yield case(
        name="a field of 10 MB", content=long, read=not is_log, says="characters" if is_log else ""
    )
    decimals = csv_of(with_field(rows, key, "12.0"))
    yield case(
        name="ids that were decimals",
        content=decimals,
        read=not is_log,
        says="12.0" if is_log else "",
    )


def of_json() -> Iterator[Case]:
    """JSON lines of single events."""
    good = json_of(RAW)
    lines = "A line must be one JSON object"
    texts: Texts = {
        "an array": (json.dumps(RAW).encode(), lines),
        "pretty-printed": (json.dumps(RAW[:50], indent=1).encode(), lines),
        "nested 100,000 deep": (DEEP + b"\n" + b'{"a":' * 100_000, lines),
        "objects without newlines": (good.replace(b"\n", b""), lines),
        "UTF-16": (good.decode().encode("utf-16"), "it is UTF-16 text; save it as UTF-8"),
        "NaN": (json_of(with_field(RAW, "at", float("nan"))), "wrong type (at)"),
        "booleans as ids": (
            json_of(with_field(RAW, "product", value=True)),
            "wrong type (product)",
        ),
        "lists as ids": (json_of(with_field(RAW, "product", [1])), "wrong type (product)"),
        "10^400": (json_of(with_field(RAW, "at", 10**400)), "line 1"),
        "a lone surrogate": (json_of(with_field(RAW, "visit", "\ud800")), "wrong type (visit)"),
        "keys in another case": (json_of(renamed(RAW, "visit", "Visit")), "did you mean 'Visit'"),
        "nested objects": (json_of([{"event": row} for row in RAW]), "is missing (visit)"),
        "binary": (NOISE, "it is binary data, not text"),
        "unmapped events": (
            json_of([row | {"action": "login", "product": None} for row in RAW]),
            "Map 'login' to",
        ),
    }
    for name, (content, says) in texts.items():
        yield Case(kind="raw JSON lines", name=name, content=content, says=says)
    yield Case(kind="raw JSON lines", name="a truncated last line", content=good[:-20], read=True)


def of_parquet() -> Iterator[Case]:
    """Parquet of single events."""
    good, n = parquet_of(RAW), len(RAW)
    texts: Texts = {
        "empty": (b"", "0 bytes"),
        "truncated": (good[: len(good) // 2], "Restore the file"),
        "bytes changed": (good[:200] + bytes(500) + good[700:], "Restore the file"),
        "text": (csv_of(RAW), "Restore the file"),
        "a column is missing": (parquet_of(renamed(RAW, "product", None)), "'product'; got"),
        "a column in another case": (
            parquet_of(renamed(RAW, "product", "Product")),
            "did you mean 'Product'",
        ),
        "ids that are decimals": (
            parquet_of(RAW, product=pl.Series([1.5] * n)),
            "product is double",
        ),
        "ids that are lists": (
            parquet_of(RAW, product=pl.Series([["a"]] * n)),
            "product is large_list",
        ),
        "ids that are structs": (
            parquet_of(RAW, product=pl.Series([{"id": 1}] * n)),
            "product is struct",
        ),
        "times that are text": (
            parquet_of(RAW, at=pl.Series(["2025-09-01"] * n)),
            "time_unit is ms",
        ),
        "durations": (parquet_of(RAW, at=pl.Series([1] * n).cast(pl.Duration)), "at is duration"),
    }
    for name, (content, says) in texts.items():
        yield Case(kind="raw parquet", name=name, content=content, says=says)


def of_otto() -> Iterator[Case]:
    """OTTO's JSON lines."""

    def line(session: Any = 1, **event: Any) -> bytes:
        events = [{"aid": 5, "ts": START, "type": "clicks", **event}]
        return json.dumps({"session": session, "events": events}).encode() + b"\n"

    texts: Texts = {
        "text ids": (line("v1") * 50, "set dataset.format: generic"),
        "text items": (line(aid="p1") * 50, "set dataset.format: generic"),
        "seconds": (line(ts=START // 1000) * 50, "with time_unit: s"),
        "unknown types": (line(type="view") * 50, "'view'"),
        "single events": (json_of(RAW), "is missing (session, events)"),
        "CSV": (csv_of(RAW), "'visit,product,at,action,price'"),
        "empty": (b"", "no rows at all"),
        "nested 100,000 deep": (b'{"session":' * 100_000, "not a row of this format"),
        "events null": (b'{"session":1,"events":null}\n' * 50, "wrong type (events)"),
        "binary": (NOISE, "it is binary data, not text"),
    }
    params = {"dataset.format": "otto", "dataset.generic": None}
    for name, (content, says) in texts.items():
        yield Case(kind="OTTO", name=name, content=content, says=says, params=params)


def tables() -> Iterator[Case]:
    """Small tables: counts, variants, attributes."""
    for kind, text, number in (
        ("counts", COUNTS, "110"),
        ("variants", VARIANTS, "0.72"),
        ("attributes", ATTRIBUTES, ",7.5"),
    ):
        yield from _of_table(kind, text, number, text.split(",", 1)[0])


def _of_table(kind: str, text: str, number: str, name: str) -> Iterator[Case]:
    good, case, is_small = text.encode(), partial(Case, kind=kind), kind != "attributes"
    comma = "," if number.startswith(",") else ""
    texts: Texts = {
        "empty": (b"", "empty"),
        "header only": (good[: good.index(b"\n") + 1], "no rows" if is_small else "0 items"),
        "binary": (NOISE, "it is binary data"),
        "UTF-16 without its mark": (text.encode("utf-16-le"), "it is UTF-16 text"),
        "latin-1": (good.replace(b"\n", b"\n\xeb", 2), "UTF-8" if is_small else "utf-8"),
        "zero bytes": (good.replace(b"\n", b"\0\n"), "binary data"),
        "HTML": (HTML, "it is a web page"),
        "text for a number": (text.replace(number, f"{comma}many").encode(), "many"),
        "a column twice": (text.replace("\n", ",1\n").replace(",1", f",{name}", 1).encode(), name),
        "a row too long": (good + b"z,1,2,3,4,5,6,7\n", "fields"),
        "a name twice": (
            good + good.split(b"\n")[1] + b"\n",
            "p0" if kind == "attributes" else "a",
        ),
        "a spreadsheet": (zip_of(a=good), "save the sheet as CSV"),
        "parquet that ends early": (parquet_of(RAW)[:500], "parquet"),
        "gzip that ends early": (
            gzip.compress(good)[:-10],
            "gz" if kind == "attributes" else "ended before",
        ),
    }
    for what, (content, says) in texts.items():
        yield case(name=what, content=content, says=says)
    yield case(name="byte order mark", content=b"\xef\xbb\xbf" + good, read=True)
    yield case(name="semicolons", content=good.replace(b",", b";"), read=True)
    missing = (
        "auc has no value for the variant b" if kind == "variants" else "n/a" if comma else "b"
    )
    yield case(name="n/a", content=text.replace(number, f"{comma}n/a").encode(), says=missing)


def of_params() -> Iterator[Case]:
    """params.yaml; content is appended."""
    case = partial(Case, kind="params")
    bomb = "\na: &a [1,1,1,1,1,1,1,1,1]\n" + "".join(
        f"{new}: &{new} [{','.join([f'*{old}'] * 8)}]\n"
        for old, new in zip("abcde", "bcdef", strict=True)
    )
    for name, (text, says) in {
        "a section twice": ("\nstudy: {name: a}\n", "study is given twice, in line 1 and in line"),
        "a tab": ("\n\tstudy: a\n", "indent with spaces, not tabs"),
        "an unknown section": ("\nmodell: {}\n", "did you mean 'model'?"),
        "an alias bomb": (bomb, "repeated by aliases"),
        "a Python object": ("\nx: !!python/object/apply:os.system [ls]\n", "is not accepted"),
        "nested 10,000 deep": ("\nx: " + "[" * 10_000, "nested too deeply"),
        "a quote that is not closed": ('\nx: "a\n', "unexpected end of stream"),
    }.items():
        yield case(name=name, content=text.encode(), says=says)
    yield case(name="binary", content=NOISE, says="is not UTF-8 text")
    for key, value in {
        "training.epochs": 10**12,
        "model.hidden_size": 10**9,
        "training.learning_rate": float("nan"),
        "dataset.format": "xlsx",
        "experiment.first_day": "9999-99-99",
        "study.name": "../x",
        "dataset.generic.time_zone": "Mars/Olympus",
        "dataset.generic.session": [],
    }.items():
        yield case(name=f"{key}: {value}", params={key: value}, says=key)


def of_artifacts() -> Iterator[Case]:
    """Files of a finished study, damaged."""
    remedy = {
        "checkpoint": "Materialise 'conditioned_model' again",
        "weights": "Materialise 'conditioned_model'",
        "report": "expected the report.json",
        "scores": "--select preference_scores",
        "plan": "traffic_plan",
    }
    damage = {
        "empty": b"",
        "binary": NOISE,
        "HTML": HTML,
        "an empty object": b"{}",
        "nested 100,000 deep": DEEP,
    }
    for kind, says in remedy.items():
        for name, content in (damage | {"an empty table": parquet_of([{"x": 1}])}).items():
            yield Case(kind=kind, name=name, content=content, says=says)


CASES: tuple[Callable[[], Iterator[Case]], ...] = (
    partial(of_files, "raw CSV", RAW, "raw/events.csv"),
    partial(of_rows, "raw CSV", RAW, "visit", "at"),
    *(of_json, of_parquet, of_otto),
    partial(of_files, "log", LOG, "log/impressions.csv"),
    partial(of_rows, "log", LOG, "user", "ts"),
    *(tables, of_params, of_artifacts),
)
"""All of them, by format."""
