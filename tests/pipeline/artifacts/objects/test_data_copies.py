"""Copies of data on object storage: what is downloaded, when, and what is refused."""

import socket
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.artifacts.objects import bucket
from pipeline.artifacts.objects.bucket import Bucket
from pipeline.artifacts.objects.data_copies import download_data
from pipeline.core.errors import DataError, StorageError, StudyError
from pipeline.core.object_urls import ObjectUrl, local_copy
from pipeline.study import Study, parse_study


@pytest.fixture
def study(small_params) -> Study:
    """Its raw data and its log are on object storage."""
    values = {**small_params}
    values["dataset"] = {**values["dataset"], "path": "s3://shop/raw/clicks.jsonl"}
    values["experiment"] = {
        **values["experiment"],
        "source": "files",
        "log_path": "s3://shop/logs/june/",
    }
    return parse_study(values)


@pytest.fixture
def copies(tmp_path) -> Path:
    return tmp_path / "data/objects/shop"


def contents(folder: Path) -> dict[str, bytes]:
    return {
        file.relative_to(folder).as_posix(): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file()
    }


def test_the_copy_is_what_is_there(storage, study, copies, tmp_path):
    objects = {
        "raw/clicks.jsonl": b"{}\n",
        "raw/clicks.jsonl.old": b"of no interest",
        "logs/june/impressions-1.csv": b"user\n",
        "logs/june/day 2/%41 ü.csv": b"user\n",
        "logs/june.csv": b"of no interest",
    }
    for key, content in objects.items():
        storage.put(key, content)

    download_data(study, tmp_path)

    wanted = {key for key in objects if key == "raw/clicks.jsonl" or key.startswith("logs/june/")}
    assert contents(copies) == {key: objects[key] for key in wanted}
    assert local_copy(study.dataset.path) == "data/objects/shop/raw/clicks.jsonl"


def test_only_what_has_changed_is_downloaded_and_what_is_gone_is_removed(
    storage, study, copies, tmp_path, monkeypatch
):
    storage.put("raw/clicks.jsonl", b"{}\n")
    for name in ("a", "b", "c"):
        storage.put(f"logs/june/{name}.csv", name.encode())
    download_data(study, tmp_path)
    storage.put("logs/june/b.csv", b"changed")
    storage.put("logs/june/d.csv", b"new")
    storage.delete("logs/june/a.csv")
    (copies / "logs/june/c.csv").write_bytes(b"damaged here")
    downloaded: list[str] = []
    original = Bucket.download

    def download(self, key, file):
        downloaded.append(key)
        return original(self, key, file)

    monkeypatch.setattr(Bucket, "download", download)

    download_data(study, tmp_path)

    assert downloaded == ["logs/june/b.csv", "logs/june/c.csv", "logs/june/d.csv"]
    assert contents(copies / "logs/june") == {"b.csv": b"changed", "c.csv": b"c", "d.csv": b"new"}


def test_a_file_that_becomes_a_folder_and_back(storage, study, copies, tmp_path):
    storage.put("raw/clicks.jsonl", b"{}\n")
    storage.put("logs/june", b"one file")
    download_data(study, tmp_path)
    storage.delete("logs/june")
    storage.put("logs/june/1.csv", b"1")
    download_data(study, tmp_path)
    assert contents(copies / "logs") == {"june/1.csv": b"1"}
    storage.delete("logs/june/1.csv")
    storage.put("logs/june", b"one file")
    download_data(study, tmp_path)
    assert contents(copies / "logs") == {"june": b"one file"}


def test_an_interrupted_download_is_not_a_copy(storage, study, copies, tmp_path, monkeypatch):
    storage.put("raw/clicks.jsonl", b"{}\n")
    storage.put("logs/june/a.csv", b"a")

    def download(_self, _key, file):
        file.write_bytes(b"ha")
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Bucket, "download", download)
        with pytest.raises(KeyboardInterrupt):
            download_data(study, tmp_path)
    assert contents(tmp_path / "data/objects") == {".lock": b"", ".index.json": b"{}"}

    download_data(study, tmp_path)
    assert contents(copies) == {"raw/clicks.jsonl": b"{}\n", "logs/june/a.csv": b"a"}


def test_nothing_there_names_the_parameter(storage, study, tmp_path):
    storage.put("raw/clicks.jsonl", b"{}\n")
    with pytest.raises(
        DataError, match=r"s3://shop/logs/june has no object; check experiment.log_path"
    ):
        download_data(study, tmp_path)


