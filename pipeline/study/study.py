"""A study: all sections of ``params.yaml``, and the checks between them."""

import json
from dataclasses import asdict
from typing import Annotated, Any

from annotated_types import Interval
from pydantic import Field
from pydantic.dataclasses import dataclass

from models.network.configuration import ModelConfig
from models.strict import STRICT
from models.training.configuration import TrainingConfig
from pipeline.core.contracts import Metric, Segmentation
from pipeline.core.errors import StudyError
from pipeline.study.dataset import (
    DatasetConfig,
    DatasetFormat,
    Duplicates,
    Preset,
    SessionsConfig,
    SyntheticConfig,
)
from pipeline.study.evaluation import EvaluationConfig
from pipeline.study.experiment import ExperimentConfig, LogSource
from pipeline.study.regression import RegressionConfig
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

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]
    seed: Annotated[int, Interval(ge=0, lt=2**63)]


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Study:
    """Everything that determines a study's results, apart from data and code."""

    study: StudyConfig
    dataset: DatasetConfig
    synthetic: SyntheticConfig
    sessions: SessionsConfig
    model: ModelConfig
    training: TrainingConfig
    evaluation: EvaluationConfig
    experiment: ExperimentConfig
    serving: ServingConfig
    simulator: SimulatorConfig
    regression: RegressionConfig

    def __post_init__(self) -> None:
        self._check_source()
        if (
            self.sessions.preset is Preset.REFERENCE
            and self.dataset.duplicates is Duplicates.REJECT
        ):
            msg = (
                "sessions.preset = reference keeps duplicate events, but dataset.duplicates = "
                "reject; set dataset.duplicates: keep"
            )
            raise StudyError(msg)
        ids = [hypothesis.id for hypothesis in self.regression.hypotheses]
        if len(set(ids)) != len(ids):
            msg = f"regression.hypotheses: the ids {ids} are not unique"
            raise StudyError(msg)
        if self.experiment.variants is None:
            self._check_groups()
            self._check_attributes()
            self._check_metrics()
            self._check_expected_slopes(ids)

    def _check_source(self) -> None:
        """Raise if a key contradicts ``experiment.source``."""
        experiment, source = self.experiment, self.experiment.source
        if (source is LogSource.FILES) != (experiment.log_path is not None):
            msg = (
                f"experiment.source = {source} and experiment.log_path = {experiment.log_path} are "
                "inconsistent: set log_path if and only if the source is 'files'"
            )
            raise StudyError(msg)
        external = {"columns": experiment.columns, "variants": experiment.variants}
        given = [key for key, value in external.items() if value is not None]
        if given and source is not LogSource.FILES:
            msg = (
                f"experiment.{given[0]} describes a log of your own, but experiment.source = "
                f"{source}; set source: files and log_path"
            )
            raise StudyError(msg)
        if source is LogSource.SIMULATED_SHOP and self.dataset.format != DatasetFormat.OTTO:
            msg = (
                f"experiment.source = simulated-shop needs the sessions of the synthetic shop, but "
                f"dataset.format = {self.dataset.format}; use source: held-out-replay, or files"
            )
            raise StudyError(msg)
        faults = self.simulator.faults.active()
        if faults and source not in {LogSource.SIMULATED_SHOP, LogSource.DIRECT}:
            msg = (
                f"simulator.faults = {faults} are injected into simulated experiments only, but "
                f"experiment.source = {source}; set them to 0"
            )
            raise StudyError(msg)

    def _check_groups(self) -> None:
        """Raise if there are more groups than preferences, or the control is not one of them."""
        groups, replicates = self.experiment.groups, self.experiment.replicates
        names, control = [f"g{n}" for n in range(1, groups + 1)], self.regression.advice.control
        if control is not None and control not in names:
            msg = (
                f"regression.advice.control = {control} is not a group; expected one of "
                f"{', '.join(names)}"
            )
            raise StudyError(msg)
        if groups > self.evaluation.preferences * replicates:
            msg = (
                f"experiment.groups = {groups} exceeds evaluation.preferences = "
                f"{self.evaluation.preferences} times experiment.replicates = {replicates}; raise "
                "evaluation.preferences or lower experiment.groups"
            )
            raise StudyError(msg)

    def _check_expected_slopes(self, ids: list[str]) -> None:
        """Raise if an expected slope is for an unknown hypothesis."""
        if unknown := sorted(set(self.experiment.planning.slopes) - set(ids)):
            msg = (
                f"experiment.planning.slopes: {unknown} are not hypotheses; the ids are "
                f"{', '.join(sorted(ids))}"
            )
            raise StudyError(msg)

    def _check_attributes(self) -> None:
        """Raise if item attributes are needed but no file of them is given."""
        if self.dataset.item_attributes is not None:
            return
        metrics = [h.metric for h in self.regression.hypotheses]
        users = [m for m in metrics if m in set(Metric) and Metric(m).needs_attributes]
        if Segmentation.CATEGORY in self.evaluation.segments:
            users.append("the segment category")
        if self.serving.required_attributes:
            users.append("serving.rules")
        if users:
            msg = (
                f"{', '.join(users)}: item attributes are required; name their file in "
                "dataset.item_attributes"
            )
            raise StudyError(msg)

    def _check_metrics(self) -> None:
        """Raise if a slope is on a metric that is not computed, or for which lower is better."""
        requested = {f"hypothesis {h.id}": h.metric for h in self.regression.hypotheses}
        if self.experiment.source is LogSource.DIRECT:
            direct = self.simulator.direct
            requested["simulator.direct.ctr_slope"] = direct.ctr_slope.metric
            requested["simulator.direct.cvr_slope"] = direct.cvr_slope.metric
        computed = self.evaluation.metrics()
        usable = ", ".join(name for name, info in computed.items() if info.higher_is_better)
        for key, metric in requested.items():
            info = computed.get(metric)
            if info is None or not info.higher_is_better:
                problem = "is not computed" if info is None else "is better when lower"
                msg = f"{key}: {metric!r} {problem}; use a metric for which higher is better ({usable})"
                raise StudyError(msg)

    def as_dict(self) -> dict[str, Any]:
        """The study as plain values, as in ``params.yaml``."""
        return json.loads(json.dumps(asdict(self), default=str))
