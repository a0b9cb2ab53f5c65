"""Which group a user belongs to: a salted hash, the same wherever it is computed.

The scheme is GrowthBook's hash version 2 (FNV-1a, 32 bits, applied twice, over code points), with
10,000 buckets; its published vectors are in the tests.
"""

N_BUCKETS = 10_000

_OFFSET_BASIS = 0x811C9DC5
_PRIME = 0x01000193
_MASK = 0xFFFFFFFF


def bucket_of(unit: str, salt: str) -> int:
    """The bucket of a unit of randomisation, 0 … 9,999; uniform over units, fixed for a salt."""
    return _fnv1a(str(_fnv1a(salt + unit))) % N_BUCKETS


def _fnv1a(text: str) -> int:
    value = _OFFSET_BASIS
    for character in text:
        value = ((value ^ ord(character)) * _PRIME) & _MASK
    return value
