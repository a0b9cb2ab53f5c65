"""A study is ``params.yaml``: these frozen dataclasses are all it can say.

This is the only place that reads configuration. A wrong key, type or range raises
:class:`StudyError` before any work, naming the key, the value and what is accepted.
"""

from pipeline.study.dataset import DatasetFormat as DatasetFormat
from pipeline.study.dataset import DatasetSection as DatasetSection
from pipeline.study.dataset import Duplicates as Duplicates
from pipeline.study.dataset import Expected as Expected
from pipeline.study.dataset import GenericLayout as GenericLayout
from pipeline.study.dataset import IdType as IdType
from pipeline.study.dataset import Preset as Preset
from pipeline.study.dataset import SessionsSection as SessionsSection
from pipeline.study.dataset import Straddling as Straddling
from pipeline.study.dataset import SupportFilter as SupportFilter
from pipeline.study.dataset import WorldSection as WorldSection
from pipeline.study.evaluation import EvaluationSection as EvaluationSection
from pipeline.study.evaluation import MetricFacts as MetricFacts
from pipeline.study.evaluation import OwnMetric as OwnMetric
from pipeline.study.experiment import ExperimentSection as ExperimentSection
from pipeline.study.experiment import LogSource as LogSource
from pipeline.study.experiment import PlanningSection as PlanningSection
from pipeline.study.loader import PARAMS_FILE as PARAMS_FILE
from pipeline.study.loader import flat as flat
from pipeline.study.loader import load_study as load_study
from pipeline.study.loader import parse_study as parse_study
from pipeline.study.log_mapping import ClickColumns as ClickColumns
from pipeline.study.log_mapping import ExposureColumns as ExposureColumns
from pipeline.study.log_mapping import LogColumns as LogColumns
from pipeline.study.log_mapping import LogTime as LogTime
from pipeline.study.log_mapping import OrderColumns as OrderColumns
from pipeline.study.log_mapping import UserColumns as UserColumns
from pipeline.study.regression import PAPER_HYPOTHESES as PAPER_HYPOTHESES
from pipeline.study.regression import Hypothesis as Hypothesis
from pipeline.study.regression import RegressionSection as RegressionSection
from pipeline.study.serving import Boost as Boost
from pipeline.study.serving import Calibration as Calibration
from pipeline.study.serving import CategoryCap as CategoryCap
from pipeline.study.serving import Diversity as Diversity
from pipeline.study.serving import Durability as Durability
from pipeline.study.serving import Freshness as Freshness
from pipeline.study.serving import KafkaTopic as KafkaTopic
from pipeline.study.serving import ListRule as ListRule
from pipeline.study.serving import Pin as Pin
from pipeline.study.serving import ScoreRule as ScoreRule
from pipeline.study.serving import ServingFilters as ServingFilters
from pipeline.study.serving import ServingSection as ServingSection
from pipeline.study.simulator import ChosenSlope as ChosenSlope
from pipeline.study.simulator import DirectSection as DirectSection
from pipeline.study.simulator import PlantedFaults as PlantedFaults
from pipeline.study.simulator import SimulatorSection as SimulatorSection
from pipeline.study.study import Study as Study
from pipeline.study.study import StudySection as StudySection
