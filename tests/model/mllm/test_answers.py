"""Questions about degradations by name, answered from the scores."""

from __future__ import annotations

import pytest

from mofe_restore.model.mllm.answers import answer_from_scores
from mofe_restore.model.mllm.wording import DESCRIBE, yes_no_question
from mofe_restore.model.vocabulary import DEGRADATIONS

HAZY = [0.1, 0.75, 0.2, 0.0, 0.6, 0.0, 0.49]
CLEAN = [0.0] * 7
NUMBERS = [1.0, 0.042, 0.0, 0.0, 1.24, 0.8, 0.6, 0.0, 100.0]


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("Is there haze?", "Yes, moderate haze."),
        ("is there any fog in this picture", "Yes, moderate haze."),
        ("Is there rain in this picture? Answer yes or no.", "No rain."),
        ("Is this picture noisy?", "Yes, light noise."),
        ("Is it dark?", "No low light."),
        ("Does this photo have JPEG artifacts?", "No JPEG artifacts."),
        ("Is there haze or rain?", "Yes, moderate haze, no rain."),
        ("Can you see snow?", "No snow."),
        ("How strong is the haze?", "Moderate haze."),
        ("How noisy is it?", "Light noise."),
        ("How dark is this picture?", "No low light."),
        ("Is the haze strong?", "Yes, moderate haze."),
        ("Is rain visible?", "No rain."),
        ("Any haze?", "Yes, moderate haze."),
        ("Is the picture clean?", "No, moderate haze, light noise."),
        ("Name the degradations.", "Moderate haze, light noise."),
        ("Please list all the defects of this photograph!", "Moderate haze, light noise."),
        ("What should be removed?", "Moderate haze, light noise."),
        ("What is wrong with this picture?", "Moderate haze, light noise."),
        ("What\u2019s wrong here?", "Moderate haze, light noise."),
        ("Which degradations does it have?", "Moderate haze, light noise."),
    ],
)
def test_the_scores_answer_what_is_asked(question: str, answer: str) -> None:
    assert answer_from_scores(question, HAZY, NUMBERS) == answer


def test_the_standard_question_is_answered_with_strengths_and_numbers() -> None:
    assert answer_from_scores(DESCRIBE, HAZY, NUMBERS) == (
        "Moderate haze (beta 1.2, airlight 0.80, transmission 0.60), light noise (sigma 0.042). "
        "No low light, no rain, no snow, no blur, no JPEG artifacts."
    )
    assert answer_from_scores(DESCRIBE, CLEAN, NUMBERS).startswith("The picture is clean. No low light, no haze,")


def test_a_clean_image_is_called_clean() -> None:
    assert answer_from_scores("Is this photograph clean?", CLEAN, NUMBERS) == "Yes, the picture is clean."
    assert answer_from_scores("What should be removed?", CLEAN, NUMBERS) == "Nothing: the picture is clean."


@pytest.mark.parametrize(
    "text",
    [
        "What is in this picture?",
        "What should be removed first?",
        "What is wrong with the weather?",
        "Describe this picture.",
        "Why is it hazy?",
        "Is it not hazy?",
        "Is the snow white?",
        "Is there more than haze?",
        "A hazy morning.",
        "",
    ],
)
def test_other_text_is_left_to_the_language_model(text: str) -> None:
    assert answer_from_scores(text, HAZY, NUMBERS) is None


def test_every_question_of_the_evaluation_is_answered_with_yes_or_no() -> None:
    for index, name in enumerate(DEGRADATIONS):
        scores = [0.0] * len(DEGRADATIONS)
        assert str(answer_from_scores(yes_no_question(name), scores, NUMBERS)).startswith("No ")
        scores[index] = 0.9
        assert str(answer_from_scores(yes_no_question(name), scores, NUMBERS)).startswith("Yes, strong ")


@pytest.mark.field
@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("有雾吗？", "有，中等的雾。"),
        ("图里有没有雨", "没有雨。"),
        ("有噪点或雪吗?", "有，没有雪，轻微的噪声。"),
        ("雾有多大？", "中等的雾。"),
        ("這張照片有霧嗎？", "有，中等的雾。"),
        ("这张照片有什么问题？", "中等的雾，轻微的噪声。"),
        ("需要去除什么？", "中等的雾，轻微的噪声。"),
    ],
)
def test_row3_a_question_in_chinese_is_answered_in_chinese(question: str, answer: str) -> None:
    assert answer_from_scores(question, HAZY, NUMBERS) == answer


@pytest.mark.field
@pytest.mark.parametrize(
    "text", ["为什么有雾？", "雪是白的吗", "图片里有谁？", "雾", "你好", "Is there haze? " + "a" * 1_000_000]
)
def test_row3_what_scores_cannot_answer_is_not_answered(text: str) -> None:
    assert answer_from_scores(text, HAZY, NUMBERS) in (None, "Yes, moderate haze.")
