"""Opening model folders, describing pictures, and refusing what cannot be used."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from mofe_restore.model.guidance import DEGRADATIONS, PARAMETERS, Guidance, GuidanceError
from mofe_restore.model.mllm import HEAD_FILE, Mllm, MllmError, identity_of, load_mllm, report
from mofe_restore.model.weights import WeightFileError


@pytest.fixture(scope="module")
def mllm(tiny_mllm_folder: Path) -> Mllm:
    return load_mllm(tiny_mllm_folder)


@pytest.fixture
def copy(tiny_mllm_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_mllm_folder, tmp_path / "model"))


def test_guidance_has_a_row_per_picture(mllm: Mllm) -> None:
    guidance = mllm.describe(torch.rand(2, 3, 120, 150), max_new_tokens=3)
    assert guidance.tokens.shape == (2, 20, mllm.width)
    assert guidance.pooled.shape == (2, mllm.width)
    assert guidance.scores.shape == (2, len(DEGRADATIONS))
    assert guidance.parameters.shape == (2, len(PARAMETERS))
    assert len(guidance.descriptions) == 2
    assert ((guidance.scores >= 0) & (guidance.scores <= 1)).all()
    assert guidance.mllm_identity == mllm.identity


def test_a_batch_is_described_as_its_pictures_are_one_by_one(mllm: Mllm) -> None:
    pictures = torch.rand(3, 3, 100, 130)
    together = mllm.describe(pictures, max_new_tokens=4)
    for index in range(3):
        alone = mllm.describe(pictures[index : index + 1], max_new_tokens=4)
        assert torch.equal(alone.pooled[0], together.pooled[index])
        assert alone.descriptions[0] == together.descriptions[index]


def test_different_pictures_have_different_embeddings(mllm: Mllm) -> None:
    guidance = mllm.describe(torch.stack([torch.zeros(3, 96, 96), torch.rand(3, 96, 96)]), with_text=False)
    assert not torch.allclose(guidance.pooled[0], guidance.pooled[1], atol=1e-3)


def test_embedding_in_a_batch_equals_embedding_alone(mllm: Mllm) -> None:
    looks = torch.randint(0, 256, (3, 5, 3, 96, 96), dtype=torch.uint8)
    tokens, pooled = mllm.embed(looks)
    alone_tokens, alone_pooled = mllm.embed(looks[1:2])
    assert torch.allclose(tokens[1:2], alone_tokens, atol=1e-5)
    assert torch.allclose(pooled[1:2], alone_pooled, atol=1e-5)


def test_an_instruction_changes_the_words_and_not_the_embedding(mllm: Mllm) -> None:
    picture = torch.rand(1, 3, 96, 96)
    plain, asked = mllm.describe(picture), mllm.describe(picture, instruction="Is there haze?", max_new_tokens=8)
    assert torch.equal(plain.pooled, asked.pooled)
    assert torch.equal(plain.scores, asked.scores)
    assert plain.descriptions != asked.descriptions


def test_every_token_is_reported_and_cancel_ends_the_run_at_the_kth(mllm: Mllm) -> None:
    seen = 0

    class CancelledError(BaseException):
        pass

    def after_token() -> None:
        nonlocal seen
        seen += 1
        if seen == 3:
            raise CancelledError

    with pytest.raises(CancelledError):
        mllm.describe(torch.rand(1, 3, 96, 96), max_new_tokens=40, on_token=after_token)
    assert seen == 3
    assert mllm.describe(torch.rand(1, 3, 96, 96), max_new_tokens=3).pooled.isfinite().all()


def test_a_model_without_a_head_is_asked_yes_or_no(copy: Path) -> None:
    (copy / HEAD_FILE).unlink()
    plain = load_mllm(copy)
    guidance = plain.describe(torch.rand(1, 3, 96, 96), with_text=False)
    assert ((guidance.scores > 0) & (guidance.scores < 1)).all()
    assert guidance.scores.unique().numel() > 1
    assert not guidance.parameters.any()


def test_the_report_is_json_with_every_score(mllm: Mllm) -> None:
    entry = json.loads(json.dumps(report(mllm.describe(torch.rand(1, 3, 96, 96), max_new_tokens=2))))[0]
    assert set(entry["scores"]) == set(DEGRADATIONS)
    assert set(entry["parameters"]) == set(PARAMETERS)
    assert set(entry["present"]) == {name for name, value in entry["scores"].items() if value >= 0.5}


def test_the_identity_follows_the_weights_and_not_the_place(copy: Path, tiny_mllm_folder: Path) -> None:
    assert identity_of(copy).split(":")[1] == identity_of(tiny_mllm_folder).split(":")[1]
    data = bytearray((copy / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (copy / "model.safetensors").write_bytes(data)
    assert identity_of(copy).split(":")[1] != identity_of(tiny_mllm_folder).split(":")[1]


def test_a_model_of_another_architecture_works_too(tmp_path: Path) -> None:
    """LLaVA with a CLIP eye, as large public models have, built tiny on the spot."""
    from transformers import (
        AutoImageProcessor,
        CLIPVisionConfig,
        LlamaConfig,
        LlavaConfig,
        LlavaForConditionalGeneration,
        LlavaProcessor,
    )

    from mofe_restore.training.mllm_model import CHAT_TEMPLATE, build_tokenizer

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


class TestRefusals:
    def test_missing_folder(self, tmp_path: Path) -> None:
        with pytest.raises(MllmError, match="There is no MLLM folder"):
            load_mllm(tmp_path / "nothing")

    def test_folder_without_config(self, tmp_path: Path) -> None:
        with pytest.raises(MllmError, match="has no config.json"):
            load_mllm(tmp_path)

    def test_damaged_config(self, copy: Path) -> None:
        (copy / "config.json").write_text("{")
        with pytest.raises(MllmError, match="is damaged"):
            load_mllm(copy)

    def test_pickled_weights_only(self, copy: Path) -> None:
        (copy / "model.safetensors").rename(copy / "pytorch_model.bin")
        with pytest.raises(MllmError, match="no .safetensors weights"):
            load_mllm(copy)

    def test_truncated_weights(self, copy: Path) -> None:
        path = copy / "model.safetensors"
        path.write_bytes(path.read_bytes()[:5000])
        with pytest.raises(MllmError, match="cannot be opened as a multimodal language model"):
            load_mllm(copy)

    def test_text_named_safetensors_as_head(self, copy: Path) -> None:
        (copy / HEAD_FILE).write_text("not weights")
        with pytest.raises(WeightFileError, match=HEAD_FILE):
            load_mllm(copy)

    def test_text_model_without_eyes(self, tmp_path: Path) -> None:
        (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama"}))
        (tmp_path / "model.safetensors").write_bytes(b"\0" * 64)
        with pytest.raises(MllmError, match="cannot be opened"):
            load_mllm(tmp_path)

    def test_unknown_precision(self, tiny_mllm_folder: Path) -> None:
        with pytest.raises(MllmError, match="fp8"):
            load_mllm(tiny_mllm_folder, precision="fp8")


class TestGuidance:
    def guidance(self, pictures: int) -> Guidance:
        return Guidance(
            torch.rand(pictures, 4, 8),
            torch.rand(pictures, 8),
            torch.rand(pictures, 7),
            torch.rand(pictures, 9),
            tuple(str(index) for index in range(pictures)),
            "some:1",
        )

    def test_one_description_serves_a_whole_batch(self) -> None:
        assert self.guidance(1).for_frame(4, 6).descriptions == ("0",)

    def test_each_frame_gets_its_own(self) -> None:
        assert self.guidance(3).for_frame(2, 3).descriptions == ("2",)

    def test_another_number_of_frames_is_an_error(self) -> None:
        with pytest.raises(GuidanceError, match="describes 3 pictures but the batch has 2"):
            self.guidance(3).for_frame(0, 2)

    def test_joining_undoes_splitting(self) -> None:
        whole = self.guidance(3)
        joined = Guidance.join([whole[index] for index in range(3)])
        assert torch.equal(joined.tokens, whole.tokens)
        assert joined.descriptions == whole.descriptions

    def test_frames_outside_are_refused(self) -> None:
        with pytest.raises(IndexError, match="holds 3 pictures"):
            self.guidance(3)[3]
