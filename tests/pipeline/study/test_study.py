"""params.yaml is parsed into a study, or raises one error with key, value and what is accepted."""

import dataclasses
import math
from copy import deepcopy
from datetime import date
from functools import cache
from typing import get_type_hints

import pytest
import yaml

from pipeline.core.contracts import Kpi
from pipeline.core.errors import StudyError
from pipeline.study import PAPER_HYPOTHESES, Hypothesis, Study, load_study, parse_study

WAREHOUSE = {"backend": "duckdb", "impressions": "shop.impressions"}
SECTIONS = {name: kind for name, kind in get_type_hints(Study).items() if name != "rollout"}
"""All but the one that may be null, which has tests of its own."""

KEYS = [
    f"{section}.{field.name}"
    for section, owner in SECTIONS.items()
    for field in dataclasses.fields(owner)
]
WRONG_OF_TYPE = {
    int: ["3", 2.5, True, None, [1], math.nan],
    float: ["0.1", True, None, [1.0], math.nan, math.inf, -math.inf],
    str: [3, True, None, ["a"], date(2025, 9, 1)],
    list: [3, "click", None, True],
    bool: [1, "true", None],
    dict: [True, ["a"]],
    type(None): [True, ["a"]],  # an optional value
}


@cache
def _params(path):
    return yaml.safe_load(path.read_text(encoding="utf-8"))


@pytest.fixture
def values(project_root):
    """The default study as plain values, with three groups so that any grid suffices."""
    plain = deepcopy(_params(project_root / "params.yaml"))
    plain["experiment"]["groups"] = 3
    return plain


def _set(values, key, value):
    section, name = key.split(".")
    values[section][name] = value
    return values


def _message(values):
    with pytest.raises(StudyError) as caught:
        parse_study(values)
    return str(caught.value)


def test_params_file_has_every_key_and_no_other(project_root):
    plain = _params(project_root / "params.yaml")

    present = {f"{section}.{name}" for section in SECTIONS for name in plain[section]}

    assert plain.keys() - SECTIONS == {"rollout"}
    assert plain["rollout"] is None
    assert present == set(KEYS)
    accepted = {field.name for field in dataclasses.fields(Hypothesis)}
    assert all(set(one) == accepted for one in plain["regression"]["hypotheses"])


def test_params_file_is_loaded_unchanged(project_root):
    plain = deepcopy(_params(project_root / "params.yaml"))

    loaded = load_study(project_root / "params.yaml")

    for objective in plain["training"]["objectives"]:
        objective["reference"] = None
    assert loaded.as_dict() == plain
    assert loaded.regression.hypotheses == PAPER_HYPOTHESES


def test_without_hypotheses_those_of_the_paper_are_tested_whose_metric_and_kpi_exist(values):
    section = parse_study(_set(values, "regression.hypotheses", [])).regression

    def ids(metrics, kpis):
        return [one.id for one in section.declared(metrics, kpis).hypotheses]

    everything = ["recall", "order_density", "recall_order_density", "novelty"]
    assert ids(everything, list(Kpi)) == ["H1", "H2", "H3", "H4"]
    assert ids(["recall", "catalogue_coverage"], [Kpi.CTR, Kpi.CLICKS_PER_USER]) == ["H1"]
    assert ids(["recall"], list(Kpi)) == ["H1", "H4"]
    assert ids(["auc"], list(Kpi)) == []


def test_declared_hypotheses_are_tested_as_they_are(values):
    section = parse_study(values).regression

    assert section.declared(["auc"], []) is section


def test_a_study_survives_a_round_trip(values):
    study = parse_study(values)

    assert parse_study(study.as_dict()) == study


@pytest.mark.parametrize("section", ["study", "dataset"])
def test_a_study_needs_a_name_and_a_raw_log(values, section):
    del values[section]

    assert f"{section}: required, but missing" in _message(values)


@pytest.mark.parametrize("section", sorted({*SECTIONS} - {"study", "dataset"}))
def test_another_section_may_be_left_out(values, section):
    del values[section]

    kind = SECTIONS[section]
    assert getattr(parse_study(values), section) == kind()


@pytest.mark.parametrize("key", ["study.name", "dataset.format", "dataset.path"])
def test_a_field_without_default_is_required(values, key):
    section, name = key.split(".")
    del values[section][name]

    assert f"{key}: required, but missing" in _message(values)


