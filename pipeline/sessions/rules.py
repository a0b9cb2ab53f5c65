"""The rules by which a dataset is cleaned and split, from the keys of ``sessions``."""

import re
from collections.abc import Iterable
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
    """The time from which ``test_days`` are counted back."""

    LAST_EVENT = "the last event"
    LAST_START = "the first click of the last session"
    LAST_START_DAY = "the midnight (UTC) before the first click of the last session"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """How sessions are filtered and split.

    Attributes:
        min_support: Smallest number of clicks of an item.
        min_length: Smallest number of clicks of a session.
        iterated: Whether both filters are repeated until both hold.
        support_in_train: Whether an item's clicks count in train only (or in all data, so that
            the test period influences what is trained on).
        boundary_sessions: The policy for sessions that cross a split boundary.
        test_end: The time from which ``test_days`` are counted back.
        test_days: Length of the test split.
        validation_days: Length of the validation split.
        by_clicks: Whether a session starts and ends with its clicks on well-supported items, or
            with its events.
        validation_in_catalogue: Whether items of the validation split are in the catalogue.
        test_files: A word in the names of the files whose sessions are the test split; None to
            split by time.
        order_window_ms: A click counts as ordered if the order follows within this time.
        test_sessions: Share or number of the sessions in the test split; None to split by days.
        validation_sessions: Likewise of the validation split.
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
    test_sessions: float | None = None
    validation_sessions: float | None = None

    def is_test_file(self, name: str) -> bool:
        """Whether a file's sessions are the test split: ``otto-recsys-test.jsonl`` for ``test``."""
        return self.test_files in re.split(r"[^a-z0-9]+", name.lower())

    def test_file_numbers(self, names: Iterable[str]) -> list[int]:
        """The numbers of the files, in the order of ``names``, whose sessions are the test split."""
        return [number for number, name in enumerate(names) if self.is_test_file(name)]

    @property
    def keeps_apart(self) -> bool:
        """Whether no session of a split has an event in the time of another split."""
        return (
            self.boundary_sessions in {BoundaryPolicy.DROP, BoundaryPolicy.TRIM}
            and not self.test_files
        )


def rules_of(config: SessionsConfig, dataset: DatasetConfig) -> Rules:
    """The rules of a study.

    Raises:
        StudyError: if the preset does not support the dataset's format.
    """
    window = config.order_window_minutes
    rules = Rules(
        min_support=config.min_item_support,
        min_length=config.min_session_length,
        iterated=config.support_filter is SupportFilter.ITERATED,
        boundary_sessions=config.boundary_sessions,
        test_days=config.test_days,
        validation_days=config.validation_days,
        order_window_ms=None if window is None else round(window * 60_000),
        test_sessions=config.test_sessions,
        validation_sessions=config.validation_sessions,
    )
    return _reference(rules, dataset.format) if config.preset is Preset.REFERENCE else rules


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
                f"sessions.preset = reference supports OTTO, Yoochoose and Diginetica, not "
                f"dataset.format = {dataset_format}; remove it and set the keys one by one"
            )
            raise StudyError(msg)
