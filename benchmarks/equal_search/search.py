"""The search: every setting once, the best on validation again with the other seeds."""

import statistics
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, replace

from equal_search.programs import PROGRAMS, Setting
from equal_search.runs import Result, Run


@dataclass(frozen=True, slots=True)
class Found:
    """What the search of one program found on one log.

    Attributes:
        tried: Every tried setting and its result, the first seed.
        chosen: The run with the best Recall@20 on validation.
        results: That setting's results, one per seed.
    """

    tried: list[tuple[Run, Result]]
    chosen: Run
    results: list[Result]

    def recall(self) -> "Mean":
        """Test Recall@20 over the seeds."""
        return Mean.of([one.test.recall for one in self.results])

    def mrr(self) -> "Mean":
        """Test MRR@20 over the seeds."""
        return Mean.of([one.test.mrr for one in self.results])


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean and its standard error over seeds; 0 for what is the same under every seed."""

    value: float
    error: float

    @classmethod
    def of(cls, values: list[float]) -> "Mean":
        """Of one value per seed."""
        error = statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else 0.0
        return cls(statistics.mean(values), error)

    def standard_errors_above(self, other: "Mean") -> float:
        """The difference to another mean, in standard errors of the difference."""
        error = (self.error**2 + other.error**2) ** 0.5
        difference = self.value - other.value
        return (
            difference / error if error else (0.0 if not difference else difference * float("inf"))
        )


def choose(tried: list[tuple[Run, Result]]) -> Run:
    """The run with the best Recall@20 on validation; the test is not looked at."""
    return max(tried, key=lambda one: one[1].validation.recall)[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What every program may spend on a log.

    Attributes:
        seconds: Training time of one run, in processor seconds of one thread.
        seeds: Seeds of the chosen setting.
        overrides: Settings of ours that differ from the default study's.
    """

    seconds: float
    seeds: int
    overrides: Setting


def search(
    log: str, programs: list[str], budget: Budget, get: Callable[[Run], Result], pool: Executor
) -> dict[str, Found]:
    """All programs on one log; ``get`` runs."""
    tries = {name: first_runs(log, name, budget) for name in programs}
    all_runs = [run for runs in tries.values() for run in runs]
    results = iter(pool.map(get, all_runs))
    tried = {name: [(run, next(results)) for run in runs] for name, runs in tries.items()}
    chosen = {name: choose(some) for name, some in tried.items()}
    again = [
        replace(chosen[name], seed=seed)
        for name in programs
        if PROGRAMS[name].is_trained
        for seed in range(1, budget.seeds)
    ]
    more = list(zip(again, pool.map(get, again), strict=True))
    return {
        name: Found(
            tried[name],
            chosen[name],
            [get(chosen[name]), *(result for run, result in more if run.program == name)],
        )
        for name in programs
    }


def first_runs(log: str, name: str, budget: Budget) -> list[Run]:
    """A run of each setting that the search of a program tries."""
    program = PROGRAMS[name]
    changed = budget.overrides if program.is_ours else {}
    seconds = budget.seconds if program.is_trained else 0
    return [
        Run(log=log, program=name, setting={**setting, **changed}, seed=0, seconds=seconds)
        for setting in program.settings(log)
    ]
