"""The exception tree is as its picture says, and covers what a user can mend."""

import inspect

import models.errors
from pipeline.core import errors


def _classes(module):
    return {
        name: value
        for name, value in vars(module).items()
        if inspect.isclass(value) and value.__module__ == module.__name__
    }


def test_every_error_stands_in_the_picture_of_the_tree():
    picture = errors.__doc__ or ""

    drawn = {line.split()[1] for line in picture.splitlines() if line[:2] in {"├─", "└─"}}

    assert {"ParetoscopeError"} | drawn == set(_classes(errors))


def test_every_error_of_the_project_is_one_a_user_can_mend():
    for module in (errors, models.errors):
        for error in _classes(module).values():
            assert issubclass(error, errors.USER_ERRORS)
            assert error.__doc__


def test_a_mistake_in_the_code_is_no_user_error():
    assert not issubclass(ValueError, errors.USER_ERRORS)
    assert not issubclass(AssertionError, errors.USER_ERRORS)
