"""The release that ``params.yaml`` describes: its two arms, from the models and preferences of the studies."""

from dataclasses import replace

from pipeline.artifacts.kept_models import keep_model
from pipeline.artifacts.project import named_study
from pipeline.artifacts.storage import StudyPaths, read_table
from pipeline.core.errors import StudyError
from pipeline.experiment.design.external_variants import load_plan
from pipeline.experiment.design.plan_checks import paths_of_plan
from pipeline.experiment.design.traffic_plan import PLAN, TrafficPlan
from pipeline.rollout.plan import RolloutPlan, name_of_release
from pipeline.rollout.proposal import arm_in_production
from pipeline.rollout.served import Arm
from pipeline.rollout.store import read_rollout
from pipeline.study import RolloutArm, RolloutCandidate, RolloutConfig, Study, read_rules


class NoRolloutError(StudyError):
    """The study has no section ``rollout``, or its candidate is what is served."""


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
    """The plan of the release, with the models of its arms, which are kept from now on.

    The candidate's model is the study's current one. The incumbent is what users are served: what the last
    release left in production, and before the first one a preference of the traffic plan's model. Training
    again therefore never changes it.

    Raises:
        NoRolloutError: if ``rollout`` is null, or the candidate is what is served.
        StudyError: if ``rollout`` names a preference or a study that does not exist.
        MissingArtifact: if a study has no model or no Pareto front.
    """
    config = require_rollout(study)
    incumbent = arm_in_production(paths) or _first_incumbent(study, config, paths)
    candidate = _candidate(config.candidate, incumbent, paths)
    if candidate == incumbent:
        msg = (
            f"{candidate.with_model} is what is served: there is nothing to release. Train "
            "the model again, or name another preference or other rules in rollout.candidate"
        )
        raise NoRolloutError(msg)
    return RolloutPlan(
        config=replace(config, release=_release(config, candidate, paths)),
        attribution_hours=study.experiment.attribution_hours,
        candidate=candidate,
        incumbent=incumbent,
    )


def _candidate(named: RolloutCandidate, incumbent: Arm, paths: StudyPaths) -> Arm:
    """The candidate; what it does not name is that of the incumbent."""
    arm = incumbent
    if named.preference is not None:
        of = RolloutArm(preference=named.preference, study=named.study)
        arm = replace(_arm(of, paths, "candidate"), rules=incumbent.rules)
    if named.rules is None:
        return arm
    return replace(arm, rules=read_rules(paths.root / named.rules, paths.params_file))


def _release(config: RolloutConfig, candidate: Arm, paths: StudyPaths) -> str:
    """The name of the release; one that a former model of the candidate has is not used again."""
    before = read_rollout(paths, config.release)
    if before is None or before.plan.candidate.model == candidate.model:
        return config.release
    return name_of_release(config.release, candidate.model)


def _first_incumbent(study: Study, config: RolloutConfig, paths: StudyPaths) -> Arm:
    """The incumbent before the first release."""
    arm = config.incumbent_arm(study.experiment.incumbent)
    if arm.study is None and paths.artifact("traffic_plan", PLAN).exists():
        plan = load_plan(paths)
        paths = paths_of_plan(plan, paths) if isinstance(plan, TrafficPlan) else paths
    return _arm(arm, paths, "incumbent")


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
