"""``monitoring``: what watches the log of the endpoint."""

from typing import Annotated
from urllib.parse import urlsplit

from annotated_types import Interval
from pydantic.dataclasses import dataclass

from models.strict import STRICT
from pipeline.core.errors import StudyError


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
    endpoint: str | None = None
    silence_minutes: Annotated[float, Interval(gt=0, le=1440)] = 3.0
    cooldown_hours: Annotated[float, Interval(ge=0, le=720)] = 4.0

    def __post_init__(self) -> None:
        if self.endpoint is not None and not _is_address(self.endpoint):
            msg = (
                "monitoring.endpoint: expected scheme, host and port only, such as http://127.0.0.1:8350; a key is "
                "read from PARETOSCOPE_SERVING_KEY"
            )
            raise StudyError(msg)


def _is_address(text: str) -> bool:
    """Whether a text is the address of a server, without user, path or query."""
    try:
        parts = urlsplit(text)
        port = parts.port  # raises unless it is a number up to 65535
    except ValueError:
        return False
    address = f"{parts.scheme}://{parts.netloc}"
    is_plain = text == address and "@" not in text and not any(map(str.isspace, text))
    return parts.scheme in {"http", "https"} and bool(parts.hostname) and port != 0 and is_plain
