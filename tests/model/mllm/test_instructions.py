"""Instructions in words: what they remove and what they keep."""

from __future__ import annotations

import pytest
import torch

from mofe_restore.model.guidance import Guidance
from mofe_restore.model.mllm.instructions import read_order
from mofe_restore.model.vocabulary import DEGRADATIONS, PARAMETERS
from mofe_restore.tests.factories import ordered_amounts

ALL = set(DEGRADATIONS)


@pytest.mark.parametrize(
    ("instruction", "removed"),
    [
        ("Remove only the rain.", {"rain"}),
        ("Remove the rain. The fog should stay.", {"rain"}),
        ("Reduce noise without adding blur", {"noise"}),
        ("Remove all weather", {"haze", "rain", "snow"}),
        ("I don't want the fog removed", ALL - {"haze"}),
        ("Let the fog stay", ALL - {"haze"}),
        ("Remove nothing", set()),
        ("Don't remove anything", set()),
        ("Keep nothing", ALL),
        ("Remove all of it", ALL),
        ("remove rain and noise, keep the fog", {"rain", "noise"}),
        ("Keep the haze.", ALL - {"haze"}),
        ("Remove everything but the snowflakes", ALL - {"snow"}),
        ("Get rid of the JPEG blocks and the grain", {"jpeg", "noise"}),
        ("Don't remove the fog.", ALL - {"haze"}),
        ("Don\u2019t reduce the grain", ALL - {"noise"}),
        ("Do not fix the blur", ALL - {"blur"}),
        ("Do not take out the fog", ALL - {"haze"}),
        ("Fix everything except low light and blur", ALL - {"low_light", "blur"}),
        ("Remove the rain, leave the rest", {"rain"}),
        ("Remove the rain but not the snow", {"rain"}),
        ("Remove the rain without touching the fog", {"rain"}),
        ("Remove the rain from this dark, clean street", {"rain"}),
        ("Remove all the rain", {"rain"}),
        ("take out all noise and grain", {"noise"}),
        ("Take out all noise, keep the rest", {"noise"}),
        ("Keep all the fog", ALL - {"haze"}),
        ("Keep everything but the rain", {"rain"}),
        ("leave all except the noise", {"noise"}),
        ("Remove everything", ALL),
        ("Keep everything", set()),
        ("Could you please remove the snow?", {"snow"}),
        ("Keep the foggy mood", ALL - {"haze"}),
        ("keep the grainy look.", ALL - {"noise"}),
        ("Keep it dark", ALL - {"low_light"}),
        ("Remove the fogginess", {"haze"}),
        ("Denoise only", {"noise"}),
        ("Denoise and dehaze", {"noise", "haze"}),
        ("Denoise, but keep the fog", {"noise"}),
        ("Don't denoise", ALL - {"noise"}),
        ("Do not brighten it", ALL - {"low_light"}),
        ("Remove the rain without brightening the street", {"rain"}),
        ("Sharpen the picture, leave the rest", {"blur"}),
        ("everything but the grain", ALL - {"noise"}),
        ("Everything except fog and snow", ALL - {"haze", "snow"}),
        ("rain only", {"rain"}),
        ("Just the rain and the noise", {"rain", "noise"}),
        ("Remove the rain, the fog should stay", {"rain"}),
        ("Remove the rain and the fog should stay", {"rain"}),
        ("Remove the rain, the fog and the grain should stay", {"rain"}),
        ("The fog and the grain should stay", ALL - {"haze", "noise"}),
        ("The fog should stay, remove everything else", ALL - {"haze"}),
        ("Remove everything, the fog should stay", ALL - {"haze"}),
        ("Dehaze, the noise should stay", {"haze"}),
        ("The rain should be removed", {"rain"}),
        ("I want the rain and the haze gone", {"rain", "haze"}),
        ("The rain should be removed and the fog should not be changed", {"rain"}),
        ("The rain should be removed and the colours should not be changed", {"rain"}),
        ("Denoise this snow scene", {"noise"}),
        ("Remove noise from this rain photo", {"noise"}),
        ("Keep the snow scene", ALL - {"snow"}),
        ("Keep the low light picture", ALL - {"low_light"}),
        ("Quickly denoise", {"noise"}),
        ("Carefully remove the noise", {"noise"}),
        ("First remove the rain", {"rain"}),
        ("Let's remove the rain", {"rain"}),
        ("Always keep the grain", ALL - {"noise"}),
        ("Do keep the grain", ALL - {"noise"}),
    ],
)
def test_an_instruction_says_what_to_remove_and_what_to_keep(instruction: str, removed: set[str]) -> None:
    assert ordered_amounts(instruction) == {name: float(name in removed) for name in DEGRADATIONS}


