"""When an asset is stale: its parameters, its pin and its content."""

from dataclasses import fields, is_dataclass
from pathlib import Path

import dagster as dg
import pytest
import yaml

from assets.asset_metadata import ASSETS, code_version, sections_of
from assets.definitions import defs
from assets.resources import StudyResource
from pipeline.artifacts.storage import md5
from pipeline.core.asset_graph import OPTIONAL, ROLLOUT
from pipeline.study import PARAMS_FILE, Study, load_study

STUDY = "data/studies/synthetic-shop"

NOT_IN_THE_VERSION = {
    # they reject the log of another shop; the content is the pinned file
    "raw_events": {"dataset.format", "dataset.path", "experiment.source", "synthetic.*"},
    # lists longer than the catalogue are refused before training
    # and sessions are the same wherever they are prepared
    "sessions": {
        "compute.sessions",
        "evaluation.cutoff",
        "experiment.list_length",
        "training.negatives",
    },
    # validated before training, so that errors show early
    "conditioned_model": {"evaluation.extra_cutoffs", "evaluation.custom_metrics"},
}


def covered(key: str, declared: tuple[str, ...]) -> bool:
    return key == "study.name" or key in declared or key.split(".", maxsplit=1)[0] in declared


def abridged(keys: set[str]) -> set[str]:
    """The keys, those of a section that is there whole as ``section.*``."""
    of = {section.name: section.type for section in fields(Study)}
    whole = {
        section
        for section, kind in of.items()
        if is_dataclass(kind)  # else it may be null
        and {f"{section}.{key.name}" for key in fields(kind)} <= keys
    }
    return {key if (name := key.split(".")[0]) not in whole else f"{name}.*" for key in keys}


@pytest.mark.slow
@pytest.mark.usefixtures("finished")
def test_an_asset_s_version_covers_every_parameter_it_read(parameters_read):
    missed = {
        asset: abridged({key for key in keys if not covered(key, ASSETS[asset].reads)})
        for asset, keys in parameters_read.items()
    }

    assert set(parameters_read) == set(ASSETS) - set(OPTIONAL)
    assert {asset: keys for asset, keys in missed.items() if keys} == NOT_IN_THE_VERSION


GATES = set(ROLLOUT) - {"rollout_plan"}


@pytest.mark.parametrize(
    ("key", "value", "stale"),
    [
        ("sessions.min_item_support", 6, {"sessions"}),
        ("sessions.max_rejected_share", 0.04, {"events", "sessions"}),
        ("training.epochs", 3, {"conditioned_model"}),
        ("evaluation.bootstrap", 50, {"preference_scores", "offline_metrics"}),
        (
            "regression.level",
            0.9,
            {"traffic_plan", "regression_estimates", "counterfactual_estimates", *GATES},
        ),
        ("simulator.truth_users", 50, {"experiment_log_files", *GATES}),
        ("serving.threads", 2, set()),
        ("compute.sessions", "spark", set()),  # they have the same bytes
        ("study.name", "another", set(ASSETS) - {"raw_events", "regression_report"}),
    ],
)
def test_a_changed_parameter_makes_its_assets_stale(project, key, value, stale):
    before = load_study(project / PARAMS_FILE)
    after = load_study(project / PARAMS_FILE, {key: value})

    changed = {
        name
        for name in ASSETS
        if code_version(name, before, project) != code_version(name, after, project)
    }

    # the report shows all parameters
    assert changed == stale | {"regression_report"}


def pin(project: Path, digest: str) -> None:
    lock = {"stages": {"raw": {"outs": [{"path": "data/raw/synthetic-shop.jsonl", "md5": digest}]}}}
    (project / "dvc.lock").write_text(yaml.safe_dump(lock), encoding="utf-8")


def test_the_raw_data_s_version_is_the_pinned_md5(project):
    study = load_study(project / PARAMS_FILE)

    unpinned = code_version("raw_events", study, project)
    pin(project, "ab" * 16)

    assert unpinned is None
    assert code_version("raw_events", study, project) == "ab" * 16


def materialized(**overrides) -> dict[str, str]:
    """The tags of ``events``, materialised in the working directory."""
    instance = dg.DagsterInstance.ephemeral()
    resources = {"study": StudyResource(overrides=overrides)}
    dg.materialize(
        list(defs.assets or ()),
        selection=["raw_events", "events"],
        instance=instance,
        resources=resources,
    )
    event = instance.get_latest_materialization_event(dg.AssetKey("events"))
    assert event is not None
    assert event.asset_materialization is not None
    return dict(event.asset_materialization.tags or {})


@pytest.mark.slow
def test_an_asset_of_other_parameters_is_stale(project):
    default = materialized()
    overridden = materialized(**{"sessions.max_rejected_share": 0.04})

    today = load_study(project / PARAMS_FILE)
    assert default["dagster/code_version"] == code_version("events", today, project)
    assert overridden["dagster/code_version"] != code_version("events", today, project)


@pytest.mark.slow
def test_the_same_content_is_the_same_version(project):
    first, second = materialized(), materialized(**{"sessions.max_rejected_share": 0.04})

    assert first["dagster/data_version"] == md5(project / STUDY / "events")
    assert second["dagster/data_version"] == first["dagster/data_version"]


def test_a_run_of_sessions_validates_where_they_are_prepared():
    assert "compute" in sections_of([dg.AssetKey("sessions")])
