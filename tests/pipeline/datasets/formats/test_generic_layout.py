"""What dataset.generic may say; a mistake is named with what is accepted before any file is read."""

import pytest

from pipeline.core.contracts import EventType
from pipeline.core.errors import StudyError
from pipeline.study import DatasetFormat, Duplicates, IdType, parse_study

GENERIC = {"session": "s", "item": "i", "time": "t"}


@pytest.fixture
def dataset_of(small_params):
    """The dataset section of a study with this one."""

    def parsed(dataset):
        dataset = {"format": "generic", "path": "log.csv", **dataset}
        experiment = {**small_params["experiment"], "source": "held-out-replay"}
        return parse_study({**small_params, "dataset": dataset, "experiment": experiment}).dataset

    return parsed


def test_a_layout_follows_the_parameters(dataset_of):
    event_types = {"view": "click", 2: "order", "like": None}
    layout = {"user": "u", "item": "i", "time": "t", "event_type": "k", "event_types": event_types}

    dataset = dataset_of({"generic": {**layout, "time_unit": "%d/%b/%Y %H:%M:%S %z"}})

    assert dataset.format == DatasetFormat.GENERIC
    assert dataset.lacks_sessions
    assert dataset.generic.event_types == {
        "view": EventType.CLICK,
        "2": EventType.ORDER,
        "like": None,
    }
    assert (dataset.generic.ids, dataset.generic.separator) == (IdType.TEXT, ",")
    assert dataset.duplicates is Duplicates.REJECT


WRONG = {
    "neither-session-nor-user": (
        {"session": None},
        "session = None and user = None; set exactly one of the two",
    ),
    "session-and-user": ({"user": "u"}, "session = 's' and user = 'u'; set exactly one"),
    "empty-session": ({"session": ""}, "session.0 = '': String should have at least 1 character"),
    "empty-event_type": (
        {"event_type": ""},
        "event_type = '': String should have at least 1 character",
    ),
    "a-column-twice": ({"item": "s"}, "a column is named twice: ['s', 's', 't']"),
    "event_type-is-the-item": (
        {"event_type": "i", "event_types": {"a": "click"}},
        "a column is named twice: ['s', 'i', 't', 'i']",
    ),
    "event_type-without-event_types": (
        {"event_type": "k"},
        "event_type = 'k' and event_types = {}; set both (the column, and",
    ),
    "event_types-without-event_type": (
        {"event_types": {"a": "click"}},
        "event_type = None and event_types = {'a': ",
    ),
    "unknown-event_type": (
        {"event_type": "k", "event_types": {"a": "clicks"}},
        "event_types.a = 'clicks': expected one of 'click', 'cart' or 'order'",
    ),
    "unknown-unit": ({"time_unit": "minutes"}, "time_unit = 'minutes': String should match"),
    "unknown-directive": ({"time_unit": "%Y-%m-%d %Q"}, "is not a strptime pattern with a date"),
    "directive-twice": ({"time_unit": "%Y %Y-%m-%d"}, "is not a strptime pattern with a date"),
    "pattern-without-a-day": (
        {"time_unit": "%H:%M"},
        "expected a pattern such as '%Y-%m-%d %H:%M:%S'",
    ),
    "long-separator": ({"separator": "::"}, "separator = '::': String should match pattern"),
    "quote-for-a-separator": ({"separator": '"'}, "separator = '\"': String should match pattern"),
    "newline-for-a-separator": ({"separator": "\n"}, "separator = '\\n': String should match"),
    "unknown-type-of-id": ({"ids": "uuid"}, "ids = 'uuid': expected one of 'integer' or 'text'"),
    "unknown-key": (
        {"timestamp": "t"},
        "timestamp = 't': unknown key; did you mean 'time'? accepted are ['currency', ",
    ),
    "no-item": ({"item": None}, "item = None: Input should be a valid string"),
}


@pytest.mark.parametrize(("change", "message"), WRONG.values(), ids=WRONG)
def test_a_mistake_is_reported_with_the_accepted_values(dataset_of, change, message):
    with pytest.raises(StudyError) as caught:
        dataset_of({"generic": {**GENERIC, **change}})

    assert "dataset.generic" in str(caught.value)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        pytest.param({}, "dataset.format = generic: set dataset.generic", id="no-columns"),
        pytest.param(
            {"format": "rees46", "generic": GENERIC},
            "dataset.format = rees46: set dataset.generic (the columns) if and only",
            id="columns-of-a-known-format",
        ),
        pytest.param(
            {"format": "movielens"},
            "dataset.format = 'movielens' is unknown; built-in: otto, yoochoose, diginetica, "
            "retailrocket, rees46, jdata, generic, none; installed as paretoscope.formats: none",
            id="unknown-format",
        ),
        pytest.param({"path": ""}, "dataset.path = '': String should have at least 1", id="path"),
        pytest.param(
            {"generic": GENERIC, "inactivity_minutes": 0},
            "dataset.inactivity_minutes = 0: Input should be greater than 0",
            id="no-rest",
        ),
        pytest.param(
            {"generic": GENERIC, "duplicates": "drop"},
            "dataset.duplicates = 'drop': expected one of 'reject' or 'keep'",
            id="duplicates",
        ),
        pytest.param(
            {"generic": GENERIC, "expected": {"clicks": -1}},
            "dataset.expected.clicks = -1: Input should be greater than or equal to 0",
            id="negative-count",
        ),
        pytest.param(
            {"generic": GENERIC, "expected": {"items": 5}},
            "dataset.expected.items = 5: unknown key; accepted are ['carts', 'clicks', 'orders', "
            "'rows', 'sessions']",
            id="unknown-count",
        ),
    ],
)
def test_a_dataset_that_cannot_be_is_refused(dataset_of, dataset, message):
    with pytest.raises(StudyError) as caught:
        dataset_of(dataset)

    assert message in str(caught.value)
