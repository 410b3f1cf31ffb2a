"""The restorer's sizes: validated by name, within their budgets, and written to and read from a card."""

from __future__ import annotations

import pytest

from mofe_restore.model.restorer.config import RestorerConfig
from mofe_restore.model.restorer.network import Restorer


def test_a_halo_beyond_the_budget_is_refused() -> None:
    with pytest.raises(ValueError, match="budget of 128 px"):
        RestorerConfig(guidance_width=8, encoder_blocks=(2, 2, 3, 4))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("widths", (8, 8, 8)),
        ("experts", 1),
        ("mofe_levels", (3,)),
        ("thumbnail", 100),
        ("thumbnail", 264),
        ("softness", 0.0),
        ("top_experts", 5),
        ("guidance_width", "16"),
        ("residual_init", float("nan")),
    ],
)
def test_a_config_that_makes_no_sense_is_refused_by_name(
    tiny_config: RestorerConfig, field: str, value: object
) -> None:
    with pytest.raises(ValueError, match=field):
        RestorerConfig.from_dict({**tiny_config.to_dict(), field: value})


def test_a_config_survives_its_dict(tiny_config: RestorerConfig) -> None:
    assert RestorerConfig.from_dict(tiny_config.to_dict()) == tiny_config
    with pytest.raises(ValueError, match="color"):
        RestorerConfig.from_dict({**tiny_config.to_dict(), "color": 1})


def test_a_card_may_state_halo_and_reach_and_they_are_checked(tiny_config: RestorerConfig) -> None:
    described = tiny_config.to_card()
    assert set(described) - set(tiny_config.to_dict()) == {"halo", "reach"}
    assert RestorerConfig.from_dict(described) == tiny_config
    assert Restorer.from_config(described).halo == described["halo"]
    with pytest.raises(ValueError, match="says halo 32, but its halo is 128"):
        RestorerConfig.from_dict({**described, "halo": 32})
