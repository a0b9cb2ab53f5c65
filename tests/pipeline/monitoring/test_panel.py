"""The panel, against real endpoints: of the study's own model, of another one, and of other rules."""

import socket
import threading
import time
from dataclasses import replace
from multiprocessing import active_children

import pytest

from pipeline.core.errors import DataError, EndpointError
from pipeline.monitoring.alarms import AlertName
from pipeline.monitoring.monitor import open_monitor
from pipeline.monitoring.panel import PanelSession, compare
from pipeline.steps.monitoring import StudyPanel, make_panel
from tests.pipeline.serving.shop import (
    ITEMS,
    serving,
    write_model,
    write_study,
    write_test_sessions,
)

NOW = 1_760_000_000.0

pytestmark = pytest.mark.slow  # a server starts


@pytest.fixture(scope="module")
def shop(tmp_path_factory, small_params):
    """A study with test sessions, and its running endpoint."""
    root = tmp_path_factory.mktemp("shop")
    study, paths = write_study(root, small_params)
    write_test_sessions(paths, [[n % ITEMS, (3 * n + 1) % ITEMS, n] for n in range(30)])
    with serving(root) as server:
        yield server, study, paths


def monitor_of(shop, panel):
    server, study, paths = shop
    watched = replace(study, monitoring=replace(study.monitoring, endpoint=server.url))
    return open_monitor(watched, paths, panel=lambda: panel)


def test_an_endpoint_with_the_studys_model_has_its_lists(shop):
    server, _, paths = shop
    panel = make_panel(paths)

    assert {one.group for one in panel} == {"g1", "g2"}
    assert len(panel) == 30
    assert compare(server.url, panel) == pytest.approx({"g1": 1.0, "g2": 1.0})
    with monitor_of(shop, panel) as monitor:
        assert monitor.look(NOW).findings.alarms == []


def test_another_checkpoint_is_found_at_the_first_look(shop, tmp_path, small_params):
    """The study has a new model; the endpoint still serves the one before."""
    _, other = write_study(tmp_path, small_params, seed=1)
    write_test_sessions(other, [[n % ITEMS, (3 * n + 1) % ITEMS, n] for n in range(30)])

    with monitor_of(shop, make_panel(other)) as monitor:
        first = monitor.look(NOW)
        (one, two) = monitor.look(NOW + 60).status.alerts

    assert max(first.status.overlaps.values()) < 0.7
    assert {one.alarm.name, two.alarm.name} == {AlertName.LISTS_DIFFER}
    assert "the endpoint's lists of g1 are not those of this study's model and rules" in (
        one.alarm.text
    )


def test_other_rules_are_found(shop, tmp_path, small_params):
    rules = [{"rule": "boost", "add": 50.0, "items": [f"item-{n}" for n in range(3)]}]
    _, other = write_study(tmp_path, small_params, rules=rules)
    write_test_sessions(other, [[n % ITEMS, (3 * n + 1) % ITEMS, n] for n in range(30)])

    overlaps = compare(shop[0].url, make_panel(other))

    assert max(overlaps.values()) < 0.7


def test_an_endpoint_that_is_gone_is_an_alarm_and_the_log_is_still_watched(shop):
    _, study, paths = shop
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    panel = make_panel(paths)

    with pytest.raises(EndpointError, match="is 'paretoscope serve' running there"):
        compare(url, panel)
    watched = replace(study, monitoring=replace(study.monitoring, endpoint=url))
    with open_monitor(watched, paths, panel=lambda: panel) as monitor:
        monitor.look(NOW)
        found = monitor.look(NOW + 60)
    assert AlertName.PANEL_FAILED in {one.alarm.name for one in found.status.alerts}
    assert found.findings.at == NOW + 60


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (b"HTTP/1.0 200 OK\r\n\r\n{}", "without a list of the group: KeyError"),
        (b"HTTP/1.0 200 OK\r\n\r\n[1]", "without a list of the group: TypeError"),
        (b"HTTP/1.0 200 OK\r\n\r\n<html>", "without a list of the group: JSONDecodeError"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "cannot be reached: SSH-2.0"),
    ],
)
def test_another_server_at_the_address_is_an_error_of_the_panel(answer, problem):
    one = PanelSession(session=("a",), group="g1", preference=(1.0,), items=("b",))
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"

        def serve():
            connection, _ = server.accept()
            with connection:
                while not connection.recv(65_536).endswith(b"}"):
                    pass
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(EndpointError, match=problem):
            compare(url, [one])
        thread.join()


def test_a_killed_process_of_the_panel_is_an_error_of_the_panel(tmp_path, small_params):
    """As by the kernel, when memory is short."""
    _, paths = write_study(tmp_path, small_params)
    killer = threading.Thread(target=kill_child)
    killer.start()
    with pytest.raises(DataError, match="was killed; the model needs more memory"):
        StudyPanel(paths)()
    killer.join()


def kill_child():
    """Kill the first process that this one spawns."""
    while not (children := [one for one in active_children() if "Spawn" in type(one).__name__]):
        time.sleep(0.01)
    children[0].kill()


def test_the_panel_is_made_in_another_process_and_again_when_the_model_changes(
    tmp_path, small_params
):
    _, paths = write_study(tmp_path, small_params)
    write_test_sessions(paths, [[1, 2, 3], [4, 5, 6]])
    panel = StudyPanel(paths)
    first = panel()

    assert panel() is first
    write_model(paths, seed=1)
    assert [one.items for one in panel()] != [one.items for one in first]
