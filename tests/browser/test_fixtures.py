"""The browser's own checks find what they are meant to find."""

import pytest

GOOD = """<!doctype html><html lang="en"><title>a page</title><main><h1>a page</h1>
<p>words</p></main></html>"""


def test_a_good_page_has_no_faults(page, axe, cut_off):
    page.set_content(GOOD)

    assert axe(page) == []
    assert cut_off(page) == []


def test_faults_are_found(open_page, axe, cut_off):
    page = open_page(width="phone")
    page.set_content(
        '<!doctype html><html lang="en"><title>t</title><main><h1>h</h1><img src="data:,">'
        '<div style="width: 900px">too wide</div><div style="overflow-x: auto">'
        '<div style="width: 900px">scrolls</div></div></main></html>'
    )

    assert [fault.split(":")[0] for fault in axe(page)] == ["image-alt"]
    assert cut_off(page) == ["div: too wide"]


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("console.error('broken')", "console: broken"),
        ("fetch('http://192.0.2.1/x').catch(() => 0)", "request off the machine"),
        ("setTimeout(() => { throw new Error('lost') })", "script: lost"),
    ],
)
def test_what_a_page_must_not_do_is_noticed(open_page, complaints, script, words):
    page = open_page()
    page.set_content(GOOD)
    page.evaluate(script)
    page.wait_for_timeout(50)

    assert any(words in said for said in complaints)
    complaints.clear()
