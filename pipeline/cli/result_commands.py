"""The commands about results: reports, tables of counts, past tests and reference results."""

from pathlib import Path

from pipeline.cli.arguments import (
    COUNTERFACTUAL,
    FIT,
    LEVEL,
    META_ANALYSIS,
    argument,
    path,
    path_or_name,
)
from pipeline.cli.command import Command
from pipeline.core.sections import SERVED_SECTIONS

RESULT_COMMANDS = (
    Command(
        name="report",
        summary="print the path of the study's report, or open it",
        description=(
            "Prints the path of the HTML report, or five lines for a chat or an e-mail; --json adds "
            "Markdown, JSON and summary."
        ),
        examples=(
            "paretoscope report",
            "paretoscope report --open",
            "paretoscope report --summary",
            "paretoscope report --json",
        ),
        run="pipeline.cli.results:report",
        reads=("study",),
        arguments=(
            argument("--open", dest="show", action="store_true", help="open the page"),
            argument("--summary", action="store_true", help="print the result in five lines"),
        ),
    ),
    Command(
        name="export",
        summary="export a report's tables as CSV, parquet and a workbook (xlsx)",
        description=(
            "Writes the tables behind a report: answers, hypotheses, recommendations, KPIs of the "
            "groups, offline metrics, diagnostics and more, and one workbook with all of them. A report "
            "is a study's name, a folder or a report.json; default: that of this project."
        ),
        examples=(
            "paretoscope export",
            "paretoscope export findings/report.json --format xlsx --out tables",
            "paretoscope export --format csv --format parquet --json",
        ),
        run="pipeline.cli.results:export",
        reads=("study",),
        arguments=(
            argument(
                "report",
                type=path_or_name,
                nargs="?",
                metavar="REPORT",
                help="name, folder or report.json",
            ),
            argument(
                "--out",
                type=path,
                default=Path("export"),
                metavar="FOLDER",
                help="new, empty, or of an earlier export (default: export)",
            ),
            argument(
                "--format",
                dest="formats",
                action="append",
                default=[],
                choices=["csv", "parquet", "xlsx"],
                help="may be repeated; default: all",
            ),
        ),
    ),
    Command(
        name="compare",
        summary="compare two or more finished studies on one page",
        description=(
            "Overlays the Pareto fronts of several studies, tests which slopes differ (with Holm's "
            "correction), warns about studies that may not be independent, and lists differences in "
            "parameters and data. A study is a name under data/studies, a folder or a report.json."
        ),
        examples=(
            "paretoscope compare synthetic-shop jdata",
            "paretoscope compare before/report.json after/report.json --out changed",
            "paretoscope compare spring summer autumn --json",
        ),
        run="pipeline.cli.results:compare",
        reads=(),
        arguments=(
            argument(
                "studies",
                type=path_or_name,
                nargs="+",
                metavar="STUDY",
                help="name, folder or report.json",
            ),
            argument("--out", type=path, metavar="FOLDER", help="default: data/comparisons/A-B"),
            LEVEL,
        ),
    ),
    Command(
        name="fit",
        summary="fit hypotheses to a table of group counts",
        description=(
            "Fits the slopes of KPIs on offline metrics to a table of groups, without a study. The "
            "table is CSV (any separator), parquet, JSON or JSON lines; name its columns if they are "
            "not ours. --report also fits every metric against every KPI; see docs/inference.md."
        ),
        examples=(
            "paretoscope fit counts.csv",
            "paretoscope fit counts.csv --hypothesis recall@20:ctr:+ --level 0.9",
            "paretoscope fit counts.csv --control g1 --report findings",
            "paretoscope fit tests.csv --group variant --impressions views --metric auc",
        ),
        run="pipeline.cli.fit:fit",
        reads=(),
        arguments=FIT,
    ),
    Command(
        name="counterfactual",
        summary="estimate the value of a policy from the log of another",
        description=(
            "Of the finished experiment: the KPIs of a preference, of re-ranking rules or of a second model that "
            "were not served, on the same requests, by the estimator that recovered the groups best; without "
            "options, how well it did (materialise counterfactual_estimates first). Of any logged bandit table "
            "(--log; CSV, parquet, JSON lines): IPS, SNIPS, β-IPS, and with a policy's table DM, DR, SNDR, "
            "SWITCH-DR and DRos. Intervals are clustered by user; estimates that the log does not support are "
            "refused, with the numbers; docs/counterfactual.md."
        ),
        examples=(
            "paretoscope counterfactual",
            "paretoscope counterfactual --preference .4,.6 --json",
            "paretoscope counterfactual --rules next-rules.yaml",
            "paretoscope counterfactual --log log.csv --policy new.csv --logging old.csv",
            "paretoscope counterfactual --log log.parquet --policy p_new --reward click --user visitor",
            "paretoscope counterfactual --log log.csv --policy new.csv --realised new-log.csv --json",
        ),
        run="pipeline.cli.counterfactual:counterfactual",
        reads=SERVED_SECTIONS,
        arguments=COUNTERFACTUAL,
    ),
    Command(
        name="meta-analysis",
        aliases=("meta",),
        summary="find the metric to trust in past tests, or pool the slopes of several studies",
        description=(
            "Of a table of past tests (CSV of any separator, parquet, JSON): how the KPI's lift "
            "follows each metric's change, what the next test's lift is, how often signs agree, and "
            "which metric is best. A row is a test with changes and their errors, a metric of a test, "
            "or counts, or means and variances, of a variant. Of several report.json: their mean "
            "slope, heterogeneity and the KPI change that an offline gain predicts; docs/inference.md."
        ),
        examples=(
            "paretoscope meta-analysis tests.csv --kpi ctr_lift --gain 0.02",
            "paretoscope meta tests.csv --test experiment --report which-metric",
            "paretoscope meta-analysis a/report.json b/report.json --gain 0.02",
        ),
        run="pipeline.cli.past_tests:meta_analysis",
        reads=(),
        arguments=META_ANALYSIS,
    ),
    Command(
        name="verify",
        summary="compare the finished study with pinned md5s and reference results",
        description=(
            "Raw data and sessions must have the pinned md5s on any machine; model outputs must "
            "have them or be within the tolerance of the reference results. Exits with 1 otherwise."
        ),
        examples=("paretoscope verify", "paretoscope verify --json"),
        run="pipeline.cli.results:verify",
        reads=("study", "dataset", "experiment"),
    ),
    Command(
        name="update-reference",
        summary="replace the reference results with those of the finished study",
        description=(
            "Copies the model outputs to data/reference/<study>, which 'verify' compares with. "
            "Commit them together with dvc.lock."
        ),
        examples=("paretoscope update-reference", "paretoscope update-reference --json"),
        run="pipeline.cli.results:update_reference",
        reads=("study", "experiment"),
    ),
)
