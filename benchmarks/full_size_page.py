"""The page of the whole chain at OTTO's size, from what its steps took."""

from collections.abc import Iterator, Mapping
from typing import Any

import otto_size_log as otto
from machine import described

Records = Mapping[str, dict[str, Any]]

_STEPS = {
    "generate": "`init otto-size --template otto`, and the generator",
    "validate": "`validate-data`",
    "prepare": "`study --select raw_events,events,sessions`",
    "train": "`train`",
    "evaluate": "`study --select 'key:\"preference_scores/*\",offline_metrics,pareto_front'`",
    "conclude": "`study --select traffic_plan,experiment_log_files,…,regression_report`",
    "serve": "`serve`, start and requests",
}
_MINUTE, _HOUR = 60, 3600
_PREFERENCES = 11
_PREPARE_MINUTES, _MEMORY_GIB, _DISK_GB = 3, 16, 40


def page(records: Records) -> str:
    """Everything that has run, as Markdown; what has not is named."""
    lines = [
        "# The whole chain at OTTO's size",
        "",
        (
            "`python benchmarks/full_size.py --folder … --write` on "
            f"{described('torch', 'polars', 'duckdb', 'dagster')}. A generated log of OTTO's shape, and the "
            "commands that a user types in a study folder. Memory is the largest sum over all processes of a "
            "command (proportional set size); *private* leaves mapped files out. Load is the machine's average "
            "over five minutes at the end of a step: from 2 on, other programs held the cores, so that times "
            "are upper bounds; processor time is without them. *Code* is the commit that a step was measured with."
        ),
        "",
        *_steps(records),
    ]
    parts = (("generate", _log), ("prepare", _preparation), ("train", _training), ("evaluate", _evaluation),
             ("conclude", _report), ("serve", _serving))  # fmt: skip
    for step, part in parts:
        if step in records:
            lines += ["", *part(records)]
    return "\n".join([*lines, "", *_targets(records), "", *_gpu(records), ""])


def _steps(records: Records) -> Iterator[str]:
    yield "| step | command `paretoscope …` | wall | processor | peak memory (private) | disk after | load | code |"
    yield "|---|---|---|---|---|---|---|---|"
    for step, command in _STEPS.items():
        if (one := records.get(step)) is None:
            yield f"| {step} | {command} | not run | | | | | |"
            continue
        yield (
            f"| {step} | {command} | {_time(one['seconds'])} | {_time(one['cpu_seconds'])} "
            f"| {one['peak_gib']:.1f} GiB ({one['peak_private_gib']:.1f}) | {one['disk_gb']:.1f} GB "
            f"| {one['load']} | {one['code']} |"
        )


def _log(records: Records) -> Iterator[str]:
    """The shape of the log next to the published one."""
    yield "## The log"
    yield ""
    size = records["generate"]["bytes"] / 1e9
    if "prepare" not in records:
        yield f"{size:.1f} GB; its shape is measured after the preparation, which has not run."
        return
    types, shape = records["prepare"]["event_types"], records["prepare"]["shape"]
    published = otto.CLICKS, otto.CARTS, otto.ORDERS
    yield f"{size:.1f} GB. Published are the counts of OTTO's training file (README of otto-de/recsys-dataset)."
    yield ""
    yield "| | published | generated |"
    yield "|---|---|---|"
    yield f"| sessions | {otto.SESSIONS:,} | {shape['session'][0]:,} |"
    yield f"| items | {otto.ITEMS:,} | {shape['item'][0]:,} |"
    yield f"| events | {otto.EVENTS:,} | {sum(types.values()):,} |"
    for name, n in zip(("click", "cart", "order"), published, strict=True):
        share = types[name] / sum(types.values())
        yield f"| {name}s | {n:,} ({n / otto.EVENTS:.2%}) | {types[name]:,} ({share:.2%}) |"
    shapes = (
        ("session", otto.EVENTS / otto.SESSIONS, otto.SESSION_DEVIATION, otto.EVENTS_PER_SESSION),
        ("item", otto.EVENTS / otto.ITEMS, otto.ITEM_DEVIATION, otto.EVENTS_PER_ITEM),
    )
    for name, mean, deviation, quantiles in shapes:
        _, found_mean, found_deviation, *found = shape[name]
        yield f"| events per {name}: mean, standard deviation | {mean:.2f}, {deviation:.2f} | {found_mean:.2f}, {found_deviation:.2f} |"
        yield f"| its quantiles 0, 0.5, 0.75, 0.9, 0.95, 1 | {_listed(quantiles)} | {_listed(found)} |"


def _preparation(records: Records) -> Iterator[str]:
    one = records["prepare"]
    seconds, kept = one["assets"], one["sessions"]
    yield "## Preparation"
    yield ""
    yield (
        f"The md5 of the file {_time(seconds['raw_events'])}, events {_time(seconds['events'])}, sessions "
        f"{_time(seconds['sessions'])}. What is left: {kept['items']:,} items; "
        + "; ".join(
            f"{split} {kept[f'{split}_sessions']:,} sessions, {kept[f'{split}_clicks']:,} clicks"
            for split in ("train", "validation", "test")
        )
        + "."
    )