@pytest.mark.parametrize("section", SECTIONS)
def test_an_unknown_key_is_named_with_the_accepted_ones(values, section):
    message = _message(_set(values, f"{section}.colour", "red"))

    accepted = sorted(field.name for field in dataclasses.fields(SECTIONS[section]))
    assert f"{section}.colour = 'red': unknown key; " in message
    assert f"accepted are {accepted}" in message


def test_an_unknown_section_is_named_with_the_accepted_ones(values):
    message = _message({**values, "trainings": {"epochs": 1}})

    assert "trainings = {'epochs': 1}: unknown key; did you mean 'training'? accepted" in message
    assert f"accepted are {sorted([*SECTIONS, 'rollout'])}" in message


def test_an_unknown_key_of_a_hypothesis_is_named_with_its_index(values):
    values["regression"]["hypotheses"][2]["weight"] = 2

    expected = "regression.hypotheses.2.weight = 2: unknown key; accepted are "
    assert expected + "['direction', 'id', 'kpi', 'margin', 'metric']" in _message(values)


@pytest.mark.parametrize("key", KEYS)
def test_a_value_of_the_wrong_type_is_named_and_never_converted(values, key):
    section, name = key.split(".")

    for wrong in WRONG_OF_TYPE[type(values[section][name])]:
        message = _message(_set(values, key, wrong))
        shown = {"date": "2025-09-01"} if isinstance(wrong, date) else wrong
        place = key
        if key == "experiment.shares" and isinstance(wrong, list):  # a list is accepted here
            place, shown = f"{key}.0", wrong[0]
        found = f"- {place} = {shown!r}: "
        assert f"{found}Input should be " in message or f"{found}expected one of " in message


CLICK, ORDER = {"loss": "click"}, {"loss": "order"}
ON_A_LOSS = {"metric": "click_loss", "slope": 1.0}
CAP = {"rule": "cap", "max_items": 2}
FRESH = {"rule": "freshness", "add": 1.0, "half_life_days": 7.0}


