"""All errors that a user can mend have one base."""

from __future__ import annotations

import importlib.util
import inspect
import pickle
from pathlib import Path

import pytest

from mofe_restore.model import errors
from mofe_restore.model.errors import MofeError

ERRORS = [value for _, value in inspect.getmembers(errors, inspect.isclass)]


@pytest.mark.parametrize("error", ERRORS)
def test_every_error_is_caught_as_a_mofe_error_and_as_a_value_error(error: type[Exception]) -> None:
    assert issubclass(error, MofeError) and issubclass(error, ValueError)


@pytest.mark.field
def test_row4_an_errors_type_holds_no_path_wherever_the_pack_lies(tmp_path: Path) -> None:
    """ComfyUI imports a pack under the path of its folder, and shows the type of an error with its module."""
    source = Path(errors.__file__).read_text(encoding="utf-8")
    copy = tmp_path / "errors.py"
    copy.write_text(source, encoding="utf-8")
    spec = importlib.util.spec_from_file_location("/opt/host/custom_nodes/mofe restore.model.errors", copy)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    kinds = [kind for kind in vars(module).values() if isinstance(kind, type) and issubclass(kind, module.MofeError)]
    assert len(kinds) > 5
    assert {kind.__module__ for kind in kinds} == {"mofe_restore.model.errors"}


@pytest.mark.field
def test_row4_an_error_survives_a_process_boundary() -> None:
    error = pickle.loads(pickle.dumps(errors.GuidanceError("say it")))  # noqa: S301
    assert type(error) is errors.GuidanceError and str(error) == "say it"