def test_a_name_that_is_no_file_is_refused(storage, study, tmp_path):
    storage.put("raw/clicks.jsonl", b"{}\n")
    storage.put("logs/june/a\\b.csv", b"")
    with pytest.raises(DataError, match="cannot be a file here; rename it"):
        download_data(study, tmp_path)


def test_an_object_and_a_folder_of_one_name_are_refused(storage, study, tmp_path):
    storage.put("raw/clicks.jsonl", b"{}\n")
    storage.put("logs/june", b"")
    storage.put("logs/june/a.csv", b"a")
    with pytest.raises(
        StorageError, match=r"logs/june is an object and also a folder, with logs/june/a.csv"
    ):
        download_data(study, tmp_path)


@pytest.mark.usefixtures("storage")
def test_a_storage_that_does_not_answer_says_why(study, tmp_path, monkeypatch):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{closed.getsockname()[1]}")
        monkeypatch.setattr(bucket, "_RETRIES", 0)
        with pytest.raises(
            StorageError, match=r"no answer from the storage \(Connection refused\). Check AWS"
        ):
            download_data(study, tmp_path)


def test_without_credentials_it_may_be_the_machines_role_that_does_not_answer(monkeypatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID", raising=False)
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY", raising=False)
    text = 'HTTP error: error sending request\n\nDebug source:\n message: "Connection refused",'

    found = bucket._message(ObjectUrl("shop", "raw"), text)

    assert found.startswith(
        "s3://shop/raw cannot be used: no answer from the storage or the machine's role (Connection refused). Check the URL"
    )
    assert "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY" in found


@pytest.mark.parametrize(
    "url",
    [
        "s3://",
        "s3:///key",
        "s3://shop/../secret",
        "s3://shop/a//b",
        "s3://../etc",
        "s3://shop/./a",
        "s3://me:secret@shop/raw",
    ],
)
def test_a_url_that_would_leave_the_folder_of_copies_is_refused(small_params, url):
    values = {**small_params, "dataset": {**small_params["dataset"], "path": url}}
    with pytest.raises(StudyError, match="names no object; expected s3://BUCKET/KEY") as found:
        parse_study(values)
    assert "secret" not in str(found.value)


@pytest.mark.parametrize(
    "url", ["gs://shop/raw", "https://shop.example/raw.csv", "file:///tmp/raw"]
)
def test_other_schemes_are_refused_by_name(small_params, url):
    values = {**small_params, "dataset": {**small_params["dataset"], "path": url}}
    with pytest.raises(StudyError, match=r"is a URL \("):
        parse_study(values)


def test_a_bucket_that_does_not_exist_is_named_and_no_secret_is(storage, study, tmp_path):
    other = replace(study, dataset=replace(study.dataset, path="s3://other-shop/raw"))
    with pytest.raises(StorageError) as found:
        download_data(other, tmp_path)
    assert "s3://other-shop/raw cannot be used: NoSuchBucket. Check the URL" in str(found.value)
    assert storage.variables["AWS_SECRET_ACCESS_KEY"] not in str(found.value)


@pytest.mark.usefixtures("storage")
def test_without_obstore_the_message_says_what_to_install(study, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "obstore.store", None)
    with pytest.raises(StudyError, match=r"pip install 'paretoscope\[s3\]'"):
        download_data(study, tmp_path)


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("AWS_ENDPOINT_URL", "127.0.0.1:9000", "is not the address of a server"),
        ("AWS_ENDPOINT_URL", "http://me:secret@127.0.0.1:9", "without user and password"),
        ("AWS_ENDPOINT_URL", "", "is empty"),
        ("AWS_ACCESS_KEY_ID", "secret\n", "white space around it or control characters"),
        ("AWS_SESSION_TOKEN", "secret\r\n", "white space around it or control characters"),
        (
            "AWS_SECRET_ACCESS_KEY",
            None,
            "AWS_ACCESS_KEY_ID is set and AWS_SECRET_ACCESS_KEY is not",
        ),
    ],
)
@pytest.mark.usefixtures("storage")
def test_a_slip_in_a_variable_is_one_line_without_its_value(
    study, tmp_path, monkeypatch, *, variable, value, words
):
    monkeypatch.delenv(variable, raising=False)
    if value is not None:
        monkeypatch.setenv(variable, value)
    with pytest.raises(StudyError, match=words) as found:
        download_data(study, tmp_path)
    assert variable in str(found.value)
    assert "secret" not in str(found.value)


def test_a_whole_bucket_is_not_data(small_params):
    values = {**small_params, "dataset": {**small_params["dataset"], "path": "s3://shop"}}
    with pytest.raises(
        StudyError, match="s3://shop is a whole bucket; expected the object or folder"
    ):
        parse_study(values)
