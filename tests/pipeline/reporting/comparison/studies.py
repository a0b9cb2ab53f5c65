"""Reports of studies with planted slopes and fronts, with the keys that a comparison reads."""

import json

import numpy as np
import polars as pl

from pipeline.core.contracts import ALL_TARGETS, OFFLINE_METRICS, Kpi
from pipeline.experiment.kpis.contracts import GROUP_KPIS
from pipeline.inference.hypotheses.estimate import estimate_hypotheses
from pipeline.inference.hypotheses.inputs import RegressionInputs
from pipeline.results.document import (
    Experiment,
    FrontPoint,
    FrontSummary,
    GroupSummary,
    PlanSummary,
    Provenance,
    Report,
    SourceFile,
)
from pipeline.results.findings import GroupKpi, MetricValue
from pipeline.results.serialization import parse, to_dict
from pipeline.study import Hypothesis, RegressionConfig

RECALL = (0.40, 0.42, 0.45, 0.48)
ORDER_DENSITY = (0.08, 0.075, 0.07, 0.06)
H1 = Hypothesis(id="H1", metric="recall", kpi=Kpi.CTR, direction="positive")
H4 = Hypothesis(id="H4", metric="recall", kpi=Kpi.CVR, direction="negative")


def report(name, slope, *, hypotheses=(H1,), users=200_000, better=1.0, **facts):
    """The content of ``report.json``.

    Args:
        name: Name of the study and its experiment.
        slope: Planted slope of the log odds.
        hypotheses: The declared hypotheses.
        users: Users in each of four groups, with one trial each.
        better: Factor by which the recall of its front exceeds that of other studies.
        facts: ``experiment``, ``salt``, ``md5``, ``seed``, ``epochs``, ``source``, ``healthy``.
    """
    metrics, kpis = _metrics(), _kpis(slope, users)
    evidence = RegressionInputs(metrics, None, kpis, healthy=facts.get("healthy", True))
    found = estimate_hypotheses(evidence, RegressionConfig(hypotheses=hypotheses), seed=0)
    ids = [f"p{n}" for n in range(4)]
    points = [
        FrontPoint(
            preference_id=one,
            preference=(n / 3, 1 - n / 3),
            metrics={"recall": better * RECALL[n], "order_density": ORDER_DENSITY[n]},
            dominated=False,
        )
        for n, one in enumerate(ids)
    ]
    groups = [GroupSummary(name=f"g{n}", preference_id=one) for n, one in enumerate(ids)]
    plan = PlanSummary(experiment=facts.get("experiment", name), groups=tuple(groups))
    return to_dict(
        Report(
            study=name,
            cutoff=20,
            hypotheses=tuple(found),
            experiment=Experiment(plan=plan, origin="real"),
            front=FrontSummary(
                axes=("recall", "order_density"),
                hypervolume=0.036 * better,
                reference_point=(0.0, 0.0),
                points=tuple(points),
            ),
            offline_metrics=parse(tuple[MetricValue, ...], metrics.to_dicts()),
            group_kpis=parse(tuple[GroupKpi, ...], kpis.to_dicts()),
            data={"events": {"events": 1000, "sessions": 100, "rejected": 3}},
            parameters={
                "study": {"name": name, "seed": facts.get("seed", 1)},
                "synthetic": {"seed": 7},
                "training": {"epochs": facts.get("epochs", 10), "threads": 2},
                "experiment": {"source": facts.get("source", "files")},
            },
            provenance=Provenance(
                code="abc", dataset=SourceFile(path="raw", md5=facts.get("md5", "m" * 32))
            ),
        )
    )


def write(folder, found):
    """Write a report to the folder of a finished study; returns its path."""
    file = folder / found["study"] / "report" / "report.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(found), encoding="utf-8")
    return file


def _metrics():
    rows = [
        {
            "preference_id": f"p{n}",
            "preference": [n / 3, 1 - n / 3],
            "metric": metric,
            "cutoff": 20,
            "segment": ALL_TARGETS,
            "value": value,
            "standard_error": 0.002,
            "n_targets": 1000,
            "n_sessions": 400,
            "higher_is_better": True,
        }
        for metric, values in (("recall", RECALL), ("order_density", ORDER_DENSITY))
        for n, value in enumerate(values)
    ]
    return pl.DataFrame(rows, schema=OFFLINE_METRICS.columns)


def _kpis(slope, users):
    rows = []
    for n, value in enumerate(RECALL):
        y = round(users / (1 + np.exp(2 - slope * (value / RECALL[0] - 1))))
        sums = {"trials": users, "successes": y, "users": users}
        squares = {"sum_mm": users, "sum_my": y, "sum_yy": y}
        rate = {"rate": y / users, "standard_error": (y / users * (1 - y / users) / users) ** 0.5}
        names = {"group": f"g{n}", "preference_id": f"p{n}"}
        rows += [{**names, "kpi": kpi.value, **sums, **squares, **rate} for kpi in Kpi]
    return pl.DataFrame(rows, schema=GROUP_KPIS.columns)
