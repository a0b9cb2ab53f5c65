"""The release that ``params.yaml`` describes: its two arms, from the models and preferences of the studies."""

from pipeline.artifacts.kept_models import keep_model
from pipeline.artifacts.project import named_study
from pipeline.artifacts.storage import StudyPaths, read_table
from pipeline.core.errors import StudyError
from pipeline.rollout.plan import RolloutPlan
from pipeline.rollout.served import Arm
from pipeline.study import RolloutArm, RolloutConfig, Study


class NoRolloutError(StudyError):
    """The study has no section ``rollout``."""


def require_rollout(study: Study) -> RolloutConfig:
    """The section ``rollout``.

    Raises:
        NoRolloutError: if it is null.
    """
    if study.rollout is None:
        msg = "rollout is null in params.yaml; describe the release there, see docs/rollout.md"
        raise NoRolloutError(msg)
    return study.rollout


def make_rollout_plan(study: Study, paths: StudyPaths) -> RolloutPlan:
    """The plan of the release, with the arms' models as they are now, which are kept from now on.

    Raises:
        StudyError: if ``rollout`` is null, or names a preference or a study that does not exist.
        MissingArtifact: if a study has no model or no Pareto front.
    """
    config = require_rollout(study)
    return RolloutPlan(
        config=config,
        attribution_hours=study.experiment.attribution_hours,
        candidate=_arm(config.candidate, paths, "candidate"),
        incumbent=_arm(config.incumbent_arm(study.experiment.incumbent), paths, "incumbent"),
    )


def _arm(arm: RolloutArm, paths: StudyPaths, name: str) -> Arm:
    if arm.study is not None:
        named_study(paths.root, arm.study)
    own = paths if arm.study is None else StudyPaths(paths.root, arm.study)
    front = read_table(own.require("pareto_front", "pareto_front.parquet"))
    known = dict(front.select("preference_id", "preference").iter_rows())
    if arm.preference not in known:
        msg = (
            f"rollout.{name}.preference = {arm.preference} is not a preference of study {own.name}; expected "
            f"one of {', '.join(known)}"
        )
        raise StudyError(msg)
    return Arm(
        model=keep_model(own),
        study=arm.study,
        preference_id=arm.preference,
        preference=tuple(known[arm.preference]),
    )
