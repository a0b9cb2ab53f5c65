"""Impression ids that can be recognised without a table of all impressions."""

import os
from hashlib import blake2b

_RANDOM_BYTES = 12
_CHECKSUM_BYTES = 4


class ImpressionIds:
    """Ids of 96 random bits and a checksum of 32 bits, in hexadecimal.

    The checksum depends on the study only, so every server of the study recognises the ids of all
    of them, also after a restart. It finds mistakes of clients; it is not a signature. One made-up
    id in 4 billion passes.
    """

    def __init__(self, study: str) -> None:
        self._key = blake2b(study.encode(), digest_size=32).digest()

    def new(self) -> str:
        """A new id."""
        random = os.urandom(_RANDOM_BYTES)
        return (random + self._checksum(random)).hex()

    def is_issued(self, impression: str) -> bool:
        """Whether a server of this study made the id."""
        try:
            content = bytes.fromhex(impression)
        except ValueError:
            return False
        random, checksum = content[:_RANDOM_BYTES], content[_RANDOM_BYTES:]
        return content.hex() == impression and checksum == self._checksum(random)

    def _checksum(self, random: bytes) -> bytes:
        return blake2b(random, key=self._key, digest_size=_CHECKSUM_BYTES).digest()
