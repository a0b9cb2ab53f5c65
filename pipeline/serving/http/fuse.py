"""The fuse: takes the candidate out of service by itself when its lists fail or are late."""

import time
from collections import deque
from collections.abc import Callable

from pipeline.rollout.served import ServedRollout
from pipeline.study import FuseConfig

LEAST_FAILURES = 10
"""Failures within the window below which the fuse holds: few requests have no share worth the name."""


class Fuse:
    """Counts the candidate's lists within a window, and blows once too many failed or were late.

    It stays blown for its release until its event is in the audit trail and a later one gives the candidate
    users again, for which a person is needed.
    """

    def __init__(self, config: FuseConfig, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._config = config
        self._clock = clock
        self._lists: deque[tuple[float, bool, bool]] = deque()
        self._errors = self._late = 0
        self._event: int | None = None
        self._release: str | None = None
        self.blown_by: str | None = None
        """Why it is blown, with the numbers; None while it holds."""
        self.evidence: dict[str, float] = {}
        self.on_blow: Callable[[], None] = lambda: None
        """Called once when it blows."""

    @property
    def is_unwritten(self) -> bool:
        """Whether it is blown, and the audit trail does not say so yet."""
        return self.blown_by is not None and self._event is None

    def written(self, event: int) -> None:
        """The audit trail has it as the event of this number."""
        self._event = event

    def follow(self, rollout: ServedRollout | None) -> None:
        """Hold again for another release, or if the release was resumed after the fuse's event."""
        release = rollout and rollout.release
        is_resumed = (
            rollout is not None
            and self._event is not None
            and rollout.seq > self._event
            and rollout.share > 0
        )
        if release != self._release or is_resumed:
            self._release, self._event, self.blown_by = release, None, None
            self._lists.clear()
            self._errors = self._late = 0

    def record(self, *, is_error: bool, is_late: bool) -> None:
        """Count a list of the candidate."""
        now = self._clock()
        self._lists.append((now, is_error, is_late))
        self._errors += is_error
        self._late += is_late
        while self._lists[0][0] < now - self._config.window_seconds:
            _, was_error, was_late = self._lists.popleft()
            self._errors -= was_error
            self._late -= was_late
        if self.blown_by is None and (reason := self._reason()):
            self.blown_by = reason
            self.evidence = {
                "lists": len(self._lists),
                "errors": self._errors,
                "late": self._late,
                "window_seconds": self._config.window_seconds,
            }
            self.on_blow()

    def _reason(self) -> str | None:
        limits = {
            "failed": (self._errors, self._config.errors),
            "were late": (self._late, self._config.late),
        }
        for what, (n, limit) in limits.items():
            if n >= LEAST_FAILURES and n > limit * len(self._lists):
                return (
                    f"{n} of {len(self._lists)} lists of the candidate {what} within "
                    f"{self._config.window_seconds:g} s, more than serving.fuse allows ({limit:.0%})"
                )
        return None
