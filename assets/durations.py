"""How long a run takes, in its log: at its start, and after every asset."""

import time
from dataclasses import dataclass, field
from typing import Any

import dagster as dg

from assets.asset_metadata import asset_key, asset_name, prefix_of
from pipeline.artifacts.storage import StudyPaths
from pipeline.core.asset_graph import assets_of
from pipeline.evaluation.scoring import SCORES, preference_ids
from pipeline.steps.duration import DataSize, DurationModel, LastRun, work_of
from pipeline.study import Study

SECONDS = "seconds"
"""Metadata of every materialisation; the UI plots it, and the next run is predicted from it."""

_PER_SECOND = " per second"


@dataclass(slots=True)
class AssetTimer:
    """Measures one asset of a run from now on; the first one logs how long the run takes.

    Attributes:
        context: Of the asset.
        asset: Its name.
        study: The study it runs with.
        paths: Its artifacts.
        share: The share of the asset's work that is selected: of the preferences, some.
        started: When it started, in seconds of the monotonic clock.
    """

    context: dg.AssetExecutionContext
    asset: str
    study: Study
    paths: StudyPaths
    share: float = 1.0
    started: float = field(default_factory=time.perf_counter)

    def __post_init__(self) -> None:
        selected = self._selected()
        if selected[0] == self.asset:
            self.context.log.info(self._model().announce(selected))

    def stop(self) -> dict[str, Any]:
        """Log what the asset has taken, and what the rest of the run takes; returns its metadata."""
        seconds = time.perf_counter() - self.started
        model = self._model()
        selected = self._selected()
        rest = selected[selected.index(self.asset) + 1 :]
        left = model.predict(rest) if rest else None
        self.context.log.info("done in %.1f s%s", seconds, f"; {left} left" if left else "")
        metadata: dict[str, Any] = {SECONDS: round(seconds, 3)}
        if model.size is not None:
            work = work_of(self.asset, self.study, model.size)
            if work.amount and seconds:
                metadata[work.unit + _PER_SECOND] = round(self.share * work.amount / seconds, 1)
        return metadata

    def _selected(self) -> list[str]:
        """The assets of the run, in the chain's order."""
        keys = self.context.job_def.asset_layer.executable_asset_keys
        names = {asset_name(key) for key in keys}
        return [name for name in assets_of(trains=self.study.trains) if name in names]

    def _model(self) -> DurationModel:
        size = DataSize.of(self.study, self.paths)
        return DurationModel(study=self.study, size=size, last_run=self._last_run)

    def _last_run(self, asset: str) -> LastRun | None:
        names = [SCORES, preference_ids(self.study)[0]] if asset == SCORES else [asset]
        prefix = prefix_of(next(iter(self.context.selected_asset_keys)))
        event = self.context.instance.get_latest_materialization_event(asset_key(prefix, names))
        if event is None or event.asset_materialization is None:
            return None
        found = {name: one.value for name, one in event.asset_materialization.metadata.items()}
        if not isinstance(seconds := found.get(SECONDS), float):
            return None
        rates = [
            value
            for name, value in found.items()
            if name.endswith(_PER_SECOND) and isinstance(value, float)
        ]
        return LastRun(seconds, rates[0] if rates else None)
