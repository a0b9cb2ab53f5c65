"""A snapshot: consistent arms (models under preferences), from which requests are served."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from models.checkpoint import DESCRIPTION, WEIGHTS, checkpoint_fingerprint
from pipeline.artifacts.file_state import file_state
from pipeline.artifacts.kept_models import paths_of_model
from pipeline.artifacts.storage import StudyPaths
from pipeline.core.errors import LogError
from pipeline.core.object_urls import local_copy
from pipeline.experiment.design.plan_checks import paths_of_plan
from pipeline.experiment.design.traffic_plan import PLAN, TrafficPlan, read_plan
from pipeline.experiment.log.log_files import ArmName, model_version
from pipeline.rollout.served import Arm as RolloutArm
from pipeline.rollout.served import ServedRollout
from pipeline.serving.explorer.study_tables import FILES as EXPLORER_FILES
from pipeline.serving.explorer.study_tables import ExplorerData
from pipeline.serving.ranking.served_model import ServedModel, load_model
from pipeline.study import Study, level_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """What a user is served: a model under a preference.

    Attributes:
        model: The model with its rules.
        preference: The weights of the objectives.
        level: The level of the plan's second axis; None for the neutral one.
        group: Name of the test group; None outside the groups.
        name: Name of the arm outside the groups; None for a group.
    """

    model: ServedModel
    preference: tuple[float, ...]
    level: float | None = None
    group: str | None = None
    name: ArmName | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A consistent set of traffic plan, rollout, models and rules.

    Attributes:
        study: The study's name.
        model: The model of the test groups.
        plan: Assigns users to groups.
        arms: What is served, by name of the group or arm. There is always an incumbent, and a candidate
            while a rollout gives it a share of the users.
        explorer_data: The study's tables for the front explorer.
        rollout: The release that is rolled out; None without one.
    """

    study: str
    model: ServedModel
    plan: TrafficPlan
    arms: Mapping[str, Arm]
    explorer_data: ExplorerData
    rollout: ServedRollout | None = None

    @property
    def incumbent(self) -> Arm:
        """What is served outside the groups, unless a rollout says otherwise."""
        return self.arms[ArmName.INCUMBENT]

    def arm_of(self, user: str) -> Arm:
        """What a user is served: as a test group, else by the rollout, else the incumbent."""
        group = self.plan.group_of(user)
        if group is not None:
            return self.arms[group.name]
        if self.rollout is None:
            return self.incumbent
        return self.arms.get(self.rollout.arm_of(user), self.incumbent)


def load_snapshot(study: Study, paths: StudyPaths) -> Snapshot:
    """The snapshot of a finished study, without its rollout (:func:`with_rollout`).

    Raises:
        MissingArtifact: if an artifact is missing; the message gives the command that creates it.
        CheckpointError, DataError, StudyError: if an artifact is corrupt, or they do not match.
        LogError: if the plan was created for another model, or has no incumbent.
    """
    plan = read_plan(paths)
    paths = paths_of_plan(plan, paths)
    model = load_model(study, paths, plan)
    return Snapshot(
        study=study.study.name,
        model=model,
        plan=plan,
        arms=_plan_arms(plan, model),
        explorer_data=ExplorerData.load(study, paths, plan=plan, attributes=model.attributes),
    )


def with_rollout(
    snapshot: Snapshot,
    study: Study,
    paths: StudyPaths,
    rollout: ServedRollout | None,
    served: Snapshot | None = None,
) -> Snapshot:
    """The snapshot with the arms of a rollout; models that it holds already are not loaded again.

    A candidate without users is not loaded, so a rollback needs no model. The arms of ``served`` are used as they
    are, too: with them, nothing is read again.

    Raises:
        MissingArtifact, CheckpointError, DataError, StudyError, LogError: if an arm cannot be loaded.
    """
    arms = _plan_arms(snapshot.plan, snapshot.model)
    if rollout is None:
        return replace(snapshot, arms=arms, rollout=None)
    known = [
        one.model
        for one in (
            *snapshot.arms.values(),
            *arms.values(),
            *(served.arms.values() if served else ()),
        )
    ]
    names = [ArmName.INCUMBENT, *([ArmName.CANDIDATE] if rollout.share else [])]
    for name in names:
        of = rollout.arm(name)
        model = model_of_arm(of, study, paths, snapshot.plan, known)
        known.append(model)
        arms[name] = Arm(
            model=model,
            preference=of.preference,
            level=level_of(snapshot.plan.second_axis, of.preference_id),
            name=name,
        )
        _check_preference(f"{name} of the rollout", arms[name], "start a new release")
    return replace(snapshot, arms=arms, rollout=rollout)


