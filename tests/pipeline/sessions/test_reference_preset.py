"""The reference preset gives the sessions of MultiTRON's preprocessing (da0664c), labels included.

Twice: real rows with the expected tuples written out by hand, and whole real samples against a slow
implementation of the same rules. The reference has no validation part: our train and validation
together are its train.
"""

import json
from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta
from operator import itemgetter

import numpy as np
import polars as pl
import pytest

from pipeline.core.contracts import DAY_MS, Split
from pipeline.datasets.ingest_events import write_events
from pipeline.sessions.prepare import write_sessions
from pipeline.sessions.rules import rules_of
from pipeline.sessions.token_store import open_tokens
from pipeline.study import DatasetConfig, DatasetFormat, Duplicates, Preset, SessionsConfig

YOOCHOOSE, DIGINETICA = DatasetFormat.YOOCHOOSE, DatasetFormat.DIGINETICA
FILES = {
    YOOCHOOSE: ("yoochoose-clicks.dat", "yoochoose-buys.dat"),
    DIGINETICA: ("train-item-views.csv", "train-purchases.csv"),
    DatasetFormat.OTTO: ("otto-recsys-train.jsonl", "otto-recsys-test.jsonl"),
}
VIEWS, PURCHASES = (
    "session_id;user_id;item_id;timeframe;eventdate",
    "sessionId;userId;timeframe;eventdate;ordernumber;itemId",
)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def presets_sessions(dataset_format, contents, folder, *, validation_days):
    """{session: (split, ((item, ordered), …))} of two files' lines, by the preset."""
    for name in ("raw", "events", "sessions"):
        (folder / name).mkdir()
    for name, lines in zip(FILES[dataset_format], contents, strict=True):
        (folder / "raw" / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    dataset = DatasetConfig(format=dataset_format, path="raw", duplicates=Duplicates.KEEP)
    section = SessionsConfig(preset=Preset.REFERENCE, validation_days=validation_days)
    write_events(dataset, folder / "raw", folder / "events", max_rejected_share=0.0)
    write_sessions(folder / "events", folder / "sessions", rules_of(section, dataset))
    table = pl.read_parquet(folder / "sessions" / "sessions.parquet")
    shop_ids = pl.read_parquet(folder / "sessions" / "items.parquet")["item"].to_numpy()
    found = {}
    for split in Split:
        tokens = open_tokens(folder / "sessions" / "tokens.safetensors", split)
        for row, name in enumerate(table.filter(split=split.value)["session"].to_list()):
            part = slice(*tokens.offsets[row : row + 2])
            items, ordered = shop_ids[tokens.items[part]].tolist(), tokens.ordered[part].tolist()
            found[name] = (split.value, tuple(zip(items, ordered, strict=True)))
    return found


def rows_of(file, sessions, separator):
    """The lines of some sessions, in the order of the file, and the header if it has one."""
    lines = file.read_text(encoding="utf-8").splitlines()
    header = lines[:1] if lines[0].startswith("session") else []
    return [*header, *(line for line in lines if line.split(separator)[0] in sessions)]


# By hand: grep -E '^(11410948|11410951|…),' yoochoose-clicks.dat | sort, with the list below.
# Items with at least five clicks, 11410603's single click aside: 214854720 has 2 + 2 + 2,
# 214858856 has 2 + 3, and 214835117 has 5. The last session to begin is 11410604, at
# 2014-09-27T11:46:22.975, so the cut is 2014-09-26T11:46:22.975. 11410953 clicks on at 11:58 of that
# day, but on an item of one click: without it, its last click is at 11:16, before the cut.
YOOCHOOSE_SLICE = {
    11410948: ("train", ((214854720, 1), (214854720, 1))),  # an order at its last click's instant
    11410951: ("train", ((214854720, 1), (214854720, 0))),  # an order between its two clicks
    11411314: ("train", ((214858856, 0), (214858856, 0))),  # its third click's item has but one
    11410953: ("validation", ((214858856, 1),) * 3),  # the order follows after the cut
    11410604: ("test", ((214854720, 0), (214854720, 0))),  # an order before its clicks
    # 11410603: one click. 11411164: in test, and 214835117 was never clicked in train.
}
# There is no real buys file at hand; these four are made up.
BUYS = [
    "11410948,2014-09-24T08:01:28.069Z,214854720,1046,1",
    "11410951,2014-09-25T17:56:15.000Z,214854720,1046,1",
    "11410953,2014-09-28T00:00:00.000Z,214858856,523,2",
    "11410604,2014-09-27T11:40:00.000Z,214854720,1046,1",
]


def test_real_yoochoose_rows_by_hand(real_data, tmp_path):
    sessions = {*map(str, YOOCHOOSE_SLICE), "11410603", "11411164"}
    clicks = rows_of(real_data / "yoochoose" / "yoochoose-clicks.dat", sessions, ",")
    assert len(clicks) == 2 + 2 + 3 + 5 + 4 + 1 + 8

    # half a day before the cut there is 11410953 alone
    found = presets_sessions(YOOCHOOSE, (clicks, BUYS), tmp_path, validation_days=0.5)

    assert found == YOOCHOOSE_SLICE


# By hand: grep -E '^(259|373|…);' of both files, sorted by eventdate, then timeframe. Items with at
# least five clicks, 469's single click aside: 6078 has 1 + 2 + 2 + 2 (in 259, 373, 1813, 2110),
# 47296 has 2 + 2 + 1 (259, 1280, 2110), 30626 has 6 + 2 (3876, 1864). The last session to begin is
# 2110, on 2016-05-31, so the cut is 2016-05-24; 28 days before it is 2016-04-26.
DIGINETICA_SLICE = {
    259: ("train", ((47296, 0), (6078, 0), (47296, 0))),  # 02-07, timeframes 50046, 54644, 253111
    1280: ("train", ((47296, 1), (47296, 1))),  # 02-13, ordered at timeframe 1994166
    3876: ("train", ((30626, 1),) * 5 + ((30626, 0),)),  # 04-18, ordered before its last click
    373: ("train", ((6078, 0), (6078, 0))),  # 04-25
    1813: ("validation", ((6078, 0), (6078, 0))),  # 04-27
    1864: ("test", ((30626, 1), (30626, 1))),  # 05-26, ordered at timeframe 1046077
    2110: ("test", ((6078, 0), (6078, 0), (47296, 1))),  # 05-31, 47296 ordered
    # 469: one click
}


def test_real_diginetica_rows_by_hand(real_data, tmp_path):
    sessions = {*map(str, DIGINETICA_SLICE), "469"}
    views, purchases = (
        rows_of(real_data / "diginetica" / file, sessions, ";") for file in FILES[DIGINETICA]
    )
    assert len(views) - 1 == 4 + 2 + 6 + 5 + 5 + 6 + 4 + 1
    assert len(purchases) - 1 == 1 + 2 + 1 + 1  # 1280, 3876, 1864, 2110

    found = presets_sessions(DIGINETICA, (views, purchases), tmp_path, validation_days=28.0)

    assert found == DIGINETICA_SLICE


# By hand: grep -E '"session":(4|9|…),' train.jsonl; clicks in the order of the line, carts and orders
# left out. The preset knows the test part by its file, keeps rare items, and removes from test what
# the train file has no click on.
AFTER_ITS_ORDER = (
    *(383828, 255379, 1838173, 1453726, 1838173, 255379, 383828),
    *(1554752, 917213, 758750, 678521, 1081407, 479396),
)
OTTO_TRAIN = {
    4: ("train", ((613619, 0), (298827, 1), *((item, 0) for item in AFTER_ITS_ORDER))),
    9: ("train", ((847707, 0), (1078113, 0), (502913, 0), (502913, 0), (1369253, 0), (641969, 0))),
    12899770: ("train", ((303479, 0), (303479, 0))),  # begins at 1661723965196
    12899772: ("validation", ((1343406, 0), (1712999, 0), (303479, 0))),  # begins at …966071
    12899776: ("validation", ((1329892, 0), (360462, 0))),
    12899777: ("validation", ((107068, 0), (107068, 0))),
}
OTTO_TEST = {
    12899769: ("test", ((1329892, 0), (1329892, 0))),  # then two items that are not in train
    12899771: ("test", ((1343406, 0), (303479, 0))),
    12899775: ("test", ((107068, 0), (303479, 0))),
}


def test_real_otto_lines_by_hand(real_data, tmp_path):
    lines = (real_data / "otto" / "train.jsonl").read_text(encoding="utf-8").splitlines()
    by_session = {json.loads(line)["session"]: line for line in lines}
    contents = [[by_session[name] for name in part] for part in (OTTO_TRAIN, OTTO_TEST)]

    # the train file ends at 1661723991314; 26,118 ms up to and with it begin at 1661723965197
    days = 26_118 / DAY_MS
    found = presets_sessions(DatasetFormat.OTTO, contents, tmp_path, validation_days=days)

    assert found == OTTO_TRAIN | OTTO_TEST


def long_enough(sessions):
    return {name: clicks for name, clicks in sessions.items() if len(clicks) >= 2}


def only(items, sessions):
    return {name: [c for c in clicks if c[1] in items] for name, clicks in sessions.items()}


def slowly(clicks, orders, dataset_format):
    """{session: (part, ((item, ordered), …))} of (session, ts, item) in the order of the files."""
    sessions, ordered_at = defaultdict(list), defaultdict(list)
    for name, ts, item in clicks:
        sessions[name].append((ts, item))
    for name, ts, item in orders:
        ordered_at[name, item].append(ts)
    for events in sessions.values():
        events.sort(key=itemgetter(0))  # stable
    sessions = long_enough(sessions)
    support = Counter(item for events in sessions.values() for _, item in events)
    sessions = long_enough(only({item for item in support if support[item] >= 5}, sessions))
    end = max(events[0][0] for events in sessions.values())
    decides, cut = -1, end - 1 * DAY_MS
    if dataset_format is DIGINETICA:
        decides, cut = 0, end - end % DAY_MS - 7 * DAY_MS
    train = {name: events for name, events in sessions.items() if events[decides][0] < cut}
    known = {item for events in train.values() for _, item in events}
    rest = {name: events for name, events in sessions.items() if name not in train}
    test = long_enough(only(known, rest))
    return {
        name: (part, tuple((i, int(max(ordered_at[name, i], default=0) >= t)) for t, i in events))
        for part, sessions in (("train", train), ("test", test))
        for name, events in sessions.items()
    }


def parsed(lines, dataset_format):
    """(session, ts, item) of lines, by Python's own means."""
    for line in lines:
        if dataset_format is YOOCHOOSE:
            name, time, item, *_ = line.split(",")
            yield (
                int(name),
                (datetime.fromisoformat(time) - EPOCH) // timedelta(milliseconds=1),
                int(item),
            )
        elif line not in {VIEWS, PURCHASES}:
            fields = line.split(";")
            frame, day, item = (2, 3, 5) if len(fields) == 6 else (3, 4, 2)
            midnight = datetime.fromisoformat(f"{fields[day]}T00:00:00Z") - EPOCH
            yield int(fields[0]), midnight.days * DAY_MS + int(fields[frame]), int(fields[item])


def assert_equal_to_the_slow_way(dataset_format, contents, folder, *, validation_days):
    found = presets_sessions(dataset_format, contents, folder, validation_days=validation_days)

    expected = slowly(*(parsed(lines, dataset_format) for lines in contents), dataset_format)

    splits = Counter(split for split, _ in found.values())
    assert min(splits[split] for split in Split) > 0
    assert {n: (s.replace("validation", "train"), t) for n, (s, t) in found.items()} == expected
    return expected


def test_the_whole_real_yoochoose_sample(real_data, tmp_path):
    path = real_data / "yoochoose" / "yoochoose-clicks.dat"
    clicks = path.read_text(encoding="utf-8").splitlines()
    # made-up buys: of every seventh click's item, at its own time
    buys = [f"{line.rsplit(',', 1)[0]},100,1" for line in clicks[::7]]

    expected = assert_equal_to_the_slow_way(
        YOOCHOOSE, (clicks, buys), tmp_path, validation_days=1.0
    )

    assert Counter(part for part, _ in expected.values()) == {"train": 518, "test": 35}


def test_the_whole_real_diginetica_sample(real_data, tmp_path):
    contents = [
        (real_data / "diginetica" / file).read_text(encoding="utf-8").splitlines()
        for file in FILES[DIGINETICA]
    ]

    expected = assert_equal_to_the_slow_way(DIGINETICA, contents, tmp_path, validation_days=10.0)

    assert Counter(part for part, _ in expected.values()) == {"train": 469, "test": 47}


def made_up(dataset_format, seed):
    """Files of long sessions over ten days, half of whose items are rare; clicks not in order."""
    rng = np.random.default_rng(seed)
    clicks, orders = [], []
    for name in range(400):
        moment = 1_409_529_600_000 + int(rng.integers(10 * DAY_MS))
        for _ in range(rng.integers(1, 7)):
            item = int(rng.integers(30) if rng.random() < 0.6 else rng.integers(1000))
            clicks.append((name, moment, item))
            if rng.random() < 0.2:
                orders.append((name, moment + int(rng.choice([-1, 0, DAY_MS])), item))
            moment += int(rng.choice([0, 5, 60_000, DAY_MS // 5, DAY_MS]))
    return [
        _written(rng.permutation(rows).tolist(), dataset_format, n)
        for n, rows in enumerate((clicks, orders))
    ]


def _written(rows, dataset_format, orders):
    if dataset_format is YOOCHOOSE:
        times = [EPOCH + timedelta(milliseconds=ts) for _, ts, _ in rows]
        return [
            f"{name},{time.isoformat(timespec='milliseconds')[:-6]}Z,{item},0" + ",1" * orders
            for (name, _, item), time in zip(rows, times, strict=True)
        ]
    days = [(EPOCH + timedelta(milliseconds=ts)).date().isoformat() for _, ts, _ in rows]
    pairs = zip(rows, days, strict=True)
    if orders:
        return [PURCHASES, *(f"{n};NA;{ts % DAY_MS};{day};1;{i}" for (n, ts, i), day in pairs)]
    return [VIEWS, *(f"{n};NA;{i};{ts % DAY_MS};{day}" for (n, ts, i), day in pairs)]


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("dataset_format", [YOOCHOOSE, DIGINETICA])
def test_sessions_across_the_cut_and_rare_items_at_their_ends(dataset_format, seed, tmp_path):
    contents = made_up(dataset_format, seed)

    assert_equal_to_the_slow_way(dataset_format, contents, tmp_path, validation_days=2.0)
