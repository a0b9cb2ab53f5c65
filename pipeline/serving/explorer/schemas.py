"""What the front explorer's page asks and is told."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from pipeline.serving.http.schemas import Id

LARGEST_SESSION = 500
_MOST_OBJECTIVES = 32


class _Message(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


Weight = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class PreferenceRequest(_Message):
    """A preference, and a group to compare it with."""

    preference: list[Weight] = Field(
        min_length=2,
        max_length=_MOST_OBJECTIVES,
        description="One weight an objective; divided by their sum.",
    )
    group: Id | None = Field(None, description="A group of the plan; the first by default.")


class ListsRequest(PreferenceRequest):
    """A session that is to be served under a preference, and as a group."""

    session: list[Id] = Field(
        min_length=1, max_length=LARGEST_SESSION, description="Items clicked so far, oldest first."
    )


class ItemView(BaseModel):
    """An item, and what the shop says of it."""

    item: str
    category: str | None


class SessionView(BaseModel):
    """A session of the test set."""

    items: list[ItemView] = Field(description="Its clicks but the last, oldest first.")
    next_item: ItemView = Field(description="What was clicked then.")


class PointView(BaseModel):
    """A measured preference on the front."""

    preference_id: str
    preference: list[float]
    x: float
    x_error: float = Field(description="Standard error.")
    y: float
    y_error: float = Field(description="Standard error.")


class FrontView(BaseModel):
    """The measured preferences by two offline metrics."""

    x_metric: str
    y_metric: str
    points: list[PointView]


class GroupPreference(BaseModel):
    """A group of the experiment."""

    name: str
    preference_id: str
    preference: list[float]


class ExplorerState(BaseModel):
    """What stays the same while the preference moves."""

    experiment: str
    model: str
    rules: str
    has_rules: bool = Field(description="Whether rules or filters of the study change lists.")
    list_length: int
    items: int
    objectives: list[str] = Field(description="What a preference weighs, in its order.")
    start: list[float] = Field(description="The measured preference nearest to equal weights.")
    front: FrontView | None
    groups: list[GroupPreference]
    sessions: list[SessionView]
    missing: list[str] = Field(description="What is not there, and what makes it.")


class MetricView(BaseModel):
    """An offline metric at a preference."""

    name: str
    value: float | None
    standard_error: float | None = Field(description="Null between measured preferences.")
    higher_is_better: bool
    group_value: float | None


class ExpectedKpi(BaseModel):
    """Where the line passes a preference's metric."""

    rate: float
    low: float
    high: float
    level: float
    is_extrapolated: bool = Field(description="Whether no group's metric is as low or as high.")


class ObservedKpi(BaseModel):
    """A group's KPI."""

    group: str
    rate: float
    low: float
    high: float


class KpiView(BaseModel):
    """What a hypothesis says of a preference."""

    hypothesis: str
    metric: str
    kpi: str
    is_rate: bool = Field(description="Whether the KPI is a share of trials.")
    verdict: str
    notes: list[str] = Field(description="What must be known to read it.")
    expected: ExpectedKpi | None = Field(description="Null where the verdict forbids it.")
    groups: list[ObservedKpi]


class PreferenceView(BaseModel):
    """What the study's tables say of a preference."""

    model: str
    preference: list[float]
    measured_preference: str | None = Field(
        description="Null between measured preferences: the metrics are interpolated."
    )
    group: str
    x: float | None = Field(description="On the front's picture.")
    y: float | None
    metrics: list[MetricView]
    kpis: list[KpiView]


class ListedItemView(ItemView):
    """An item of one of the two lists."""

    position: int = Field(description="From 1.")
    other_position: int | None = Field(description="In the other list; null if it is not there.")


class ListsView(BaseModel):
    """The lists of a session under a preference and as a group; they are not logged."""

    model: str
    rules: str
    preference: list[float]
    group: str
    session: list[ItemView] = Field(description="What the catalogue has of the session.")
    unknown: list[str] = Field(description="What it lacks.")
    no_lists_reason: str | None
    preference_list: list[ListedItemView]
    group_list: list[ListedItemView]
