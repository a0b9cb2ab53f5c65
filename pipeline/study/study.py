"""A study as a whole: its sections, and what must fit between them."""

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
    """What the study is called, and the seed of all its randomness.

    Attributes:
        name: Its name, and that of its folder under ``data/studies``: lower-case letters, digits
            and hyphens.
        seed: Of initialisation, training and the simulated users.
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]
    seed: Annotated[int, Interval(ge=0, lt=2**63)]


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Study:
    """Everything that determines a study's result, besides data and code."""

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
        of_a_front = self.experiment.variants is None
        most = self.evaluation.preferences * self.experiment.replicates
        if of_a_front and self.experiment.groups > most:
            msg = (
                f"experiment.groups = {self.experiment.groups} exceeds evaluation.preferences = "
                f"{self.evaluation.preferences} times experiment.replicates = "
                f"{self.experiment.replicates}; the groups need as many preferences"
            )
            raise StudyError(msg)
        if (self.experiment.source is LogSource.FILES) != (self.experiment.log_path is not None):
            msg = (
                f"experiment.source = {self.experiment.source} and experiment.log_path = "
                f"{self.experiment.log_path} do not fit: give log_path if and only if the source "
                "is 'files'"
            )
            raise StudyError(msg)
        foreign = {"columns": self.experiment.columns, "variants": self.experiment.variants}
        if given := [key for key, value in foreign.items() if value is not None]:
            self._check_brought(given)
        reference = self.sessions.preset is Preset.REFERENCE
        if reference and self.dataset.duplicates is Duplicates.REJECT:
            msg = (
                "sessions.preset = reference keeps repeated events, but dataset.duplicates = "
                "reject; set dataset.duplicates: keep"
            )
            raise StudyError(msg)
        self._check_simulated()
        ids = [hypothesis.id for hypothesis in self.regression.hypotheses]
        if len(set(ids)) != len(ids):
            msg = f"regression.hypotheses: ids {ids} are not distinct"
            raise StudyError(msg)
        if self.experiment.variants is None:
            self._check_what_is_measured()

    def _check_simulated(self) -> None:
        """Raise if there are no users that could be simulated as the study says."""
        simulated = self.experiment.source is LogSource.SIMULATED_SHOP
        if simulated and self.dataset.format != DatasetFormat.OTTO:
            msg = (
                f"experiment.source = simulated-shop needs the synthetic shop's own sessions, but "
                f"dataset.format = {self.dataset.format}; use source: held-out-replay, or files"
            )
            raise StudyError(msg)
        faults = self.simulator.faults.planted()
        if faults and self.experiment.source not in {LogSource.SIMULATED_SHOP, LogSource.DIRECT}:
            msg = (
                f"simulator.faults = {faults} are planted in simulated experiments only, but "
                f"experiment.source = {self.experiment.source}; set them to 0"
            )
            raise StudyError(msg)

    def _check_brought(self, given: list[str]) -> None:
        """Raise if the log is not one that is brought."""
        if self.experiment.source is not LogSource.FILES:
            msg = (
                f"experiment.{given[0]} says how a log you bring is read, but experiment.source = "
                f"{self.experiment.source}; set source: files and log_path"
            )
            raise StudyError(msg)

    def _check_what_is_measured(self) -> None:
        """Raise if a hypothesis or segment is on what the study does not measure."""
        self._check_attributes()
        self._check_metrics()
        ids = {hypothesis.id for hypothesis in self.regression.hypotheses}
        if strange := sorted(set(self.experiment.planning.slopes) - ids):
            msg = (
                f"experiment.planning.slopes: {strange} are no hypotheses; the ids are "
                f"{', '.join(sorted(ids))}"
            )
            raise StudyError(msg)

    def _check_attributes(self) -> None:
        """Raise if what the shop knows of its items is needed, and no file of it is named."""
        if self.dataset.item_attributes is None:
            needing = [h.metric for h in self.regression.hypotheses]
            needing = [m for m in needing if m in set(Metric) and Metric(m).needs_attributes]
            if Segmentation.CATEGORY in self.evaluation.segments:
                needing.append("the segment category")
            if self.serving.needed_attributes:
                needing.append("serving.rules")
            if needing:
                msg = (
                    f"{', '.join(needing)}: what the shop knows of its items is needed; name its "
                    "file in dataset.item_attributes"
                )
                raise StudyError(msg)

    def _check_metrics(self) -> None:
        """Raise if a slope is asked or planted on a metric that is not measured."""
        asked = {f"hypothesis {h.id}": h.metric for h in self.regression.hypotheses}
        if self.experiment.source is LogSource.DIRECT:
            chosen = self.simulator.direct
            asked["simulator.direct.ctr_slope"] = chosen.ctr_slope.metric
            asked["simulator.direct.cvr_slope"] = chosen.cvr_slope.metric
        measured = self.evaluation.metrics()
        better = ", ".join(name for name, facts in measured.items() if facts.higher_is_better)
        for where, metric in asked.items():
            facts = measured.get(metric)
            if facts is None or not facts.higher_is_better:
                wrong = "is not measured" if facts is None else "is better when it is less"
                msg = (
                    f"{where}: {metric!r} {wrong}; name a metric of which more is better ({better})"
                )
                raise StudyError(msg)

    def as_dict(self) -> dict[str, Any]:
        """The study as plain values, as they would stand in ``params.yaml``."""
        return json.loads(json.dumps(asdict(self), default=str))
