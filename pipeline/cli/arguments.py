"""The arguments of commands: their options, and the types that check what is typed."""

import argparse
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from pipeline.core.local_paths import url_problem

Argument = tuple[tuple[str, ...], dict[str, Any]]
"""Names and options of an argument, as ``ArgumentParser.add_argument`` takes them."""


def argument(*names: str, **options: Any) -> Argument:
    """An argument, with the options of ``ArgumentParser.add_argument``."""
    return names, options


def override(text: str) -> tuple[str, str]:
    """Parse ``section.key=value``."""
    key, equals, value = text.partition("=")
    if equals and "." in key:
        return key, value
    raise argparse.ArgumentTypeError(f"{text!r} is not of the form section.key=value")


def path(text: str) -> Path:
    """Parse a path; a URL is none."""
    return Path(path_or_name(text))


def path_or_name(text: str) -> str:
    """Parse what may be a path or a name; a URL is neither."""
    if problem := url_problem(text):
        raise argparse.ArgumentTypeError(problem)
    return text


def port(text: str) -> int:
    """Parse a TCP port; 0 selects a free one."""
    with suppress(ValueError):
        if 0 <= (found := int(text)) < 1 << 16:
            return found
    raise argparse.ArgumentTypeError(f"{text!r} is not a valid port; expected 0 to 65535")


def workers(text: str) -> int:
    """Parse a number of workers."""
    with suppress(ValueError):
        if 0 < (found := int(text)) < 1 << 16:
            return found
    raise argparse.ArgumentTypeError(f"{text!r} is not a number of workers; such as 4")


def number(
    is_valid: Callable[[float], bool], *, expected: str, example: float
) -> Callable[[str], float]:
    """The type that parses a number within bounds; ``expected`` names them."""

    def parse(text: str) -> float:
        with suppress(ValueError):
            if is_valid(found := float(text)):
                return found
        raise argparse.ArgumentTypeError(f"{text!r} is not {expected}; such as {example}")

    return parse


_LEVEL = number(lambda x: 0.5 < x < 1, expected="between 0.5 and 1", example=0.95)


def weights(text: str) -> tuple[float, ...]:
    """Parse the weights of a preference."""
    with suppress(ValueError):
        return tuple(map(float, text.split(",")))
    raise argparse.ArgumentTypeError(f"{text!r} is not a list of weights; such as .4,.6")


def exploration(text: str) -> tuple[float, float]:
    """Parse share and temperature of exploration."""
    with suppress(ValueError):
        share, temperature = map(float, text.split(","))
        if 0.0001 <= share <= 1 and 0.001 <= temperature <= 1000:
            return share, temperature
    raise argparse.ArgumentTypeError(
        f"{text!r} is not SHARE,TEMPERATURE; such as 0.05,0.25: 0.0001 to 1, and 0.001 to 1000"
    )


STUDY = (
    argument(
        "--study",
        dest="study_name",
        metavar="NAME",
        help="a study of studies/NAME.yaml (or set PARETOSCOPE_STUDY); default: params.yaml",
    ),
    argument(
        "--params",
        dest="study_params",
        type=path,
        metavar="FILE",
        help="the file of the study, instead of --study",
    ),
)
"""Of every command that is about a study."""


LEVEL = argument(
    "--level", type=_LEVEL, default=0.95, help="confidence level of intervals (default: 0.95)"
)

_COUNTS = {
    "group": "the test groups' names",
    "impressions": "impressions",
    "clicks": "clicks",
    "orders": "orders",
    "units": "units sold",
    "revenue": "revenue",
    "users": "users, those assigned to the group",
    "share": "planned shares of the users",
}

FIT = (
    argument("counts", type=path, metavar="TABLE", help="one row per group"),
    argument("--report", type=path, metavar="FOLDER", help="write a report there"),
    argument(
        "--hypothesis",
        action="append",
        default=[],
        metavar="METRIC:KPI:SIGN",
        help="such as recall@20:ctr:+; default: those of the paper",
    ),
    argument("--control", metavar="GROUP", help="compare with it; default: the lowest group"),
    argument(
        "--margin",
        type=number(lambda x: 0 < x <= 1, expected="above 0 and at most 1", example=0.01),
        help="relative KPI difference that is negligible; 0.01 is 1%%",
    ),
    *(
        argument(f"--{name}", metavar="COLUMN", help=f"the table's column of {meaning}")
        for name, meaning in _COUNTS.items()
    ),
    argument(
        "--metric",
        action="append",
        default=[],
        metavar="COLUMN",
        help="an offline metric; may be repeated; default: every other numeric column",
    ),
    argument(
        "--x-reference",
        choices=["worst", "control", "log"],
        default="worst",
        help="x is M / min M - 1 (default), M / M of --control - 1, or log M",
    ),
    argument(
        "--one-trial-per-user",
        action="store_true",
        help="no user has two impressions, so impressions are independent",
    ),
    argument(
        "--error-correlation",
        type=number(lambda x: 0 <= x < 1, expected="at least 0 and below 1", example=0.9),
        default=0.0,
        metavar="R",
        help="of two groups' metric errors (METRIC_se); near 1 on the same test sessions",
    ),
    LEVEL,
)
"""Of ``paretoscope fit``."""

