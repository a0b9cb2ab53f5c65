"""How the site is built: ``make docs``."""

project = "Paretoscope"
extensions = ["myst_parser"]
exclude_patterns = ["_build"]
nitpicky = True  # a name that leads nowhere is an error

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
html_show_search_summary = False  # it would be fetched, which no page opened as a file may do


def follow(_app, _name, source) -> None:  # noqa: ANN001 - Sphinx calls it
    """Let links to the benchmarks' results, which are right in the repository, be right here."""
    source[0] = source[0].replace("../benchmarks/results/", "measured/")


KEYBOARD = {  # what scrolls can be reached, and a heading has a level
    '<div class="highlight"><pre>': '<div class="highlight"><pre tabindex="0">',
    '<div class="table-wrapper': '<div tabindex="0" class="table-wrapper',
    'class="caption" role="heading"': 'class="caption" role="heading" aria-level="2"',
}


def mend(_app, _page, _template, context, _tree) -> None:  # noqa: ANN001 - Sphinx calls it
    """Let those who use a page by keyboard or ear have all of it."""
    for part in ("body", "furo_navigation_tree"):
        for made, better in KEYBOARD.items():
            context[part] = context.get(part, "").replace(made, better)


def setup(app) -> None:  # noqa: ANN001 - Sphinx calls it
    """Say what is to be done with a page before it is read, and before it is written."""
    app.connect("source-read", follow)
    app.connect("html-page-context", mend, priority=900)  # after Furo's own
