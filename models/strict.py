"""How strictly configurations are read, and what is wrong with one."""

from pydantic import ConfigDict, ValidationError

STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, defer_build=True)
"""Unknown keys, implicit conversions, infinity and nan are errors in every configuration.

Schemas are built when one is first needed: all together they take half a second.
"""


def first_problem(error: ValidationError, whole: str = "the whole file") -> str:
    """The key of the first fault, and what is wrong there; ``whole`` names what has no key."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    return f"{'.'.join(map(str, first['loc'])) or whole}: {first['msg']}"