@pytest.mark.parametrize(
    ("key", "accepted", "refused", "words"),
    [
        ("study.name", "a-1", "A b", "match pattern"),
        ("study.name", "7", "../elsewhere", "match pattern"),
        ("study.name", "x", "x\n", "match pattern"),
        ("study.seed", 0, -1, "greater than or equal to 0"),
        ("study.seed", 2**63 - 1, 2**63, "less than 9223372036854775808"),
        ("dataset.path", "x", "", "at least 1 character"),
        ("synthetic.seed", 0, -1, "greater than or equal to 0"),
        ("synthetic.items", 50, 49, "greater than or equal to 50"),
        ("synthetic.categories", 2, 1, "greater than or equal to 2"),
        ("synthetic.neighbours", 5, 4, "greater than or equal to 5"),
        ("synthetic.users", 10, 9, "greater than or equal to 10"),
        ("synthetic.sessions", 10, 9, "greater than or equal to 10"),
        ("synthetic.days", 3, 2, "greater than or equal to 3"),
        ("sessions.min_item_support", 1, 0, "greater than or equal to 1"),
        ("sessions.min_session_length", 2, 1, "greater than or equal to 2"),
        ("sessions.test_days", 0.001, 0.0, "greater than 0"),
        ("sessions.validation_days", 0.001, 0.0, "greater than 0"),
        ("sessions.max_rejected_share", 0.0, -0.01, "greater than or equal to 0"),
        ("sessions.max_rejected_share", 1.0, 1.01, "less than or equal to 1"),
        ("model.hidden_size", 2, 0, "greater than 0"),
        ("model.layers", 1, 0, "greater than 0"),
        ("model.heads", 1, 0, "greater than 0"),
        ("model.dropout", 0.0, -0.1, "greater than or equal to 0"),
        ("model.dropout", 0.99, 1.0, "less than 1"),
        ("model.max_length", 2, 1, "greater than or equal to 2"),
        ("model.rank", 1, 0, "greater than 0"),
        ("model.feedforward_multiplier", 1, 0, "greater than 0"),
        ("model.conditioning", "film", "FiLM", "'film' or 'low-rank-mixture'"),
        ("model.positions", "end", "middle", "'start' or 'end'"),
        ("training.regulariser", "angle", "cosine", "'non-uniformity' or 'angle'"),
        ("training.regulariser_weight", 0.0, -0.1, "greater than or equal to 0"),
        ("training.scalarisation", "linear", "chebyshev", "'linear' or 'smooth-tchebycheff'"),
        ("training.smoothness", 1e-9, 0.0, "greater than 0"),
        ("training.click_loss", "gbce", "bpr", "'softmax' or 'gbce'"),
        ("training.gbce_calibration", 1.0, 1.1, "less than or equal to 1"),
        ("training.preference_sampling", "batch", "step", "'session' or 'batch'"),
        ("training.patience", 1, 0, "greater than 0"),
        ("training.warm_start_epochs", 1, 0, "greater than 0"),
        ("training.hypervolume_of", "metrics", "recall", "'losses' or 'metrics'"),
        ("training.validation_preferences", 2, 1, "greater than or equal to 2"),
        ("training.warmup_ratio", 0.0, 1.0, "less than 1"),
        ("training.precision", "bfloat16", "bf16", "'float32', 'bfloat16' or 'float16'"),
        ("training.save_every", 1, 0, "greater than 0"),
        ("training.epochs", 1, 0, "greater than 0"),
        ("training.batch_size", 1, 0, "greater than 0"),
        ("training.learning_rate", 1e-9, 0.0, "greater than 0"),
        ("training.weight_decay", 0.0, -0.1, "greater than or equal to 0"),
        ("training.gradient_clip", 1e-9, 0.0, "greater than 0"),
        ("training.threads", 1, 0, "greater than 0"),
        ("evaluation.cutoff", 1, 0, "greater than or equal to 1"),
        ("evaluation.preferences", 3, 2, "greater than or equal to 3"),
        ("experiment.name", "e", "-e", "match pattern"),
        (
            "experiment.source",
            "held-out-replay",
            "live",
            "'simulated-shop', 'direct', 'held-out-replay' or 'files'",
        ),
        ("experiment.salt", "s", "", "at least 1 character"),
        ("experiment.traffic_share", 0.01, 0.0, "greater than 0"),
        ("experiment.traffic_share", 1.0, 1.01, "less than or equal to 1"),
        ("experiment.holdout", 0.0, -0.01, "greater than or equal to 0"),
        ("experiment.holdout", 0.99, 1.0, "less than 1"),
        ("experiment.holdout_salt", "s", "", "at least 1 character"),
        ("experiment.groups", 4, 2, "greater than or equal to 3"),
        ("experiment.list_length", 1, 0, "greater than or equal to 1"),
        ("experiment.days", 1, 0, "greater than or equal to 1"),
        ("experiment.users", 10, 9, "greater than or equal to 10"),
        ("simulator.learning", 1.0, 1.01, "less than or equal to 1"),
        ("simulator.drift", 0.0, -0.1, "greater than or equal to 0"),
        ("simulator.truth_users", 0, -1, "greater than or equal to 0"),
        ("serving.durability", "os", "disk", "'fsync' or 'os'"),
        ("serving.reload_seconds", 0.1, 0.0, "greater than 0"),
        ("serving.batch_wait_ms", 0.0, -1.0, "greater than or equal to 0"),
        ("regression.level", 0.51, 0.5, "greater than 0.5"),
        ("regression.level", 0.999, 1.0, "less than 1"),
    ],
)
def test_the_boundary_value_loads_and_the_next_is_rejected(values, key, accepted, refused, words):
    section, name = key.split(".")

    study = parse_study(_set(values, key, accepted))
    message = _message(_set(values, key, refused))

    assert study.as_dict()[section][name] == accepted
    assert f"- {key} = {refused!r}: " in message
    assert words in message


def _numbers(values, prefix=()):
    """The keys of all numbers of the study, however deep."""
    entries = values.items() if isinstance(values, dict) else enumerate(values)
    for key, value in entries:
        if isinstance(value, dict | list):
            yield from _numbers(value, (*prefix, key))
        elif type(value) in {int, float} and key not in {"seed", "learning_rate"}:
            yield (*prefix, key)


