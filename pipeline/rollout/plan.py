"""The plan of a rollout, fixed at its start: the arms, the stages and what is guarded."""

from dataclasses import replace

from pydantic.dataclasses import dataclass

from models.strict import STRICT
from pipeline.rollout.served import Arm, whole_buckets
from pipeline.rollout.states import State
from pipeline.study.rollout import LARGEST_CANARY, RolloutConfig, RolloutStage


def name_of_release(release: str, model: str) -> str:
    """The name of a release whose candidate was trained after the release of this name began."""
    return f"{release}-{model[:8]}"


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class RolloutPlan:
    """What a release is, for its whole life; later changes of ``params.yaml`` do not change it.

    Attributes:
        config: The section ``rollout`` at the start.
        attribution_hours: ``experiment.attribution_hours`` at the start.
        candidate: What is to be served.
        incumbent: What is served.
    """

    config: RolloutConfig
    attribution_hours: float
    candidate: Arm
    incumbent: Arm

    def is_of(self, config: RolloutConfig) -> bool:
        """Whether it is the plan of this section, for the model of its time."""
        names = {config.release, name_of_release(config.release, self.candidate.model)}
        return self.config.release in names and self.config == replace(
            config, release=self.config.release
        )

    @property
    def salt(self) -> str:
        """Of the hash that selects the candidate's users."""
        return self.config.salt or self.config.release

    @property
    def stages(self) -> tuple[RolloutStage, ...]:
        """In order."""
        return self.config.stages

    @property
    def fewest_users(self) -> int:
        """Users of the smaller arm below which nothing is said."""
        return min(stage.users for stage in self.stages)

    @property
    def most_users(self) -> int:
        """Users for which the confidence sequence is closest."""
        return max(stage.users for stage in self.stages)

    def share_of(self, index: int) -> float:
        """The candidate's share of the users in a stage, in whole buckets; the holdback keeps the incumbent."""
        return whole_buckets(min(self.stages[index].share, 1 - self.config.holdback))

    def state_of(self, index: int) -> State:
        """The state of a rollout in a stage."""
        if index == len(self.stages) - 1:
            return State.FULL
        return State.CANARY if self.stages[index].share <= LARGEST_CANARY else State.RAMP

    def index_of(self, stage: str) -> int | None:
        """Position of the stage with this name; None if there is none."""
        names = [one.name for one in self.stages]
        return names.index(stage) if stage in names else None
