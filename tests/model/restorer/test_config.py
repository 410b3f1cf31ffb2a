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


CAMERA = {"camera_widths": [8, 8], "camera_encoder_blocks": [1, 2], "camera_decoder_blocks": [1]}
"""Fields of a camera branch."""


def test_weights_for_a_jpeg_borrow_what_is_there_and_are_read_with_context_enough(tiny_config: RestorerConfig) -> None:
    without = RestorerConfig.from_dict({**tiny_config.to_dict(), **CAMERA})
    deep = {**CAMERA, "camera_jpeg_encoder_blocks": [4, 1], "camera_jpeg_decoder_blocks": [5]}
    assert RestorerConfig.from_dict({**tiny_config.to_dict(), **deep}).camera_halo > without.camera_halo
    for wrong in ({"camera_jpeg_encoder_blocks": [1, 3]}, {"camera_jpeg_decoder_blocks": [5, 1]}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            RestorerConfig.from_dict({**tiny_config.to_dict(), **deep, **wrong})
    for alone in ({"camera_estimator_width": 8}, {"camera_jpeg_encoder_blocks": [1, 1]}):
        with pytest.raises(ValueError, match=f"{next(iter(alone))} belongs to a camera branch"):
            RestorerConfig.from_dict({**tiny_config.to_dict(), **alone})


def test_a_card_that_says_own_jpeg_means_as_many_blocks_as_the_branch_has(tiny_config: RestorerConfig) -> None:
    card = {**tiny_config.to_dict(), **CAMERA}
    old = {name: value for name, value in card.items() if not name.startswith("camera_jpeg_")}
    config = RestorerConfig.from_dict({**old, "camera_own_jpeg": True})
    assert (config.camera_jpeg_encoder_blocks, config.camera_jpeg_decoder_blocks) == ((1, 2), (1,))
    assert RestorerConfig.from_dict({**old, "camera_own_jpeg": False}) == RestorerConfig.from_dict(card)
    with pytest.raises(ValueError, match="camera_own_jpeg"):
        RestorerConfig.from_dict({**old, "camera_own_jpeg": "yes"})


def test_a_card_may_state_halo_and_reach_and_they_are_checked(tiny_config: RestorerConfig) -> None:
    described = tiny_config.to_card()
    assert set(described) - set(tiny_config.to_dict()) == {"halo", "reach"}
    assert RestorerConfig.from_dict(described) == tiny_config
    assert Restorer.from_config(described).halo == described["halo"]
    with pytest.raises(ValueError, match="says halo 32, but its halo is 128"):
        RestorerConfig.from_dict({**described, "halo": 32})
