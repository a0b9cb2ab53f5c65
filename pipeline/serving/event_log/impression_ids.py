"""Impression ids that can be recognised, with their group, without a table of all impressions."""

import os
from collections.abc import Sequence
from hashlib import blake2b

_RANDOM_BYTES = 10
_LABEL_BYTES = 2
_CHECKSUM_BYTES = 4

OTHER = ""
"""The label of an id of another experiment of the study."""


class ImpressionIds:
    """Ids of 80 random bits, 16 bits of a label and a checksum of 32 bits, in hexadecimal.

    The label is that of the group or arm that was served. It is masked by a hash of the experiment, so that
    ids of another experiment have none of its labels (but one in 65,536, for each label).

    The checksum depends on the study only, so every server of the study recognises the ids of all
    of them, also after a restart. It finds mistakes of clients; it is not a signature. One made-up
    id in 4 billion passes.
    """

    def __init__(self, study: str, experiment: str, labels: Sequence[str]) -> None:
        self._key = blake2b(study.encode(), digest_size=32).digest()
        mask = blake2b(experiment.encode(), digest_size=_LABEL_BYTES).digest()
        self._masked = {
            label: (n ^ int.from_bytes(mask)).to_bytes(_LABEL_BYTES)
            for n, label in enumerate(labels)
        }
        self._labels = {masked: label for label, masked in self._masked.items()}

    def new(self, label: str) -> str:
        """A new id of an impression with this label."""
        content = os.urandom(_RANDOM_BYTES) + self._masked[label]
        return (content + self._checksum(content)).hex()

    def label_of(self, impression: str) -> str | None:
        """The label of an id that a server of this study made, or :data:`OTHER`; None for other ids."""
        try:
            content = bytes.fromhex(impression)
        except ValueError:
            return None
        labelled = content[: _RANDOM_BYTES + _LABEL_BYTES]
        if content.hex() != impression or content[len(labelled) :] != self._checksum(labelled):
            return None
        return self._labels.get(labelled[_RANDOM_BYTES:], OTHER)

    def _checksum(self, content: bytes) -> bytes:
        return blake2b(content, key=self._key, digest_size=_CHECKSUM_BYTES).digest()
