"""Why a row of the log is not used, and what that means for the experiment."""

from enum import StrEnum

from pipeline.experiment.design.traffic_plan import Reason


class RowKind(StrEnum):
    """What became of a row of the log."""

    USED = "used"
    INVALID = "invalid"
    """Faulty: a field is missing, of the wrong type or contradicts another; a user in a group that the
    plan does not give."""
    DUPLICATE = "duplicate"
    """Faulty, but the row that it repeats counts."""
    UNMATCHED = "unmatched"
    """An event without its impression or click, or before it: lost data, or clocks that differ."""
    LATE = "late"
    """An event after the attribution window."""
    REPEATED = "repeated"
    """A later click on an impression that is clicked already, or an event that was sent again."""
    OUT_OF_SCOPE = "out of scope"
    """Not part of the experiment, by its design."""


LOST = (RowKind.INVALID, RowKind.DUPLICATE, RowKind.UNMATCHED, RowKind.LATE)
"""Kinds of rows whose share must not differ between groups."""

FAULTY = (RowKind.INVALID, RowKind.UNMATCHED)
"""Kinds of rows whose outcomes do not count, although they should."""

OTHER_EXPERIMENT = "another experiment"
OUTSIDE_DAYS = "time outside the experiment"
IGNORED_GROUP = "group left out (experiment.ignored_groups)"
EXPLORED = "explored list"
OUTSIDE_GROUPS = "impression outside the test groups"
UNKNOWN_GROUP = "unknown group"
WRONG_GROUP = "group differs from the assignment"
TWO_GROUPS = "user in two groups"
DUPLICATE_IMPRESSION = "duplicate impression"
DUPLICATE_USER = "duplicate user"
REPEATED_CLICK = "repeated click on an impression"
REFUND_ALONE = "refund without its order"
REFUND_TOO_LARGE = "refund larger than its order"
REFUND_LATE = "refund after the attribution window"

_OUT_OF_SCOPE = {
    *(OTHER_EXPERIMENT, OUTSIDE_DAYS, IGNORED_GROUP, EXPLORED, OUTSIDE_GROUPS),
    *(one.value for one in Reason),
}
_DUPLICATE = "duplicate "
_BOT = "more than {} impressions per hour"


def bot_reason(impressions_per_hour: int) -> str:
    """The reason of users with too many impressions."""
    return _BOT.format(impressions_per_hour)


def without(event: str, touch: str) -> str:
    """The reason of an event that names a touch which the log does not have."""
    return f"{event} without {touch}"


def without_earlier(event: str, touch: str) -> str:
    """The reason of an event of a user without such a touch: most are of other parts of the shop."""
    return f"{event} without an earlier {touch} of the user"


def miswritten(event: str) -> str:
    """The reason of an event whose user or item is in the log, but written in another way."""
    return f"{event} whose user or item is written in another way"


def before(event: str, touch: str) -> str:
    """The reason of an event that is logged before its touch."""
    return f"{event} before its {touch}"


def resent(event: str) -> str:
    """The reason of an event with the id of another one: its sender has sent it again."""
    return f"{event} sent again"


def late(event: str) -> str:
    """The reason of an event after the attribution window."""
    return f"{event} after the attribution window"


def of_excluded_user(event: str) -> str:
    """The reason of an event whose user is excluded."""
    return f"{event} of an excluded user"


def of_other_impression(event: str) -> str:
    """The reason of an event whose impression is out of scope."""
    return f"{event} of an impression out of scope"


def kind_of(reason: str) -> RowKind:
    """What a reason means."""
    pairs = (("click", "impression"), ("order", "click"))
    lost = {text for pair in pairs for text in (without(*pair), before(*pair))}
    if reason in lost | {miswritten(event) for event, _ in pairs}:
        return RowKind.UNMATCHED
    if reason in {REFUND_LATE, *(late(event) for event, _ in pairs)}:
        return RowKind.LATE
    if reason.startswith(_DUPLICATE):
        return RowKind.DUPLICATE
    if reason in {REPEATED_CLICK, *(resent(event) for event, _ in pairs)}:
        return RowKind.REPEATED
    is_bot = reason.startswith(_BOT.split("{", 1)[0])
    elsewhere = {
        text
        for event, touch in pairs
        for text in (
            of_excluded_user(event),
            of_other_impression(event),
            without_earlier(event, touch),
        )
    }
    if reason in _OUT_OF_SCOPE | elsewhere or is_bot:
        return RowKind.OUT_OF_SCOPE
    return RowKind.INVALID
