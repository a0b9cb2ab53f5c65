"""The commands about the model: training and scoring outside Dagster."""

from pipeline.cli.arguments import argument, workers
from pipeline.cli.command import Command

MODEL_COMMANDS = (
    Command(
        name="train",
        summary="train the model, with torchrun or Ray on several processes",
        description=(
            "Trains the model outside Dagster, and resumes from the checkpoint of an interrupted "
            "run. Under torchrun, or on the workers of a Ray cluster, several processes share the work; "
            "see docs/models.md."
        ),
        examples=("paretoscope train", "paretoscope train --json", "paretoscope train --ray 4"),
        run="pipeline.cli.model:train",
        reads=("study", "dataset", "sessions", "model", "training"),
        arguments=(
            argument(
                "--ray",
                type=workers,
                metavar="WORKERS",
                help="train on so many workers of the Ray cluster of RAY_ADDRESS, or of this machine",
            ),
        ),
    ),
    Command(
        name="evaluate-shard",
        aliases=("score",),
        summary="score one shard of the test sessions for the asset preference_scores",
        description=(
            "Scores one of evaluation.shards parts of the test sessions under every preference, so "
            "that several processes can share the work; see docs/metrics.md. With --ray, all parts, as "
            "tasks of a Ray cluster."
        ),
        examples=(
            "paretoscope evaluate-shard 1",
            "paretoscope evaluate-shard 2",
            "paretoscope evaluate-shard --ray",
        ),
        run="pipeline.cli.model:evaluate_shard",
        reads=("study", "dataset", "sessions", "model", "training", "evaluation", "experiment"),
        arguments=(
            argument("shard", type=int, nargs="?", help="1 to evaluation.shards"),
            argument(
                "--ray",
                action="store_true",
                help="score all shards on the Ray cluster of RAY_ADDRESS, or of this machine",
            ),
        ),
        has_json=False,
    ),
)