PAST_TEST_COLUMNS = {
    "test": "names of tests",
    "variant": "names of variants",
    "metric-name": "names of metrics and KPIs, with one row for each",
    "time": "the last time of a test is read",
    "estimate": "changes, with one row per metric",
    "standard-error": "their standard errors",
    "ci-low": "lower ends of their intervals",
    "ci-high": "upper ends",
    **{
        f"{one}{side}": f"{one} per metric{words}"
        for one in ("count", "mean", "variance")
        for side, words in (
            ("", ""),
            ("-control", ", of the control"),
            ("-variant", ", of the variant"),
        )
    },
    **{name: meaning for name, meaning in _COUNTS.items() if name not in {"group", "share"}},
}

META_ANALYSIS = (
    argument(
        "tables",
        type=path,
        nargs="+",
        metavar="FILE",
        help="a table of past tests, or two or more report.json",
    ),
    argument("--report", type=path, metavar="FOLDER", help="write a page of past tests there"),
    argument(
        "--kpi",
        action="append",
        default=[],
        metavar="NAME",
        help="a KPI of past tests; may be repeated; default: columns NAME_lift, and our KPIs",
    ),
    argument(
        "--metric",
        action="append",
        default=[],
        metavar="NAME",
        help="a metric of past tests; may be repeated; default: all that is not a KPI",
    ),
    argument("--control", metavar="VARIANT", help="of past tests; default: control, or the first"),
    argument(
        "--error-correlation",
        type=number(lambda x: -1 < x < 1, expected="between -1 and 1", example=0.3),
        default=0.0,
        metavar="R",
        help="of the errors of metric and KPI in a variant; 0 for offline metrics",
    ),
    argument(
        "--ci-level",
        type=_LEVEL,
        default=0.95,
        help="of the intervals in the table (default: 0.95)",
    ),
    argument(
        "--difference",
        action="store_true",
        help="compare means by their difference instead of the logarithm of their ratio",
    ),
    argument(
        "--gain", type=float, help="change of the metric to predict the KPI for; 0.02 is +2%%"
    ),
    *(
        argument(f"--{name}", metavar="COLUMN", help=f"column of past tests: {meaning}")
        for name, meaning in PAST_TEST_COLUMNS.items()
    ),
    LEVEL,
)
"""Of ``paretoscope meta-analysis``."""

COUNTERFACTUAL = (
    argument(
        "--preference",
        type=weights,
        metavar="W,W",
        help="weights of the objectives that were not served, such as .4,.6; default: every group's",
    ),
    argument(
        "--rules",
        type=path,
        metavar="FILE",
        help="YAML with re-ranking rules, as in the section serving: rules, filters, candidates",
    ),
    argument(
        "--model",
        type=path,
        metavar="FOLDER",
        help="a study with a second model, such as data/studies/next",
    ),
    argument(
        "--log",
        type=path,
        metavar="FILE",
        help="a bandit table instead of the experiment: one row per decision",
    ),
    argument(
        "--policy",
        type=path_or_name,
        action="append",
        default=[],
        metavar="FILE|COLUMN",
        help="a table of the policy (action, probability and contexts), or the log's column with its "
        "probability of the logged action; may be repeated",
    ),
    argument(
        "--logging",
        type=path,
        metavar="FILE",
        help="table of the policy that wrote the log: support",
    ),
    argument(
        "--realised", type=path, metavar="FILE", help="a log of the policy itself, to compare with"
    ),
    argument("--action", default="action", metavar="COLUMN", help="default: action"),
    argument("--propensity", default="propensity", metavar="COLUMN", help="default: propensity"),
    argument("--reward", default="reward", metavar="COLUMN", help="default: reward"),
    argument(
        "--user", metavar="COLUMN", help="the randomisation unit; default: rows are independent"
    ),
    LEVEL,
)
"""Of ``paretoscope counterfactual``."""
