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


def follow(_app, _name, source) -> None:  # noqa: ANN001 - Sphinx calls it
    """Let links to the benchmarks' results, which are right in the repository, be right here."""
    source[0] = source[0].replace("../benchmarks/results/", "measured/")


def setup(app) -> None:  # noqa: ANN001 - Sphinx calls it
    """Say what is to be done with each page before it is read."""
    app.connect("source-read", follow)
