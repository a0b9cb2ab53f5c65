"""What the monitor finds, how often it is wrong, and what it costs.

    python benchmarks/monitoring.py --write

1. 200 simulated months without a fault, with a look every hour: alarms by family of tests.
2. Injected faults: a fifth of the users that is short, clicks of one group that are lost, a stale model.
3. A log that grows by 600 lists per second: CPU time and memory of the monitor's own process.

``--write`` updates ``results/monitoring.md``; ``--months`` and ``--looks`` make it shorter.
"""

import argparse
import json
import os
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from machine import described, run_alone, use_two_cores

from pipeline.artifacts.storage import StudyPaths, write_json
from pipeline.experiment.design.assignment import N_BUCKETS
from pipeline.experiment.design.traffic_plan import PLAN, Group, TrafficPlan
from pipeline.monitoring.alarms import (
    check_sample_ratio,
    drift_alarms,
    drift_of,
    sample_ratio_alarms,
)
from pipeline.monitoring.calibrations import days_with_reference
from pipeline.monitoring.following.click_cells import Cell, DayCells
from pipeline.monitoring.following.features import FEATURES, FeatureCounts
from pipeline.monitoring.following.ledger import UserSums
from pipeline.monitoring.following.outcomes import ORDERS_WITHOUT_CLICK
from pipeline.monitoring.following.sums import DATABASE
from pipeline.monitoring.monitor import open_monitor
from pipeline.monitoring.statistics.calibration import LEAST_DAYS, MOST_DAYS, calibration_of
from pipeline.monitoring.statistics.lost_clicks import SMALLEST_LOSS, LostClicks, lost_clicks_of
from pipeline.monitoring.statistics.rates import Baseline, Drop, Looks, drop_of
from pipeline.monitoring.status import monitoring_folder
from pipeline.study import PARAMS_FILE, load_study

RESULTS = Path(__file__).parent / "results" / "monitoring.md"
USERS, LISTS, CVR, DAYS, HOURS = 20_000, 5, 0.05, 30, 24
RATE, SECONDS = 600, 30
"""Lists per second, and seconds between two looks."""

CLICKED, ORDERED = 0.15, 0.05
SAMPLE_RATIO_MONTHS = 10
"""Times as many: its rate is close to 5%, which 200 months do not decide."""

KPIS, BEFORE = ("ctr", "cvr"), 7
SIMULATED = (*KPIS, ORDERS_WITHOUT_CLICK)
WEEKEND = 0.85
"""Clicks per list on the sixth and seventh day of a week, against the other days."""


