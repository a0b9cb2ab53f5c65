"""The synthetic shop's log: JSON lines in OTTO's format, with the same bytes for the same seed."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from models.progress import track
from pipeline.artifacts.storage import atomic_file
from pipeline.core.contracts import DAY_MS
from pipeline.core.errors import DataError
from pipeline.study import DatasetFormat, LogSource, Study, SyntheticConfig
from pipeline.synthetic.catalogue import Ints, make_catalogue
from pipeline.synthetic.shop import (
    BROWSE,
    BUY,
    BUY_SESSIONS_PERCENT,
    CONTINUE_PERCENT,
    ORDER_SCALE,
    Flags,
    Shop,
)
from pipeline.synthetic.users import ShopUsers, make_users

OPENING_TS = 1_756_684_800_000
"""2025-09-01 00:00:00 UTC, in milliseconds."""

MAX_CLICKS = 60
_NOTHING = -1
_FIRST_ITEM_ID = 1000
_HOUR_WEIGHTS = np.array(
    [4, 2, 1, 1, 1, 2, 4, 7, 9, 10, 11, 11, 12, 11, 10, 10, 11, 13, 15, 18, 20, 18, 13, 8]
)


@dataclass(frozen=True, slots=True)
class ShopSessions:
    """Sessions in the shop, as arrays over sessions; ``clicks`` is S × T, filled to ``length``."""

    start: Ints
    intent: Ints
    clicks: Ints
    length: Ints
    ordered: Flags


def build_shop(synthetic: SyntheticConfig) -> Shop:
    """The shop of ``synthetic.seed``, used for the log and for every simulated experiment."""
    return Shop.open(make_catalogue(synthetic, np.random.default_rng([synthetic.seed, 0])))


def item_id(item: Ints) -> Ints:
    """The shop's id of item 0 … I-1, as in the log."""
    return item + _FIRST_ITEM_ID


def generate_log(synthetic: SyntheticConfig, target: Path) -> int:
    """Write the shop's log to ``target``; returns the number of sessions."""
    with atomic_file(target) as fresh, fresh.open("w", encoding="ascii", newline="\n") as out:
        out.writelines(_log_lines(synthetic))
    return synthetic.sessions


def check_shop_log(study: Study, found_md5: str) -> None:
    """Check that the raw log comes from the shop whose users are to be simulated.

    Raises:
        DataError: if the study simulates the shop's users, but ``synthetic`` gives another log.
    """
    is_of_the_shop = study.dataset.format == DatasetFormat.OTTO
    if study.experiment.source is not LogSource.SIMULATED_SHOP or not is_of_the_shop:
        return
    digest = hashlib.md5(usedforsecurity=False)
    for line in _log_lines(study.synthetic):
        digest.update(line.encode("ascii"))
    if digest.hexdigest() != found_md5:
        msg = (
            f"raw data {study.dataset.path} has md5 {found_md5}, but the shop of 'synthetic' gives "
            f"{digest.hexdigest()}: the model would serve users of another shop than it was trained "
            "on. Change 'synthetic' in params.yaml (not for one run only) and re-run: "
            "dvc repro raw_events"
        )
        raise DataError(msg)


def _log_lines(synthetic: SyntheticConfig) -> Iterator[str]:
    rng = np.random.default_rng([synthetic.seed, 1])
    users = make_users(synthetic, synthetic.users, rng)
    sessions = simulate_browsing(build_shop(synthetic), users, synthetic, rng=rng)
    by_start = np.argsort(sessions.start, kind="stable")
    for session, row in enumerate(
        track(by_start, len(by_start), "generating sessions", unit="sessions")
    ):
        yield _line(session, sessions, int(row), rng)


def simulate_browsing(
    shop: Shop, users: ShopUsers, synthetic: SyntheticConfig, *, rng: np.random.Generator
) -> ShopSessions:
    """Simulate ``synthetic.sessions`` sessions, each of a random user, without a recommender."""
    n = synthetic.sessions
    user = rng.integers(0, users.size, n)
    intent = np.where(rng.integers(0, 100, n) < BUY_SESSIONS_PERCENT, BUY, BROWSE)
    clicks = np.full((n, MAX_CLICKS), _NOTHING, dtype=np.int64)
    ordered = np.zeros((n, MAX_CLICKS), dtype=np.bool_)
    length = np.ones(n, dtype=np.int64)
    clicks[:, 0] = shop.pages.draw_in(users.start_category(user, rng), rng)
    active = np.arange(n)
    while len(active):
        last = length[active] - 1
        item = clicks[active, last]
        again = (clicks[active] == item[:, None]).sum(axis=1) > 1
        chance = shop.order_rate_ppm(item, intent[active], again, users.thrift[user[active]])
        ordered[active, last] = rng.integers(0, ORDER_SCALE, len(active)) < chance
        stays = rng.integers(0, 100, len(active)) < CONTINUE_PERCENT[intent[active]]
        active = active[stays & (length[active] < MAX_CLICKS)]
        clicks[active, length[active]] = shop.next_click(
            clicks[active], length[active], intent[active], rng=rng
        )
        length[active] += 1
    return ShopSessions(
        start=OPENING_TS + arrival_times(n, [1] * synthetic.days, rng),
        intent=intent,
        clicks=clicks,
        length=length,
        ordered=ordered,
    )


def arrival_times(n: int, day_weights: Sequence[int] | Ints, rng: np.random.Generator) -> Ints:
    """Start times of ``n`` sessions by day and hour of day, in milliseconds since the first day.

    Args:
        n: Number of sessions.
        day_weights: Relative number of sessions per day.
        rng: The source of randomness.
    """
    hours = np.repeat(np.arange(24), _HOUR_WEIGHTS)
    hour = hours[rng.integers(0, len(hours), n)]
    inside = rng.integers(0, 3_600_000, n)
    days = np.repeat(np.arange(len(day_weights)), day_weights)
    return days[rng.integers(0, len(days), n)] * DAY_MS + hour * 3_600_000 + inside


def _line(session: int, sessions: ShopSessions, row: int, rng: np.random.Generator) -> str:
    """One session in OTTO's format: its clicks, then carts and orders after the last click."""
    n = int(sessions.length[row])
    items = item_id(sessions.clicks[row, :n])
    ts = sessions.start[row] + np.cumsum(rng.integers(4_000, 180_000, n + 1))
    events = [
        f'{{"aid":{item},"ts":{at},"type":"clicks"}}'
        for item, at in zip(items, ts[:n], strict=True)
    ]
    bought = dict.fromkeys(items[sessions.ordered[row, :n]].tolist())
    for event_type in ("carts", "orders"):
        events += [f'{{"aid":{item},"ts":{ts[n]},"type":"{event_type}"}}' for item in bought]
    return f'{{"session":{session},"events":[{",".join(events)}]}}\n'
