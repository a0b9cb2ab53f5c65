"""What the keys of ``sessions`` mean for one dataset: the rules that cleaning and splitting follow."""

import re
from dataclasses import dataclass, replace
from enum import StrEnum

from pipeline.core.errors import StudyError
from pipeline.study import (
    BoundaryPolicy,
    DatasetConfig,
    DatasetFormat,
    Preset,
    SessionsConfig,
    SupportFilter,
)


class CutAnchor(StrEnum):
    """Which moment ``test_days`` are counted back from."""

    LAST_EVENT = "the last event"
    LAST_START = "the first click of the last session"
    LAST_START_DAY = "the midnight (UTC) before the first click of the last session"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """How sessions are filtered and split.

    Attributes:
        min_support: Clicks an item needs.
        min_length: Clicks a session needs.
        iterated: Whether both filters are repeated until both hold.
        support_in_train: Whether an item's clicks count in train only (or in all of the data,
            which lets the test period decide what is trained on).
        boundary_sessions: What becomes of sessions on a cut.
        test_end: What ``test_days`` are counted back from.
        test_days: Length of the test part.
        validation_days: Length of the validation part.
        by_clicks: Whether a session begins and ends with its clicks on well-supported items, or
            with its events.
        validation_in_catalogue: Whether the items of the validation part are in the catalogue.
        test_files: A word in the names of the files whose sessions are the test part; None to
            split by time.
        order_window_ms: A click counts as ordered if the order follows within this time.
    """

    min_support: int
    min_length: int
    iterated: bool
    boundary_sessions: BoundaryPolicy
    test_days: float
    validation_days: float
    order_window_ms: int | None
    support_in_train: bool = True
    test_end: CutAnchor = CutAnchor.LAST_EVENT
    by_clicks: bool = False
    validation_in_catalogue: bool = False
    test_files: str | None = None

    def is_test_file(self, name: str) -> bool:
        """Whether the sessions of a file are the test part: ``otto-recsys-test.jsonl`` by ``test``."""
        return self.test_files in re.split(r"[^a-z0-9]+", name.lower())

    @property
    def keeps_apart(self) -> bool:
        """Whether no session of a part has an event in another part's time."""
        return (
            self.boundary_sessions in {BoundaryPolicy.DROP, BoundaryPolicy.TRIM}
            and not self.test_files
        )


def rules_of(section: SessionsConfig, dataset: DatasetConfig) -> Rules:
    """The rules a study asks for.

    Raises:
        StudyError: if the preset does not know the dataset's format.
    """
    window = section.order_window_minutes
    rules = Rules(
        min_support=section.min_item_support,
        min_length=section.min_session_length,
        iterated=section.support_filter is SupportFilter.ITERATED,
        boundary_sessions=section.boundary_sessions,
        test_days=section.test_days,
        validation_days=section.validation_days,
        order_window_ms=None if window is None else round(window * 60_000),
    )
    return _reference(rules, dataset.format) if section.preset is Preset.REFERENCE else rules


def _reference(rules: Rules, dataset_format: str) -> Rules:
    """MultiTRON's preprocessing at da0664c; it counts support over train and test together."""
    common = replace(
        rules,
        min_support=5,
        min_length=2,
        iterated=False,
        support_in_train=False,
        by_clicks=True,
        validation_in_catalogue=True,
        order_window_ms=None,
    )
    match dataset_format:
        case DatasetFormat.YOOCHOOSE:
            return replace(
                common,
                boundary_sessions=BoundaryPolicy.LATER,
                test_end=CutAnchor.LAST_START,
                test_days=1.0,
            )
        case DatasetFormat.DIGINETICA:
            return replace(
                common,
                boundary_sessions=BoundaryPolicy.EARLIER,
                test_end=CutAnchor.LAST_START_DAY,
                test_days=7.0,
            )
        case DatasetFormat.OTTO:
            return replace(
                common, min_support=1, boundary_sessions=BoundaryPolicy.EARLIER, test_files="test"
            )
        case _:
            msg = (
                f"sessions.preset = reference knows OTTO, Yoochoose and Diginetica, not "
                f"dataset.format = {dataset_format}; leave it out and set the keys one by one"
            )
            raise StudyError(msg)
