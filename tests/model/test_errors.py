"""All errors that a user can mend have one base."""

from __future__ import annotations

import inspect

import pytest

from mofe_restore.model import errors
from mofe_restore.model.errors import MofeError

ERRORS = [value for _, value in inspect.getmembers(errors, inspect.isclass)]


@pytest.mark.parametrize("error", ERRORS)
def test_every_error_is_caught_as_a_mofe_error_and_as_a_value_error(error: type[Exception]) -> None:
    assert issubclass(error, MofeError) and issubclass(error, ValueError)