@pytest.mark.parametrize("absurd", [10**12, 1e40, math.inf, math.nan], ids=str)
def test_no_number_may_be_absurd(values, absurd):
    for *sections, name in _numbers(values):
        changed = deepcopy(values)
        place = changed
        for section in sections:
            place = place[section]
        if isinstance(place[name], int) and isinstance(absurd, float):
            continue
        place[name] = absurd

        assert f"{'.'.join(map(str, (*sections, name)))} = {absurd}: " in _message(changed)


@pytest.mark.parametrize(
    ("key", "value", "place"),
    [
        ("training.objectives", [CLICK], "training.objectives = "),
        ("training.objectives", [CLICK, {"los": "order"}], "objectives.1.los = 'order': unknown"),
        ("training.objectives", [CLICK | {"scale": 0.0}, ORDER], "training.objectives.0.scale = 0"),
        ("training.objectives", [CLICK, ORDER | {"concentration": -1.0}], "1.concentration = -1.0"),
        ("training.objectives", [CLICK, ORDER | {"reference": math.nan}], "1.reference = nan"),
        ("training.negatives", {"uniform": -1}, "training.negatives.uniform = -1"),
        ("serving.rules", [{"rule": "sort"}], "serving.rules.0 = {'rule': 'sort'}: "),
        (
            "serving.rules",
            [{"rule": "cap", "max_items": 2}, {"rule": "pin", "item": "a", "place": 1}],
            "pin.place = 1: unknown key; accepted are ['item', 'position', 'rule']",
        ),
        ("serving.rules", [{"rule": "cap", "max_items": 0}], "serving.rules.0.cap.max_items = 0"),
        ("serving.filters", {"bought": True}, "filters.bought = True: unknown key; accepted are"),
        ("serving.kafka", {"topic": "x"}, "serving.kafka.servers: required, but missing"),
    ],
    ids=str,
)
def test_a_wrong_list_element_is_named_by_its_index(values, key, value, place):
    assert place in _message(_set(values, key, value))


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("id", "H 1", "match pattern"),
        ("kpi", "revenue", "'units_per_user' or 'revenue_per_user'"),
        ("direction", "up", "'positive' or 'negative'"),
    ],
)
def test_a_wrong_hypothesis_is_named_with_what_is_accepted(values, field, value, words):
    values["regression"]["hypotheses"][1][field] = value

    message = _message(values)

    assert f"regression.hypotheses.1.{field} = {value!r}" in message
    assert words in message


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"experiment.groups": 12}, ["experiment.groups = 12", "evaluation.preferences = 11"]),
        ({"experiment.source": "files"}, ["experiment.source = files", "log_path = None"]),
        ({"experiment.log_path": "logs"}, ["source = simulated-shop", "log_path = logs"]),
        (
            {"compute.warehouse": WAREHOUSE},
            ["compute.warehouse has a log", "source = simulated-shop"],
        ),
        (
            {
                "compute.warehouse": WAREHOUSE,
                "experiment.source": "files",
                "experiment.log_path": "x",
            },
            ["experiment.log_path describes log files, but compute.warehouse is set"],
        ),
        (
            {
                "compute.warehouse": WAREHOUSE,
                "experiment.source": "files",
                "experiment.subfolders": True,
            },
            ["experiment.subfolders describes log files, but compute.warehouse is set"],
        ),
        (
            {
                "compute.warehouse": WAREHOUSE | {"users": WAREHOUSE["impressions"]},
                "experiment.source": "files",
            },
            ["compute.warehouse.users = ", "is the table of impressions"],
        ),
        (
            {"compute.warehouse": WAREHOUSE | {"impressions": "my table"}},
            [
                "compute.warehouse.impressions = 'my table': expected the name of a table",
                "make a view",
            ],
        ),
        (
            {"compute.warehouse": WAREHOUSE | {"impressions": "shop.`small`"}},
            [
                "compute.warehouse.impressions = 'shop.`small`': expected the name of a table",
                "make a view",
            ],
        ),
        (
            {"compute.warehouse": WAREHOUSE | {"backend": "polars"}},
            ["compute.warehouse.backend = 'polars': expected one of 'duckdb', 'postgres'"],
        ),
        (
            {"compute.warehouse": WAREHOUSE | {"url": "postgres://u:p@h/d"}},
            ["compute.warehouse.url = 'postgres://…@h/d': unknown key"],
        ),
        ({"experiment.columns": {}}, ["experiment.columns", "source = simulated-shop"]),
        ({"experiment.variants": "v.csv"}, ["experiment.variants", "source = simulated-shop"]),
        (
            {"experiment.columns": {"clicks": {"user": "who", "item": "who"}}},
            ["experiment.columns.clicks", "who is named twice"],
        ),
        (
            {"experiment.source": "held-out-replay", "simulator.faults": {"bots": 1}},
            ["simulator.faults = {'bots': 1}", "experiment.source = held-out-replay"],
        ),
        (
            {"experiment.source": "direct", "simulator.direct": {"ctr_slope": ON_A_LOSS}},
            ["simulator.direct.ctr_slope: 'click_loss' is better when lower"],
        ),
        ({"model.heads": 3}, ["model.hidden_size = 64", "model.heads = 3"]),
        ({"synthetic.categories": 3001}, ["synthetic.categories = 3001", "synthetic.items = 3000"]),
        ({"training.objectives": [ORDER, ORDER]}, ["training.objectives", "order", "twice"]),
        (
            {"training.objectives": [CLICK, {"loss": "view"}]},
            ["'view' is unknown", "built-in: click, order"],
        ),
        (
            {"dataset.format": "ottoman"},
            ["dataset.format = 'ottoman'", "jdata, generic, none; installed"],
        ),
        ({"training.negatives": {"uniform": 9, "top": 10}}, ["top = 10", "uniform = 9"]),
        ({"training.negatives": {"all": True}}, ["negatives.all", "uniform: 0"]),
        (
            {"serving.rules": [CAP, FRESH]},
            ["['cap', 'freshness']", "before the rules that re-rank"],
        ),
        ({"serving.rules": [{"rule": "boost", "add": 1.0}]}, ["neither items nor categories"]),
    ],
    ids="-".join,
)
def test_contradicting_parameters_are_both_named(values, changes, named):
    for key, value in changes.items():
        _set(values, key, value)

    message = _message(values)

    assert all(words in message for words in named)


