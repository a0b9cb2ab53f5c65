"""Tables of counts with a planted truth, and of every other shape, as reports."""

from pathlib import Path

import polars as pl

from pipeline.inference.counts.columns import CountsOptions
from pipeline.inference.hypotheses.from_counts import fit_counts, parse_hypothesis
from pipeline.reporting.report import build_counts_report
from pipeline.results.document import Report
from pipeline.study import AdviceConfig

GAINS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)
"""Of recall, against the first of six groups."""

SIX = {
    "group": [f"g{n}" for n in range(1, 7)],
    "impressions": [200_000] * 6,
    "recall@20": [0.4 * (1 + gain) for gain in GAINS],
    "recall@20_se": [0.001] * 6,
    "diversity": [0.50, 0.31, 0.62, 0.28, 0.57, 0.44],
    "diversity_se": [0.001] * 6,
}
CLICKS = [round(24_000 * (1 + 0.5 * gain)) for gain in GAINS]
"""1% more recall is 0.5% more clicks, against the worst group."""

FLAT_CLICKS = [24_010, 23_950, 24_080, 23_990, 24_060, 23_930]
FLAT_ORDERS = [2_000, 2_012, 1_989, 2_005, 1_994, 2_008]
LOST_ORDERS = [round(2_400 * (1 - 0.6 * gain)) for gain in GAINS]

TWO = {
    "group": ["A", "B"],
    "impressions": [100_000] * 2,
    "clicks": [10_000, 10_900],
    "orders": [500, 470],
    "recall@20": [0.40, 0.44],
    "od@20": [0.08, 0.07],
}
FOUR = {
    "group": ["A", "B", "C", "D"],
    "impressions": [100_000] * 4,
    "clicks": [10_000, 10_900, 11_900, 12_900],
    "recall@20": [0.40, 0.44, 0.48, 0.52],
}
HOSTILE = """<img src=x onerror="alert('1')">"""
LONG = "a_metric_with_an_exceedingly_long_name_that_nobody_would_type_twice_v2_final@20"
ON_SIX = ("recall@20:ctr:+", "recall@20:orders_per_impression:+", "diversity:ctr:+")

TRUTHS: dict[str, tuple[dict[str, list], tuple[str, ...]]] = {
    "drives-clicks": (SIX | {"clicks": CLICKS, "orders": FLAT_ORDERS}, ON_SIX),
    "none": (SIX | {"clicks": FLAT_CLICKS, "orders": FLAT_ORDERS}, ON_SIX),
    "costs-orders": (
        SIX | {"clicks": CLICKS, "orders": LOST_ORDERS},
        (ON_SIX[0], "recall@20:orders_per_impression:-", ON_SIX[2]),
    ),
}
"""Recall drives clicks; no metric drives anything; recall drives clicks and costs orders."""

SHAPES: dict[str, tuple[dict[str, list], tuple[str, ...]]] = {
    "two-groups": (TWO, ()),
    "blocked": (
        {name: values[:3] for name, values in FOUR.items()}
        | {"impressions": [100_000, 100_000, 103_000], "users": [100_000, 100_000, 103_000]}
        | {"share": [1, 1, 1]},
        (),
    ),
    "no-orders": (FOUR, ()),
    "zero-orders": (FOUR | {"orders": [0] * 4, "od@20": [0.08, 0.07, 0.06, 0.05]}, ()),
    "no-hypotheses": (
        {name: values for name, values in FOUR.items() if name != "recall@20"}
        | {"mine": [0.40, 0.44, 0.48, 0.52]},
        (),
    ),
    "sixty-groups": (
        {
            "group": [f"g{n:02}" for n in range(60)],
            "impressions": [20_000] * 60,
            "clicks": [2_000 + 12 * n + (37 * n) % 53 for n in range(60)],
            "recall@20": [0.4 + 0.002 * n for n in range(60)],
        },
        (),
    ),
    "long-names": (
        {name.replace("recall@20", LONG): values for name, values in FOUR.items()}
        | {"group": ["a group with a rather long name indeed", "x" * 70, "C", "D"]},
        (f"{LONG}:ctr:+",),
    ),
    "hostile": (
        {name.replace("recall@20", HOSTILE): values for name, values in FOUR.items()}
        | {"group": [HOSTILE, "$x_1$", "**b**", "{0}"]},
        (f"{HOSTILE.replace(':', '')}:ctr:+",),
    ),
    "right-to-left": (
        {name.replace("recall", "דיוק"): values for name, values in FOUR.items()}
        | {"group": ["ביקורת", "אדום", "كحلي", "ירוק"]},
        ("דיוק@20:ctr:+",),
    ),
    "four-kpis": (
        SIX
        | {"clicks": CLICKS, "orders": LOST_ORDERS, "units": [2 * n for n in LOST_ORDERS]}
        | {"od@20": [0.08, 0.07, 0.065, 0.06, 0.05, 0.045]},
        tuple(
            f"{metric}:{kpi}:+"
            for metric in ("recall@20", "od@20", "diversity")
            for kpi in ("ctr", "cvr", "orders_per_impression", "units_per_impression")
        ),
    ),
    "many": (
        FOUR
        | {"orders": [500, 470, 440, 420]}
        | {f"m{n}": [0.40, 0.44 + n / 100, 0.48, 0.52] for n in range(6)},
        tuple(f"m{n}:{kpi}:+" for n in range(6) for kpi in ("ctr", "cvr", "orders_per_impression")),
    ),
}


def report_of(
    table: dict[str, list],
    hypotheses: tuple[str, ...],
    folder: Path,
    *,
    control: str | None = None,
    margin: float | None = None,
) -> Report:
    """The report on a table of counts in which no user has two impressions."""
    path = folder / "counts.csv"
    pl.DataFrame(table).write_csv(path)
    found = fit_counts(
        path,
        [parse_hypothesis(text, number) for number, text in enumerate(hypotheses, start=1)],
        level=0.95,
        seed=0,
        advice=AdviceConfig(control=control, margin=margin),
        options=CountsOptions(one_trial_per_user=True),
    )
    return build_counts_report(found, path)
