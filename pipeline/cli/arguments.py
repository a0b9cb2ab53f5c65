"""What each command can be called with."""

import argparse
from pathlib import Path


def none(parser: argparse.ArgumentParser) -> None:
    """Nothing but ``--help``."""


def study(parser: argparse.ArgumentParser) -> None:
    """What to make, and changed parameters."""
    parser.add_argument(
        "--select",
        default="*regression_report",
        metavar="ASSETS",
        help="what to make, in Dagster's words (default: '*regression_report', everything)",
    )
    parser.add_argument(
        "--set",
        dest="overrides",
        action="append",
        default=[],
        type=_override,
        metavar="KEY=VALUE",
        help="a parameter for this run, such as training.epochs=3; may be repeated",
    )
    parser.add_argument(
        "--verbose", action="store_true", help="pass Dagster's own lines on to stderr"
    )


def shard(parser: argparse.ArgumentParser) -> None:
    """Which part of the test sessions."""
    parser.add_argument("shard", type=int, help="1 to evaluation.shards")


def serve(parser: argparse.ArgumentParser) -> None:
    """Where to listen."""
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=_port, default=8350, help="0 for any that is free")


def simulate(parser: argparse.ArgumentParser) -> None:
    """Whom to visit."""
    parser.add_argument("--url", required=True, help="such as http://127.0.0.1:8350")


def fit(parser: argparse.ArgumentParser) -> None:
    """The counts, and what is asked of them."""
    parser.add_argument("counts", type=Path, help="a CSV or parquet file, a row a group")
    parser.add_argument(
        "--report", type=Path, metavar="FOLDER", help="write report.json and a page there"
    )
    parser.add_argument(
        "--hypothesis",
        action="append",
        default=[],
        metavar="METRIC:KPI:SIGN",
        help="such as recall@20:ctr:+; without any, the paper's",
    )
    _level_of_intervals(parser)


def meta(parser: argparse.ArgumentParser) -> None:
    """The reports, and a gain to foretell for."""
    parser.add_argument("reports", type=Path, nargs="+", metavar="REPORT.json")
    parser.add_argument("--gain", type=float, help="of the metrics; 0.02 is 2 %% more")
    _level_of_intervals(parser)


def compare(parser: argparse.ArgumentParser) -> None:
    """The studies, and where the page goes."""
    parser.add_argument(
        "studies",
        nargs="+",
        metavar="STUDY",
        help="two or more: names under data/studies, folders of studies, or report.json files",
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FOLDER",
        help="where the comparison goes (default: data/comparisons/A-B)",
    )
    _level_of_intervals(parser)


def report(parser: argparse.ArgumentParser) -> None:
    """Whether to show it."""
    parser.add_argument("--open", dest="show", action="store_true", help="show it in the browser")


def _level_of_intervals(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--level", type=_level, default=0.95, help="of the intervals (0.95)")


def _override(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or "." not in key:
        raise argparse.ArgumentTypeError(f"{text!r} is not section.key=value")
    return key, value


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port < 1 << 16:
        raise argparse.ArgumentTypeError(f"{text} is no port; expected 0 to 65535")
    return port


def _level(text: str) -> float:
    level = float(text)
    if not 0.5 < level < 1:
        raise argparse.ArgumentTypeError(f"{text} is not between 0.5 and 1")
    return level