def test_the_control_is_a_group(values):
    values["regression"]["advice"]["control"] = "g3"
    assert parse_study(values).regression.advice.control == "g3"

    values["regression"]["advice"]["control"] = "g9"
    assert "regression.advice.control = g9 is not a group; expected one of g1, g2" in _message(
        values
    )


def test_hypothesis_ids_are_unique(values):
    values["regression"]["hypotheses"][3]["id"] = "H1"

    assert "['H1', 'H2', 'H3', 'H1'] are not unique" in _message(values)


def test_source_files_requires_a_path(values):
    values["experiment"] |= {"source": "files", "log_path": "logs"}

    assert parse_study(values).experiment.log_path == "logs"


def test_variants_bring_their_own_metrics_and_group_count(values):
    values["experiment"] |= {"source": "files", "log_path": "logs", "variants": "v.csv"}
    values["experiment"] |= {"groups": 12}
    values["regression"]["hypotheses"][0]["metric"] = "auc"

    assert parse_study(values).regression.hypotheses[0].metric == "auc"


def test_an_unknown_column_of_the_log_is_named_with_the_accepted_ones(values):
    columns = {"orders": {"buyer": "who"}}
    values["experiment"] |= {"source": "files", "log_path": "logs", "columns": columns}

    expected = (
        "experiment.columns.orders.buyer = 'who': unknown key; did you mean 'user'? accepted are "
    )
    accepted = "['event', 'impression', 'item', 'revenue', 'ts', 'units', 'user']"
    assert expected + accepted in _message(values)


def test_every_wrong_value_is_reported_at_once(values):
    _set(values, "training.epochs", 0)
    _set(values, "synthetic.users", "many")

    message = _message(values)

    assert "training.epochs = 0" in message
    assert "synthetic.users = 'many'" in message


def test_the_simulated_shop_requires_the_synthetic_data(values):
    message = _message(_set(values, "dataset.format", "jdata"))

    assert "simulated-shop needs the sessions of the synthetic shop" in message
    assert "use source: held-out-replay" in message


def on_metric(values, metric):
    hypothesis = {"id": "H1", "metric": metric, "kpi": "ctr", "direction": "positive"}
    return _set(values, "regression.hypotheses", [hypothesis])


