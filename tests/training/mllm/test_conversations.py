"""The sentences the MLLM learns to say."""

from __future__ import annotations

import numpy as np

from mofe_restore.model.synthesis.degrade import GroundTruth
from mofe_restore.model.vocabulary import DEGRADATIONS
from mofe_restore.training.mllm.conversations import conversation, description, phrase


def truth(**strength: float) -> GroundTruth:
    values = np.array([strength.get(name, 0.0) for name in DEGRADATIONS], dtype=np.float32)
    parameters = np.array([2.6, 0.061, 0.12, 0.0, 1.2, 0.75, 0.62, 1.8, 30.0], dtype=np.float32)
    return GroundTruth(values > 0, values, parameters)


def test_the_description_names_strength_and_parameters_and_what_is_absent() -> None:
    said = description(truth(low_light=0.8, haze=0.4, noise=0.2))
    assert said == (
        "Strong low light (exponent 2.6), moderate haze (beta 1.2, airlight 0.75, transmission 0.62), "
        "light noise (sigma 0.061). No rain, no snow, no blur, no JPEG artifacts."
    )


def test_a_clean_picture_is_called_clean() -> None:
    assert description(truth()).startswith("The picture is clean. No low light, no haze,")


def test_every_degradation_at_once_has_no_absent_part() -> None:
    assert "no " not in description(truth(**dict.fromkeys(DEGRADATIONS, 0.5)))


def test_words_follow_the_strength() -> None:
    words = [phrase(truth(blur=strength), "blur").split()[0] for strength in (0.1, 0.5, 0.9)]
    assert words == ["light", "moderate", "strong"]
    assert phrase(truth(), "jpeg") == "no JPEG artifacts"


def test_answers_agree_with_the_truth() -> None:
    rng = np.random.default_rng(0)
    case = truth(rain=0.5)
    turns = [turn for _ in range(300) for turn in conversation(case, rng)]
    answers = {turn.question: turn.answer for turn in turns}
    assert answers["Is there rain in this picture? Answer yes or no."] == "yes"
    assert answers["Is there snow in this picture? Answer yes or no."] == "no"
    assert answers["Is there rain?"] == "Yes, moderate rain (coverage 0.12)."
    assert answers["Is there haze?"] == "No, no haze."
    assert answers["Name the degradations."] == "Rain."
    assert answers["Is the picture clean?"] == "no"


def test_conversations_depend_on_the_generator_alone() -> None:
    case = truth(snow=0.3)
    assert conversation(case, np.random.default_rng(5)) == conversation(case, np.random.default_rng(5))


def test_yes_and_no_are_drilled_equally() -> None:
    rng = np.random.default_rng(1)
    case = truth(haze=0.5, noise=0.2)
    conversations = [conversation(case, rng) for _ in range(400)]
    drills = [each for each in conversations if len(each) == 4]
    assert len(drills) > 100
    for drill in drills:
        assert sorted(turn.answer for turn in drill) == ["no", "no", "yes", "yes"]
        assert len({turn.question for turn in drill}) == 4
