"""Every format's real sample loads with the counts its source states, and its first rows by hand."""

import gzip
from datetime import UTC, datetime

import polars as pl
import pyarrow as pa
import pytest

from pipeline.core.errors import DataError
from pipeline.datasets.raw_rows import Reason
from pipeline.study import DatasetConfig, DatasetFormat, Duplicates, Expected
from tests.plugins import install_plugin

F = DatasetFormat
KEEP = Duplicates.KEEP
CLICK, CART, ORDER = "click", "cart", "order"


def section(dataset_format, **rest):
    return DatasetConfig(format=dataset_format, path="in the test", **rest)


def ms(*moment, milliseconds=0):
    return int(datetime(*moment, tzinfo=UTC).timestamp()) * 1000 + milliseconds


SAMPLES = {
    # file or folder, sessions, items, clicks, carts, orders
    "otto": (F.OTTO, "otto", 20, 510, 800, 52, 10),
    "yoochoose": (F.YOOCHOOSE, "yoochoose", 1_283, 1_450, 4_299, 0, 0),
    "diginetica-views": (
        *(F.DIGINETICA, "diginetica/train-item-views.csv"),
        *(2_986, 7_139, 12_391, 0, 0),
    ),
    "diginetica-purchases": (
        *(F.DIGINETICA, "diginetica/train-purchases.csv"),
        *(12_630, 11_244, 0, 0, 18_025),
    ),
    # 138 sessions are in both files
    "diginetica": (F.DIGINETICA, "diginetica", 2_986 + 12_630 - 138, 15_936, 12_391, 0, 18_025),
    # 17 visitors, of whom 1371903 comes four times, 1399953 three times and 1372190 twice
    "retailrocket": (F.RETAILROCKET, "retailrocket/events.csv", 17 + 3 + 2 + 1, 24, 31, 2, 0),
    "rees46": (F.REES46, "rees46", 372, 534, 987, 3, 10),
    # two of them repeated; besides 1,035 rows of event_types that are not used
    "jdata": (F.JDATA, "jdata", 5_586, 12_824, 27_160 + 1, 0, 2_163 + 1),
}


@pytest.mark.parametrize("sample", SAMPLES.values(), ids=SAMPLES)
def test_a_real_sample_has_the_counts_of_its_source(load, real_data, sample):
    dataset_format, path, sessions, items, clicks, carts, orders = sample
    rows = clicks + carts + orders + (1_035 if dataset_format is F.JDATA else 0)
    expected = Expected(rows=rows, sessions=sessions, clicks=clicks, carts=carts, orders=orders)

    dataset = section(dataset_format, duplicates=KEEP, expected=expected)
    summary, events, rejected = load(dataset, real_data / path)

    assert summary["event_types"] == {CLICK: clicks, CART: carts, ORDER: orders}
    assert (events["session"].n_unique(), events["item"].n_unique()) == (sessions, items)
    assert events.height + rejected.height == rows


def test_jdata_without_duplicates_has_the_counts_of_its_source(load, real_data):
    dataset = section(F.JDATA)

    summary, events, rejected = load(dataset, real_data / "jdata", max_rejected_share=0.001)

    assert summary["event_types"] == {CLICK: 27_160, CART: 0, ORDER: 2_163}
    assert events.filter(event_type="order")["session"].n_unique() == 1_835
    others = [row.split(",") for row in rejected.filter(reason=Reason.UNUSED_EVENT_TYPE)["content"]]
    assert {event_type for *_, event_type in others} == {"3", "4"}
    assert events.height + len(others) == 30_358
    assert len({*events["session"], *(int(session) for session, *_ in others)}) == 5_696
    assert len({*events["item"], *(int(item) for _, _, item, _ in others)}) == 12_971


def test_diginetica_purchases_in_the_sessions_of_the_views(load, real_data):
    _, events, _ = load(section(F.DIGINETICA, duplicates=KEEP), real_data / "diginetica")

    viewed = events.filter(event_type="click")["session"].unique()
    within = events.filter(pl.col("session").is_in(viewed.implode()))
    bought = within.filter(event_type="order")
    assert (bought.height, bought["session"].n_unique()) == (256, 138)
    assert within["item"].n_unique() == 7_223


