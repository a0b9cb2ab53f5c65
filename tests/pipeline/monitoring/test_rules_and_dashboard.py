"""``monitoring/``: every expression is about a metric that exists, and every alert has a runbook."""

import json
import re
import shutil
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest
import yaml
from prometheus_client import generate_latest

from pipeline.artifacts.storage import StudyPaths
from pipeline.monitoring.alarms import AlertName
from pipeline.monitoring.monitor import open_monitor
from pipeline.serving.http.prometheus import ServerMetrics
from tests.pipeline.monitoring.endpoint_log import START, impression, write
from tests.pipeline.serving.shop import write_params, write_plan

ROOT = Path(__file__).parents[3]
NAME = re.compile(r"\b(?:paretoscope[_:][a-z0-9_:]+|up)\b")


@pytest.fixture(scope="module")
def rules():
    return yaml.safe_load((ROOT / "monitoring/rules/paretoscope.rules.yml").read_text("utf-8"))


@pytest.fixture(scope="module")
def metrics(tmp_path_factory, small_params, rules):
    """Names of all metrics: of the endpoint's page, of the monitor's after a look, and recorded ones."""
    root = tmp_path_factory.mktemp("shop")
    study = write_params(root, small_params)
    paths = StudyPaths.of(study, root)
    write_plan(paths)
    rows = [impression(n, f"u{n}", START + n) for n in range(300)]
    write(root / "data/served", "impressions", rows)
    with open_monitor(study, paths) as monitor:
        monitor.look(START / 1000 + 60)
        pages = ServerMetrics().page() + generate_latest(monitor.metrics.registry)
    found = {"up"}
    for name, kind in re.findall(r"^# TYPE (\S+) (\S+)$", pages.decode(), flags=re.MULTILINE):
        suffixes = ("_bucket", "_sum", "_count") if kind == "histogram" else ("",)
        found |= {f"{name}{suffix}" for suffix in suffixes}
    return found | {rule["record"] for rule in rules_of(rules) if "record" in rule}


def rules_of(rules):
    return [rule for group in rules["groups"] for rule in group["rules"]]


def names_in(expression):
    """Metrics of an expression, without the values of its labels."""
    return set(NAME.findall(re.sub(r'"[^"]*"', "", expression)))


def test_every_rule_is_about_metrics_that_exist(rules, metrics):
    unknown = {name for rule in rules_of(rules) for name in names_in(rule["expr"])} - metrics

    assert unknown == set()


def test_every_expression_of_the_dashboard_is_about_metrics_that_exist(metrics):
    file = ROOT / "monitoring/grafana/dashboards/paretoscope.json"
    board = json.loads(file.read_text("utf-8"))
    expressions = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    expressions += [one["expr"] for one in board["annotations"]["list"]]

    assert len(board["panels"]) == 19
    assert all(names_in(one) for one in expressions)
    assert {name for one in expressions for name in names_in(one)} - metrics == set()


def test_a_metric_that_does_not_exist_would_be_found(metrics):
    assert names_in('rate(paretoscope_gone_total{route="up"}[5m]) > up') - metrics == {
        "paretoscope_gone_total"
    }


def test_labels_of_the_endpoints_metrics_exist(rules):
    metrics = {
        one._name: one._labelnames
        for one in vars(ServerMetrics()).values()
        if hasattr(one, "_name")
    }
    for rule in rules_of(rules):
        for name, labels in re.findall(
            r"(paretoscope_\w+?)(?:_total|_bucket)?\{([^}]*)\}", rule["expr"]
        ):
            if name in metrics:
                used = set(re.findall(r"(\w+)\s*(?:=|!=|=~|!~)\"", labels))
                assert used <= {*metrics[name], "le"}, rule["expr"]


def test_the_dashboard_is_what_the_script_writes():
    spec = spec_from_file_location("dashboard", ROOT / "scripts/dashboard.py")
    module = module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)

    assert module.TARGET.read_text("utf-8") == module.text()


def test_every_alert_has_a_runbook_and_every_runbook_an_alert(rules):
    pages = {page.stem for page in (ROOT / "docs/runbooks").glob("*.md")}
    named = {
        rule["annotations"]["runbook"].removeprefix("docs/runbooks/").removesuffix(".md")
        for rule in rules_of(rules)
        if "alert" in rule
    } - {"{{ $labels.alert }}"}

    assert named | {name.value for name in AlertName} == pages


def test_prometheus_alerts_on_everything_that_the_monitor_finds(rules):
    expressions = " ".join(rule["expr"] for rule in rules_of(rules))
    watched = set(re.findall(r"\w+", " ".join(re.findall(r'alert=~?"([^"]*)"', expressions))))

    assert watched == {name.value for name in AlertName}


def test_the_rules_pass_their_own_tests():
    if (promtool := shutil.which("promtool")) is None:
        pytest.skip("promtool is not installed (Debian's package prometheus)")
    for arguments in (["check", "rules", "paretoscope.rules.yml"], ["test", "rules", "tests.yml"]):
        subprocess.run(
            [promtool, *arguments], cwd=ROOT / "monitoring/rules", check=True, timeout=60
        )


def test_files_that_compose_mounts_exist():
    folder = ROOT / "monitoring"
    compose = yaml.safe_load((folder / "compose.yaml").read_text("utf-8"))
    mounts = [one for service in compose["services"].values() for one in service["volumes"]]
    prometheus = yaml.safe_load((folder / "prometheus.yml").read_text("utf-8"))

    own = [one.split(":")[0] for one in mounts if one.startswith("./")]
    assert len(own) == 4
    assert [name for name in own if not (folder / name).exists()] == []
    assert {one.split(":")[0] for one in mounts if not one.startswith("./")} == set(
        compose["volumes"]
    )
    # the rules are where Prometheus looks for them
    places = dict(one.split(":")[:2] for one in mounts if one.startswith("./"))
    (rule_file,) = prometheus["rule_files"]
    assert rule_file == f"{places['./rules']}/paretoscope.rules.yml"
    assert {job["job_name"] for job in prometheus["scrape_configs"]} == {
        "paretoscope",
        "paretoscope-monitor",
    }
