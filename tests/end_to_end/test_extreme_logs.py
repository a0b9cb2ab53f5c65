"""Experiment logs of extreme sizes end in a report, or say in one line why not."""

import polars as pl
import pytest
import yaml

import paretoscope as ps
from pipeline.core.contracts import IMPRESSIONS
from pipeline.core.errors import ParetoscopeError

T = 1_760_000_000_000
DAY_MS = 86_400_000


@pytest.fixture
def study_of(tmp_path, small_params):
    """A study of variants that were shown ``users`` lists on each of ``days`` days, in ``files`` files."""

    def made(*, users, variants=3, days=3, files=1, clicks=3):
        names = [f"v{n}" for n in range(variants)]
        table = {"variant": names, "share": [1] * variants}
        table["recall"] = [0.30 + 0.01 * n for n in range(variants)]
        pl.DataFrame(table).write_csv(tmp_path / "variants.csv")
        (tmp_path / "log").mkdir()
        rows = [
            {
                "experiment": "extreme",
                "impression": f"{user} {day}",
                "user": f"u{user}",
                "group": names[user % variants],
                "ts": T + DAY_MS * day + 1000 * user,
                "clicked": (is_clicked := (7 * user + user // variants) % 10 < clicks),
                "ordered": is_clicked and user % 4 == 0,
                "units": int(is_clicked and user % 4 == 0),
            }
            for user in range(users)
            for day in range(days)
        ]
        for number in range(files):
            part = pl.DataFrame(rows[number::files], schema=IMPRESSIONS.columns)
            part.write_csv(tmp_path / f"log/impressions-{number:03d}.csv")
        hypothesis = {"id": "H1", "metric": "recall", "kpi": "ctr", "direction": "positive"}
        values = small_params | {
            "study": {"name": "extreme", "seed": 1},
            "experiment": {
                "name": "extreme",
                "source": "files",
                "log_path": "log",
                "variants": "variants.csv",
            },
            "regression": {"level": 0.95, "hypotheses": [hypothesis]},
        }
        (tmp_path / "params.yaml").write_text(yaml.safe_dump(values), "utf-8")
        return ps.open_study(tmp_path)

    return made


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sizes", "verdict"),
    [
        ({"users": 1}, "undefined"),
        ({"users": 2}, "undefined"),
        ({"users": 3, "days": 1}, "undefined"),
        ({"users": 3, "days": 200}, "undefined"),
        ({"users": 300, "days": 1}, "inconclusive"),
        ({"users": 300, "clicks": 0}, "undefined"),
        ({"users": 300, "clicks": 10}, "undefined"),
        ({"users": 1200, "variants": 60}, "inconclusive"),
        ({"users": 600, "days": 10, "files": 500}, "inconclusive"),
    ],
    ids=str,
)
def test_an_extreme_log_ends_in_a_report(study_of, sizes, verdict):
    study = study_of(**sizes)

    study.run()

    report = study.report()
    assert report.page.is_file()
    (found,) = report.hypotheses
    assert found.verdict == verdict
    assert (found.undefined_reason is not None) == (verdict == "undefined")
    assert report.document.ingestion.impressions == sizes["users"] * sizes.get("days", 3)


def test_a_log_without_a_row_says_where_it_was_looked_for(study_of):
    study = study_of(users=0)

    with pytest.raises(
        ParetoscopeError,
        match=r"1 file; there are no rows at all: check the export and experiment\.log_path",
    ):
        study.run()
