"""What is refused before a cluster does anything, and what a worker decides by itself; needs no Ray."""

import json
import sys
from dataclasses import replace
from types import ModuleType

import pytest

from pipeline.artifacts.storage import StudyPaths
from pipeline.cli import main
from pipeline.core.errors import ClusterError, MissingArtifact, StorageError
from pipeline.steps.on_ray import train as on_ray
from pipeline.steps.on_ray.cluster import check_is_shared
from pipeline.study import PARAMS_FILE, parse_study


@pytest.fixture
def study(small_params):
    return parse_study(small_params)


@pytest.fixture
def paths(study, tmp_path, monkeypatch):
    (tmp_path / PARAMS_FILE).write_text(json.dumps(study.as_dict()), "utf-8")
    monkeypatch.chdir(tmp_path)
    return StudyPaths.of(study, tmp_path)


@pytest.mark.parametrize("command", [["train", "--ray", "2"], ["evaluate-shard", "--ray"]], ids=str)
def test_without_the_extra_the_commands_say_what_to_install(paths, command, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "ray", None)

    assert main(command) == 1

    assert "Ray is not installed; run: pip install 'paretoscope[ray]'" in capsys.readouterr().err
    assert not list(paths.folder.glob(".ray*"))


@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1"])
def test_a_cluster_that_does_not_answer_is_refused_at_once(paths, address, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "ray", ModuleType("ray"))  # is not asked
    monkeypatch.setenv("RAY_ADDRESS", address)

    assert main(["evaluate-shard", "--ray"]) == 1

    assert f"cannot connect to Ray at {address}: [Errno 111]" in capsys.readouterr().err
    assert not paths.folder.exists()


@pytest.mark.parametrize("arguments", [[], ["1", "--ray"]], ids=str)
def test_a_shard_or_ray_is_required(arguments, capsys):
    assert main(["evaluate-shard", *arguments]) == 1

    assert "expected one of SHARD and --ray" in capsys.readouterr().err


@pytest.mark.parametrize("workers", ["0", "-1", "two"])
def test_a_number_of_workers_is_positive(workers, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["train", "--ray", workers])

    assert f"'{workers}' is not a number of workers; such as 4" in capsys.readouterr().err


def test_a_node_without_the_folder_is_refused(tmp_path):
    check_is_shared(tmp_path)

    with pytest.raises(
        ClusterError, match=r"node \S+ does not have the folder .* shared file system"
    ):
        check_is_shared(tmp_path / "elsewhere" / "new")


@pytest.fixture
def config(study, paths, monkeypatch):
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "1")
    return {"training": on_ray._Training(study=study, paths=paths, shared=paths.root)}


def test_an_error_of_the_study_is_returned_so_that_ray_does_not_try_again(config):
    found = on_ray._work(config)

    assert isinstance(found, MissingArtifact)
    assert "sessions/tokens.safetensors is missing" in str(found)


def test_a_worker_without_the_file_system_begins_nothing(config, paths, monkeypatch):
    monkeypatch.setattr(on_ray, "fit_study", None)
    config["training"] = replace(config["training"], shared=paths.root / "elsewhere")

    with pytest.raises(ClusterError, match="shared file system"):
        on_ray._work(config)


def test_workers_that_do_not_start_are_an_error_with_what_they_need(study):
    error = on_ray._cluster_error(
        RuntimeError("Training failed:\nThe startup timed out."), study, 3, {"CPU": 2.0}
    )

    assert "at last with: The startup timed out. The workers need 3 × 1 CPUs" in str(error)
    assert "the cluster has 2, see 'ray status'" in str(error)


def test_a_full_disk_is_raised_so_that_all_workers_end(config, monkeypatch):
    def full(*_):
        raise StorageError("the disk is full")

    monkeypatch.setattr(on_ray, "fit_study", full)

    with pytest.raises(StorageError):
        on_ray._work(config)


@pytest.mark.parametrize(
    ("device", "gpus", "expected"),
    [("cpu", 8, False), ("cuda", 0, True), ("auto", 2, True), ("auto", 1, False)],
)
def test_auto_takes_gpus_where_there_is_one_for_each_worker(device, gpus, expected):
    assert on_ray._use_gpus(device, {"CPU": 8.0, "GPU": gpus}, 2) is expected
