"""Reading what ``regression_estimates.json`` says of the lines it holds."""

from pathlib import Path
from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from pipeline.core.contracts import Kpi
from pipeline.core.errors import DataError
from pipeline.inference.hypotheses.verdict import Verdict
from pipeline.inference.report_files import Finite, Point
from pipeline.results.family import Family

REMEDY = "Make it anew with: dagster asset materialize --select regression_estimates"
"""Where it does not fit what is beside it."""


@dataclass(frozen=True)
class GroupOf(Point):
    """One group by its name; see :class:`pipeline.inference.hypotheses.results.GroupPoint`."""

    group: str


@dataclass(frozen=True)
class LackOfFit:
    """How far the groups lie off the line; see :class:`pipeline.inference.glm.group_regression.LineFit`."""

    pearson_chi2: Finite
    df: int


@dataclass(frozen=True)
class Days:
    """How many days there are, and how many were planned; None if days are not known."""

    observed: int | None
    planned: int | None


@dataclass(frozen=True)
class Answer:
    """What ``regression_estimates.json`` says of a hypothesis, as far as its line goes."""

    id: str
    metric: str
    kpi: Kpi
    direction: str
    response: Kpi
    link: Family
    slope: Finite | None
    intercept: Finite | None
    level: Finite | None
    verdict: Verdict
    undefined_because: str | None
    verdict_interval: tuple[Finite, Finite] | None
    reading: str
    days: Days
    lack_of_fit: LackOfFit | None
    points: Annotated[tuple[GroupOf, ...], Field(min_length=1)]


_ANSWERS = TypeAdapter(tuple[Answer, ...])


def read_answers(path: Path) -> tuple[Answer, ...]:
    """The answers of a ``regression_estimates.json``.

    Raises:
        DataError: if it is damaged, or of another version.
    """
    try:
        return _ANSWERS.validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        said = error.errors()[0] if isinstance(error, ValidationError) else None
        problem = f"{'.'.join(map(str, said['loc']))}: {said['msg']}" if said else str(error)
        msg = f"{path.name} cannot be read: {problem}. {REMEDY}"
        raise DataError(msg) from error
