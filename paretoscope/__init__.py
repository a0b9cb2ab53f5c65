"""The Python API of Paretoscope: which offline metrics predict online impact?

``import paretoscope as ps`` in a notebook or script. A project is a folder with a
``params.yaml``, which describes a study::

    study = ps.open_study("path/of/project")
    study.run()
    study.table("group_kpis")
    study.report()

Without a study, :func:`fit` tests hypotheses on a frame of group counts, :func:`evaluate` measures
metrics on a frame of ranks, and :func:`meta_analysis` pools the reports of several experiments.
Results show themselves in a notebook; ``.to_frame()``, ``.to_dict()`` and ``.figure()`` take them on.
"""

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from paretoscope.analysis import compare as compare
    from paretoscope.analysis import evaluate as evaluate
    from paretoscope.analysis import fit as fit
    from paretoscope.analysis import meta_analysis as meta_analysis
    from paretoscope.analysis import past_tests as past_tests
    from paretoscope.experiment import ingest as ingest
    from paretoscope.experiment import plan as plan
    from paretoscope.experiment import report as report
    from paretoscope.notebook import Figure as Figure
    from paretoscope.proxies import PastTests as PastTests
    from paretoscope.results import Comparison as Comparison
    from paretoscope.results import Evaluation as Evaluation
    from paretoscope.results import Fit as Fit
    from paretoscope.results import Ingestion as Ingestion
    from paretoscope.results import MetaAnalysis as MetaAnalysis
    from paretoscope.results import Plan as Plan
    from paretoscope.results import Report as Report
    from paretoscope.study import Study as Study
    from paretoscope.study import open_study as open_study

__all__ = [
    "Comparison",
    "Evaluation",
    "Figure",
    "Fit",
    "Ingestion",
    "MetaAnalysis",
    "PastTests",
    "Plan",
    "Report",
    "Study",
    "compare",
    "evaluate",
    "fit",
    "ingest",
    "meta_analysis",
    "open_study",
    "past_tests",
    "plan",
    "report",
]

_MODULES = {
    "analysis": ("compare", "evaluate", "fit", "meta_analysis", "past_tests"),
    "experiment": ("ingest", "plan", "report"),
    "notebook": ("Figure",),
    "proxies": ("PastTests",),
    "study": ("Study", "open_study"),
}
"""The module of a public name, which is imported when the name is first used; else ``results``."""

_HOME = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        msg = f"module 'paretoscope' has no attribute {name!r}; it has {', '.join(__all__)}"
        raise AttributeError(msg)
    return getattr(import_module(f"paretoscope.{_HOME.get(name, 'results')}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _check_packages() -> None:
    """Check that ``models``, ``pipeline`` and ``assets`` are the packages installed with this one.

    Raises:
        ImportError: if a folder or file of the user's has the same name and hides one of them.
    """
    ours = Path(__file__).resolve().parents[1]
    for name in ("models", "pipeline", "assets"):
        spec = find_spec(name)
        if spec is None:
            msg = f"package {name!r} is missing from {ours}; install Paretoscope again"
            raise ImportError(msg)
        places = [Path(place) for place in spec.submodule_search_locations or [spec.origin or "."]]
        if ours / name not in [place.resolve() for place in places]:
            msg = (
                f"{places[0]} hides Paretoscope's package {name!r} in {ours / name}: rename yours, or "
                "start Python in another folder"
            )
            raise ImportError(msg)


_check_packages()
