"""How many processes a run has, by its configuration or the environment."""

import dagster as dg
import pytest

from assets.executor import PROCESSES_VARIABLE, configured_executor


@pytest.fixture
def executor_of():
    """The executor that a run with this configuration has."""

    def chosen(**config):
        @dg.op
        def nothing():
            pass

        @dg.job(executor_def=configured_executor())
        def one():
            nothing()

        return dg.validate_run_config(one, {"execution": {"config": config}})["execution"][
            "processes"
        ]

    return chosen


def test_a_run_is_one_process_unless_its_configuration_says_otherwise(executor_of, monkeypatch):
    monkeypatch.delenv(PROCESSES_VARIABLE, raising=False)

    assert list(executor_of()) == ["in_process"]
    several = executor_of(processes=3)["multiprocess"]
    assert several["max_concurrent"] == 3
    assert several["start_method"] == {"forkserver": {"preload_modules": ["assets.definitions"]}}


def test_the_environment_gives_the_default(executor_of, monkeypatch):
    monkeypatch.setenv(PROCESSES_VARIABLE, "4")

    assert executor_of()["multiprocess"]["max_concurrent"] == 4
    assert list(executor_of(processes=1)) == ["in_process"]


@pytest.mark.parametrize("value", ["", "0", "-1", "two", "1.5"])
def test_a_number_that_is_none_is_named(value, monkeypatch):
    monkeypatch.setenv(PROCESSES_VARIABLE, value)

    with pytest.raises(ValueError, match=r"PARETOSCOPE_PROCESSES is '.*expected 1 or more"):
        configured_executor()


def test_a_run_needs_a_process(monkeypatch):
    monkeypatch.delenv(PROCESSES_VARIABLE, raising=False)

    with pytest.raises(dg.DagsterConfigMappingFunctionError) as found:
        configured_executor().apply_config_mapping({"config": {"processes": 0}})
    assert "processes is 0; expected 1 or more" in str(found.value.__cause__)
