"""Descriptions and reports say what the scores say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch

from mofe_restore.model.guidance import Guidance
from mofe_restore.model.mllm.wording import description, report, scores_by_name, uncertainty_sentence
from mofe_restore.model.vocabulary import DEGRADATIONS

NUMBERS = [1.0, 0.061, 0.0, 0.0, 1.24, 0.8, 0.6, 0.0, 100.0]


def test_a_description_names_what_is_present_with_numbers_and_then_what_is_not() -> None:
    assert description({"noise": 0.9}, NUMBERS) == (
        "Strong noise (sigma 0.061). No low light, no haze, no rain, no snow, no blur, no JPEG artifacts."
    )
    assert description({}, NUMBERS).startswith("The picture is clean. No low light, ")
    everything = description(dict.fromkeys(DEGRADATIONS, 0.1), NUMBERS)
    assert everything.startswith("Light low light, light haze (beta 1.2, ") and "No " not in everything


def test_numbers_of_an_absent_degradation_are_left_out() -> None:
    unseen = [1.04, 0.0004, 0.0, 0.0, 0.04, 0.01, 0.99, 0.04, 99.6]
    said = description(dict.fromkeys(DEGRADATIONS, 0.1), unseen)
    assert said == "Light low light, light haze, light rain, light snow, light noise, light blur, light JPEG artifacts."
    assert description({"haze": 0.1}, [*unseen[:4], 0.06, *unseen[5:]]).startswith("Light haze (beta 0.1, air")


def test_scores_are_reported_by_name_and_rounded(make_guidance: Callable[..., Guidance]) -> None:
    guidance = replace(make_guidance(2), scores=torch.tensor([[0.0] * 7, [0.123456, 0, 0, 0, 0, 0, 1]]))
    assert scores_by_name(guidance, 1) == {**dict.fromkeys(DEGRADATIONS, 0.0), "low_light": 0.1235, "jpeg": 1.0}
    assert scores_by_name(guidance) == dict.fromkeys(DEGRADATIONS, 0.0)


def test_a_report_tells_strengths_in_words_and_no_estimate_as_null(make_guidance: Callable[..., Guidance]) -> None:
    guidance = replace(
        make_guidance(2),
        scores=torch.tensor([[0.5, 0.7, 0.9, 0.49, 0, 0, 0], [0.0] * 7]),
        parameters=torch.stack([torch.full((9,), torch.nan), torch.ones(9)]),
    ).with_removal({"rain": 0.25})
    first, second = report(guidance)
    assert first["present"] == {"low_light": "light", "haze": "moderate", "rain": "strong"}
    assert first["parameters"] is None and set(second["parameters"].values()) == {1.0}
    assert second["present"] == {} and second["removal"]["rain"] == 0.25
    assert first["description"] == "image 0 is hazy" and first["mllm"] == guidance.mllm_identity


def test_what_is_called_present_and_is_not_certain_is_said_and_reported(
    make_guidance: Callable[..., Guidance],
) -> None:
    guidance = replace(
        make_guidance(2),
        scores=torch.tensor([[0.6, 0.7, 0.3, 0.5, 0, 0, 0], [0.0] * 7]),
        certainty=torch.tensor([[0.95, 0.694, 0.3, 0.5, 0, 0, 0], [0.1] * 7]),
    )
    assert uncertainty_sentence(guidance) == "Not certain: haze (69 %), snow (50 %)."
    assert uncertainty_sentence(guidance, 1) == ""
    assert report(guidance)[0]["certainty"]["haze"] == 0.694
    assert uncertainty_sentence(make_guidance()) == "" and report(make_guidance())[0]["certainty"] is None
