"""``params.yaml`` as types: one frozen dataclass per section.

Configuration is read here only. An unknown key, wrong type or value out of range raises
:class:`~pipeline.core.errors.StudyError` before any work starts, with the key, the value and what is
accepted.
"""

from pipeline.study.compute import ComputeConfig as ComputeConfig
from pipeline.study.compute import WarehouseBackend as WarehouseBackend
from pipeline.study.compute import WarehouseConfig as WarehouseConfig
from pipeline.study.dataset import BoundaryPolicy as BoundaryPolicy
from pipeline.study.dataset import DatasetConfig as DatasetConfig
from pipeline.study.dataset import DatasetFormat as DatasetFormat
from pipeline.study.dataset import Duplicates as Duplicates
from pipeline.study.dataset import Expected as Expected
from pipeline.study.dataset import Preset as Preset
from pipeline.study.dataset import SessionsConfig as SessionsConfig
from pipeline.study.dataset import SupportFilter as SupportFilter
from pipeline.study.dataset import SyntheticConfig as SyntheticConfig
from pipeline.study.evaluation import CustomMetric as CustomMetric
from pipeline.study.evaluation import EvaluationConfig as EvaluationConfig
from pipeline.study.experiment import NAME_PATTERN as NAME_PATTERN
from pipeline.study.experiment import ExperimentConfig as ExperimentConfig
from pipeline.study.experiment import LogSource as LogSource
from pipeline.study.experiment import PlanningConfig as PlanningConfig
from pipeline.study.generic_layout import GenericLayout as GenericLayout
from pipeline.study.generic_layout import IdType as IdType
from pipeline.study.loader import PARAMS_FILE as PARAMS_FILE
from pipeline.study.loader import flatten as flatten
from pipeline.study.loader import load_study as load_study
from pipeline.study.loader import parse_study as parse_study
from pipeline.study.log_mapping import ClickColumns as ClickColumns
from pipeline.study.log_mapping import ImpressionColumns as ImpressionColumns
from pipeline.study.log_mapping import LogColumns as LogColumns
from pipeline.study.log_mapping import LogFileNames as LogFileNames
from pipeline.study.log_mapping import LogTime as LogTime
from pipeline.study.log_mapping import OrderColumns as OrderColumns
from pipeline.study.monitoring import MonitoringConfig as MonitoringConfig
from pipeline.study.regression import PAPER_HYPOTHESES as PAPER_HYPOTHESES
from pipeline.study.regression import AdviceConfig as AdviceConfig
from pipeline.study.regression import Hypothesis as Hypothesis
from pipeline.study.regression import RegressionConfig as RegressionConfig
from pipeline.study.regression import XReference as XReference
from pipeline.study.regression import default_hypotheses as default_hypotheses
from pipeline.study.rollout import LARGEST_CANARY as LARGEST_CANARY
from pipeline.study.rollout import Requests as Requests
from pipeline.study.rollout import RolloutArm as RolloutArm
from pipeline.study.rollout import RolloutCandidate as RolloutCandidate
from pipeline.study.rollout import RolloutConfig as RolloutConfig
from pipeline.study.rollout import RolloutStage as RolloutStage
from pipeline.study.rule_file import read_rules as read_rules
from pipeline.study.rules import Boost as Boost
from pipeline.study.rules import Calibration as Calibration
from pipeline.study.rules import CategoryCap as CategoryCap
from pipeline.study.rules import Diversity as Diversity
from pipeline.study.rules import Freshness as Freshness
from pipeline.study.rules import IndexKind as IndexKind
from pipeline.study.rules import ListRule as ListRule
from pipeline.study.rules import Pin as Pin
from pipeline.study.rules import RuleSet as RuleSet
from pipeline.study.rules import ServingFilters as ServingFilters
from pipeline.study.second_axis import AxisKind as AxisKind
from pipeline.study.second_axis import SecondAxis as SecondAxis
from pipeline.study.second_axis import level_of as level_of
from pipeline.study.serving import SERVING_KEY as SERVING_KEY
from pipeline.study.serving import Durability as Durability
from pipeline.study.serving import ExplorationConfig as ExplorationConfig
from pipeline.study.serving import FuseConfig as FuseConfig
from pipeline.study.serving import KafkaTopic as KafkaTopic
from pipeline.study.serving import ServingConfig as ServingConfig
from pipeline.study.simulator import DirectConfig as DirectConfig
from pipeline.study.simulator import InjectedFaults as InjectedFaults
from pipeline.study.simulator import SimulatorConfig as SimulatorConfig
from pipeline.study.simulator import TrueSlope as TrueSlope
from pipeline.study.study import SECTIONS as SECTIONS
from pipeline.study.study import Study as Study
from pipeline.study.yaml_file import parse_yaml as parse_yaml
