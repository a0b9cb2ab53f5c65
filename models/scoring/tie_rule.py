"""How the rank of a target among equal scores is counted."""

from enum import StrEnum


class TieRule(StrEnum):
    """Rank of a target among items with the same score."""

    HALF = "half"
    OPTIMISTIC = "optimistic"
    PESSIMISTIC = "pessimistic"
