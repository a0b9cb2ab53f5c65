"""Versions of content that is not a file of its own."""

import hashlib
import json
from typing import Any


def hash_content(content: Any) -> str:
    """The version of values that JSON can hold: 32 hexadecimal digits, the same for the same values."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:32]
