"""The documented exception tree is complete, and every error is one a user can fix."""

import inspect

import models.errors
from pipeline.core import errors


def _classes(module):
    return {
        name: value
        for name, value in vars(module).items()
        if inspect.isclass(value) and value.__module__ == module.__name__
    }


def test_the_documented_tree_has_every_error():
    tree = errors.__doc__ or ""

    lines = (line.removeprefix("│   ") for line in tree.splitlines())
    documented = {line.split()[1] for line in lines if line[:2] in {"├─", "└─"}}

    assert {"ParetoscopeError"} | documented == set(_classes(errors))


def test_every_error_of_the_project_is_a_user_error():
    for module in (errors, models.errors):
        for error in _classes(module).values():
            assert issubclass(error, errors.USER_ERRORS)
            assert error.__doc__


def test_a_bug_is_not_a_user_error():
    assert not issubclass(ValueError, errors.USER_ERRORS)
    assert not issubclass(AssertionError, errors.USER_ERRORS)
