"""The chain on real sessions, with the parameters the README gives and nothing else changed."""

import json
import re

import dagster as dg
import pytest
import yaml

from assets.definitions import defs
from assets.resources import StudyResource


def readme_parameters(readme: str) -> dict:
    """The YAML block under "Your own data"."""
    section = readme.split("## Your own data")[1]
    block = re.search(r"```yaml\n(.*?)```", section, flags=re.DOTALL)
    assert block is not None
    return yaml.safe_load(block[1])


@pytest.mark.slow
def test_real_sessions_end_in_a_report(project_root, real_data, tmp_path, monkeypatch):
    values = yaml.safe_load((project_root / "params.yaml").read_text("utf-8"))
    values |= readme_parameters((project_root / "README.md").read_text("utf-8"))
    values["dataset"]["path"] = str(real_data / "jdata")
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    monkeypatch.chdir(tmp_path)

    result = dg.materialize(
        list(defs.assets or []),
        instance=dg.DagsterInstance.ephemeral(),
        resources={"study": StudyResource()},
        selection="*regression_report",
    )

    assert result.success
    report = json.loads((tmp_path / "data/studies/jdata/report/report.json").read_text("utf-8"))
    assert report["data"]["events"]["event_types"] == {"click": 27_160, "cart": 0, "order": 2_163}
    assert report["experiment"]["origin"] == "replayed"
    assert [hypothesis["id"] for hypothesis in report["hypotheses"]] == ["H1", "H2", "H3", "H4"]