@pytest.mark.parametrize("metric", ["click_loss", "gini_index", "worse"])
def test_a_lower_is_better_metric_is_rejected_in_a_hypothesis(values, metric):
    custom = {"name": "worse", "function": "mine:worse", "higher_is_better": False}
    _set(values, "evaluation.custom_metrics", [custom])

    message = _message(on_metric(values, metric))

    assert f"hypothesis H1: {metric!r} is better when lower" in message
    assert "use a metric for which higher is better (recall, order_density," in message


def test_a_guardrail_of_a_metric_that_is_not_computed_is_rejected(values):
    _set(values, "experiment.guardrails", {"recal": 0.3})

    expected = (
        "experiment.guardrails: 'recal' is not computed (did you mean 'recall'?); use a metric of"
    )
    assert expected in _message(values)


@pytest.mark.parametrize("metric", ["precision", "recall@7", "novelty@5", "click_loss@5", "mine"])
def test_a_metric_that_is_not_computed_is_rejected_in_a_hypothesis(values, metric):
    _set(values, "evaluation.extra_cutoffs", [5])

    assert f"{metric!r} is not computed; use a metric" in _message(on_metric(values, metric))


@pytest.mark.parametrize("metric", ["recall@5", "novelty", "mine"])
def test_extra_cutoffs_and_custom_metrics_are_accepted_in_hypotheses(values, metric):
    _set(values, "evaluation.extra_cutoffs", [5])
    _set(values, "evaluation.custom_metrics", [{"name": "mine", "function": "mine:metric"}])

    study = parse_study(on_metric(values, metric))

    assert study.regression.hypotheses[0].metric == metric


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("extra_cutoffs", [5, 5], "contain a cutoff twice"),
        ("extra_cutoffs", [20], "contain a cutoff twice"),
        (
            "custom_metrics",
            [{"name": "recall", "function": "a:b"}],
            "['recall'] are already in use",
        ),
        ("custom_metrics", [{"name": "x", "function": "a:b"}] * 2, "['x'] are already in use"),
    ],
)
def test_metric_names_are_unique(values, key, value, words):
    assert words in _message(_set(values, f"evaluation.{key}", value))


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("evaluation.segments", ["category"], "the segment category: "),
        (
            "regression.hypotheses",
            [{"id": "H1", "metric": "freshness", "kpi": "ctr", "direction": "positive"}],
            "freshness: ",
        ),
        ("serving.rules", [CAP], "serving.rules: "),
        ("serving.rules", [FRESH], "serving.rules: "),
    ],
)
def test_item_attributes_need_a_file(values, key, value, words):
    message = _message(_set(values, key, value))

    assert words in message
    assert "dataset.item_attributes" in message
    assert parse_study(_set(values, "dataset.item_attributes", "items.csv"))


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        (
            "shares",
            [1.0, 2.0],
            "has 2 values, but experiment.groups = 3; give one share per group (g1, g2",
        ),
        ("shares", [1.0, 0.0001, 1.0], "at least 0.1%"),
        (
            "forced_assignment",
            {"ada": "g4"},
            "experiment.forced_assignment = {'ada': 'g4'}: unknown groups; use g1, g2, g3",
        ),
        ("planning", {"slopes": {"H9": 1.0}}, "['H9'] are not hypotheses; the ids are H1, H2"),
        (
            "planning",
            {"returning_users": 0.0, "new_users_per_day": 0.0},
            "an experiment needs users",
        ),
        ("planning", {"power": 1.0}, "experiment.planning.power = 1.0: "),
        ("planning", {"curvature_floor": 1.0}, "experiment.planning.curvature_floor = 1.0: "),
    ],
)
def test_shares_forced_assignment_and_slopes_match_groups_and_hypotheses(values, key, value, words):
    assert words in _message(_set(values, f"experiment.{key}", value))


def test_shares_forced_assignment_and_slopes_are_parsed(values):
    _set(values, "experiment.shares", [3, 1, 1])
    _set(values, "experiment.forced_assignment", {"ada": "g3"})
    _set(values, "experiment.planning", {"slopes": {"H1": 0.5}, "past_study": "spring"})

    experiment = parse_study(values).experiment

    assert experiment.shares == (3.0, 1.0, 1.0)
    assert experiment.forced_assignment == {"ada": "g3"}
    assert experiment.planning.slopes == {"H1": 0.5}
