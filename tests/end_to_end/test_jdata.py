"""The chain on real sessions, with the parameters of docs/datasets.md and no other change."""

import re

import dagster as dg
import pytest
import yaml

from assets.definitions import defs
from assets.resources import StudyResource
from pipeline.results.reader import read_report


def documented_parameters(page: str) -> dict:
    """The YAML block for researchers' copies of JDATA."""
    section = page.split("## JDATA")[1].split("\n## ", maxsplit=1)[0]
    blocks = re.findall(r"```yaml\n(.*?)```", section, flags=re.DOTALL)
    return yaml.safe_load(blocks[-1])


@pytest.mark.slow
def test_real_sessions_end_in_a_report(project_root, real_data, tmp_path, monkeypatch):
    values = yaml.safe_load((project_root / "params.yaml").read_text("utf-8"))
    values |= documented_parameters((project_root / "docs/datasets.md").read_text("utf-8"))
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
    report = read_report(tmp_path / "data/studies/jdata/report/report.json")
    assert report.data["events"]["event_types"] == {"click": 27_160, "cart": 0, "order": 2_163}
    assert report.experiment.origin == "replayed"
    assert [one.id for one in report.hypotheses] == ["H1", "H2", "H3", "H4"]
