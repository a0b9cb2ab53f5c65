"""A logged bandit table, from the files to the values of policies."""

from collections.abc import Sequence
from pathlib import Path

from pipeline.counterfactual.bandit.evaluate import (
    LoggedProbability,
    Policy,
    evaluate_policies,
)
from pipeline.counterfactual.bandit.mean_reward import mean_reward
from pipeline.counterfactual.bandit.policies import check_propensities_match, read_policy
from pipeline.counterfactual.bandit.read_log import (
    BanditLog,
    LogColumns,
    logged_probability,
    read_log,
    read_rewards,
)
from pipeline.results.policy_values import PolicyValues


def policy_values_of(  # noqa: PLR0913 - a log, its policies and their comparison
    source: Path,
    policies: Sequence[str],
    *,
    columns: LogColumns,
    logging: Path | None = None,
    realised: Path | None = None,
    level: float = 0.95,
) -> PolicyValues:
    """Evaluate policies on the log of another.

    Args:
        source: The log.
        policies: Of each the file of its table, or the log's column with its probability of the logged
            action.
        columns: The columns of the log.
        logging: The table of the policy that wrote the log.
        realised: A log of the evaluated policy, with the same columns of rewards and users.
        level: Nominal coverage of intervals.

    Raises:
        DataError: if a file is not what it should be; the message names the row or column.
    """
    log = read_log(source, columns)
    found = [_policy(name, log, columns) for name in policies]
    known = None if logging is None else read_policy(logging, log, columns.action)
    if known is not None:
        check_propensities_match(log, known)
    compared = None
    if realised is not None:
        compared = mean_reward(read_rewards(realised, columns), level)
    return evaluate_policies(log, found, logging=known, realised=compared, level=level)


def _policy(name: str, log: BanditLog, columns: LogColumns) -> Policy:
    if Path(name).is_file():
        return read_policy(Path(name), log, columns.action)
    return LoggedProbability(name=name, probability_N=logged_probability(log, name))