def main() -> None:
    """Parse the command line and run the benchmark."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--months", type=int, default=200)
    parser.add_argument("--looks", type=int, default=20)
    parser.add_argument("--follow", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    use_two_cores()
    if arguments.follow:
        print(json.dumps(follow(arguments.follow, arguments.looks)))
        return
    lines = [
        "# Live monitoring",
        "",
        f"`python benchmarks/monitoring.py --write` on {described('numpy', 'orjson', 'polars')}.",
        "",
        *false_alarms(arguments.months),
        *planted_faults(arguments.months),
        *throughput(arguments.looks),
    ]
    text = "\n".join(lines) + "\n"
    print(text)
    if arguments.write:
        RESULTS.write_text(text, encoding="utf-8")


def false_alarms(months: int) -> list[str]:
    """Months without a fault, as Markdown."""
    rng, ratios, drifts = (np.random.default_rng(seed) for seed in (0, 2, 3))
    dropped = [month_drops(rng, groups=5) for _ in range(months)]
    found = {
        **{
            f"{kpi.upper()} of a group against the others (5 groups)": sum(
                kpi in one for one in dropped
            )
            for kpi in KPIS
        },
        **{
            f"orders without a click, {usual:.1%} of them usual (5 groups)": sum(
                month_loses_clicks(rng, usual) for _ in range(months)
            )
            for usual in (0.0, 0.005, 0.2)
        },
        **{
            f"clicks against predicted clicks, {words}": sum(
                month_is_miscalibrated(rng, sd) for _ in range(months)
            )
            for sd, words in DAY_ERRORS.items()
        },
        "sample ratio (5 groups)": sum(
            users_until_alarm(ratios, np.full(5, 0.2), USERS * DAYS, step=833) is not None
            for _ in range(SAMPLE_RATIO_MONTHS * months)
        ),
        f"drift ({len(FEATURES)} features)": sum(month_has_drift(drifts) for _ in range(months)),
    }
    rows = [
        f"| {name} | {n} of {total:,} | {n / total:.1%} |"
        for name, n in found.items()
        for total in [months * (SAMPLE_RATIO_MONTHS if name.startswith("sample ratio") else 1)]
    ]
    return [
        "## Months without a fault",
        "",
        (
            f"{months} months of {DAYS} days with a look every hour; {USERS:,} users a day in five groups with CTR "
            f".08 to .12 that differ by user (Beta) and by day (a common factor, sd 10%), {LISTS} lists each; "
            f"{CVR:.0%} of clicks lead to an order. Orders without a click differ by group (±20%) and by day, too. "
            f"Weekends have {1 - WEEKEND:.0%} fewer clicks than predicted. A month counts if there is any alarm of "
            "the family."
        ),
        "",
        "| family | months with an alarm | share |",
        "|---|---|---|",
        *rows,
        "",
    ]


def planted_faults(months: int) -> list[str]:
    """Faults, and when they are found, as Markdown."""
    rng = np.random.default_rng(1)
    rows: list[str] = []
    for short in (0.01, 0.02):
        shares = np.array([0.2 - short, *[0.2 + short / 4] * 4])
        users = [users_until_alarm(rng, shares, 50_000, step=500) for _ in range(months)]
        at = [one for one in users if one is not None]
        rows.append(
            f"| one of five groups gets {shares[0]:.0%} of the users instead of 20% | within 50,000 users: "
            f"{len(at) / months:.1%} | {np.median(at):,.0f} users |"
        )
    for groups, ctr in ((2, 0.1), (5, 0.1), (5, 0.18)):
        for loss in (0.1, 0.2):
            found = [hours_until_alarms(rng, groups, ctr, loss) for _ in range(months)]
            fault = f"{loss:.0%} of the clicks of one of {groups} groups are lost, CTR {ctr:g}"
            for name, by in (("ctr", "CTR"), (ORDERS_WITHOUT_CLICK, "orders without a click")):
                rows.append(f"| {fault}: by {by} | {when([one[name] for one in found])} |")
            rows.append(f"| {fault}: by either | {when([min(one.values()) for one in found])} |")
    for sd, words in DAY_ERRORS.items():
        for loss in (0.2, 0.3, 0.5):
            shares = [
                sum(stale_model_is_found(rng, days, sd, loss) for _ in range(months)) / months
                for days in (LEAST_DAYS, MOST_DAYS)
            ]
            rows.append(
                f"| {loss:.0%} fewer clicks of all groups than predicted, {words} | at the end of the day "
                f"{shares[0]:.1%} after one week, {shares[1]:.1%} after four | |"
            )
    return [
        "## Injected faults",
        "",
        (
            f"{months} experiments each; {USERS:,} users a day with {LISTS} lists; {CVR:.0%} of clicks lead to an "
            "order, also of those that are lost. Clicks are lost from the beginning of a day, after "
            f"{BEFORE} days without a fault."
        ),
        "",
        "| fault | found | median |",
        "|---|---|---|",
        *rows,
        "",
    ]


def when(hours: list[float]) -> str:
    """The shares that are found within one and two days, and the median time, as two columns."""
    within = [sum(one <= end for one in hours) / len(hours) for end in (24, 48)]
    median = np.median(hours)
    typical = f"{median:.0f} hours" if np.isfinite(median) else "later"
    return f"within one day {within[0]:.1%}, two days {within[1]:.1%} | {typical}"


def day_of(
    rng: np.random.Generator, rates: np.ndarray, loss: np.ndarray
) -> list[dict[str, dict[str, UserSums]]]:
    """The sums of every KPI by group, up to each hour of a day."""
    groups, hours = rng.integers(len(rates), size=USERS), rng.integers(HOURS, size=USERS)
    lists = rng.poisson(LISTS - 1, USERS) + 1
    chance = rates[groups]
    clicks = rng.binomial(lists, rng.beta(20 * chance, 20 * (1 - chance)))
    lost = rng.binomial(clicks, loss[groups])
    clicks -= lost
    orders, without_click = rng.binomial(clicks, CVR), rng.binomial(lost, CVR)
    buyers = ((orders + without_click > 0).astype(int), (without_click > 0).astype(int))
    cell, cells = hours * len(rates) + groups, HOURS * len(rates)
    found: list[dict[str, dict[str, UserSums]]] = [{} for _ in range(HOURS)]
    of_users = ((lists, clicks), (clicks, orders), buyers)
    for kpi, (m, y) in zip(SIMULATED, of_users, strict=True):
        terms = (m > 0, m, y, m * m, m * y, y * y)
        sums = np.stack([np.bincount(cell, weights=term, minlength=cells) for term in terms])
        sums = sums.reshape(len(terms), HOURS, len(rates)).cumsum(axis=1).astype(np.int64)
        for hour in range(HOURS):
            found[hour][kpi] = {
                f"g{n}": UserSums(*sums[:, hour, n].tolist()) for n in range(len(rates))
            }
    return found


Day = dict[str, dict[str, UserSums]]
"""Sums by KPI and group."""


def baselines(before: list[Day]) -> dict[str, Baseline]:
    """The days before, by KPI."""
    return {kpi: Baseline.of([one[kpi] for one in before]) for kpi in SIMULATED}


def drops(day: Day, before: dict[str, Baseline], *, is_end: bool) -> list[Drop]:
    """All tests of one look."""
    names = list(day["ctr"])
    looks = Looks(groups=len(names), is_end=is_end)
    found = [drop_of(name, kpi, day[kpi], before[kpi], looks) for kpi in KPIS for name in names]
    return [one for one in found if one is not None]


def lost(day: dict[str, UserSums], before: Baseline, *, is_end: bool) -> list[LostClicks]:
    """All tests of orders without a click at one look, of groups whose share is above the floor."""
    looks = Looks(groups=len(day), is_end=is_end)
    names = [
        name for name, one in day.items() if one.successes > SMALLEST_LOSS * one.users
    ]  # others cannot have an alarm
    found = [lost_clicks_of(name, day, before, looks) for name in names]
    return [one for one in found if one is not None]


def month_loses_clicks(rng: np.random.Generator, usual: float, groups: int = 5) -> bool:
    """Whether a month has an alarm, in which a usual share of orders has no click."""
    before: list[dict[str, UserSums]] = []
    for _ in range(DAYS):
        shares = usual * np.linspace(0.8, 1.2, groups) * max(rng.normal(1, 0.1), 0)
        buyers = rng.poisson(USERS / groups * LISTS * 0.1 * CVR / HOURS, (HOURS, groups))
        n, y = buyers.cumsum(0), rng.binomial(buyers, shares).cumsum(0)
        hours = [
            {f"g{g}": UserSums(*map(int, (a, a, b, a, b, b))) for g, (a, b) in enumerate(row)}
            for row in np.stack([n, y], axis=-1)
        ]
        baseline = Baseline.of(before)
        for sums, is_end in [*((hour, False) for hour in hours), (hours[-1], True)]:
            if before and any(one.is_alarm for one in lost(sums, baseline, is_end=is_end)):
                return True
        before = [*before, hours[-1]][-28:]
    return False


DAY_ERRORS = {0.03: "days differ by 3%", 0.1: "days differ by 10%"}


def calibration_day(rng: np.random.Generator, day: int, sd: float, loss: float = 0.0) -> DayCells:
    """First lists of the users of a day in five groups and ten bins with chances of .05 to .15."""
    factor = rng.normal(1, sd) * (WEEKEND if day % 7 > 4 else 1) * (1 - loss)
    chances = np.linspace(0.8, 1.2, 5)[:, None] * np.linspace(0.05, 0.15, 10)
    lists = rng.poisson(USERS / chances.size, chances.shape)
    clicks = rng.binomial(lists, np.clip(chances * factor, 0, 1))
    return {
        (f"g{g}", n): Cell(int(lists[g, n]), int(clicks[g, n])) for g, n in np.ndindex(lists.shape)
    }


def month_is_miscalibrated(rng: np.random.Generator, sd: float) -> bool:
    """Whether a month of a model that is calibrated has an alarm."""
    days = {day: calibration_day(rng, day, sd) for day in range(1 + LEAST_DAYS + DAYS)}
    found = [
        calibration_of("m", None, days[day], before) for day, before in days_with_reference(days)
    ]
    return any(one is not None and one.is_alarm for one in found)


def stale_model_is_found(rng: np.random.Generator, days: int, sd: float, loss: float) -> bool:
    """Whether fewer clicks than predicted from some days raise an alarm on the first day."""
    reference = [calibration_day(rng, day, sd) for day in range(days)]
    found = calibration_of("m", None, calibration_day(rng, 0, sd, loss), reference)
    return found is not None and found.is_alarm


def month_drops(rng: np.random.Generator, groups: int) -> set[str]:
    """The KPIs that have an alarm in a month without a fault."""
    before: list[Day] = []
    alarms: set[str] = set()
    for _ in range(DAYS):
        rates = np.linspace(0.08, 0.12, groups) * rng.normal(1, 0.1)
        hours, baseline = day_of(rng, rates, np.zeros(groups)), baselines(before)
        for sums, is_end in [*((hour, False) for hour in hours), (hours[-1], True)]:
            alarms |= {one.kpi for one in drops(sums, baseline, is_end=is_end) if one.is_alarm}
        before = [*before, hours[-1]][-28:]
    return alarms


def hours_until_alarms(
    rng: np.random.Generator, groups: int, ctr: float, loss: float
) -> dict[str, float]:
    """Hours from the first lost click to the alarms of its group; infinite after two days without."""
    rates = np.linspace(0.8, 1.2, groups) * ctr
    before = [day_of(rng, rates, np.zeros(groups))[-1] for _ in range(BEFORE)]
    lost_share = np.zeros(groups)
    lost_share[1] = loss
    at = {"ctr": np.inf, ORDERS_WITHOUT_CLICK: np.inf}
    for day in range(2):
        hours, baseline = day_of(rng, rates, lost_share), baselines(before)
        for number, sums in enumerate([*hours, hours[-1]]):
            is_end = number == HOURS
            dropped = drops(sums, baseline, is_end=is_end)
            names = [one.kpi for one in dropped if one.is_alarm and one.group == "g1"]
            of_orders = lost(
                sums[ORDERS_WITHOUT_CLICK], baseline[ORDERS_WITHOUT_CLICK], is_end=is_end
            )
            names += [
                ORDERS_WITHOUT_CLICK for one in of_orders if one.is_alarm and one.group == "g1"
            ]
            for name in {*names} & {*at}:
                at[name] = min(at[name], day * HOURS + min(number + 1, HOURS))
        before.append(hours[-1])
    return at


def users_until_alarm(
    rng: np.random.Generator, shares: np.ndarray, users: int, *, step: int
) -> int | None:
    """Users until the sample ratio raises an alarm; None if it does not."""
    plan = {f"g{n}": 1 / len(shares) for n in range(len(shares))}
    counts = np.zeros(len(shares), dtype=np.int64)
    for number in range(step, users + 1, step):
        counts += rng.multinomial(step, shares)
        found = check_sample_ratio(dict(zip(plan, counts.tolist(), strict=True)), plan)
        if sample_ratio_alarms(found):
            return number
    return None


def month_has_drift(rng: np.random.Generator) -> bool:
    """Whether a month without drift has an alarm of a feature."""
    shares = np.full(10, 0.1)
    references = [rng.multinomial(USERS, shares) for _ in FEATURES]
    for _ in range(DAYS):
        drifts = [
            drift_of(
                FeatureCounts(
                    feature=name,
                    model="m",
                    reference=reference,
                    current=rng.multinomial(USERS, shares),
                )
            )
            for name, reference in zip(FEATURES, references, strict=True)
        ]
        if drift_alarms(drifts, len(FEATURES)):
            return True
    return False


def throughput(looks: int) -> list[str]:
    """CPU time and memory of the monitor while the log grows, as Markdown."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, "--looks", str(looks), "--follow", folder]
        found, _ = run_alone(command)
    cpu = np.array(found["cpu"])
    return [
        "## Throughput",
        "",
        (
            f"The log grows by {RATE} lists per second with {CLICKED:.0%} clicks and {ORDERED:.0%} orders of them, "
            f"20 items each, for {looks * SECONDS / 60:.0f} minutes; the monitor looks every {SECONDS} seconds. CPU "
            "time is that of whole looks: following the log, statistics and alerts."
        ),
        "",
        "| | measured | limit |",
        "|---|---|---|",
        f"| share of a core, mean of all looks | {cpu.mean() / SECONDS:.3f} | 0.5 |",
        f"| share of a core, the slowest look | {cpu.max() / SECONDS:.3f} | |",
        f"| rows per second of CPU time | {found['rows'] / cpu.sum():,.0f} | |",
        f"| largest resident memory | {found['kib'] / 1000:.0f} MB | 300 MB |",
        f"| database after {found['rows']:,} rows | {found['bytes'] / 1e6:.0f} MB | |",
    ]


