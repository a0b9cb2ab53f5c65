"""A finished study of a small shop, without training, and a real server of it."""

import asyncio
import json
import os
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path

import aiohttp
import numpy as np
import polars as pl
import torch
import yaml
from safetensors.numpy import save_file

from models.checkpoint import (
    CheckpointFacts,
    catalogue_fingerprint,
    checkpoint_fingerprint,
    save_checkpoint,
)
from models.network.configuration import ModelConfig
from models.network.model import build_model
from models.tokens import SessionTokens
from models.training.configuration import TrainingConfig
from pipeline.artifacts.storage import StudyPaths, atomic_folder, write_json
from pipeline.core.contracts import OFFLINE_METRICS
from pipeline.experiment.design.assignment import N_BUCKETS
from pipeline.experiment.design.traffic_plan import Group, Incumbent, TrafficPlan, read_plan
from pipeline.experiment.kpis.contracts import GROUP_KPIS
from pipeline.inference.glm.group_regression import GroupSums
from pipeline.inference.hypotheses.estimate import estimate_hypotheses
from pipeline.inference.hypotheses.inputs import RegressionInputs
from pipeline.results.family import Family
from pipeline.results.findings import Estimates
from pipeline.results.stored import write_estimates
from pipeline.rollout.gates import Gate, GatedPlan, Outcome
from pipeline.rollout.operations import approve, start
from pipeline.rollout.plan import RolloutPlan
from pipeline.rollout.served import Arm as RolloutArm
from pipeline.rollout.served import ServedRollout, write_served
from pipeline.rollout.states import State
from pipeline.serving.ranking.rank import RankRequest
from pipeline.serving.ranking.served_model import ServedModel
from pipeline.serving.ranking.snapshot import load_snapshot
from pipeline.study import RolloutArm as RolloutArmConfig
from pipeline.study import RolloutCandidate, RolloutConfig, RolloutStage, parse_study
from tests.pipeline.rollout.releases import ANNA, evidence

DAY_MS = 86_400_000
TS = 1_760_000_000_000
ITEMS = 40
CATEGORIES = ["shoes", "hats", "coats", None]

_SERVE = """
import logging, sys
from pathlib import Path
from pipeline.serving.http.server import serve
from pipeline.artifacts.storage import StudyPaths
from pipeline.study import load_study

logging.basicConfig(level=logging.INFO, format="%(message)s")
root = Path(sys.argv[1])
exec(sys.argv[2])
study = load_study(root / "params.yaml")
serve(study, StudyPaths.of(study, root), port=0, replica=sys.argv[3] or None)
"""


def name_of(item):
    return f"item-{item}"


def write_attributes(root):
    """Item i is of category i modulo 4, and available since day 20,000 + i."""
    pl.DataFrame(
        {
            "item": [name_of(n) for n in range(ITEMS)],
            "category": [CATEGORIES[n % 4] for n in range(ITEMS)],
            "available_since": [
                str(np.datetime64("1970-01-01") + 20_000 + n) for n in range(ITEMS)
            ],
        }
    ).write_csv(root / "items.csv")


