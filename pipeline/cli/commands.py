"""Every command: help, arguments, examples, and the function that runs it."""

from dataclasses import dataclass
from pathlib import Path

from pipeline.cli.arguments import (
    FIT,
    LEVEL,
    Argument,
    argument,
    override,
    port,
)
from pipeline.core.asset_graph import EVERYTHING


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One command.

    Attributes:
        name: As typed.
        aliases: Shorter names.
        summary: One line of ``paretoscope --help``.
        description: A paragraph of ``paretoscope COMMAND --help``.
        examples: Command lines.
        run: The function as ``module:function``, imported when the command runs.
        arguments: Arguments and options besides ``--help`` and ``--json``.
        has_json: Whether the command has a result to print as JSON.
    """

    name: str
    aliases: tuple[str, ...] = ()
    summary: str
    description: str
    examples: tuple[str, ...]
    run: str
    arguments: tuple[Argument, ...] = ()
    has_json: bool = True


_ALL = (
    Command(
        name="study",
        summary="run all steps from the raw log to the report",
        description=(
            "Materialises the selected assets (a Dagster selection such as 'traffic_plan*'), by "
            f"default everything: '{EVERYTHING}'. A progress bar shows the current asset. The exit "
            "code is Dagster's. Unlike 'dvc repro study', it does not check what has changed."
        ),
        examples=(
            "paretoscope study",
            "paretoscope study --set training.epochs=3 --set experiment.groups=4",
            "paretoscope study --select 'traffic_plan*' --json",
        ),
        run="pipeline.cli.study:study",
        arguments=(
            argument("--select", default=EVERYTHING, metavar="ASSETS", help="default: all"),
            argument(
                "--set",
                dest="overrides",
                action="append",
                default=[],
                type=override,
                metavar="KEY=VALUE",
                help="override a parameter, such as training.epochs=3; may be repeated",
            ),
            argument("--verbose", action="store_true", help="print Dagster's log to stderr"),
        ),
    ),
    Command(
        name="report",
        summary="print the path of the study's report, or open it",
        description="Prints the path of the HTML report; --json adds Markdown, JSON and summary.",
        examples=("paretoscope report", "paretoscope report --open", "paretoscope report --json"),
        run="pipeline.cli.results:report",
        arguments=(argument("--open", dest="show", action="store_true", help="open the page"),),
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
        arguments=(
            argument("studies", nargs="+", metavar="STUDY", help="name, folder or report.json"),
            argument("--out", type=Path, metavar="FOLDER", help="default: data/comparisons/A-B"),
            LEVEL,
        ),
    ),
    Command(
        name="doctor",
        summary="check environment, parameters, data and artifacts, and print fixes",
        description=(
            "Checks versions, environment variables, params.yaml, the raw data and its pin, every "
            "artifact against its inputs, the experiment database, disk, memory and the DVC remote. "
            "Marks: ✓ ok, ! warning, ✗ error. Exits with 1 if there is an error."
        ),
        examples=("paretoscope doctor", "paretoscope doctor --json"),
        run="pipeline.cli.doctor:doctor",
    ),
    Command(
        name="generate",
        summary="generate the log of the synthetic shop (the DVC stage raw_events)",
        description=(
            "Writes the log of the synthetic shop (section synthetic of params.yaml) to "
            "data/raw/synthetic-shop.jsonl. The bytes are the same on any machine."
        ),
        examples=("paretoscope generate", "paretoscope generate --json"),
        run="pipeline.cli.experiment:generate",
    ),
    Command(
        name="train",
        summary="train the model, with torchrun on several processes",
        description=(
            "Trains the model outside Dagster, and resumes from the checkpoint of an interrupted "
            "run. Under torchrun, several processes share the work; see docs/models.md."
        ),
        examples=("paretoscope train", "paretoscope train --json"),
        run="pipeline.cli.model:train",
    ),
    Command(
        name="evaluate-shard",
        aliases=("score",),
        summary="score one shard of the test sessions for the asset preference_scores",
        description=(
            "Scores one of evaluation.shards parts of the test sessions under every preference, so "
            "that several processes can share the work; see docs/metrics.md."
        ),
        examples=("paretoscope evaluate-shard 1", "paretoscope evaluate-shard 2"),
        run="pipeline.cli.model:evaluate_shard",
        arguments=(argument("shard", type=int, help="1 to evaluation.shards"),),
        has_json=False,
    ),
    Command(
        name="plan",
        summary="print the experiment's groups and their power",
        description=(
            "Prints the groups, and for every hypothesis the days and impressions required for 80% "
            "power and the minimum detectable effect of the planned days; see docs/experiment.md."
        ),
        examples=("paretoscope plan", "paretoscope plan --json"),
        run="pipeline.cli.experiment:plan",
    ),
    Command(
        name="serve",
        summary="serve recommendation lists over HTTP and write the experiment's log",
        description=(
            "Serves the lists of every group from one model and writes impressions, clicks and "
            "orders to serving.log_path. If PARETOSCOPE_SERVING_KEY is set, clients must send it as "
            "a bearer token. New models and plans are loaded without a restart; docs/serving.md."
        ),
        examples=("paretoscope serve", "paretoscope serve --host 0.0.0.0 --port 8080"),
        run="pipeline.cli.experiment:serve",
        arguments=(
            argument("--host", default="127.0.0.1", help="address to listen on"),
            argument("--port", type=port, default=8350, help="0 selects a free port"),
        ),
        has_json=False,
    ),
    Command(
        name="simulate",
        summary="send simulated users of the synthetic shop to a serving endpoint",
        description=(
            "Simulated users request lists, click, order, and send the events to the endpoint, with "
            "PARETOSCOPE_SERVING_KEY as the bearer token if it is set; see docs/simulation.md."
        ),
        examples=(
            "paretoscope simulate --url http://127.0.0.1:8350",
            "paretoscope simulate --url http://127.0.0.1:8350 --json",
        ),
        run="pipeline.cli.experiment:simulate",
        arguments=(argument("--url", required=True, help="such as http://127.0.0.1:8350"),),
    ),
    Command(
        name="validate-data",
        summary="show what would become of the raw log's rows, without writing anything",
        description=(
            "Reads the raw log of dataset.path under the rules of params.yaml and prints its events, "
            "sessions and items, the columns and event types that were read, the rejected rows by "
            "reason and field with an example of each, and whether it would be refused; see "
            "docs/datasets.md. Exits with 1 if it would."
        ),
        examples=("paretoscope validate-data", "paretoscope validate-data --json"),
        run="pipeline.cli.data:validate_data",
    ),
    Command(
        name="validate-log",
        summary="validate your experiment's log without writing anything",
        description=(
            "Reads the log of experiment.log_path under the rules of params.yaml and prints the "
            "usable impressions, the rejected rows by reason, and users and clicks per group; see "
            "docs/experiment-log.md."
        ),
        examples=("paretoscope validate-log", "paretoscope validate-log --json"),
        run="pipeline.cli.experiment:validate_log",
    ),
    Command(
        name="ingest",
        summary="ingest new log files into the experiment database, without Dagster",
        description=(
            "Ingests new and changed files and runs the checks of the asset experiment_log; if a "
            "blocking check fails, the database stays unchanged. Dagster does not record it: "
            "materialise 'experiment_log*' to update the report."
        ),
        examples=("paretoscope ingest", "paretoscope ingest --json"),
        run="pipeline.cli.experiment:ingest",
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
        run="pipeline.cli.results:fit",
        arguments=FIT,
    ),
    Command(
        name="meta-analysis",
        aliases=("meta",),
        summary="pool the slopes of several studies' report.json",
        description=(
            "Pools the slopes of several experiments: their mean, their heterogeneity, and the KPI "
            "change that an offline gain predicts; see docs/inference.md."
        ),
        examples=(
            "paretoscope meta-analysis a/report.json b/report.json --gain 0.02",
            "paretoscope meta a/report.json b/report.json --json",
        ),
        run="pipeline.cli.results:meta_analysis",
        arguments=(
            argument("reports", type=Path, nargs="+", metavar="REPORT.json"),
            argument("--gain", type=float, help="relative gain of the metric; 0.02 is +2%%"),
            LEVEL,
        ),
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
    ),
)

COMMANDS = {command.name: command for command in _ALL}
