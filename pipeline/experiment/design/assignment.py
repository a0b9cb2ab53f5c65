"""Which group a user belongs to: a salted hash, the same wherever it is computed.

The scheme is GrowthBook's hash version 2 (FNV-1a, 32 bits, applied twice, over code points), with
10,000 buckets; its published vectors are in the tests.
"""

import numpy as np
import polars as pl
from numpy.typing import NDArray

N_BUCKETS = 10_000

_OFFSET_BASIS = 0x811C9DC5
_PRIME = 0x01000193
_MASK = 0xFFFFFFFF

_DIGITS = 10
"""Of the largest 32-bit number."""

_AT_ONCE = 1 << 17


def bucket_of(user: str, salt: str) -> int:
    """The bucket of a randomisation unit, 0 … 9,999; uniform over users, fixed for a salt."""
    return _fnv1a(str(_fnv1a(salt + user))) % N_BUCKETS


def buckets_of(users: pl.Series, salt: str) -> NDArray[np.int64]:
    """:func:`bucket_of` for many users, a character of all of them at a time."""
    starts = range(0, len(users), _AT_ONCE)
    found = [_buckets(users.slice(start, _AT_ONCE), salt) for start in starts]
    return np.concatenate(found) if found else np.zeros(0, dtype=np.int64)


def _fnv1a(text: str) -> int:
    value = _OFFSET_BASIS
    for character in text:
        value = ((value ^ ord(character)) * _PRIME) & _MASK
    return value


def _buckets(users: pl.Series, salt: str) -> NDArray[np.int64]:
    lengths = users.str.len_chars().to_numpy()
    width = max(int(lengths.max()), 1)
    # numpy keeps a text as its code points, with zeros behind the shorter ones
    codes = np.array(users.to_list(), dtype=f"U{width}").view(np.uint32).reshape(-1, width)
    value = np.full(len(users), _fnv1a(salt), dtype=np.uint32)
    for place in range(width):
        value = np.where(place < lengths, (value ^ codes[:, place]) * np.uint32(_PRIME), value)
    return _fnv1a_of_digits(value).astype(np.int64) % N_BUCKETS


def _fnv1a_of_digits(numbers: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """FNV-1a of each number as it is written."""
    value = np.full(len(numbers), _OFFSET_BASIS, dtype=np.uint32)
    for power in 10 ** np.arange(_DIGITS - 1, -1, -1, dtype=np.uint32):
        digit = numbers // power % np.uint32(10) + np.uint32(ord("0"))
        written = (numbers >= power) | (power == 1)
        value = np.where(written, (value ^ digit) * np.uint32(_PRIME), value)
    return value