def write_params(root, params, **serving):
    """Write the study's parameters with some serving keys changed; orders have a revenue."""
    serving = {**params["serving"], "orders_have_revenue": True, **serving}
    values = {**params, "serving": serving}
    values["dataset"] = {**params["dataset"], "item_attributes": "items.csv"}
    (root / "params.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    return parse_study(values)


def write_model(paths, *, seed, items=ITEMS, hidden_size=8, objectives=2):
    """Write a checkpoint of random weights far from 0."""
    config = ModelConfig(hidden_size=hidden_size, layers=1, heads=1, max_length=6)
    model = build_model(config, n_items=items, n_objectives=objectives, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(0.5 * torch.randn(weight.shape, generator=generator))
    facts = CheckpointFacts(
        catalogue=catalogue_fingerprint([name_of(n) for n in range(items)]),
        best_epoch=1,
        training=TrainingConfig(),
        reference=(6.0, 3.0),
        hypervolume=0.5,
        seed=seed,
    )
    with atomic_folder(paths.artifact("conditioned_model")) as folder:
        save_checkpoint(model, facts, folder)


def write_plan(
    paths, *, name="spring", salt="salt", preferences=((0.0, 1.0), (1.0, 0.0)), **changes
):
    """Write a plan with one group of equal traffic share per preference; the first is the incumbent's."""
    edges = [round(N_BUCKETS * n / len(preferences)) for n in range(len(preferences) + 1)]
    groups = tuple(
        Group(
            name=f"g{n + 1}",
            preference_id=f"p{n}",
            preference=preference,
            first_bucket=edges[n],
            last_bucket=edges[n + 1] - 1,
        )
        for n, preference in enumerate(preferences)
    )
    incumbent = Incumbent(preference_id="p0", preference=preferences[0])
    plan = TrafficPlan(
        experiment=name,
        salt=salt,
        list_length=5,
        groups=groups,
        **{"incumbent": incumbent, **changes},
    )
    with atomic_folder(paths.artifact("traffic_plan")) as folder:
        write_json(folder / "traffic_plan.json", plan.as_dict())
    return plan


def write_study(root, params, *, seed=0, items=ITEMS, **serving):
    """Write a finished study; returns its parameters and paths."""
    write_attributes(root)
    study = write_params(root, params, **serving)
    paths = StudyPaths.of(study, root)
    with atomic_folder(paths.artifact("sessions")) as folder:
        pl.DataFrame(
            {
                "index": pl.Series(range(items), dtype=pl.Int32),
                "item": [name_of(n) for n in range(items)],
                "train_clicks": [(7 * n) % items for n in range(items)],
            }
        ).write_parquet(folder / "items.parquet")
    write_model(paths, seed=seed, items=items)
    write_plan(paths)
    return study, paths


MEASURED = (0.0, 0.25, 0.5, 1.0)
"""First weights of the measured preferences besides the groups', for two objectives."""


def recall_of(weight):
    """Recall of a preference in the finished study; piecewise linear."""
    return 0.2 + 0.4 * weight if weight < 0.25 else 0.25 + 0.2 * weight


def density_of(weight):
    """Order density of a preference in the finished study."""
    return 0.10 - 0.05 * weight


def finish_study(study, paths, *, ctr=lambda weight: 0.1 + 0.1 * weight):
    """Write the tables of an experiment on the plan's groups with the true CTR ``ctr``."""
    groups = read_plan(paths).groups
    ids = {group.preference: group.preference_id for group in groups}
    if len(groups[0].preference) == 2:
        for weight in MEASURED:
            ids.setdefault((weight, 1 - weight), f"m{weight:g}")
    metrics = pl.DataFrame(
        [
            {
                "preference_id": name,
                "preference": list(preference),
                "metric": metric,
                "cutoff": 20,
                "segment": "all",
                "value": value(preference[0]),
                "standard_error": 0.004,
                "n_targets": 900,
                "n_sessions": 300,
                "higher_is_better": True,
            }
            for preference, name in ids.items()
            for metric, value in {
                "recall": recall_of,
                "order_density": density_of,
                "recall_order_density": lambda w: recall_of(w) * density_of(w),
            }.items()
        ],
        schema=OFFLINE_METRICS.schema,
    )
    with atomic_folder(paths.artifact("offline_metrics")) as folder:
        metrics.write_parquet(folder / "offline_metrics.parquet")
    kpis = group_kpis_of(groups, ctr)
    with atomic_folder(paths.artifact("group_kpis")) as folder:
        kpis.write_parquet(folder / "group_kpis.parquet")
    estimates = estimate_hypotheses(RegressionInputs(metrics, None, kpis), study.regression, seed=1)
    with atomic_folder(paths.artifact("regression_estimates")) as folder:
        write_estimates(Estimates(hypotheses=tuple(estimates)), folder)


def group_kpis_of(groups, ctr):
    """KPIs of 400 users per group with five impressions each; a tenth of the clicks is ordered."""
    rng = np.random.default_rng(3)
    shape = (len(groups), 400)
    shown = np.full(shape, 5)
    rate = np.array([[ctr(group.preference[0])] for group in groups])
    clicks = rng.binomial(shown, np.clip(rate + rng.normal(0, 0.02, shape), 0, 1))
    orders = rng.binomial(clicks, 0.1)
    trials = {
        "ctr": (shown, clicks),
        "cvr": (clicks, orders),
        "orders_per_impression": (shown, orders),
    }
    trials["units_per_impression"] = trials["orders_per_impression"]
    rows = []
    for kpi, (m, y) in trials.items():
        sums = GroupSums.over_users(Family.BINOMIAL, m, y)
        for n, group in enumerate(groups):
            p = sums.successes[n] / sums.trials[n]
            row = {
                f.name: int(getattr(sums, f.name)[n]) for f in fields(sums) if f.name != "family"
            }
            of = {"group": group.name, "preference_id": group.preference_id, "kpi": kpi}
            rows.append(
                of | row | {"rate": p, "standard_error": (p * (1 - p) / sums.trials[n]) ** 0.5}
            )
    return pl.DataFrame(rows, schema=GROUP_KPIS.schema)


def write_test_sessions(paths, sessions):
    """Write a token store with a test split only."""
    tokens = SessionTokens.from_lists([[(item, 0) for item in session] for session in sessions])
    arrays = {
        "test.items": tokens.items,
        "test.ordered": tokens.ordered,
        "test.carted": tokens.carted,
        "test.offsets": tokens.offsets,
    }
    save_file(arrays, paths.artifact("sessions", "tokens.safetensors"))


def served_model(root, params, **serving) -> ServedModel:
    """The model of a new study, as it is served."""
    return load_snapshot(*write_study(root, params, **serving)).model


def rank_request(session, *, preference=(0.5, 0.5), k=5, excluded=(), ts=TS):
    """A request of the model."""
    return RankRequest(
        session=np.array(session, dtype=np.int64),
        preference=preference,
        k=k,
        excluded=np.array(excluded, dtype=np.int64),
        ts=ts,
    )


def scores_of(served, session, preference):
    """The score of every item, computed for one session."""
    model = served.recommender.model
    window = list(session)[-model.config.max_length :]
    with torch.no_grad():
        states = model(
            torch.tensor([window]), torch.tensor([len(window)]), torch.tensor([preference])
        )
        return model.score_all(states[:, -1])[0].tolist()


def differences(served, row):
    """The differences of a logged list from one computed from the row; without rules.

    Items may be swapped only if their scores are equal up to rounding.
    """
    index = served.recommender.index
    session = [index[name] for name in row["session"] if name in index]
    scores = scores_of(served, session, row["preference"])
    allowed = [n for n in range(len(scores)) if name_of(n) not in set(row["exclude"])]
    expected = sorted(allowed, key=lambda n: (-scores[n], n))[: row["k"]]
    found = [index[name] for name in row["items"]]
    problems = [] if len(set(found)) == len(expected) else [f"{len(set(found))} items"]
    for position, (item, best, logged) in enumerate(
        zip(found, expected, row["scores"], strict=True)
    ):
        if abs(scores[item] - scores[best]) > 1e-4 or abs(scores[item] - logged) > 1e-4:
            problems.append(f"{position}: {item} instead of {best}")
    return problems


class Server:
    """A server process; requests go to ``url``."""

    def __init__(self, root, environment=None, *, first="", before=(), replica=""):
        self.process = subprocess.Popen(
            [*before, sys.executable, "-c", _SERVE, str(root), first, replica],
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **(environment or {})},
        )
        self.lines = []
        for line in self.process.stderr:
            self.lines.append(line.rstrip())
            if "on http://" in line:
                self.url = line.split(" on ")[1].strip()
                return
        raise AssertionError("\n".join(self.lines))

    def end(self, number):
        """Send a signal and wait; returns the exit status and the rest of stderr."""
        self.process.send_signal(number)
        stderr = self.process.stderr.read()
        self.process.stderr.close()
        return self.process.wait(timeout=60), stderr


@contextmanager
def serving(root, environment=None, *, first="", before=(), replica=""):
    """A running server; ``first`` is code that runs before it, ``before`` a command around it."""
    server = Server(root, environment, first=first, before=before, replica=replica)
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.process.kill()
            server.process.wait()
        if not server.process.stderr.closed:
            server.process.stderr.close()


def rows_of(folder, table):
    """All rows of a table's files, open files included."""
    files = sorted([*folder.glob(f"{table}-*.jsonl"), *folder.glob(f"{table}-*.jsonl.open")])
    return [json.loads(line) for file in files for line in file.read_text("utf-8").splitlines()]


def log_of(paths: StudyPaths) -> Path:
    return paths.root / "data/served"


async def post(session, route, body):
    async with session.post(route, json=body) as answer:
        return answer.status, await answer.json()


def with_client(url, scenario):
    """Run ``scenario(session)`` with an HTTP client."""

    async def main_task():
        async with aiohttp.ClientSession(url) as session:
            return await scenario(session)

    return asyncio.run(main_task())


def rollout_arms(paths, candidate=None, preference="p1", rules=None):
    """The incumbent, under g1's preference, and the candidate, under g2's, with its rules.

    ``candidate`` is another study.
    """
    preferences = {"p0": (0.0, 1.0), "p1": (1.0, 0.0)}
    return [
        RolloutArm(
            model=checkpoint_fingerprint(
                StudyPaths(paths.root, study or paths.name).artifact("conditioned_model")
            ),
            study=study,
            preference_id=name,
            preference=preferences[name],
            rules=own,
        )
        for name, study, own in (("p0", None, None), (preference, candidate, rules))
    ]


def write_rollout(paths, *, share, peak=None, candidate=None, release="next", seq=3, rules=None):
    """Write ``rollout.json`` without the events that it follows from."""
    incumbent, served = rollout_arms(paths, candidate, rules=rules)
    rollout = ServedRollout(
        format=1,
        release=release,
        salt=f"{release} salt",
        seq=seq,
        head="0" * 64,
        state=State.CANARY,
        stage="canary",
        share=share,
        peak_share=share if peak is None else peak,
        holdback=0.05,
        started=None,
        incumbent=incumbent,
        candidate=served,
    )
    write_served(rollout, paths)
    return rollout


def start_rollout(paths, candidate=None, preference="p1"):
    """Start a release whose first stage has 5% of the users, and approve that stage."""
    incumbent, served = rollout_arms(paths, candidate, preference)
    shares = {"canary": 0.05, "ramp": 0.5, "full": 1.0}
    config = RolloutConfig(
        release="next",
        candidate=RolloutCandidate(preference=preference, study=candidate),
        incumbent=RolloutArmConfig(preference="p0"),
        stages=tuple(RolloutStage(name=name, share=share) for name, share in shares.items()),
    )
    plan = RolloutPlan(config=config, attribution_hours=24.0, candidate=served, incumbent=incumbent)
    skipped = tuple(evidence(gate, Outcome.SKIPPED) for gate in Gate)
    start(paths, GatedPlan(plan=plan, gates=skipped), ANNA)
    return approve(paths, "canary", ANNA, "a test").served()


def write_other_study(root, params, *, seed=5, items=ITEMS):
    """Write a second finished study of the same shop, ``next``, beside the first."""
    mine = (root / "params.yaml").read_bytes()
    other = {**params, "study": {**params["study"], "name": "next"}}
    _, paths = write_study(root, other, seed=seed, items=items)
    (root / "params.yaml").write_bytes(mine)
    return paths
