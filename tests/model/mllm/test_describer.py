"""Describing images: guidance from a model folder, in words, scores and embeddings."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from mofe_restore.model.errors import MllmError
from mofe_restore.model.mllm.describer import MAX_DESCRIPTION_TOKENS, Mllm
from mofe_restore.model.mllm.loading import HEAD_FILE, load_mllm
from mofe_restore.model.mllm.views import SHIFTS
from mofe_restore.model.mllm.wording import report
from mofe_restore.model.vocabulary import DEGRADATIONS, PARAMETERS, TONE_INDICES
from mofe_restore.tests.factories import MLLM_WIDTH


@pytest.fixture(scope="module")
def mllm(tiny_mllm_folder: Path) -> Mllm:
    return load_mllm(tiny_mllm_folder)


@pytest.fixture
def copy(tiny_mllm_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_mllm_folder, tmp_path / "model"))


def test_guidance_has_a_row_per_image(mllm: Mllm) -> None:
    guidance = mllm.describe(torch.rand(2, 3, 120, 150), max_new_tokens=3)
    assert guidance.tokens.shape == (2, 20, mllm.width)
    assert guidance.pooled.shape == (2, mllm.width)
    assert guidance.scores.shape == (2, len(DEGRADATIONS))
    assert guidance.parameters.shape == (2, len(PARAMETERS))
    assert len(guidance.descriptions) == 2
    assert ((guidance.scores >= 0) & (guidance.scores <= 1)).all()
    assert guidance.certainty is not None and torch.equal(guidance.certainty >= 0.5, guidance.scores >= 0.5)
    assert guidance.mllm_identity == mllm.identity


def test_a_batch_is_described_as_its_images_are_one_by_one(mllm: Mllm) -> None:
    images = torch.rand(3, 3, 100, 130)
    together = mllm.describe(images, max_new_tokens=4)
    for index in range(3):
        alone = mllm.describe(images[index : index + 1], max_new_tokens=4)
        assert torch.equal(alone.pooled[0], together.pooled[index])
        assert alone.descriptions[0] == together.descriptions[index]


def test_the_embedding_is_the_mean_of_several_sets_of_views(mllm: Mllm, copy: Path) -> None:
    image = torch.rand(1, 3, 220, 300)
    sets = mllm.view_sets(image[0])
    assert torch.equal(sets[0], mllm.views(image[0]))
    assert len(sets) == len(SHIFTS)
    assert torch.equal(sets[:, 0], sets[:1, 0].expand_as(sets[:, 0]))  # the thumbnail is always the same
    tokens, pooled = mllm.embed(sets)
    guidance = mllm.describe(image, with_text=False)
    assert torch.allclose(guidance.pooled, pooled.mean(0, keepdim=True), atol=1e-6)
    assert torch.equal(guidance.tokens, tokens[:1])
    (copy / HEAD_FILE).unlink()
    assert len(load_mllm(copy).view_sets(image[0])) == 1


def test_different_images_have_different_embeddings(mllm: Mllm) -> None:
    guidance = mllm.describe(torch.stack([torch.zeros(3, 96, 96), torch.rand(3, 96, 96)]), with_text=False)
    assert not torch.allclose(guidance.pooled[0], guidance.pooled[1], atol=1e-3)


def test_embedding_in_a_batch_equals_embedding_alone(mllm: Mllm) -> None:
    views = torch.randint(0, 256, (3, 5, 3, 96, 96), dtype=torch.uint8)
    tokens, pooled = mllm.embed(views)
    alone_tokens, alone_pooled = mllm.embed(views[1:2])
    assert torch.allclose(tokens[1:2], alone_tokens, atol=1e-5)
    assert torch.allclose(pooled[1:2], alone_pooled, atol=1e-5)


def test_an_instruction_changes_the_words_and_not_the_embedding(mllm: Mllm) -> None:
    image = torch.rand(1, 3, 96, 96)
    plain, asked = mllm.describe(image), mllm.describe(image, instruction="Is there haze?", max_new_tokens=8)
    assert torch.equal(plain.pooled, asked.pooled)
    assert torch.equal(plain.scores, asked.scores)
    assert plain.descriptions != asked.descriptions


def test_an_instruction_to_remove_steers_and_asks_the_standard_question(mllm: Mllm) -> None:
    image = torch.rand(2, 3, 96, 96, generator=torch.Generator().manual_seed(4))  # this model sees rain in some noise
    plain = mllm.describe(image, max_new_tokens=8)
    told = mllm.describe(image, instruction="Remove only the rain.", max_new_tokens=8)
    assert plain.removal is None
    assert told.removal is not None
    expected = plain.removing_only({"rain": 1.0}).removal
    assert expected is not None and torch.equal(told.removal, expected)
    assert told.removal[:, DEGRADATIONS.index("rain")].tolist() == [1.0, 1.0]
    assert told.removal[:, list(TONE_INDICES)].tolist() == [[0.0, 0.0]] * 2
    assert told.descriptions == plain.descriptions
    assert torch.equal(told.pooled, plain.pooled)
    assert report(told)[0]["removal"]["rain"] == 1 and report(plain)[0]["removal"] is None


def test_every_token_is_reported_and_cancel_ends_the_run_at_the_kth(copy: Path) -> None:
    (copy / HEAD_FILE).unlink()
    mllm, seen = load_mllm(copy), 0

    class CancelledError(BaseException):
        pass

    def after_token() -> None:
        nonlocal seen
        seen += 1
        if seen == 11:  # an image, seven questions, three tokens
            raise CancelledError

    with pytest.raises(CancelledError):
        mllm.describe(torch.rand(1, 3, 96, 96), instruction="Why?", max_new_tokens=40, on_token=after_token)
    assert seen == 11
    assert mllm.describe(torch.rand(1, 3, 96, 96), max_new_tokens=3).pooled.isfinite().all()


def test_a_model_without_a_head_is_asked_yes_or_no(copy: Path) -> None:
    (copy / HEAD_FILE).unlink()
    plain = load_mllm(copy)
    guidance = plain.describe(torch.rand(1, 3, 96, 96), with_text=False)
    assert ((guidance.scores > 0) & (guidance.scores < 1)).all()
    assert guidance.scores.unique().numel() > 1
    assert report(guidance)[0]["parameters"] is None, "no estimate is not an estimate of 0"


def test_the_report_is_json_with_every_score(mllm: Mllm) -> None:
    entry = json.loads(json.dumps(report(mllm.describe(torch.rand(1, 3, 96, 96), max_new_tokens=2))))[0]
    assert set(entry["scores"]) == set(DEGRADATIONS)
    assert set(entry["parameters"]) == set(PARAMETERS)
    assert set(entry["present"]) == {name for name, value in entry["scores"].items() if value >= 0.5}


def test_descriptions_of_a_model_with_a_head_are_shorter(mllm: Mllm, copy: Path) -> None:
    (copy / HEAD_FILE).unlink()
    assert mllm.max_tokens == MAX_DESCRIPTION_TOKENS < load_mllm(copy).max_tokens


def test_the_working_memory_grows_with_the_width(mllm: Mllm) -> None:
    assert mllm.width == MLLM_WIDTH
    assert mllm.memory_bytes == 64 * 2048 * 4 * MLLM_WIDTH


def test_a_model_of_another_architecture_works_too(tmp_path: Path) -> None:
    """A tiny LLaVA with a CLIP vision encoder, as large public models have."""
    from transformers import (
        AutoImageProcessor,
        CLIPVisionConfig,
        LlamaConfig,
        LlavaConfig,
        LlavaForConditionalGeneration,
        LlavaProcessor,
    )

    from mofe_restore.training.mllm.architecture import CHAT_TEMPLATE, build_tokenizer

    tokenizer = build_tokenizer(["Is there haze in this picture? Answer yes or no."], 300)
    settings = {
        "image_processor_type": "CLIPImageProcessor",
        "size": {"shortest_edge": 28},
        "crop_size": {"height": 28, "width": 28},
    }
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(settings))
    LlavaProcessor(
        AutoImageProcessor.from_pretrained(tmp_path),
        tokenizer,
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=CHAT_TEMPLATE,
    ).save_pretrained(tmp_path)
    torch.manual_seed(0)
    LlavaForConditionalGeneration(
        LlavaConfig(
            vision_config=CLIPVisionConfig(
                hidden_size=32,
                intermediate_size=64,
                num_hidden_layers=2,
                num_attention_heads=2,
                image_size=28,
                patch_size=14,
            ),
            text_config=LlamaConfig(
                vocab_size=len(tokenizer),
                hidden_size=48,
                intermediate_size=64,
                num_hidden_layers=2,
                num_attention_heads=2,
                num_key_value_heads=2,
            ),
            image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        )
    ).save_pretrained(tmp_path)
    guidance = load_mllm(tmp_path).describe(torch.rand(1, 3, 200, 100), max_new_tokens=3)
    assert guidance.tokens.shape == (1, 20, 48)
    assert guidance.scores.isfinite().all()


def test_values_that_are_not_finite_are_never_passed_on(copy: Path) -> None:
    mllm = load_mllm(copy)
    next(mllm.network.parameters()).data.fill_(float("nan"))
    with pytest.raises(MllmError, match="gave values that are not finite"):
        mllm.describe(torch.rand(1, 3, 96, 96))
