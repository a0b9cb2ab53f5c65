"""A study: all sections of ``params.yaml``, and the checks between them."""

import json
from collections.abc import Collection
from dataclasses import asdict, fields
from typing import Annotated, Any

from annotated_types import Interval
from pydantic.dataclasses import dataclass

from models.network.configuration import ModelConfig
from models.strict import STRICT
from models.training.configuration import TrainingConfig
from pipeline.core.contracts import Metric, Segmentation
from pipeline.core.errors import StudyError
from pipeline.core.file_content import did_you_mean
from pipeline.study.compute import ComputeConfig, check_log_place
from pipeline.study.dataset import (
    NO_DATASET,
    DatasetConfig,
    DatasetFormat,
    Duplicates,
    Preset,
    SessionsConfig,
    SyntheticConfig,
)
from pipeline.study.evaluation import EvaluationConfig
from pipeline.study.experiment import ExperimentConfig, LogSource, Name
from pipeline.study.generic_layout import ROW_ORDER
from pipeline.study.monitoring import MonitoringConfig
from pipeline.study.regression import PAPER_HYPOTHESES, RegressionConfig
from pipeline.study.rollout import RolloutConfig
from pipeline.study.second_axis import AxisKind
from pipeline.study.serving import ServingConfig
from pipeline.study.simulator import SimulatorConfig


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class StudyConfig:
    """``study``: name and seed.

    Attributes:
        name: Name of the study and of its folder in ``data/studies``: lower-case letters, digits and
            hyphens.
        seed: Seed of initialisation, training and simulation.
    """

    name: Name
    seed: Annotated[int, Interval(ge=0, lt=2**63)] = 1


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Study:
    """Everything that determines a study's results, apart from data and code."""

    study: StudyConfig
    dataset: DatasetConfig = NO_DATASET
    synthetic: SyntheticConfig = SyntheticConfig()
    sessions: SessionsConfig = SessionsConfig()
    model: ModelConfig = ModelConfig()
    training: TrainingConfig = TrainingConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    experiment: ExperimentConfig = ExperimentConfig()
    compute: ComputeConfig = ComputeConfig()
    serving: ServingConfig = ServingConfig()
    monitoring: MonitoringConfig = MonitoringConfig()
    simulator: SimulatorConfig = SimulatorConfig()
    regression: RegressionConfig = RegressionConfig()
    rollout: RolloutConfig | None = None

    @property
    def trains(self) -> bool:
        """Whether the study trains a model; one of external variants does not."""
        return self.experiment.variants is None

    def check(self, touched: Collection[str]) -> None:
        """Check that the sections ``touched`` do not contradict each other.

        Raises:
            StudyError: with both keys and what to change.
        """
        checks = (
            ({"dataset", "experiment"}, self._check_dataset),
            ({"experiment"}, lambda: check_log_place(self.experiment, self.compute)),
            ({"dataset", "experiment"}, self._check_shop),
            ({"experiment", "simulator"}, self._check_faults),
            ({"dataset", "sessions"}, self._check_preset),
            ({"dataset", "sessions"}, self._check_times),
            ({"experiment", "regression"}, self._check_control),
            ({"evaluation", "experiment"}, self._check_groups),
            ({"evaluation", "experiment"}, self._check_second_axis),
            ({"experiment", "serving"}, self._check_exploration),
            ({"dataset", "experiment"}, self._check_axis_attributes),
            ({"dataset", "regression"}, self._check_metric_attributes),
            ({"dataset", "evaluation"}, self._check_segment_attributes),
            ({"dataset", "serving"}, self._check_rule_attributes),
            ({"training", "evaluation", "regression", "simulator"}, self._check_metrics),
            ({"training", "evaluation", "experiment"}, self._check_guardrails),
            ({"experiment", "regression"}, self._check_expected_slopes),
            ({"experiment", "rollout"}, self._check_rollout),
        )
        for sections, check in checks:
            if sections <= set(touched):
                check()

    def _check_dataset(self) -> None:
        """Raise if the study needs a raw log and names none."""
        if self.trains and self.dataset.format == DatasetFormat.NONE:
            msg = (
                "dataset: required, but missing; name the format and path of your raw log, or set "
                "experiment.variants if you only have an experiment"
            )
            raise StudyError(msg)

    def _check_preset(self) -> None:
        """Raise if the rules of a preset contradict the treatment of duplicates."""
        is_reference = self.sessions.preset is Preset.REFERENCE
        if is_reference and self.dataset.duplicates is Duplicates.REJECT:
            msg = (
                "sessions.preset = reference keeps duplicate events, but dataset.duplicates = "
                "reject; set dataset.duplicates: keep"
            )
            raise StudyError(msg)

    def _check_shop(self) -> None:
        """Raise if the experiment is in the synthetic shop, but its sessions are not."""
        source = self.experiment.source
        if source is LogSource.SIMULATED_SHOP and self.dataset.format != DatasetFormat.OTTO:
            msg = (
                f"experiment.source = simulated-shop needs the sessions of the synthetic shop, but "
                f"dataset.format = {self.dataset.format}; use source: held-out-replay, or files"
            )
            raise StudyError(msg)

    def _check_faults(self) -> None:
        """Raise if faults would be injected into a log that is not simulated."""
        source = self.experiment.source
        faults = self.simulator.faults.active()
        if faults and source not in {LogSource.SIMULATED_SHOP, LogSource.DIRECT}:
            msg = (
                f"simulator.faults = {faults} are injected into simulated experiments only, but "
                f"experiment.source = {source}; set them to 0"
            )
            raise StudyError(msg)

    def _check_times(self) -> None:
        """Raise if a key needs the times of events and the log has none."""
        if self.dataset.has_times:
            return
        if self.sessions.test_sessions is None:
            msg = (
                f"dataset.generic.time = {ROW_ORDER}: sessions.test_days needs times; split by a "
                "share of the sessions: sessions.test_sessions: 0.1 and "
                "sessions.validation_sessions: 0.05"
            )
            raise StudyError(msg)
        if self.sessions.order_window_minutes is not None:
            msg = f"dataset.generic.time = {ROW_ORDER}: sessions.order_window_minutes needs times"
            raise StudyError(f"{msg}; set it to null")

    def _check_control(self) -> None:
        """Raise if the control is not one of the groups; the plan checks the names of a table."""
        variants, control = self.experiment.variants, self.regression.advice.control
        if control is None or isinstance(variants, str):
            return
        names = list(variants or (f"g{n}" for n in range(1, self.experiment.groups + 1)))
        if control not in names:
            msg = (
                f"regression.advice.control = {control} is not a group; expected one of "
                f"{', '.join(names)}"
            )
            raise StudyError(msg)

    def _check_groups(self) -> None:
        """Raise if there are more groups than cells."""
        groups, replicates = self.experiment.groups, self.experiment.replicates
        axis = self.experiment.second_axis
        levels = len(axis.levels) if axis else 1
        if self.trains and groups > self.evaluation.preferences * levels * replicates:
            of_levels = f" times {levels} levels of experiment.second_axis" if axis else ""
            msg = (
                f"experiment.groups = {groups} exceeds evaluation.preferences = "
                f"{self.evaluation.preferences}{of_levels} times experiment.replicates = "
                f"{replicates}; raise evaluation.preferences or lower experiment.groups"
            )
            raise StudyError(msg)

    def _check_second_axis(self) -> None:
        """Raise if lists of the second axis are not those that the offline metrics measure."""
        axis, length = self.experiment.second_axis, self.experiment.list_length
        if axis is None:
            return
        if not self.trains:
            msg = (
                "experiment.second_axis is for groups that this model serves; external variants "
                "(experiment.variants) have offline metrics of their own. Remove one of the two"
            )
            raise StudyError(msg)
        axis.check_lists(length, self.evaluation.cutoff, self.evaluation.deepest_cutoff)

    def _check_exploration(self) -> None:
        """Raise if the probabilities of explored lists would be unknown."""
        if self.serving.exploration and (axis := self.experiment.second_axis):
            msg = f"serving.exploration draws by the model's scores, but experiment.second_axis = {axis.kind}"
            raise StudyError(f"{msg} changes the lists of groups; remove one of the two")

    def _check_expected_slopes(self) -> None:
        """Raise if an expected slope is for an unknown hypothesis."""
        if not self.trains:
            return
        ids = [one.id for one in self.regression.hypotheses or PAPER_HYPOTHESES]
        if unknown := sorted(set(self.experiment.planning.slopes) - set(ids)):
            msg = (
                f"experiment.planning.slopes: {unknown} are not hypotheses; the ids are "
                f"{', '.join(sorted(ids))}"
            )
            raise StudyError(msg)

    def _check_rollout(self) -> None:
        if self.rollout:
            self.rollout.incumbent_arm(self.experiment.incumbent)

    def _check_metric_attributes(self) -> None:
        known = [Metric(h.metric) for h in self.regression.hypotheses if h.metric in set(Metric)]
        self._check_attributes([metric for metric in known if metric.needs_attributes])

    def _check_axis_attributes(self) -> None:
        axis = self.experiment.second_axis
        fresh = axis is not None and axis.kind is AxisKind.FRESHNESS
        self._check_attributes(["experiment.second_axis.kind = freshness"] * fresh)

    def _check_segment_attributes(self) -> None:
        is_needed = Segmentation.CATEGORY in self.evaluation.segments
        self._check_attributes(["the segment category"] * is_needed)

    def _check_rule_attributes(self) -> None:
        self._check_attributes(
            ["serving.rules"] if self.serving.rule_set.required_attributes else []
        )

    def _check_attributes(self, users: list[str]) -> None:
        """Raise if item attributes are needed, by ``users``, but no file of them is given."""
        if users and self.trains and self.dataset.item_attributes is None:
            msg = (
                f"{', '.join(users)}: item attributes are required; name their file in "
                "dataset.item_attributes"
            )
            raise StudyError(msg)

    def _check_metrics(self) -> None:
        """Raise if a slope is on a metric that is not computed, or for which lower is better."""
        if not self.trains:
            return
        requested = {f"hypothesis {h.id}": h.metric for h in self.regression.hypotheses}
        if self.experiment.source is LogSource.DIRECT:
            direct = self.simulator.direct
            requested["simulator.direct.ctr_slope"] = direct.ctr_slope.metric
            requested["simulator.direct.cvr_slope"] = direct.cvr_slope.metric
        computed = self.evaluation.metrics(self.training.losses)
        usable = ", ".join(name for name, info in computed.items() if info.higher_is_better)
        for key, metric in requested.items():
            info = computed.get(metric)
            if info is None or not info.higher_is_better:
                problem = "is not computed" if info is None else "is better when lower"
                msg = f"{key}: {metric!r} {problem}; use a metric for which higher is better ({usable})"
                raise StudyError(msg)

    def _check_guardrails(self) -> None:
        """Raise if a guardrail is of a metric that is not computed."""
        computed = self.evaluation.metrics(self.training.losses)
        for metric in self.experiment.guardrails if self.trains else ():
            if metric not in computed:
                near, usable = did_you_mean(metric, computed), ", ".join(computed)
                msg = f"experiment.guardrails: {metric!r} is not computed{near}; use a metric of {usable}"
                raise StudyError(msg)

    def as_dict(self) -> dict[str, Any]:
        """The study as plain values, as in ``params.yaml``."""
        return json.loads(json.dumps(asdict(self), default=str))


SECTIONS = tuple(field.name for field in fields(Study))
"""The sections of ``params.yaml``, in its order."""
