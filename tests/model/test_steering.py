"""Instructions that steer the restoration."""

from __future__ import annotations

import pytest

from mofe_restore.model.guidance import DEGRADATIONS
from mofe_restore.model.steering import removal_of


@pytest.mark.parametrize(
    ("instruction", "removed"),
    [
        ("Remove only the rain.", {"rain"}),
        ("remove rain and noise, keep the fog", {"rain", "noise"}),
        ("Keep the haze.", set(DEGRADATIONS) - {"haze"}),
        ("Remove everything but the snowflakes", set(DEGRADATIONS) - {"snow"}),
        ("Get rid of the JPEG blocks and the grain", {"jpeg", "noise"}),
        ("Don't remove the fog.", set(DEGRADATIONS) - {"haze"}),
        ("Fix everything except low light and blur", set(DEGRADATIONS) - {"low_light", "blur"}),
        ("Remove the rain, leave the rest", {"rain"}),
    ],
)
def test_an_instruction_says_what_goes_and_what_stays(instruction: str, removed: set[str]) -> None:
    assert removal_of(instruction) == {name: float(name in removed) for name in DEGRADATIONS}


@pytest.mark.parametrize("text", ["", "Is there haze?", "How strong is the rain?", "Describe the noise.", "Remove it"])
def test_other_text_steers_nothing(text: str) -> None:
    assert removal_of(text) == {}