def model_of_arm(
    arm: RolloutArm,
    study: Study,
    paths: StudyPaths,
    plan: TrafficPlan,
    known: Sequence[ServedModel] = (),
) -> ServedModel:
    """The model of a rollout's arm under its rules; one of ``known`` is not loaded again.

    Raises:
        MissingArtifact, CheckpointError, DataError, StudyError, LogError: if it cannot be loaded.
    """
    rule_set = arm.rules or study.serving.rule_set
    of_model = [one for one in known if one.fingerprint == arm.model]
    for one in of_model:
        if one.rules.rule_set == rule_set:
            return one
    if of_model:
        return of_model[0].with_rules(rule_set, paths.root)
    return load_model(study, paths_of_arm(arm, paths), plan, rule_set=rule_set)


def _plan_arms(plan: TrafficPlan, model: ServedModel) -> dict[str, Arm]:
    """The arms of the test groups, and the incumbent of the plan."""
    if plan.incumbent is None:
        msg = (
            f"{PLAN} has no incumbent, which everyone outside the groups is served; re-create it with: "
            "dagster asset materialize --select traffic_plan"
        )
        raise LogError(msg)
    arms = {
        one.name: Arm(model=model, preference=one.preference, level=one.level, group=one.name)
        for one in plan.groups
    }
    arms[ArmName.INCUMBENT] = Arm(
        model=model,
        preference=plan.incumbent.preference,
        level=plan.incumbent.level,
        name=ArmName.INCUMBENT,
    )
    remedy = "re-create the plan with: dagster asset materialize --select traffic_plan"
    for name, arm in arms.items():
        _check_preference(f"{name} of the experiment", arm, remedy)
    return arms


def _check_preference(name: str, arm: Arm, remedy: str) -> None:
    if len(arm.preference) != (n := arm.model.recommender.model.n_objectives):
        msg = f"{name} weights {len(arm.preference)} objectives, its model has {n}; {remedy}"
        raise LogError(msg)


def paths_of_arm(arm: RolloutArm, paths: StudyPaths) -> StudyPaths:
    """The paths of the study that has an arm's model, with that model, also if another was trained since.

    Raises:
        LogError: if the study has that model no longer.
        MissingArtifact: if it has no model at all.
    """
    of = arm.paths(paths)
    found = paths_of_model(of, arm.model)
    if found is None:
        current = checkpoint_fingerprint(of.require("conditioned_model"))
        msg = (
            f"the rollout is of model {model_version(arm.model)}, but 'conditioned_model' of study {of.name} "
            f"is now {model_version(current)}; restore it, or start a new release"
        )
        raise LogError(msg)
    return found


def file_fingerprint(
    study: Study, paths: StudyPaths, rollout: ServedRollout | None
) -> tuple[object, ...]:
    """Identifies the files of a snapshot; changes when one of them changes."""
    own = [arm.rules for arm in (rollout.candidate, rollout.incumbent)] if rollout else []
    rule_sets = [study.serving.rule_set, *(one for one in own if one)]
    files = [
        paths.params_file,
        paths.artifact("conditioned_model", WEIGHTS),
        paths.artifact("conditioned_model", DESCRIPTION),
        paths.artifact("sessions", "items.parquet"),
        paths.artifact("traffic_plan", PLAN),
        *(file for one in rule_sets for file in one.filters.files(paths.root).values()),
        *(paths.artifact(*file) for file in EXPLORER_FILES),
    ]
    if study.dataset.item_attributes:
        files.append(paths.root / local_copy(study.dataset.item_attributes))
    return tuple(file_state(file) for file in files)
