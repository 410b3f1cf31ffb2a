"""Stock classes of vision language models, tiny and with random weights: loaded, asked, embedded and aligned."""

from __future__ import annotations

import importlib.util
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from mofe_restore.model.align.pictures import photos_in
from mofe_restore.model.align.run import AlignSettings, align
from mofe_restore.model.mllm import describer as describer_module
from mofe_restore.model.mllm.describer import Mllm
from mofe_restore.model.mllm.loading import load_mllm
from mofe_restore.model.mllm.sight import PATCH_STATISTICS, STATISTICS, Look
from mofe_restore.model.mllm.wording import DESCRIBE, yes_no_question
from mofe_restore.model.vocabulary import DEGRADATIONS
from mofe_restore.tests.factories import make_restorer, scored_guidance
from mofe_restore.training.mllm.families import FAMILIES, build_family
from mofe_restore.training.restorer.guidance_sources import MllmGuidance

NEEDS = {
    **dict.fromkeys(("llava_onevision", "internvl", "qwen2_vl", "qwen2_5_vl", "qwen3_vl"), "torchvision"),
    "smolvlm": "num2words",
}
"""Packages that a family's processor needs beside those of this pack; ComfyUI has torchvision."""

QUICK = ("llava", "idefics3")
"""Families that are tested with the others left out (`-m "not slow"`): one of another kind, and that of the shipped."""

LOOKS_AHEAD = ("paligemma",) if int(transformers.__version__.split(".")[0]) > 4 else ("paligemma", "gemma3")
"""Families whose attention to the prompt looks ahead, so that no prefix can be kept."""

SENTENCES = [DESCRIBE, "yes no Yes No", *map(yes_no_question, DEGRADATIONS)] * 3

MARKED = [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in sorted(FAMILIES)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("families")


@pytest.fixture(params=MARKED, scope="module")
def family(request: pytest.FixtureRequest, folder: Path) -> tuple[str, Mllm]:
    name = request.param
    needed = NEEDS.get(name)
    if needed and importlib.util.find_spec(needed) is None:
        pytest.skip(f"{name} needs {needed}")
    parts = build_family(name, SENTENCES)
    if name in LOOKS_AHEAD:  # with weights as small as they are drawn, tokens hardly see each other
        for parameter in parts.model.parameters():
            parameter.data.mul_(4 if parameter.ndim > 1 else 1)
    parts.model.save_pretrained(folder / name)
    parts.processor.save_pretrained(folder / name)
    return name, load_mllm(folder / name)


def test_it_describes_and_embeds(family: tuple[str, Mllm]) -> None:
    name, mllm = family
    guidance = mllm.describe(torch.rand(1, 3, 120, 150, generator=torch.Generator().manual_seed(0)), max_new_tokens=3)
    assert guidance.mllm_identity.startswith(f"{name}:")
    assert guidance.tokens.shape[::2] == (1, mllm.width) and guidance.pooled.shape == (1, mllm.width)
    assert ((guidance.scores > 0) & (guidance.scores < 1)).all()


def test_a_restorer_can_be_trained_with_it_frozen(family: tuple[str, Mllm]) -> None:
    """Batches of scenes are embedded as single images are."""
    mllm = family[1]
    guide = MllmGuidance(mllm)
    images = torch.rand(2, 3, 120, 150, generator=torch.Generator().manual_seed(2))
    prepared = torch.stack([guide.prepare(image, None) for image in images])  # type: ignore[arg-type]
    tokens, pooled = guide.embed(prepared)
    for index, image in enumerate(images):
        alone = mllm.embed(mllm.views(image)[None])
        assert torch.allclose(tokens[index], alone[0][0], atol=1e-4)
        assert torch.allclose(pooled[index], alone[1][0], atol=1e-4)
    assert guide.width == mllm.width and guide.identity == mllm.identity


def test_yes_and_no_come_from_one_prefix_and_are_the_same(family: tuple[str, Mllm]) -> None:
    name, mllm = family
    views = mllm.views(torch.rand(3, 120, 150, generator=torch.Generator().manual_seed(1)))
    asker = mllm._yes_no
    asker.prefix_works = None
    first, started = asker.scores(views, None), time.process_time()
    assert asker.prefix_works is (name not in LOOKS_AHEAD)
    again, taken = asker.scores(views, None), time.process_time() - started
    asker.prefix_works, started = False, time.process_time()
    whole, taken_whole = asker.scores(views, None), time.process_time() - started
    assert torch.allclose(first, whole, atol=2e-4) and torch.allclose(again, whole, atol=2e-4)
    if name not in LOOKS_AHEAD:
        assert taken < taken_whole / 1.5, "at least three times in the quiet, docs/experiments.md"


def test_every_layer_can_be_read(family: tuple[str, Mllm]) -> None:
    mllm = family[1]
    image = torch.rand(3, 120, 150, generator=torch.Generator().manual_seed(3))
    sight = mllm.see(image, Look(layers=mllm.layers, patches=PATCH_STATISTICS))
    seen = sight.states
    assert seen.shape == (len(mllm.layers), len(STATISTICS), mllm.width)
    assert len(set(mllm.layers)) == 3, "two layers, and what enters the first"
    assert not torch.allclose(seen[0], seen[-1])
    (filters,) = {
        m.out_channels
        for m in mllm.network.modules()
        if isinstance(m, torch.nn.Conv2d | torch.nn.Conv3d) and m.in_channels == 3
    }
    assert sight.patches.shape == (len(PATCH_STATISTICS), filters)
    plain = mllm.see(image, Look(layers=mllm.layers))
    assert torch.equal(plain.states, seen) and plain.patches.numel() == 0
    flat = mllm.see(
        image.mean((1, 2), keepdim=True).expand(3, 120, 150), Look(layers=mllm.layers, patches=PATCH_STATISTICS)
    )
    texture = PATCH_STATISTICS.index("texture")
    assert bool((flat.patches[texture] < sight.patches[texture]).all()), "noise moves every filter"


class Teacher:
    """Stands in for the restorer's MLLM: its embedding is a coarse copy of the image."""

    identity, device, directions = "teacher:0", torch.device("cpu"), None

    def describe(self, images: torch.Tensor, **_: Any) -> Any:
        pooled = torch.nn.functional.adaptive_avg_pool2d(images[:, :1], 4).flatten(1)
        return replace(scored_guidance([0.0] * 7), pooled=pooled, tokens=pooled[:, None], mllm_identity=self.identity)


def test_it_is_aligned(family: tuple[str, Mllm], monkeypatch: pytest.MonkeyPatch) -> None:
    mllm = family[1]
    monkeypatch.setattr(describer_module, "SMALL", 0)  # one set of views, as for large models
    restorer = make_restorer()
    restorer.mllm_identity = Teacher.identity
    settings = AlignSettings(pictures=16, trial=16, measured=0)
    aligned = align(mllm, Teacher(), restorer, photos_in(None), settings)  # type: ignore[arg-type]
    adapted = mllm.with_adapter(aligned.adapter)
    guidance = adapted.describe(torch.rand(1, 3, 100, 120))
    assert guidance.mllm_identity == Teacher.identity and guidance.pooled.shape == (1, 16)
    assert guidance.descriptions[0] and bool(guidance.parameters.isfinite().all())
    assert mllm.adapter is None