def _training(records: Records) -> Iterator[str]:
    one = records["train"]
    yield "## Training"
    yield ""
    yield (
        f"Hidden size 64, two layers, sparse item table, 256 sessions a step, 1,024 uniform negatives with those of "
        f"the batch, log Q. {one['epochs']} epochs of a sample (`training.sessions_per_epoch`), "
        f"{one['steps']:,} steps, {one['clicks']:,.0f} targets in {_time(one['seconds'])} with start and validation: "
        f"{one['steps'] / one['seconds'] * _HOUR:,.0f} steps and "
        f"{one['clicks'] / one['seconds'] * _HOUR / 1e6:.1f} million targets an hour; "
        f"{one['share']:.1%} of a pass over the training sessions. A trial that measures the rate took "
        f"{_time(one['trial_seconds'])}. Best epoch {one['best_epoch']}, validation hypervolume {one['hypervolume']:.4f}."
    )


def _evaluation(records: Records) -> Iterator[str]:
    one = records["evaluate"]
    items = records["prepare"]["sessions"]["items"]
    seconds = sum(
        one["assets"][name] for name in one["assets"] if name.startswith("preference_scores")
    )
    rate = one["targets"] * items * _PREFERENCES / seconds / 1e6
    yield "## Evaluation"
    yield ""
    yield (
        f"Exact ranks of {one['targets']:,} targets (all of a random sample of test sessions) among {items:,} items "
        f"under {_PREFERENCES} preferences: {_time(seconds)} with lists, {rate:.0f} million scores a second."
    )
    yield ""
    yield "| preference | Recall@20 | OD@20 |"
    yield "|---|---|---|"
    for point in one["front"]:
        density = "none" if point["order_density"] is None else f"{point['order_density']:.3f}"
        yield f"| {point['preference_id']} | {point['recall']:.4f} | {density} |"


def _report(records: Records) -> Iterator[str]:
    one = records["conclude"]
    yield "## From the plan to the report"
    yield ""
    yield (
        "; ".join(f"{name} {_time(seconds)}" for name, seconds in one["assets"].items())
        + f". The held-out replay has {one['users']:,} users and {one['impressions']:,} impressions. The report has "
        f"{one['bytes'] / 1e6:.1f} MB and is {'complete' if one['opens'] else 'cut off'}; its headline: *{one['headline']}*."
    )


def _serving(records: Records) -> Iterator[str]:
    one = records["serve"]
    yield "## Serving"
    yield ""
    yield (
        f"Ready after {_time(one['ready_seconds'])}. Lists of 20, two threads; a client waits for its list before it "
        "asks again. *Late* is over 200 ms, the default of `serving.deadline_ms`, after which the endpoint would "
        "answer with the most popular items; here it may take 2 s."
    )
    yield ""
    yield "| clients | lists per second | p50 | p90 | p99 | late | fallbacks |"
    yield "|---|---|---|---|---|---|---|"
    for row in one["latencies"]:
        times = " | ".join(f"{row[name]:.0f} ms" for name in ("p50", "p90", "p99"))
        yield (
            f"| {row['clients']} | {row['per_second']:.1f} | {times} | {row['late']} of {row['requests']} "
            f"| {row['fallbacks']} |"
        )


def _targets(records: Records) -> Iterator[str]:
    """What was aimed at, and what came out."""
    yield "## Targets"
    yield ""
    yield "| target | measured |"
    yield "|---|---|"
    if "prepare" in records:
        one, assets = records["prepare"], records["prepare"]["assets"]
        yield (
            f"| preparation in {_PREPARE_MINUTES} minutes | {_time(assets['events'] + assets['sessions'])} from the file "
            f"to the token store, {_time(one['seconds'])} with the md5 and the command's start; processor time "
            f"{_time(one['cpu_seconds'])} on two cores |"
        )
    if ran := {step: records[step] for step in _STEPS if step in records}:
        peak = max(ran, key=lambda step: ran[step]["peak_gib"])
        disk = max(one["disk_gb"] for one in ran.values())
        yield f"| peak memory of {_MEMORY_GIB} GiB | {ran[peak]['peak_gib']:.1f} GiB ({peak}) |"
        yield f"| {_DISK_GB} GB of disk | {disk:.1f} GB after a step |"
    yield f"| the report opens | {'not run' if 'conclude' not in records else 'yes' if records['conclude']['opens'] else 'no'} |"


def _gpu(records: Records) -> Iterator[str]:
    """Where a GPU would change what."""
    yield "## On a GPU"
    yield ""
    yield (
        "Not measured. Training and evaluation are matrix products and run on a GPU as they are (`training.device: auto` "
        "trains there; evaluation and serving stay on the processor). For the item table, its two moments and the best "
        f"epoch, training holds four tables of 64 × 4 bytes an item: {4 * 256 * _items(records) / 2**30:.1f} GiB. "
        "Preparation, ingestion, inference and the report would not change. `python benchmarks/gpu.py --write` measures it in "
        "ten minutes where there is a GPU."
    )


def _items(records: Records) -> int:
    return records["prepare"]["sessions"]["items"] if "prepare" in records else otto.ITEMS


def _time(seconds: float) -> str:
    if seconds < 2 * _MINUTE:
        return f"{seconds:.1f} s"
    return f"{seconds / _MINUTE:.1f} min"


def _listed(values: Any) -> str:
    return ", ".join(f"{one:,}" for one in values)
