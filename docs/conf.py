"""Sphinx configuration of the site; ``make docs`` builds it."""

project = "Paretoscope"
extensions = ["myst_parser"]
exclude_patterns = ["_build"]
nitpicky = True  # an unresolved reference is an error

myst_heading_anchors = 4

html_theme = "furo"
html_title = "Paretoscope"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_favicon = "_static/front.svg"
html_theme_options = {"light_logo": "front.svg", "dark_logo": "front.svg"}
html_show_sphinx = False
html_show_copyright = False
html_copy_source = False
html_show_search_summary = False  # it needs a request, which a page opened as a file cannot make


def link_results(_app, _name, source) -> None:  # noqa: ANN001 - Sphinx calls it
    """Redirect links to the benchmarks' results to their copies in the site."""
    source[0] = source[0].replace("../benchmarks/results/", "measured/")


ACCESSIBLE = {  # scrollable blocks take keyboard focus, and every heading has a level
    '<div class="highlight"><pre>': '<div class="highlight"><pre tabindex="0">',
    '<div class="table-wrapper': '<div tabindex="0" class="table-wrapper',
    'class="caption" role="heading"': 'class="caption" role="heading" aria-level="2"',
}


def make_accessible(_app, _page, _template, context, _tree) -> None:  # noqa: ANN001 - Sphinx calls it
    """Make a page usable by keyboard and screen reader."""
    for part in ("body", "furo_navigation_tree"):
        for before, after in ACCESSIBLE.items():
            context[part] = context.get(part, "").replace(before, after)


def setup(app) -> None:  # noqa: ANN001 - Sphinx calls it
    """Register the functions above."""
    app.connect("source-read", link_results)
    app.connect("html-page-context", make_accessible, priority=900)  # after Furo's own
