"""Request and response bodies of the front explorer."""

from typing import Annotated

from pydantic import BaseModel, FailFast, Field

from pipeline.serving.http.schemas import GroupView, Id, Ids, RequestModel

_MAX_OBJECTIVES = 32

Weight = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class PreferenceRequest(RequestModel):
    """A preference, and a group to compare it with."""

    preference: Annotated[list[Weight], FailFast()] = Field(
        min_length=2,
        max_length=_MAX_OBJECTIVES,
        description="One weight per objective; normalised to sum to 1.",
    )
    group: Id | None = Field(None, description="A group of the plan; default: the first.")


class ListsRequest(PreferenceRequest):
    """A session to recommend lists for."""

    session: Ids = Field(min_length=1, max_length=500, description="Clicked items, oldest first.")


class ItemView(BaseModel):
    """An item and its category."""

    item: str
    category: str | None


class SessionView(BaseModel):
    """A session of the test set."""

    items: list[ItemView] = Field(description="All clicks but the last, oldest first.")
    next_item: ItemView = Field(description="The last click.")


class PointView(BaseModel):
    """A measured preference on the Pareto front, or another cell of a second axis."""

    preference_id: str
    preference: list[float]
    is_neutral: bool = Field(description="Whether the second axis, if any, has its neutral level.")
    x: float
    x_error: float = Field(description="Standard error.")
    y: float
    y_error: float = Field(description="Standard error.")


class FrontView(BaseModel):
    """Two offline metrics of every measured preference."""

    x_metric: str
    y_metric: str
    points: list[PointView]
    undefined: list[str] = Field(
        description="Preferences with an undefined metric, which have no point."
    )


class ExploredGroup(GroupView):
    """A group, and what the page calls it."""

    label: str


class ExplorerState(BaseModel):
    """Everything that does not depend on the preference."""

    experiment: str
    model: str
    rules: str
    has_rules: bool = Field(description="Whether rules or filters change lists.")
    list_length: int
    items: int
    objectives: list[str] = Field(description="The objectives, in the order of the weights.")
    start: list[float] = Field(description="The measured preference closest to equal weights.")
    front: FrontView | None
    groups: list[ExploredGroup]
    sessions: list[SessionView]
    missing: list[str] = Field(description="Missing artifacts and how to create them.")


class MetricView(BaseModel):
    """An offline metric of a preference."""

    name: str
    value: float | None
    standard_error: float | None = Field(description="Null if the value is interpolated.")
    higher_is_better: bool
    group_value: float | None


class ExpectedKpi(BaseModel):
    """The fitted line at the preference's metric."""

    rate: float
    low: float
    high: float
    level: float
    is_extrapolated: bool = Field(description="Whether the metric is outside the groups' range.")


class ObservedKpi(BaseModel):
    """A group's KPI with its confidence interval."""

    group: str
    rate: float
    low: float
    high: float


class KpiView(BaseModel):
    """A hypothesis, and the KPI that it predicts for the preference."""

    hypothesis: str
    metric: str
    kpi: str
    is_rate: bool = Field(description="Whether the KPI is a rate between 0 and 1.")
    verdict: str
    notes: list[str] = Field(description="Caveats, or why there is no expected value.")
    expected: ExpectedKpi | None = Field(description="Null if the verdict does not allow it.")
    groups: list[ObservedKpi]


class PreferenceView(BaseModel):
    """Offline metrics and expected KPIs of a preference."""

    model: str
    preference: list[float]
    measured_preference: str | None = Field(
        description="Its id if it was measured; null if metrics are interpolated."
    )
    group: str
    x: float | None = Field(description="Position in the plot of the front.")
    y: float | None
    metrics: list[MetricView]
    kpis: list[KpiView]


class ListedItemView(ItemView):
    """An item of one of the two lists."""

    position: int = Field(description="From 1.")
    other_position: int | None = Field(description="In the other list; null if absent.")


class ListsView(BaseModel):
    """A session's lists under a preference and under a group's; they are not logged."""

    model: str
    rules: str
    preference: list[float]
    group: str
    session: list[ItemView] = Field(description="Items of the session in the catalogue.")
    unknown: list[str] = Field(description="Items of the session not in the catalogue.")
    no_lists_reason: str | None
    preference_list: list[ListedItemView]
    group_list: list[ListedItemView]