@pytest.mark.parametrize(
    "text",
    [
        *("", "Is there haze?", "How strong is the rain?", "Describe the noise.", "Remove it", "What should I remove?"),
        "Is this not a clean picture, or is there haze?",
        "Is the picture clean or does it have noise?",
        "Is there noise but no rain?",
        "Describe the noise but also the blur",
        "Remove dust and scratches",
        "Describe the denoising",
        "A dark street",
    ],
)
def test_other_text_changes_no_amounts(text: str) -> None:
    assert ordered_amounts(text) == {}


def described(instruction: str) -> Guidance:
    vector = torch.zeros(1, 4)
    scores, parameters = torch.zeros(1, len(DEGRADATIONS)), torch.zeros(1, len(PARAMETERS))
    seen = Guidance(vector[None], vector, scores, parameters, ("No rain.",), "an MLLM")
    return read_order(instruction).apply(seen)


@pytest.mark.parametrize(
    "text", ["Remove dust and scratches", "Please keep the people", "clean up", "Could you remove the scratches?"]
)
def test_the_description_says_that_an_instruction_names_no_degradation(text: str) -> None:
    assert read_order(text).is_order
    guidance = described(text)
    assert guidance.removal is None
    assert guidance.descriptions[0].startswith(f'"{text}" names none of low light, haze,')
    assert guidance.descriptions[0].endswith("so Restore removes all it finds. No rain.")


@pytest.mark.parametrize(
    "text", ["", "Is there haze?", "What should I remove?", "Describe the noise.", "A dark street"]
)
def test_questions_are_not_instructions(text: str) -> None:
    assert not read_order(text).is_order
    assert described(text).descriptions == ("No rain.",)


def test_an_instruction_with_an_adjective_for_a_degradation_gets_no_such_sentence() -> None:
    assert read_order("Clean up this noisy photo").is_order
    assert described("Clean up this noisy photo").descriptions == ("No rain.",)


@pytest.mark.parametrize(
    ("instruction", "forced"),
    [
        ("remove the haze", {"haze"}),
        ("dehaze", {"haze"}),
        ("keep the rain", set()),
        ("everything but the rain", set()),
        ("remove the weather", {"haze", "rain", "snow"}),
        ("remove everything", set()),
    ],
)
def test_what_an_instruction_names_is_removed_even_if_it_is_not_detected(instruction: str, forced: set[str]) -> None:
    told = described(instruction).forced
    assert told is not None
    assert {name for name, each in zip(DEGRADATIONS, told[0].tolist(), strict=True) if each} == forced


def test_an_instruction_that_is_obeyed_leaves_the_description_as_it_is() -> None:
    guidance = described("Remove only the rain")
    assert read_order("Remove only the rain").is_order
    assert guidance.descriptions == ("No rain.",)
    assert guidance.removal is not None
    kept = {
        name: guidance.scores[0, DEGRADATIONS.index(name)] >= 0.2 or name in ("low_light", "haze")
        for name in DEGRADATIONS
    }
    assert guidance.removal[0].tolist() == [float(name == "rain" or not kept[name]) for name in DEGRADATIONS]
