"""The commands: what each is for, examples, and the function that is imported when it is called."""

import argparse
from collections.abc import Callable
from dataclasses import dataclass

from pipeline.cli import arguments


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One command.

    Attributes:
        name: The word for it.
        summary: One line of ``paretoscope --help``.
        description: A paragraph of its own help.
        examples: Whole command lines.
        run: ``module:function``, imported when the command is called.
        arguments: Adds what it can be called with.
        has_json: Whether it has a result that can be printed as JSON.
    """

    name: str
    summary: str
    description: str
    examples: tuple[str, ...]
    run: str
    arguments: Callable[[argparse.ArgumentParser], None] = arguments.none
    has_json: bool = True


_ALL = (
    Command(
        name="study",
        summary="run the whole chain, from the raw log to the report",
        description=(
            'Makes everything from the raw log to the report, as "dagster asset materialize '
            "--select '*regression_report'\" does, and as part of the same history. A terminal shows "
            "each asset as it is done; elsewhere nothing is printed but the result. The exit code is "
            "Dagster's. Unlike 'dvc repro study' it does not ask whether anything has changed."
        ),
        examples=(
            "paretoscope study",
            "paretoscope study --set training.epochs=3 --set experiment.groups=4",
            "paretoscope study --select 'traffic_plan*' --json",
        ),
        run="pipeline.cli.study:study",
        arguments=arguments.study,
    ),
    Command(
        name="report",
        summary="say where the finished study's report lies, or show it",
        description=(
            "Prints the path of the report's page; --open shows it in the browser, --json adds the "
            "paths of its Markdown and JSON versions and the sentences it begins with."
        ),
        examples=("paretoscope report", "paretoscope report --open", "paretoscope report --json"),
        run="pipeline.cli.results:report",
        arguments=arguments.report,
    ),
    Command(
        name="compare",
        summary="compare two or more finished studies on one page",
        description=(
            "Lays the fronts of several studies over each other and their slopes side by side, says "
            "which slopes differ beyond chance (with Holm's correction) and whether the studies can "
            "be taken for independent, and lists what changed in parameters and data. Writes "
            "index.html, comparison.md and comparison.json."
        ),
        examples=(
            "paretoscope compare synthetic-shop jdata",
            "paretoscope compare before/report.json after/report.json --out changed",
            "paretoscope compare spring summer autumn --json",
        ),
        run="pipeline.cli.results:compare",
        arguments=arguments.compare,
    ),
    Command(
        name="doctor",
        summary="check environment, parameters, data and artifacts, and say what to do",
        description=(
            "Checks Python and the pinned versions, the variables Dagster needs, params.yaml, the raw "
            "data and its pin, every artifact and what it was made from, the experiment's database, "
            "disk and memory, and DVC's remote. Each line has ✓ (well), ! (look at it) or ✗ (mend "
            "it), with the command to type. Ends with 1 if anything has ✗."
        ),
        examples=("paretoscope doctor", "paretoscope doctor --json"),
        run="pipeline.cli.doctor:doctor",
    ),
    Command(
        name="generate",
        summary="write the synthetic shop's log (the DVC stage raw_events)",
        description=(
            "Writes the log of the synthetic shop of params.yaml's section synthetic to "
            "data/raw/synthetic-shop.jsonl: the same bytes on any machine. 'dvc repro raw_events' "
            "calls it and pins the outcome."
        ),
        examples=("paretoscope generate", "paretoscope generate --json"),
        run="pipeline.cli.experiment:generate",
    ),
    Command(
        name="train",
        summary="fit the network to the finished sessions, under torchrun on several processes",
        description=(
            "Fits the network outside of Dagster, from the state a run left that was ended. Under "
            "torchrun several processes share the work; docs/models.md."
        ),
        examples=(
            "paretoscope train",
            "paretoscope train --json",
        ),
        run="pipeline.cli.model:train",
    ),
    Command(
        name="score",
        summary="score one of evaluation.shards, numbered from 1, for preference_scores to find",
        description=(
            "Scores one part of the test sessions under every preference, so that several processes "
            "can share the work. A part that is ready is not scored again; docs/metrics.md."
        ),
        examples=("paretoscope score 1", "paretoscope score 2"),
        run="pipeline.cli.model:score",
        arguments=arguments.shard,
        has_json=False,
    ),
    Command(
        name="plan",
        summary="print the experiment's groups and its power, beside evenly spaced preferences",
        description=(
            "Prints the groups with their preferences and shares, and for every hypothesis the days "
            "and impressions that show the slope you expect, and the smallest slope that the planned "
            "days show; docs/experiment.md."
        ),
        examples=("paretoscope plan", "paretoscope plan --json"),
        run="pipeline.cli.experiment:plan",
    ),
    Command(
        name="serve",
        summary="answer requests for lists and write the experiment's log; see docs/serving.md",
        description=(
            "Serves every group from one network over HTTP and writes what was shown, clicked and "
            "ordered to serving.log_path. PARETOSCOPE_SERVING_KEY holds the bearer key that clients "
            "must send, if you want one. A new model or plan is taken over while it runs."
        ),
        examples=("paretoscope serve", "paretoscope serve --host 0.0.0.0 --port 8080"),
        run="pipeline.cli.experiment:serve",
        arguments=arguments.serve,
        has_json=False,
    ),
    Command(
        name="simulate",
        summary="let the synthetic shop's users visit a serving endpoint; see docs/simulation.md",
        description=(
            "Users of the synthetic shop ask the endpoint for lists, click and order by the shop's "
            "own rules, and tell it. No real person is asked. PARETOSCOPE_SERVING_KEY holds the "
            "endpoint's bearer key, if it wants one."
        ),
        examples=(
            "paretoscope simulate --url http://127.0.0.1:8350",
            "paretoscope simulate --url http://127.0.0.1:8350 --json",
        ),
        run="pipeline.cli.experiment:simulate",
        arguments=arguments.simulate,
    ),
    Command(
        name="inspect",
        summary="read the log you bring, and say what would become of its rows; nothing is written",
        description=(
            "Reads the log of experiment.log_path under the rules of params.yaml, counts what would "
            "be set aside and why, and prints users and clicks of each group; "
            "docs/experiment-log.md."
        ),
        examples=("paretoscope inspect", "paretoscope inspect --json"),
        run="pipeline.cli.experiment:inspect",
    ),
    Command(
        name="ingest",
        summary="take new log files into the experiment's database, without Dagster",
        description=(
            "Brings the experiment's database to what the log's files say. A file that is in it is "
            "not read again. The checks are those of the asset experiment_log; what breaks a "
            "blocking one leaves the database as it was. Dagster does not hear of it: materialise "
            "'experiment_log*' there when you want the report."
        ),
        examples=("paretoscope ingest", "paretoscope ingest --json"),
        run="pipeline.cli.experiment:ingest_log",
    ),
    Command(
        name="fit",
        summary="fit hypotheses to a CSV or parquet file of group counts; see docs/inference.md",
        description=(
            "Fits the slopes of KPIs on offline metrics to a table of groups, without a study. With "
            "--report it writes a page on them and on every metric against every KPI."
        ),
        examples=(
            "paretoscope fit counts.csv",
            "paretoscope fit counts.csv --hypothesis recall@20:ctr:+ --level 0.9",
            "paretoscope fit counts.csv --report findings",
        ),
        run="pipeline.cli.results:fit",
        arguments=arguments.fit,
    ),
    Command(
        name="meta",
        summary="pool the hypotheses of several studies' report.json; see docs/inference.md",
        description=(
            "Pools the slopes of several experiments: their mean, how much experiments differ, and "
            "what a new offline gain foretells. To see two studies side by side, use 'compare'."
        ),
        examples=(
            "paretoscope meta a/report.json b/report.json --gain 0.02",
            "paretoscope meta a/report.json b/report.json --json",
        ),
        run="pipeline.cli.results:meta",
        arguments=arguments.meta,
    ),
    Command(
        name="verify",
        summary="compare the finished study with the pinned md5s and the released tables",
        description=(
            "Raw data and sessions must have the pinned md5s on any machine; what comes out of the "
            "network must have them or be close to the released tables. Ends with 1 if not."
        ),
        examples=("paretoscope verify", "paretoscope verify --json"),
        run="pipeline.cli.results:verify",
    ),
    Command(
        name="release",
        summary="make the finished study's tables the released ones",
        description=(
            "Copies the tables that depend on the network to data/released/<study>, which 'verify' "
            "compares with. Commit them together with dvc.lock."
        ),
        examples=("paretoscope release", "paretoscope release --json"),
        run="pipeline.cli.results:release",
    ),
)

COMMANDS = {command.name: command for command in _ALL}
