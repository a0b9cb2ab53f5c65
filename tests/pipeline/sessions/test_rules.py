"""What a study's ``sessions`` become for its data set, and what the reference preset puts there."""

from dataclasses import replace

import pytest

from pipeline.core.errors import StudyError
from pipeline.sessions.rules import (
    CutAnchor,  # pytest takes Test… for a class of tests
    Rules,
    rules_of,
)
from pipeline.study import (
    BoundaryPolicy,
    DatasetConfig,
    DatasetFormat,
    GenericLayout,
    Preset,
    SessionsConfig,
    SupportFilter,
)

LAYOUT = GenericLayout(session="s", item="i", time="t")
OTHER_KEYS = {
    "min_item_support": 3,
    "min_session_length": 4,
    "support_filter": SupportFilter.ITERATED,
    "boundary_sessions": BoundaryPolicy.TRIM,
    "test_days": 1.5,
    "validation_days": 0.5,
    "order_window_minutes": 2.5,
}


def dataset(dataset_format):
    generic = LAYOUT if dataset_format is DatasetFormat.GENERIC else None
    return DatasetConfig(format=dataset_format, path="x", generic=generic)


@pytest.mark.parametrize("dataset_format", DatasetFormat)
def test_the_keys_mean_the_same_for_every_format(dataset_format):
    assert rules_of(SessionsConfig(**OTHER_KEYS), dataset(dataset_format)) == Rules(
        min_support=3,
        min_length=4,
        iterated=True,
        boundary_sessions=BoundaryPolicy.TRIM,
        test_days=1.5,
        validation_days=0.5,
        order_window_ms=2 * 60_000 + 30_000,
        support_in_train=True,
        test_end=CutAnchor.LAST_EVENT,
        by_clicks=False,
        validation_in_catalogue=False,
        test_files=None,
    )


@pytest.mark.parametrize("key", OTHER_KEYS)
def test_every_key_changes_the_rules(key):
    default = rules_of(SessionsConfig(), dataset(DatasetFormat.OTTO))

    changed = SessionsConfig(**{key: OTHER_KEYS[key]})

    assert rules_of(changed, dataset(DatasetFormat.OTTO)) != default


ONE_PASS_OF_ALL_DATA = {
    "min_length": 2,
    "iterated": False,
    "support_in_train": False,
    "by_clicks": True,
    "validation_in_catalogue": True,
    "order_window_ms": None,
    "validation_days": 0.5,
}


@pytest.mark.parametrize(
    ("dataset_format", "expected"),
    [
        (
            DatasetFormat.YOOCHOOSE,
            {
                "min_support": 5,
                "boundary_sessions": BoundaryPolicy.LATER,
                "test_end": CutAnchor.LAST_START,
                "test_days": 1.0,
            },
        ),
        (
            DatasetFormat.DIGINETICA,
            {
                "min_support": 5,
                "boundary_sessions": BoundaryPolicy.EARLIER,
                "test_end": CutAnchor.LAST_START_DAY,
                "test_days": 7.0,
            },
        ),
        (
            DatasetFormat.OTTO,
            {
                "min_support": 1,
                "boundary_sessions": BoundaryPolicy.EARLIER,
                "test_files": "test",
                "test_days": 1.5,  # not used: the test part is a file
            },
        ),
    ],
)
def test_the_reference_preset_decides_instead_of_the_keys(dataset_format, expected):
    section = SessionsConfig(preset=Preset.REFERENCE, **OTHER_KEYS)

    rules = rules_of(section, dataset(dataset_format))

    assert rules == Rules(**ONE_PASS_OF_ALL_DATA, **expected)


@pytest.mark.parametrize(
    "dataset_format",
    [
        DatasetFormat.RETAILROCKET,
        DatasetFormat.REES46,
        DatasetFormat.JDATA,
        DatasetFormat.GENERIC,
    ],
)
def test_the_reference_preset_refuses_formats_it_does_not_know(dataset_format):
    with pytest.raises(StudyError) as caught:
        rules_of(SessionsConfig(preset=Preset.REFERENCE), dataset(dataset_format))

    assert str(caught.value) == (
        "sessions.preset = reference supports OTTO, Yoochoose and Diginetica, not dataset.format = "
        f"{dataset_format}; remove it and set the keys one by one"
    )


@pytest.mark.parametrize(
    ("boundary_sessions", "apart"),
    [
        (BoundaryPolicy.DROP, True),
        (BoundaryPolicy.TRIM, True),
        (BoundaryPolicy.LATER, False),
        (BoundaryPolicy.EARLIER, False),
    ],
)
def test_parts_are_kept_apart_by_dropping_or_trimming_and_never_by_files(boundary_sessions, apart):
    rules = rules_of(
        SessionsConfig(boundary_sessions=boundary_sessions), dataset(DatasetFormat.OTTO)
    )

    assert rules.keeps_apart is apart
    assert not replace(rules, test_files="test").keeps_apart
