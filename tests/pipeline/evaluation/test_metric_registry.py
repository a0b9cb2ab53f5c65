"""The metrics a study declares: at extra cutoffs, and custom functions."""

import re
from textwrap import dedent

import numpy as np
import pytest

from models.errors import ModelError
from models.scoring.target_scores import TargetScores
from pipeline.core.errors import StudyError
from pipeline.evaluation.metric_registry import build_metrics
from pipeline.evaluation.ranking_metrics import Targets
from pipeline.study import CustomMetric, EvaluationConfig
from tests.plugins import install_plugin

RANKS = [1, 3, 7, 30]


def targets(ranks, k=20, items=None):
    n = len(ranks)
    scores = TargetScores(
        session=np.arange(n),
        history=np.ones(n, dtype=np.int64),
        item=np.array(items or [0] * n),
        ordered=np.zeros(n, dtype=np.bool_),
        rank=np.array(ranks),
        click_loss=np.zeros(n),
        uniformity=np.ones(n),
        order_loss=np.zeros(n),
    )
    return Targets.from_scores(scores, k, np.zeros(2, dtype=np.bool_), np.array(["cheap", "dear"]))


def ratio(terms):
    numerator, denominator = terms
    return numerator.sum() / denominator.sum()


def test_metrics_at_extra_cutoffs_are_named_after_them():
    declared = build_metrics(EvaluationConfig(cutoff=20, extra_cutoffs=(5, 2)))

    values = [ratio(declared[name](targets(RANKS))) for name in ("recall", "recall@5", "recall@2")]

    assert values == [3 / 4, 2 / 4, 1 / 4]
    assert "mrr@5" in declared
    assert "click_loss@5" not in declared


@pytest.fixture
def custom(tmp_path, monkeypatch):
    """Writes a module with a custom metric and declares its function ``metric``."""

    def declare(code, name):
        (tmp_path / f"{name}.py").write_text(dedent(code), encoding="utf-8")
        monkeypatch.syspath_prepend(tmp_path)
        metric = CustomMetric(name="value_recall", function=f"{name}:metric")
        return build_metrics(EvaluationConfig(custom_metrics=(metric,)))

    return declare


def test_a_custom_metric_reads_the_shops_item_ids(custom):
    declared = custom(
        """
        import numpy as np

        PRICES = {"cheap": 1.0, "dear": 9.0}


        def metric(targets):
            value = np.array([PRICES.get(item, 1.0) for item in targets.item_ids])
            value = value[targets.item]
            return targets.hit * value, value
        """,
        "custom_value",
    )

    assert ratio(declared["value_recall"](targets([1, 30], items=[1, 0]))) == 9 / 10


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("return targets.hit[:1], targets.ones", r"returns \(1,\) and \(3,\) for 3 targets"),
        ("return targets.hit / 0, targets.ones", "returns a number that is not finite"),
        ("return targets.hit, -targets.ones", "returns a negative denominator"),
        ("return targets.hit", "fails .ValueError"),
        ("return targets.nothing, targets.ones", "fails .AttributeError.*nothing"),
    ],
)
def test_an_invalid_metric_is_rejected_before_scoring(custom, code, words):
    name = f"custom_wrong_{abs(hash(code))}"
    module = f"import numpy as np\nnp.seterr(all='ignore')\ndef metric(targets):\n    {code}\n"

    with pytest.raises(
        StudyError, match=f"custom_metrics, value_recall: .*{words}.*expected two arrays"
    ):
        custom(module, name)


def test_the_documented_metric_is_valid(custom, project_root, tmp_path, monkeypatch):
    page = (project_root / "docs" / "metrics.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    (tmp_path / "prices.csv").write_text("item,price\ncheap,1\ndear,9\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)

    declared = custom(code.replace("def value_recall", "def metric"), "documented_metric")

    assert ratio(declared["value_recall"](targets([1, 30], items=[1, 0]))) == 9 / 10


def test_a_missing_function_is_named():
    section = EvaluationConfig(
        custom_metrics=(CustomMetric(name="mine", function="no_such:metric"),)
    )

    with pytest.raises(ModelError, match=r"evaluation\.custom_metrics, mine = 'no_such:metric'"):
        build_metrics(section)


def test_a_metric_of_an_installed_package_is_named_by_its_entry_point(tmp_path, monkeypatch):
    source = "def hits(targets): return targets.hit, targets.ones"
    install_plugin(tmp_path, "entry_metric", source, metrics={"hits": "entry_metric:hits"})
    monkeypatch.syspath_prepend(tmp_path)

    declared = build_metrics(
        EvaluationConfig(custom_metrics=(CustomMetric(name="share", function="hits"),))
    )

    assert ratio(declared["share"](targets(RANKS))) == 3 / 4
    with pytest.raises(ModelError, match=r"mine = 'hit' is unknown.*\.metrics: hits; or write"):
        build_metrics(EvaluationConfig(custom_metrics=(CustomMetric(name="mine", function="hit"),)))