def follow(folder: Path, looks: int) -> dict[str, Any]:
    """Watch a log that grows, with a monitor in this process; CPU seconds of every look."""
    paths = StudyPaths(folder, "shop")
    study = load_study(Path(__file__).parents[1] / PARAMS_FILE)
    groups = [
        Group(
            name=f"g{n}",
            preference_id=f"p{n}",
            preference=(0.5, 0.5),
            first_bucket=N_BUCKETS * n // 5,
            last_bucket=N_BUCKETS * (n + 1) // 5 - 1,
        )
        for n in range(5)
    ]
    plan = TrafficPlan(experiment="spring", salt="s", list_length=20, groups=tuple(groups))
    paths.artifact("traffic_plan").mkdir(parents=True)
    write_json(paths.artifact("traffic_plan", PLAN), plan.as_dict())
    cpu, rows, start = list[float](), 0, int(time.time() * 1000)
    with open_monitor(study, paths) as monitor:
        for look in range(looks):
            at = start + look * SECONDS * 1000
            if (child := os.fork()) == 0:  # the memory of the log's writer is not the monitor's
                write_part(folder / study.serving.log_path, look, at)
                os._exit(0)
            os.waitpid(child, 0)
            began = time.process_time()
            rows += monitor.look(at / 1000 + SECONDS).rows
            cpu.append(time.process_time() - began)
    size = (monitoring_folder(paths) / DATABASE).stat().st_size
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"cpu": cpu, "rows": rows, "bytes": size, "kib": largest}


