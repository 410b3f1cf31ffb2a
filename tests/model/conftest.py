"""The tiny models as fixtures."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from mofe_restore.model.guidance import Guidance
from mofe_restore.model.restorer.config import RestorerConfig
from mofe_restore.model.restorer.network import Restorer
from mofe_restore.model.weights import Card
from mofe_restore.tests import factories


@pytest.fixture
def tiny_config() -> RestorerConfig:
    return factories.restorer_config()


@pytest.fixture
def restorer() -> Restorer:
    return factories.make_restorer()


@pytest.fixture
def camera_restorer() -> Restorer:
    """With a camera branch."""
    return factories.make_restorer(with_camera=True)


@pytest.fixture
def sharpening_restorer() -> Restorer:
    """With a camera branch that sees deconvolved images."""
    return factories.make_restorer(with_camera=True, with_estimator=True)


@pytest.fixture
def make_guidance() -> Callable[..., Guidance]:
    return factories.make_guidance


@pytest.fixture
def card() -> Card:
    return factories.make_card()
