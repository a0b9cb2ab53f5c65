"""The steps from raw data to sessions: a refusal leaves what it refused to look at."""

import json

import pytest

from pipeline.artifacts.storage import StudyPaths
from pipeline.core.errors import DataError
from pipeline.steps.data import REFUSED_ROWS, ingest_events
from pipeline.study import parse_study

T = 1_756_684_800_000
GENERIC = {"session": "s", "item": "i", "time": "t"}


@pytest.fixture
def study_of(small_params, tmp_path):
    """A study of a CSV file with these lines, and its paths."""

    def made(*lines, **generic):
        (tmp_path / "log.csv").write_text("".join(f"{line}\n" for line in ("s,i,t", *lines)))
        dataset = {"format": "generic", "path": "log.csv", "generic": GENERIC | generic}
        experiment = small_params["experiment"] | {"source": "held-out-replay"}
        values = small_params | {"dataset": dataset, "experiment": experiment}
        study = parse_study(values)
        return study, StudyPaths.of(study, tmp_path)

    return made


def test_refused_rows_are_in_a_file_that_the_message_names(study_of):
    study, paths = study_of(f"a,x,{T}", "a,=1+1,soon", f"b,,{T}", f"b,y,{T}")

    with pytest.raises(DataError) as caught:
        ingest_events(study, paths)

    file = paths.artifact(REFUSED_ROWS)
    assert str(caught.value).endswith(f". The first 2 rejected rows are in {file}")
    assert [json.loads(line) for line in file.read_text("utf-8").splitlines()] == [
        {
            "source": "log.csv",
            "position": 3,
            "reason": "a field has the wrong type",
            "field": "t",
            "content": "a,=1+1,soon",
        },
        {
            "source": "log.csv",
            "position": 4,
            "reason": "a field is missing",
            "field": "i",
            "content": f"b,{T},,click",
        },
    ]
    assert not paths.artifact("events").exists()


def test_data_that_is_accepted_leaves_no_refused_rows(study_of):
    study, paths = study_of("a,x,soon")
    with pytest.raises(DataError):
        ingest_events(study, paths)

    study, paths = study_of(*(f"{n},x,{T + n}" for n in range(30)))
    ingest_events(study, paths)

    assert not paths.artifact(REFUSED_ROWS).exists()


def test_data_without_any_row_is_refused_without_a_file(study_of):
    study, paths = study_of()

    with pytest.raises(DataError, match=r"no usable event \(no rows at all\)"):
        ingest_events(study, paths)

    assert not paths.artifact(REFUSED_ROWS).exists()


@pytest.mark.parametrize(
    ("lines", "generic", "words"),
    [
        (["a,x,2025-09-01T10:00:00Z"], {}, "set dataset.generic.time_unit: iso8601."),
        (["a,x,2025-09-01 10:00:00"], {}, "set dataset.generic.time_unit: iso8601-local."),
        (["a,x,Monday"], {}, "t is not a time with dataset.generic.time_unit: ms; set s, ms,"),
        ([f"007,x,{T}"], {"ids": "integer"}, "leading zeros: set dataset.generic.ids: text"),
        ([f"1,-07,{T}"], {"ids": "integer"}, "i is not always an integer without leading zeros"),
        ([f"1,1965.0,{T}"], {"ids": "integer"}, "i is not always an integer"),
        ([f"a;x;{T}"], {}, "A row needs as many fields as the header"),
    ],
    ids=str,
)
def test_a_refusal_says_what_to_set(study_of, lines, generic, words):
    study, paths = study_of(*lines, **generic)

    with pytest.raises(DataError) as caught:
        ingest_events(study, paths)

    assert words in str(caught.value)