def write_part(log: Path, look: int, start: int) -> None:
    """Append the rows of one interval; users come back."""
    log.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng([2, look])
    n = RATE * SECONDS
    scores = np.sort(rng.normal(3, 1, (n, 20)))[:, ::-1].round(6)
    items = rng.integers(100_000, size=(n, 20))
    users = rng.integers(500_000, size=n)
    shown, clicks, orders = list[bytes](), list[bytes](), list[bytes]()
    for number in range(n):
        name, ts = f"{look * n + number:032x}", start + number * SECONDS * 1000 // n
        row = {
            "experiment": "spring",
            "group": f"g{users[number] % 5}",
            "preference": [0.5, 0.5],
            "level": None,
            "model": "0123456789ab",
            "rules": "0123456789ab",
            "impression": name,
            "explored": False,
            "fallback": None,
            "unknown_items": 0,
            "format": 1,
            "user": f"user-{users[number]}",
            "ts": ts,
            "session": [str(item) for item in items[number, :4]],
            "exclude": [],
            "k": 20,
            "items": [str(item) for item in items[number]],
            "positions": list(range(1, 21)),
            "scores": scores[number].tolist(),
        }
        shown.append(orjson.dumps(row))
        event = {"format": 1, "impression": name, "event": "1", "ts": ts + 9, "received": ts + 9}
        event |= {"item": str(items[number, 0]), "known_impression": True}
        if rng.random() < CLICKED:
            clicks.append(orjson.dumps(event))
            if rng.random() < ORDERED:
                orders.append(orjson.dumps(event | {"units": 1, "revenue": 1999}))
    for table, lines in (("impressions", shown), ("clicks", clicks), ("orders", orders)):
        with (log / f"{table}-20261129T{look // 20:06d}-000000.jsonl.open").open("ab") as stream:
            stream.write(b"\n".join(lines) + b"\n")


if __name__ == "__main__":
    main()
