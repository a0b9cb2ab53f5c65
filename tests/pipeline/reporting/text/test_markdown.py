"""Names in Markdown stay text: no tag, link or image, and one cell."""

import pytest

from pipeline.reporting.text.markdown import as_cell, as_list, as_text
from pipeline.steps.result import markdown_table


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("<img src=x onerror=alert(1)>", "&lt;img src=x onerror=alert(1)>"),
        ("</td><!-- -->", "&lt;/td>&lt;!-- -->"),
        ("[win](javascript:alert(1))", "[win]\\(javascript:alert(1))"),
        ("![x](http://example.com/a.png)", "![x]\\(http://example.com/a.png)"),
        ("p < 0.05, recall@20 [0.1, 0.2]", "p < 0.05, recall@20 [0.1, 0.2]"),
    ],
)
def test_a_name_is_text(name, text):
    assert as_text(name) == text
    assert as_text(text) == text
    assert as_list([name, "b"]) == f"- {text}\n- b"


def test_a_cell_is_one_cell():
    assert as_cell("a|b\nc") == "a\\|b c"
    assert (
        markdown_table(("name", "n"), [("a|b", 1234)]).text.splitlines()[-1] == "| a\\|b | 1,234 |"
    )


def test_what_is_no_string_is_unchanged():
    assert as_text(3) == 3
