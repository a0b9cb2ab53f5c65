"""``monitoring``: what watches the log of the endpoint."""

from typing import Annotated

from annotated_types import Interval
from pydantic import Field
from pydantic.dataclasses import dataclass

from models.strict import STRICT


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class MonitoringConfig:
    """`paretoscope monitor`: how often it looks, and when it speaks.

    Attributes:
        interval_seconds: Time between two looks at the log.
        endpoint: Address of the endpoint whose lists are compared with those of the study's model, such as
            http://127.0.0.1:8350; null for none.
        silence_minutes: Time without a list after which the log may count as stopped, if lists are usual at
            that hour.
        cooldown_hours: Time before an alert that is still on is sent again.
    """

    interval_seconds: Annotated[float, Interval(gt=0, le=3600)] = 30.0
    endpoint: Annotated[str, Field(pattern=r"^https?://[^/\s]+$")] | None = None
    silence_minutes: Annotated[float, Interval(gt=0, le=1440)] = 3.0
    cooldown_hours: Annotated[float, Interval(ge=0, le=720)] = 4.0
