"""How strictly configurations are read."""

from pydantic import ConfigDict

STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
"""Unknown keys, implicit conversions, infinity and nan are errors in every configuration."""
