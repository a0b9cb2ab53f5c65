"""Values of policies from the log of another: of a finished experiment, or of any bandit table."""

from pathlib import Path
from typing import Any

from pipeline.cli.context import open_project
from pipeline.cli.output import print_result
from pipeline.core.errors import StudyError
from pipeline.counterfactual.bandit.read_log import LogColumns
from pipeline.reporting.text.counterfactual import policy_value_lines
from pipeline.reporting.text.counterfactual_estimates import estimate_lines, unserved_lines
from pipeline.results.serialization import to_dict
from pipeline.steps.counterfactual import policy_values_of
from pipeline.study import read_rules

_OF_TABLES = ("policy", "logging", "realised", "user")
_OF_EXPERIMENTS = ("preference", "rules", "model")


def counterfactual(*, log: Path | None, json: bool, **options: Any) -> int:
    """Evaluate policies on a logged bandit table, or on the study's experiment.

    Returns:
        The exit code: 1 if a policy has no value, for lack of support.
    """
    others = _OF_TABLES if log is None else _OF_EXPERIMENTS
    if found := [f"--{name}" for name in others if options[name]]:
        about = "a table of --log" if log is None else "the study's experiment"
        msg = f"{', '.join(found)} is about {about}; use it {'with' if log is None else 'without'} --log"
        raise StudyError(msg)
    return (
        _of_experiment(json=json, **options)
        if log is None
        else _of_table(log, json=json, **options)
    )


def _of_table(log: Path, *, json: bool, **options: Any) -> int:
    if not options["policy"]:
        msg = "--log needs a --policy: a table of the policy, or the log's column with its probability"
        raise StudyError(msg)
    found = policy_values_of(
        log,
        options["policy"],
        columns=LogColumns(
            **{name: options[name] for name in ("action", "propensity", "reward", "user")}
        ),
        logging=options["logging"],
        realised=options["realised"],
        level=options["level"],
    )
    print_result(to_dict(found), policy_value_lines(found), json=json)
    return int(any(one.is_refused for one in found.policies))


def _of_experiment(*, json: bool, **options: Any) -> int:
    from pipeline.counterfactual.experiment.stored_estimates import (  # noqa: PLC0415 - torch takes a second
        require_current_estimates,
    )
    from pipeline.steps.unserved_policies import (  # noqa: PLC0415
        UnservedQuestion,
        evaluate_policies_of,
    )

    study, paths = open_project()
    file: Path | None = options["rules"]
    question = UnservedQuestion(
        preference=options["preference"],
        rules=read_rules(file, paths.params_file) if file else None,
        model=options["model"],
    )
    if question == UnservedQuestion():
        checked = require_current_estimates(paths)
        return print_result(to_dict(checked), estimate_lines(checked), json=json)
    found = evaluate_policies_of(study, paths, question)
    print_result(to_dict(found), unserved_lines(found), json=json)
    return int(any(one.is_refused for one in found.policies))
