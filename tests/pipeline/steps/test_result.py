"""What a step returns, as Markdown and as a version."""

from matplotlib.figure import Figure

from pipeline.artifacts.content_version import hash_content
from pipeline.artifacts.storage import md5
from pipeline.steps.result import LazyFigure, StepResult, markdown_table, spaced


def test_a_markdown_table_rounds_floats_and_separates_thousands():
    table = markdown_table(("group", "rate", "trials"), [("A", 0.123456, 12_000), ("B", None, 0)])

    assert table.text.splitlines() == [
        "| group | rate | trials |",
        "| --- | --- | --- |",
        "| A | 0.1235 | 12,000 |",
        "| B | undefined | 0 |",
    ]


def test_the_version_is_that_of_the_files_or_the_content(tmp_path):
    (tmp_path / "table.csv").write_text("a\n", encoding="utf-8")

    of_files = StepResult(asset="events", value=None, location=tmp_path)
    of_content = StepResult(
        asset="events", value=None, location=tmp_path, content_version=hash_content({"a": 1})
    )

    assert of_files.version == md5(tmp_path)
    assert of_content.version == hash_content({"a": 1}) != hash_content({"a": 2})


def test_a_figure_is_drawn_only_when_it_is_shown(tmp_path):
    drawn = []

    def draw():
        drawn.append(1)
        return Figure(figsize=(1, 1))

    result = StepResult(
        asset="events",
        value=None,
        location=tmp_path,
        rows=3,
        details={"figure": LazyFigure("the data", draw), "unknown": None, **spaced({"a_b": 2})},
    )

    assert drawn == []
    shown = result._repr_markdown_()
    assert drawn == [1]
    assert "![the data](data:image/png;base64," in shown
    assert "**a b**: 2" in shown
    assert "**rows**: 3" in shown
    assert "unknown" not in shown
