"""Deterministic bucketing of users by a salted hash: to groups, and to the random batches of a group's users.

The hash is GrowthBook's version 2 (32-bit FNV-1a over code points, applied twice) with 10,000 buckets;
the tests contain its published vectors.
"""

import numpy as np
import polars as pl
from numpy.typing import NDArray

N_BUCKETS = 10_000

BATCHES = 100
"""Number of random batches of a group's users, from which the errors over days are estimated."""

BATCH_SALT = "\0batches"
"""Begins with a character that no study's salt has: with the salt of the groups, a group would have few batches."""

_OFFSET_BASIS = 0x811C9DC5
_PRIME = 0x01000193
_MASK = 0xFFFFFFFF

_DIGITS = 10
"""Decimal digits of the largest 32-bit number."""

_CHUNK = 1 << 17


def bucket_of(user: str, salt: str) -> int:
    """The bucket of a user, in 0 … 9,999; uniform over users and fixed for a salt."""
    return fnv1a(str(fnv1a(salt + user))) % N_BUCKETS


def buckets_of(users: pl.Series, salt: str) -> NDArray[np.int64]:
    """Vectorised :func:`bucket_of`."""
    starts = range(0, len(users), _CHUNK)
    found = [_buckets(users.slice(start, _CHUNK), salt) for start in starts]
    return np.concatenate(found) if found else np.zeros(0, dtype=np.int64)


def batches_of(users: pl.Series) -> NDArray[np.int64]:
    """The random batch of each user, 0 to 99, independent of every plan's groups.

    Every engine can compute it, so that a log has the same batches in files and in a warehouse.
    """
    return buckets_of(users, BATCH_SALT) // (N_BUCKETS // BATCHES)


def fnv1a(text: str) -> int:
    """FNV-1a of a text, in 32 bits."""
    value = _OFFSET_BASIS
    for character in text:
        value = ((value ^ ord(character)) * _PRIME) & _MASK
    return value


def _buckets(users: pl.Series, salt: str) -> NDArray[np.int64]:
    lengths = users.str.len_chars().to_numpy()
    width = max(int(lengths.max()), 1)
    # numpy stores strings as code points, padded with zeros
    codes = np.array(users.to_list(), dtype=f"U{width}").view(np.uint32).reshape(-1, width)
    value = np.full(len(users), fnv1a(salt), dtype=np.uint32)
    for position in range(width):
        hashed = (value ^ codes[:, position]) * np.uint32(_PRIME)
        value = np.where(position < lengths, hashed, value)
    return _fnv1a_of_digits(value).astype(np.int64) % N_BUCKETS


def _fnv1a_of_digits(numbers: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """FNV-1a of each number's decimal digits."""
    value = np.full(len(numbers), _OFFSET_BASIS, dtype=np.uint32)
    for power in 10 ** np.arange(_DIGITS - 1, -1, -1, dtype=np.uint32):
        digit = numbers // power % np.uint32(10) + np.uint32(ord("0"))
        significant = (numbers >= power) | (power == 1)
        value = np.where(significant, (value ^ digit) * np.uint32(_PRIME), value)
    return value
