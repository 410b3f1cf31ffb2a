"""Questions of users: text without control tokens, of a length that a model can read."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from torch import nn

from mofe_restore.model.mllm.describer import Mllm
from mofe_restore.model.mllm.loading import HEAD_FILE, load_mllm
from mofe_restore.model.mllm.prompts import (
    MAX_QUESTION_CHARACTERS,
    as_text,
    checked_at_every_layer,
    control_tokens,
    cut_to_tokens,
)

pytestmark = pytest.mark.field

CONTROL = [
    "<image>",
    "<end_of_utterance>",
    "<|im_start|>",
    "<|image_pad|>",
    "<start_of_turn>",
    "<image|>",
    "[INST]",
    "</s>",
]


@pytest.fixture(scope="module")
def shipped_kind(tiny_mllm_folder: Path) -> Mllm:
    return load_mllm(tiny_mllm_folder)


@pytest.fixture(scope="module")
def foreign(tiny_mllm_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Mllm:
    """A folder without a head, as every model but the shipped one is."""
    folder = Path(shutil.copytree(tiny_mllm_folder, tmp_path_factory.mktemp("foreign") / "model"))
    (folder / HEAD_FILE).unlink()
    return load_mllm(folder)


@pytest.mark.parametrize("token", CONTROL)
def test_row2_a_control_token_in_a_question_is_text(token: str) -> None:
    asked = as_text(f"What does {token} mean? {token}{token}")
    assert token not in asked
    assert asked.replace(" ", "") == f"Whatdoes{token}mean?{token}{token}"


def test_row2_other_text_stays_as_it_is() -> None:
    for text in ("Is 3 < 4 and 5 > 2?", "a [b, c] <", "有雾吗？", "{0} {{x}} {% if %}"):
        assert as_text(text) == text


def test_row2_no_control_token_of_the_model_survives_in_its_prompt(foreign: Mllm) -> None:
    control = control_tokens(foreign.processor)
    assert "<image>" in control and "<end_of_utterance>" in control
    views = foreign.views(torch.rand(3, 64, 64))[None]
    special = set(foreign.processor.tokenizer.all_special_ids)

    def count(question: str) -> int:
        ids = foreign.inputs(views, as_text(question, control))["input_ids"][0].tolist()
        return sum(number in special for number in ids)

    assert count("".join(sorted(control)) + " Why <image>?") == count("Why?")


def test_row2_image_in_a_question_is_answered_like_any_other_text(foreign: Mllm, shipped_kind: Mllm) -> None:
    image = torch.rand(1, 3, 64, 64)
    assert foreign.describe(image, instruction="What is <image>?", max_new_tokens=2).notes == ()
    said = shipped_kind.describe(image, instruction="What is <image>?")
    assert said.notes[0].startswith('The model cannot answer "What is <image>?": it says what is wrong')
    assert said.descriptions[0].startswith(said.notes[0])


def test_row2_a_question_is_cut_to_what_the_model_can_read(foreign: Mllm) -> None:
    asked = "Why? " * 4000
    read = []
    foreign.network.language_model.register_forward_pre_hook(
        lambda _, __, inputs: read.append(inputs["input_ids"].shape[1]), with_kwargs=True
    )
    guidance = foreign.describe(torch.rand(1, 3, 64, 64), instruction=asked, max_new_tokens=2)
    assert max(read) <= 1024, "the positions of this model"
    (note,) = guidance.notes
    assert note.startswith("The question is too long for the model: only its first ")
    assert guidance.descriptions[0].startswith(note)


@pytest.mark.parametrize("limit", [1, 7, 50])
def test_row2_a_text_is_cut_to_tokens_at_its_end(foreign: Mllm, limit: int) -> None:
    tokenizer = foreign.processor.tokenizer
    text = "Describe what is wrong, 请描述一下! " * 10
    cut = cut_to_tokens(text, tokenizer, limit)
    assert text.startswith(cut)
    assert len(tokenizer(cut, add_special_tokens=False)["input_ids"]) <= limit


def test_row2_a_million_characters_take_no_longer_than_the_longest_question(foreign: Mllm, shipped_kind: Mllm) -> None:
    image = torch.rand(1, 3, 64, 64)
    (note,) = shipped_kind.describe(image, instruction="x" * 1_000_000).notes
    assert len(note) < 500
    notes = foreign.describe(image, instruction="y" * 1_000_000 + "?", max_new_tokens=1).notes
    assert len(notes) == 2 and all(len(each) < 500 for each in notes)
    assert len("y" * MAX_QUESTION_CHARACTERS) < 1_000_000


def test_row2_cancel_is_noticed_at_every_layer_while_a_prompt_is_read(foreign: Mllm) -> None:
    class CancelledError(BaseException):
        pass

    checks = 0

    def check() -> None:
        nonlocal checks
        checks += 1
        if checks == 2:
            raise CancelledError

    with pytest.raises(CancelledError):
        foreign.describe(torch.rand(1, 3, 64, 64), instruction="Why?", on_check=check)
    assert checks == 2
    foreign.describe(torch.rand(1, 3, 64, 64), with_text=False)
    assert checks == 2, "the hooks are gone"


def test_row2_layers_are_checked_only_meanwhile() -> None:
    network, checks = nn.Sequential(nn.Linear(2, 2)), []
    network.blocks = nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2)])
    with checked_at_every_layer(network, lambda: checks.append(1)):
        for block in network.blocks:
            block(torch.zeros(2))
    network.blocks[0](torch.zeros(2))
    assert len(checks) == 2


@pytest.mark.parametrize(
    ("instruction", "note"),
    [
        ("entferne den Regen", '"entferne den Regen" was not understood, so Restore removes all it finds:'),
        ("What is the capital of France?", "The model cannot answer"),
        ("这是哪里？", "模型无法回答“这是哪里？”"),
        ("remove haze but keep haze", "contradicts itself about haze"),
        ("improve quality", "names none of low light"),
        ("fog", '"fog" was not understood'),
    ],
)
def test_row3_the_model_that_is_shipped_keeps_to_the_standard_description(
    shipped_kind: Mllm, instruction: str, note: str
) -> None:
    image = torch.rand(1, 3, 64, 64)
    plain, told = shipped_kind.describe(image), shipped_kind.describe(image, instruction=instruction)
    (said,) = told.notes
    assert note in said
    assert told.descriptions == (f"{said} {plain.descriptions[0]}",)
    assert told.removal is None


def test_row3_a_foreign_model_is_asked_and_the_user_told_that_this_steers_nothing(foreign: Mllm) -> None:
    image = torch.rand(1, 3, 64, 64)
    told = foreign.describe(image, instruction="entferne den Regen", max_new_tokens=2)
    assert told.notes[0].endswith("so it was asked as a question and steers nothing.")
    assert foreign.describe(image, instruction="What is it?", max_new_tokens=2).notes == ()
