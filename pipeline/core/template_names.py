"""The templates of ``paretoscope init``, for help texts that import nothing else."""

TEMPLATES = {
    "ab-test": "an A/B test of any platform: assignments, clicks, orders",
    "ga4": "an export of Google Analytics 4: events with items",
    "otto": "the OTTO data set, or a log in its format",
    "serve": "an experiment that `paretoscope serve` will serve",
    "spreadsheet": "a table of past A/B tests",
    "synthetic": "a synthetic shop, to see how everything works",
}
"""What ``paretoscope init`` starts from."""
