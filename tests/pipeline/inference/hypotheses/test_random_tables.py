"""Small tables of any kind get an answer per hypothesis or a reason: no crash, no NaN."""

import json

import numpy as np
import polars as pl
import pytest

from pipeline.inference.hypotheses.from_counts import fit_counts, parse_hypothesis
from pipeline.reporting.report import build_counts_report, write_new_report
from pipeline.results.serialization import to_dict

HOSTILE = [
    "<b>x</b>",
    "=1+1",
    "01",
    "1",
    "1e5",
    "a|b",
    "ü\u202e",
    "'; DROP TABLE",
    "{{ x }}",
    "$y$",
    "\\x",
    "~",
]
METRICS = ["auc", "recall@20", "od@20", "my metric", "<i>m</i>"]


def random_table(seed):
    """Two to twelve groups of users with impressions, clicks, orders and refunds; sums or none."""
    rng = np.random.default_rng(seed)
    groups = int(rng.integers(2, 13))
    names = HOSTILE[:groups] if rng.random() < 0.2 else [f"g{n}" for n in range(groups)]
    users = [int(one) for one in rng.integers(1, 60, groups)]
    per_user = _outcomes(rng, users)
    columns = {"group": names} | {
        name: [one.sum().item() for one in per_user[name]] for name in ("impressions", "clicks")
    }
    for name, chance in (("orders", 0.7), ("revenue", 0.5), ("units", 0.3), ("users", 0.5)):
        if rng.random() < chance and (name == "users" or "orders" in columns or name == "orders"):
            columns[name] = [one.sum().item() for one in per_user[name]]
    if rng.random() < 0.4:
        columns["share"] = [1] * groups
    if rng.random() < 0.6:
        columns |= _sums(rng, columns, per_user)
    return pl.DataFrame(columns | _metrics(rng, names), strict=False)


def _outcomes(rng, users):
    mean, rate = rng.choice([1, 5, 50]), rng.choice([0, 0.01, 0.1, 0.5, 1])
    impressions = [1 + rng.poisson(mean, size) for size in users]
    clicks = [rng.binomial(one, rate) for one in impressions]
    if rng.random() < 0.3:  # 0 to 10 clicks in all
        clicks = [np.zeros_like(one) for one in impressions]
        for _ in range(int(rng.integers(0, 11))):
            clicks[int(rng.integers(len(users)))][0] = 1
    orders = [rng.binomial(one, rng.choice([0, 0.1, 0.5])) for one in clicks]
    digits, signs = int(rng.choice([0, 2])), rng.choice([0, 0.1, 0.6])
    revenue = [
        np.round(one * rng.lognormal(3, 1, len(one)), digits)
        * np.where(rng.random(len(one)) < signs, -1, 1)
        for one in orders
    ]
    ones = [np.ones(size, dtype=np.int64) for size in users]
    units = [2 * one for one in orders]
    return {"users": ones, "impressions": impressions, "clicks": clicks, "orders": orders,
            "revenue": revenue, "units": units}  # fmt: skip


def _sums(rng, columns, per_user):
    kpis = {
        "ctr": ("impressions", "clicks"), "cvr": ("clicks", "orders"),
        "orders_per_impression": ("impressions", "orders"),
        "revenue_per_impression": ("impressions", "revenue"),
        "revenue_per_user": ("users", "revenue"), "units_per_impression": ("impressions", "units"),
    }  # fmt: skip
    found = {}
    for kpi, (trials, successes) in kpis.items():
        if {trials, successes} <= set(columns) and rng.random() < 0.8:
            pairs = list(zip(per_user[trials], per_user[successes], strict=True))
            found |= {
                f"{kpi}_users": [(m > 0).sum().item() for m, _ in pairs],
                f"{kpi}_sum_mm": [(m * m).sum().item() for m, _ in pairs],
                f"{kpi}_sum_my": [(m * y).sum().item() for m, y in pairs],
                f"{kpi}_sum_yy": [(y * y).sum().item() for _, y in pairs],
            }
            if rng.random() < 0.1:
                del found[f"{kpi}_sum_my"]
    return found


def _metrics(rng, names):
    columns = {}
    for metric in rng.choice(METRICS, int(rng.integers(1, 4)), replace=False).tolist():
        values = rng.uniform(0.1, 0.9, len(names))
        values = np.full(len(names), 0.5) if rng.random() < 0.1 else values
        values[0] *= rng.choice([1, 1, 1, 1, -1, 0, np.nan])
        columns[metric] = values.tolist()
        if rng.random() < 0.2:
            columns[f"{metric}_se"] = rng.uniform(0, 0.2, len(names)).tolist()
        elif rng.random() < 0.2 and np.isfinite(values[0]):
            drawn = rng.normal(values, 0.02, (20, len(names)))
            columns |= {f"{metric}_r{n + 1}": row for n, row in enumerate(drawn.tolist())}
        elif rng.random() < 0.2:
            root = rng.normal(0, 0.02, (len(names), len(names)))
            square = (root @ root.T).tolist()
            columns |= {
                f"{metric}_cov_{name}": row for name, row in zip(names, square, strict=True)
            }
    return columns


def hypotheses_on(table):
    found = {"ctr"}
    found |= {"cvr", "orders_per_impression"} if "orders" in table.columns else set()
    found |= {f"{one}_per_impression" for one in ("units", "revenue") if one in table.columns}
    if "users" in table.columns:
        amounts = ("clicks", "orders", "revenue")
        found |= {f"{one}_per_user" for one in amounts if one in table.columns}
    metrics = [metric for metric in METRICS if metric in table.columns]
    return [f"{metric}:{kpi}:+" for metric in metrics[:2] for kpi in sorted(found)]


def check(table, folder):
    texts = hypotheses_on(table)
    asked = [parse_hypothesis(text, number) for number, text in enumerate(texts, start=1)]
    file = folder / "counts.csv"
    table.write_csv(file)

    found = fit_counts(table, asked, level=0.95, seed=0)
    read = fit_counts(file, asked, level=0.95, seed=0)

    assert json.dumps(to_dict(found), allow_nan=False)
    slopes = [[one.slope for one in of.hypotheses] for of in (read, found)]
    assert np.array(slopes[0], float) == pytest.approx(np.array(slopes[1], float), nan_ok=True)
    for one in found.hypotheses:
        interval = one.headline.interval if one.headline else None
        assert interval or one.undefined_reason or one.headline.undefined_reason
        assert one.verdict != "undefined" or one.undefined_reason
    for one in found.metric_ranking:
        assert one.probability_of_best is not None or one.undefined_reason
    report = build_counts_report(found, file)
    page = write_new_report(report, folder / "report")
    text = page.read_text("utf-8") + page.with_name("report.md").read_text("utf-8")
    assert "<b>x</b>" not in page.read_text("utf-8")
    assert not any(word in text for word in (">nan<", "| nan", "NaN%", ">inf<"))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
def test_a_random_table_gets_answers_or_reasons(seed, tmp_path):
    check(random_table(seed), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("batch", range(4))
def test_a_hundred_random_tables_get_answers_or_reasons(batch, tmp_path):
    for seed in range(100 + 25 * batch, 125 + 25 * batch):
        check(random_table(seed), tmp_path)
