"""Adapter files: found by the identity of the foreign MLLM, applied by the model itself, refused when damaged."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from mofe_restore.model.errors import GuidanceError, WeightFileError
from mofe_restore.model.guidance import Guidance
from mofe_restore.model.inference.checks import check_guidance
from mofe_restore.model.mllm.adapter import (
    KIND,
    SOURCE,
    Adapter,
    file_name,
    find_adapter,
    read_adapter,
    write_adapter,
)
from mofe_restore.model.mllm.describer import Mllm
from mofe_restore.model.mllm.loading import HEAD_FILE, load_mllm
from mofe_restore.model.mllm.sight import STATISTICS, Look, by_view, layers_worth, statistics_of
from mofe_restore.model.mllm.wording import report
from mofe_restore.model.pipeline import RestorationPipeline
from mofe_restore.model.weights import Card, write_weights
from mofe_restore.tests.factories import WIDTH, make_guidance, make_restorer, write_restorer

TARGET = "guide:00112233445566aa"


def make_adapter(source: str, width: int = 64, look: Look | None = None) -> tuple[Adapter, Card]:
    """An adapter with random maps from the statistics of a model of this width."""
    look = look or Look(layers=(0, 1))
    generator = torch.Generator().manual_seed(0)
    features = len(look.layers) * len(look.statistics) * width

    def draw(*shape: int) -> torch.Tensor:
        return 0.1 * torch.randn(*shape, generator=generator)

    adapter = Adapter(
        *(source, TARGET, "", look, draw(features), draw(features, 8), draw(WIDTH), draw(8, WIDTH)),
        *(draw(5, WIDTH), draw(8, 5, WIDTH), draw(23), draw(8, 23)),
    )
    architecture = {SOURCE: source, "look": look.to_json()}
    return adapter, Card(KIND, "tiny to guide", "1", architecture, {}, {}, "", "", "", TARGET)


@pytest.fixture(scope="module")
def mllm(tiny_mllm_folder: Path) -> Mllm:
    return load_mllm(tiny_mllm_folder)


@pytest.fixture
def folder(mllm: Mllm, tmp_path: Path) -> Path:
    write_adapter(tmp_path / "adapters" / file_name(mllm.identity, TARGET), *make_adapter(mllm.identity))
    return tmp_path / "adapters"


def test_it_is_found_by_the_identity_of_the_foreign_mllm(mllm: Mllm, folder: Path) -> None:
    missing = folder / "missing"
    found = find_adapter(mllm.identity, [missing, folder])
    assert found is not None and read_adapter(found)[0].source == mllm.identity
    assert find_adapter(mllm.identity, [folder], TARGET) == found
    assert find_adapter(mllm.identity, [folder], "another:1") is None
    assert find_adapter("another:1", [folder]) is None


def test_of_several_the_newest_is_taken_and_other_files_are_passed_over(mllm: Mllm, folder: Path) -> None:
    old = find_adapter(mllm.identity, [folder])
    assert old is not None
    write_adapter(folder / "newer.safetensors", *make_adapter(mllm.identity))
    os.utime(old, (1, 1))
    (folder / "damaged.safetensors").write_bytes(b"nothing")
    write_restorer(folder / "restorer.safetensors")
    assert find_adapter(mllm.identity, [folder]) == folder / "newer.safetensors"


def test_aligned_guidance_carries_both_identities_and_passes_the_restorers_check(mllm: Mllm, folder: Path) -> None:
    adapter, _ = read_adapter(find_adapter(mllm.identity, [folder]))  # type: ignore[arg-type]
    adapted, image = mllm.with_adapter(adapter), torch.rand(2, 3, 96, 110)
    guidance = adapted.describe(image)
    assert (guidance.mllm_identity, guidance.adapter) == (TARGET, adapter.identity)
    assert guidance.tokens.shape == (2, 5, WIDTH) and guidance.pooled.shape == (2, WIDTH)
    assert not torch.allclose(guidance.pooled[0], guidance.pooled[1])
    assert report(guidance)[0]["adapter"] == adapter.identity
    assert "adapter" not in report(make_guidance())[0]
    restorer = make_restorer()
    restorer.mllm_identity = TARGET
    check_guidance(guidance, restorer, 2)
    with pytest.raises(GuidanceError, match="align yours once with the node Align MLLM or with mofe align"):
        check_guidance(mllm.describe(image[:1], with_text=False), restorer, 1)


def test_the_pipeline_applies_it_by_itself(mllm: Mllm, folder: Path, tiny_mllm_folder: Path, tmp_path: Path) -> None:
    restorer = write_restorer(tmp_path / "restorer.safetensors", identity=TARGET)
    with_it = RestorationPipeline.from_pretrained(restorer, tiny_mllm_folder, adapters=folder)
    without = RestorationPipeline.from_pretrained(restorer, tiny_mllm_folder, adapters=tmp_path / "none")
    image = torch.rand(1, 3, 64, 64)
    assert with_it(image).image.shape == image.shape
    with pytest.raises(GuidanceError, match="mofe align"):
        without(image)


def test_the_model_itself_stays_as_it_was(mllm: Mllm, folder: Path) -> None:
    adapter, _ = read_adapter(find_adapter(mllm.identity, [folder]))  # type: ignore[arg-type]
    image = torch.rand(1, 3, 96, 96)
    before = mllm.describe(image, with_text=False)
    mllm.with_adapter(adapter).describe(image, with_text=False)
    after = mllm.describe(image, with_text=False)
    assert after.mllm_identity == mllm.identity and torch.equal(before.pooled, after.pooled)


def test_a_file_that_does_not_fit_is_refused_in_one_sentence(mllm: Mllm, tmp_path: Path) -> None:
    adapter, card = make_adapter(mllm.identity)
    path = tmp_path / "adapter.safetensors"
    write_adapter(path, replace(adapter, pooled=adapter.pooled[:, :3]), card)
    with pytest.raises(WeightFileError, match=r"does not hold an adapter .*pooled.*align the model again"):
        read_adapter(path)
    write_adapter(path, adapter, replace(card, architecture={SOURCE: "x", "look": {"question": "?"}}))
    with pytest.raises(WeightFileError, match="align the model again"):
        read_adapter(path)
    write_weights(path, {"mean": torch.zeros(1)}, card)
    with pytest.raises(WeightFileError, match="align the model again"):
        read_adapter(path)


def test_the_name_of_the_file_names_both_and_is_plain() -> None:
    assert file_name("CLIP Qwen3VL:0123456789", TARGET) == "CLIP-Qwen3VL-01234567-to-00112233.safetensors"


def test_the_statistics_are_of_the_last_state_the_thumbnail_and_the_crops() -> None:
    tokens = torch.arange(24.0).reshape(3, 4, 2)
    found = dict(zip(STATISTICS, statistics_of(torch.tensor([5.0, 6.0]), tokens), strict=True))
    assert found["last"].tolist() == [5, 6]
    assert found["thumbnail"].tolist() == tokens[0].mean(0).tolist()
    assert found["crops"].tolist() == tokens[1:].flatten(0, 1).mean(0).tolist()
    assert torch.allclose(found["texture"], torch.tensor(2.0).log().expand(2), atol=1e-3)
    assert by_view(torch.zeros(11, 2), 5).shape == (5, 2, 2) and by_view(torch.zeros(3, 2), 5).shape == (1, 3, 2)
    assert layers_worth(4) == (0, 1, 2, 3, 4) and layers_worth(36) == (0, 9, 18, 27, 36)


def test_a_look_survives_its_card() -> None:
    look = Look("list", detail=True, sets=5, layers=(0, 3), statistics=("last",))
    assert Look.from_json(look.to_json()) == look


def test_an_image_is_looked_at_once(mllm: Mllm, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[int] = []
    embed = mllm.embed_inputs
    monkeypatch.setattr(mllm, "embed_inputs", lambda inputs: looks.append(1) or embed(inputs))
    image = torch.rand(1, 3, 90, 100)
    first: Guidance = mllm.describe(image, with_text=False)
    again = mllm.describe(image, instruction="remove only the rain")
    assert len(looks) == 1 and torch.equal(first.pooled, again.pooled) and again.removal is not None
    mllm.describe(image + 0.001, with_text=False)
    assert len(looks) == 2, "one value has changed"


def test_words_are_written_once_per_question(
    tiny_mllm_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(shutil.copytree(tiny_mllm_folder, tmp_path / "model"))
    (folder / HEAD_FILE).unlink()  # with a head, nothing is written
    plain, asked = load_mllm(folder), []
    monkeypatch.setattr(plain, "_generate", lambda _views, question, *_: asked.append(question) or "words")
    image = torch.rand(1, 3, 91, 100)
    for question in ("Why?", "Why?", "How?"):
        assert plain.describe(image, instruction=question).descriptions[0] == "words"
    assert asked == ["Why?", "How?"]
