"""What ``monitoring`` accepts."""

import pytest

from pipeline.core.errors import StudyError
from pipeline.study import MonitoringConfig

REFUSED = "127.0.0.1:8350 ftp://a http:// http://a:99999 http://a:b http://a:0 http://[::1 http://u:secret@a http://a/ http://a?b"


@pytest.mark.parametrize("endpoint", [*REFUSED.split(), "http://a b"])
def test_another_endpoint_is_refused_without_a_secret_in_the_message(endpoint):
    with pytest.raises(StudyError, match="expected scheme, host and port only") as refused:
        MonitoringConfig(endpoint=endpoint)
    assert "secret" not in str(refused.value)
