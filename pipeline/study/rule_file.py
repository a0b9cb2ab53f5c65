"""Rules in a YAML file of their own."""

from pathlib import Path
from typing import Any

from pipeline.core.errors import StudyError
from pipeline.study.loader import load_study
from pipeline.study.rules import RuleSet
from pipeline.study.yaml_file import parse_yaml

_KEYS = {"rules", "filters", "candidates", "index"}


def read_rules(file: Path, params: Path) -> RuleSet:
    """The rules, filters, candidates and index of a YAML file, which are all that apply.

    Args:
        file: With the keys ``rules``, ``filters``, ``candidates`` and ``index`` of the section ``serving``.
        params: The study's ``params.yaml``, whose other sections the rules must fit.

    Raises:
        StudyError: if it cannot be read, has other keys, or a rule is not valid.
    """
    if file.exists() and not file.is_file():  # reading a pipe would wait without an end
        msg = f"{file} is not a file; expected a YAML file with rules, as in the section serving"
        raise StudyError(msg)
    try:
        values = parse_yaml(file.read_bytes()).values
    except OSError as error:
        msg = f"cannot read {file}: {error.strerror}; expected a YAML file with rules, as in the section serving"
        raise StudyError(msg) from error
    except StudyError as error:
        msg = f"{file} is not valid YAML: {error}"
        raise StudyError(msg) from error
    if not isinstance(values, dict) or not values or not _KEYS.issuperset(values):
        msg = f"{file}: expected the keys {', '.join(sorted(_KEYS))}, as in the section serving"
        raise StudyError(msg)
    # without those of the study: the file has all rules that apply, and no list is drawn
    plain: dict[str, Any] = {"rules": [], "filters": {}, "index": None, "exploration": None}
    changed = {f"serving.{key}": value for key, value in {**plain, **values}.items()}
    try:
        return load_study(params, changed).serving.rule_set
    except StudyError as error:
        raise StudyError(f"{file}: {error}") from error