FIRST_ROWS = {
    # session, ts, item and event_type as the file writes them down, line by line
    "yoochoose": (
        *(F.YOOCHOOSE, "yoochoose/yoochoose-clicks.dat", 1),
        [
            (11411374, ms(2014, 9, 24, 9, 58, 32, milliseconds=124), 214853707, "click"),
            (11411374, ms(2014, 9, 24, 9, 59, 37, milliseconds=608), 214854731, "click"),
            (11411369, ms(2014, 9, 25, 7, 56, 39, milliseconds=981), 214526083, "click"),
        ],
    ),
    "diginetica-views": (
        *(F.DIGINETICA, "diginetica/train-item-views.csv", 2),
        [
            (1, ms(2016, 5, 9) + 526309, 81766, "click"),
            (1, ms(2016, 5, 9) + 1031018, 31331, "click"),
            (1, ms(2016, 5, 9) + 243569, 32118, "click"),
        ],
    ),
    "diginetica-purchases": (
        *(F.DIGINETICA, "diginetica/train-purchases.csv", 2),
        [
            (150, ms(2016, 5, 6) + 17100868, 25911, "order"),
            (151, ms(2016, 5, 6) + 6454547, 175874, "order"),
            # 19 days, 22 hours and 14 minutes behind midnight: an approximate clock
            (156, ms(2016, 5, 27) + 1721689387, 35324, "order"),
        ],
    ),
    "retailrocket": (
        *(F.RETAILROCKET, "retailrocket/events.csv", 2),
        [
            (1371169, 1436810676034, 195573, "view"),
            (1371458, 1438623686302, 425186, "view"),
            (1371903, 1433346310370, 332224, "view"),
        ],
    ),
    "rees46": (
        *(F.REES46, "rees46/2019-Oct.csv", 2),
        [
            ("72d76fde-8bb3-4e00-8c23-a032dfed738c", ms(2019, 10, 1), 44600062, "view"),
            ("9333dfbd-b87a-4708-9857-6336556b0fcc", ms(2019, 10, 1), 3900821, "view"),
            ("566511c2-e2e3-422b-b695-cf8e6e792ca8", ms(2019, 10, 1, 0, 0, 1), 17200506, "view"),
        ],
    ),
    "jdata": (
        *(F.JDATA, "jdata/train.csv", 2),
        [
            (42, ms(2018, 3, 1, 0, 0, 6), 159865, "1"),
            (83, ms(2018, 3, 1, 0, 0, 11), 37315, "2"),
            (93, ms(2018, 3, 1, 0, 0, 12), 352849, "1"),
        ],
    ),
}


@pytest.mark.parametrize("sample", FIRST_ROWS.values(), ids=FIRST_ROWS)
def test_the_first_rows_of_a_real_sample(raw_rows, real_data, sample):
    dataset_format, path, first_line, expected = sample

    pieces = raw_rows(section(dataset_format), real_data / path)

    assert pieces[0].frame.select("session", "ts", "item", "event_type").rows()[:3] == expected
    positions = [int(position) for piece in pieces for position in piece.positions]
    assert positions == list(range(first_line, first_line + len(positions)))
    assert not any(piece.errors for piece in pieces)


def test_yoochoose_needs_no_buys_and_takes_them_for_orders(load, tmp_path):
    (tmp_path / "yoochoose-clicks.dat").write_text("7,2014-09-24T09:58:32.124Z,5,S\n")
    _, clicks, _ = load(section(F.YOOCHOOSE), tmp_path)
    (tmp_path / "yoochoose-buys.dat").write_text("7,2014-09-24T10:00:00.000Z,5,12462,1\n")

    _, events, _ = load(section(F.YOOCHOOSE), tmp_path)

    at = ms(2014, 9, 24, 9, 58, 32, milliseconds=124)
    assert clicks.rows() == [(7, at, 5, "click", 0)]
    assert events.rows() == [(7, at, 5, "click", 0), (7, ms(2014, 9, 24, 10), 5, "order", 1)]


@pytest.mark.parametrize("compressed", [".gz", ".zst"])
def test_months_of_rees46_are_read_in_order_compressed_or_not(
    load, real_data, tmp_path, compressed
):
    content = (real_data / "rees46" / "2019-Oct.csv").read_bytes()
    october = content.replace(b"2019-10-01", b"2019-10-31")
    codec = {".gz": "gzip", ".zst": "zstd"}[compressed]
    with pa.output_stream(str(tmp_path / f"2019-Oct.csv{compressed}"), compression=codec) as file:
        file.write(october)
    (tmp_path / "2019-Nov.csv").write_bytes(content.replace(b"2019-10-01", b"2019-11-01"))

    summary, events, _ = load(section(F.REES46), tmp_path)

    assert summary["files"] == {"2019-Nov.csv": 1000, f"2019-Oct.csv{compressed}": 1000}
    assert (summary["sessions"], summary["events"]) == (372, 2000)
    session = events.filter(session="72d76fde-8bb3-4e00-8c23-a032dfed738c")
    assert session["ts"].is_sorted()
    # The first row of both months; November is the first file.
    for midnight, file in ((ms(2019, 10, 31), 1), (ms(2019, 11, 1), 0)):
        assert session.row(by_predicate=pl.col("ts") == midnight)[2:] == (44600062, "click", file)


