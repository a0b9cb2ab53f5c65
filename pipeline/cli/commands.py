"""Every command: help, arguments, examples, and the function that runs it."""

from pipeline.cli.arguments import argument, exploration, override, port
from pipeline.cli.command import Command
from pipeline.cli.model_commands import MODEL_COMMANDS
from pipeline.cli.project_commands import PROJECT_COMMANDS
from pipeline.cli.result_commands import RESULT_COMMANDS
from pipeline.core.asset_graph import EVERYTHING
from pipeline.core.sections import SERVED_SECTIONS

_ALL = (
    *PROJECT_COMMANDS,
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
    *RESULT_COMMANDS,
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
        name="pull",
        summary="bring data and artifacts from object storage to this machine",
        description=(
            "Downloads the data whose parameters are URLs (s3://BUCKET/KEY), and the artifacts that other machines "
            "have published in PARETOSCOPE_STORAGE_URL, if they differ from those here. The steps do so by "
            "themselves; commands that read a finished study, such as serve, do not. See docs/how-to/scale.md."
        ),
        examples=("paretoscope pull", "paretoscope pull --json"),
        run="pipeline.cli.storage:pull",
        reads=("study", "dataset", "experiment"),
    ),
    Command(
        name="generate",
        summary="generate the log of the synthetic shop (the DVC stage raw_events)",
        description=(
            "Writes the log of the synthetic shop (section synthetic of params.yaml) to "
            "dataset.path, if that is a file synthetic-shop.jsonl, or else to "
            "data/raw/synthetic-shop.jsonl. The bytes are the same on any machine."
        ),
        examples=("paretoscope generate", "paretoscope generate --json"),
        run="pipeline.cli.experiment:generate",
        reads=("study", "dataset", "synthetic"),
    ),
    *MODEL_COMMANDS,
    Command(
        name="plan",
        summary="print the experiment's groups and their power",
        description=(
            "Prints the groups, and for every hypothesis the days and impressions required for 80% "
            "power and the minimum detectable effect of the planned days; see docs/experiment.md. With "
            "exploration, also what it is expected to cost; see docs/serving.md."
        ),
        examples=(
            "paretoscope plan",
            "paretoscope plan --json",
            "paretoscope plan --explore 0.05,0.25",
        ),
        run="pipeline.cli.experiment:plan",
        reads=("study", "dataset", "evaluation", "serving"),
        arguments=(
            argument(
                "--explore",
                dest="exploration",
                type=exploration,
                metavar="SHARE,TEMPERATURE",
                help="expected cost of exploration, before it is on; default: serving.exploration",
            ),
        ),
    ),
    Command(
        name="progress",
        summary="show whether the experiment may end: decided, not to be decided any more, or open",
        description=(
            "Prints for every hypothesis whether its slope is decided, cannot be decided any more, or "
            "how many more days are expected, with the days before. Reads regression_estimates: "
            "materialise 'experiment_log_files*' first when the log has a new day; docs/experiment.md."
        ),
        examples=("paretoscope progress", "paretoscope progress --json"),
        run="pipeline.cli.experiment:progress",
        reads=("study", "evaluation"),
    ),
    Command(
        name="serve",
        summary="serve recommendation lists over HTTP and write the experiment's log",
        description=(
            "Serves the lists of every group from one model and writes impressions, clicks and "
            "orders to serving.log_path. If PARETOSCOPE_SERVING_KEY is set, clients must send it as "
            "a bearer token. New models and plans are loaded without a restart; docs/serving.md."
        ),
        examples=(
            "paretoscope serve",
            "paretoscope serve --host 0.0.0.0 --port 8080",
            "paretoscope serve --port 8351 --replica b",
        ),
        run="pipeline.cli.experiment:serve",
        reads=SERVED_SECTIONS,
        arguments=(
            argument("--host", default="127.0.0.1", help="address to listen on"),
            argument("--port", type=port, default=8350, help="0 selects a free port"),
            argument(
                "--replica",
                metavar="NAME",
                help="one of several servers: it writes to the folder NAME in serving.log_path",
            ),
        ),
        has_json=False,
    ),
    Command(
        name="rollout",
        summary="release a candidate in stages: preview, start, approve, rollback, watch and more",
        description=(
            "Shows or changes the rollout of section rollout of params.yaml. 'preview' shows what the candidate "
            "would change in the lists of test sessions. 'start' proposes the release of the "
            "asset rollout_plan, and 'approve STAGE' lets a stage begin. 'hold' and 'resume' stop and go on. "
            "'rollback' serves the incumbent to everybody; it needs no model, no database and no network. "
            "'verify' finds edited or deleted events, and exits with 1 if there are any. 'watch' decides on the "
            "next step by the sums of 'paretoscope monitor', and does it; see docs/rollout.md."
        ),
        examples=(
            "paretoscope rollout status",
            "paretoscope rollout preview",
            "paretoscope rollout start",
            "paretoscope rollout approve canary",
            "paretoscope rollout rollback --reason 'complaints about list quality'",
            "paretoscope rollout verify --json",
        ),
        run="pipeline.cli.rollout:rollout",
        reads=("study",),
        arguments=(
            argument(
                "operation",
                choices=[
                    "status",
                    "preview",
                    "start",
                    "approve",
                    "hold",
                    "resume",
                    "rollback",
                    "verify",
                    "watch",
                ],
                help="what to do",
            ),
            argument(
                "stage", nargs="?", metavar="STAGE", help="of approve: the stage that may begin"
            ),
            argument("--reason", metavar="TEXT", help="why, for the record"),
        ),
    ),
    Command(
        name="monitor",
        summary="follow the endpoint's log: KPIs with bands, alerts, Prometheus metrics",
        description=(
            "Follows the log of serving.log_path, keeps per-user sums by group and hour, and publishes "
            "them on http://127.0.0.1:8351/metrics, in monitoring.parquet and alerts.jsonl. Alerts go to "
            "PARETOSCOPE_WEBHOOK_URL, if it is set; docs/monitoring.md."
        ),
        examples=("paretoscope monitor", "paretoscope monitor --once --json"),
        run="pipeline.cli.monitoring:monitor",
        reads=(*SERVED_SECTIONS, "monitoring", "regression"),
        arguments=(
            argument("--once", action="store_true", help="look once and print what was found"),
            argument(
                "--port", type=port, default=8351, help="of the metrics; 0 selects a free port"
            ),
        ),
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
        reads=("study", "synthetic", "experiment", "simulator"),
        arguments=(
            argument("--url", required=True, help="such as http://127.0.0.1:8350"),
            argument(
                "--now",
                action="store_true",
                help="for a rollout: at the present time, and users outside the groups, too",
            ),
        ),
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
        reads=("study", "dataset", "sessions"),
    ),
    Command(
        name="validate-log",
        summary="validate your experiment's log without writing anything",
        description=(
            "Reads the log of experiment.log_path, or the tables of compute.warehouse where they "
            "are, under the rules of params.yaml and prints the usable impressions, the rejected "
            "rows by reason, and users and clicks per group; see docs/experiment-log.md."
        ),
        examples=("paretoscope validate-log", "paretoscope validate-log --json"),
        run="pipeline.cli.experiment:validate_log",
        reads=("study", "experiment", "compute", "regression"),
    ),
    Command(
        name="ingest",
        summary="ingest new log files into the experiment database, without Dagster",
        description=(
            "Ingests new and changed files, or the sums of the tables of compute.warehouse, and "
            "runs the checks of the asset experiment_log; if a blocking check fails, the database "
            "stays unchanged. Dagster does not record it: "
            "materialise 'experiment_log*' to update the report."
        ),
        examples=("paretoscope ingest", "paretoscope ingest --json"),
        run="pipeline.cli.experiment:ingest",
        reads=("study", "experiment", "compute"),
    ),
)

COMMANDS = {command.name: command for command in _ALL}