def test_expected_counts_that_differ_are_all_named(load, real_data):
    expected = Expected(rows=1_000, sessions=371, clicks=987, carts=4, orders=10)

    with pytest.raises(DataError) as caught:
        load(section(F.REES46, expected=expected), real_data / "rees46")

    assert str(caught.value) == (
        f"{real_data / 'rees46'} differs from dataset.expected: sessions: expected "
        "371, got 372; carts: expected 4, got 3. Check that the download is "
        "complete, or correct dataset.expected"
    )


def test_expected_counts_are_those_of_the_file_however_duplicates_are_treated(load, real_data):
    purchases = real_data / "diginetica" / "train-purchases.csv"
    expected = Expected(rows=18_025, sessions=12_630, orders=18_025)

    summary, *_ = load(section(F.DIGINETICA, expected=expected), purchases, max_rejected_share=0.01)

    assert summary["rejected_by_reason"] == {Reason.DUPLICATE.value: 18_025 - summary["events"]}


HEADERS = {F.DIGINETICA, F.RETAILROCKET, F.REES46, F.JDATA}


@pytest.mark.slow
@pytest.mark.parametrize("named", [f for f in F if f not in {F.GENERIC, F.NONE}], ids=str)
def test_data_of_another_format_is_found_out_at_the_beginning(load, tmp_path, named):
    rows = 20_000
    path = tmp_path / "log.csv"
    path.write_bytes(b"time;who;what;how\n" + b"12:00;somebody;hat;view\n" * rows)

    with pytest.raises(DataError) as caught:
        load(section(named), path, max_rejected_share=0.05)

    message = str(caught.value)
    if named in HEADERS:
        assert message.startswith("log.csv: the header must name [")
        assert message.endswith("got 'time;who;what;how'")
    else:
        # 256 KiB / 24 bytes a line
        assert f"{2**18 // 24} of the first {2**18 // 24} rows are rejected" in message
        assert "correct dataset.format" in message


@pytest.mark.parametrize("cut", [0.02, 0.5, 0.98, 1.0])
def test_a_truncated_compressed_file_is_named_and_rejected(load, real_data, tmp_path, cut):
    compressed = gzip.compress((real_data / "jdata" / "train.csv").read_bytes(), mtime=0)
    path = tmp_path / "train.csv.gz"
    path.write_bytes(
        compressed[: int(len(compressed) * cut) - 8]
    )  # at the end a checksum of 8 bytes

    with pytest.raises(DataError, match=rf"cannot read {path} to its end.*Restore the file"):
        load(section(F.JDATA), path, max_rejected_share=1.0)


PLUGIN = """
    import polars as pl
    from pipeline.core.contracts import EventType
    from pipeline.datasets.io.delimited import Layout, delimited_file
    from pipeline.datasets.io.field_parsers import INTEGER

    LAYOUT = Layout(columns=dict.fromkeys(("visit", "at", "sku"), INTEGER), separator="|")

    def log(path):
        return [delimited_file(path, LAYOUT, rows, {"view": EventType.CLICK})]

    def rows(table):
        return table.select(session="visit", ts="at", item="sku", event_type=pl.lit("view"))

    def broken(path):
        return path / 0

    def not_files(path):
        return [path]
"""


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    points = {name: f"entry_format:{name}" for name in ("log", "broken", "not_files")}
    install_plugin(tmp_path, "entry_format", PLUGIN, formats=points)
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.parametrize("name", ["log", "entry_format:log"])
@pytest.mark.usefixtures("plugin")
def test_a_format_of_an_installed_package(load, tmp_path, name):
    file = tmp_path / "visits.log"
    file.write_text(f"visit|at|sku\n7|{ms(2025, 9, 1)}|3\n7|x|4\n", encoding="utf-8")

    _, events, rejected = load(section(name), file, max_rejected_share=1.0)

    assert events.select("session", "item").rows() == [(7, 3)]
    assert rejected["reason"].to_list() == [Reason.WRONG_TYPE.value]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("broken", r"'broken' fails on .* \(TypeError: unsupported operand"),
        ("not_files", r"returns \['PosixPath'\] for .*, expected a list of InputFile"),
    ],
)
@pytest.mark.usefixtures("plugin")
def test_a_custom_format_that_fails_is_named(load, tmp_path, name, words):
    with pytest.raises(DataError, match=f"dataset.format = {words}|{words}"):
        load(section(name), tmp_path)
