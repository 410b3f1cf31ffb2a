"""Align MLLM: makes an adapter once, finds it again, and gives a model whose guidance Restore takes."""

from __future__ import annotations

import importlib
import json
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from mofe_restore.model.errors import MllmError
from mofe_restore.model.mllm.adapter import KIND, SOURCE, Adapter, file_name, write_adapter
from mofe_restore.model.mllm.sight import Look
from mofe_restore.model.weights import Card
from mofe_restore.tests.factories import MLLM_WIDTH, WIDTH, scored_guidance, write_restorer
from mofe_restore.tests.nodes.standins import Clip, Host, Interrupted, run

GUIDE = "guide:00112233445566aa"


class Guide:
    """Stands in for the restorer's MLLM: its embedding is a coarse copy of the image."""

    identity, device, directions = GUIDE, torch.device("cpu"), None

    def describe(self, images: torch.Tensor, **_: Any) -> Any:
        pooled = F.adaptive_avg_pool2d(images[:, :1], 4).flatten(1)
        return replace(scored_guidance([0.0] * 7), pooled=pooled, tokens=pooled[:, None], mllm_identity=GUIDE)


@pytest.fixture
def loaded(nodes: ModuleType, host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The inputs of the node: a CLIP that reads images, and a restorer of another MLLM."""
    write_restorer(tmp_path / "models" / "mofe" / "tiny.safetensors", WIDTH, GUIDE)
    node = importlib.import_module("mofe_restore.nodes.align_mllm")
    monkeypatch.setattr(node, "_teacher", lambda identity: (Guide(), None))
    clip = Clip(host, {"Which": "Rain.", "Describe": "Rain falls.", "cold?": "It is."})
    mllm = run(nodes.LoadMllm, model="shipped default", precision="auto", clip=clip).args[0]
    restorer = run(nodes.LoadRestorer, model="tiny.safetensors", precision="fp32").args[0]
    photos = torch.rand(4, 200, 200, 3, generator=torch.Generator().manual_seed(0))
    return {"mllm": mllm, "restorer": restorer, "pictures": 16, "again": False, "photos": photos, "clip": clip}


def align(nodes: ModuleType, loaded: dict[str, Any], **changed: Any) -> tuple[Any, dict[str, Any]]:
    inputs = {**loaded, **changed}
    del inputs["clip"]
    mllm, text = run(nodes.AlignMllm, **inputs).args
    return mllm, json.loads(text)


def an_adapter(source: str, target: str) -> Adapter:
    """An adapter that has learned nothing."""
    sizes = ((3,), (3, 2), (WIDTH,), (2, WIDTH), (1, WIDTH), (2, 1, WIDTH), (23,), (2, 23))
    return Adapter(source, target, "", Look(), *map(torch.zeros, sizes))


def write_adapter_to(folder: Path, source: str, target: str) -> None:
    adapter = an_adapter(source, target)
    card = Card(KIND, "a", "1", {SOURCE: source, "look": adapter.look.to_json()}, {}, {}, "", "", "", target)
    write_adapter(folder / file_name(source, target), adapter, card)


def test_it_aligns_once_and_the_guidance_is_taken(
    nodes: ModuleType, loaded: dict[str, Any], tmp_path: Path, host: Host
) -> None:
    mllm, report = align(nodes, loaded)
    (path,) = (tmp_path / "models" / "mofe" / "adapters").glob("*.safetensors")
    assert report["adapter"] == path.name and report["restorer's mllm"] == GUIDE
    assert set(report["psnr"]) == {"none", "aligned", "own"}
    assert host.progress[-1][0] <= host.progress[-1][1]

    image = torch.rand(1, 64, 80, 3)
    guidance, description, _ = run(
        nodes.DescribeDegradation, mllm=mllm, image=image, frames="every frame", instruction=""
    ).args
    assert guidance.mllm_identity == GUIDE and guidance.adapter and description
    restored = run(
        nodes.Restore, restorer=loaded["restorer"], image=image, strength=1.0, tile_size=0, guidance=guidance
    ).args[0]
    assert restored.shape == image.shape

    steps, written = len(host.progress), path.stat().st_mtime_ns
    align(nodes, loaded)
    assert len(host.progress) == steps and path.stat().st_mtime_ns == written, "it is found, not made again"
    align(nodes, loaded, again=True)
    assert len(host.progress) > steps


def test_load_mllm_finds_the_adapter_and_load_restorer_does_not_offer_it(
    nodes: ModuleType, loaded: dict[str, Any]
) -> None:
    align(nodes, loaded)
    again = run(nodes.LoadMllm, model="shipped default", precision="auto", clip=loaded["clip"]).args[0]
    assert again.describer.adapter is not None and again.describer.adapter.target == GUIDE
    options = nodes.LoadRestorer.define_schema().inputs[0].options
    assert options == ["shipped default", "tiny.safetensors"]


def test_questions_are_still_answered_by_the_model(nodes: ModuleType, loaded: dict[str, Any]) -> None:
    mllm, _ = align(nodes, loaded)
    asked = run(
        nodes.DescribeDegradation,
        mllm=mllm,
        image=torch.rand(1, 64, 80, 3),
        frames="every frame",
        instruction="Is it cold?",
    ).args
    assert asked[1].startswith("It is.")


def test_cancel_keeps_what_was_looked_at(nodes: ModuleType, loaded: dict[str, Any], host: Host, tmp_path: Path) -> None:
    host.cancel_after = 50
    with pytest.raises(Interrupted):
        align(nodes, loaded)
    folder = tmp_path / "models" / "mofe" / "adapters"
    assert list((folder / ".align").iterdir()) and not list(folder.glob("*.safetensors"))
    align(nodes, loaded)
    assert len(list(folder.glob("*.safetensors"))) == 1


def test_the_restorers_own_model_needs_no_adapter_and_loses_that_to_another(
    nodes: ModuleType, loaded: dict[str, Any]
) -> None:
    own = replace(loaded["mllm"], describer=loaded["mllm"].describer.with_adapter(an_adapter("any", "another")))
    own.describer.identity = GUIDE
    mllm, report = align(nodes, loaded, mllm=own)
    assert mllm.describer.identity == GUIDE and mllm.patcher is own.patcher
    assert mllm.describer.adapter is None and report["adapter"] is None
    assert own.describer.adapter is not None, "what other nodes hold stays as it is"


def test_load_mllm_adapts_no_model_that_is_a_restorers_own(
    nodes: ModuleType, tmp_path: Path, tiny_mllm_folder: Path
) -> None:
    models = tmp_path / "models"
    (models / "LLM").mkdir(parents=True)
    (models / "LLM" / "tiny").symlink_to(tiny_mllm_folder, target_is_directory=True)
    inputs = {"model": "tiny", "precision": "auto"}
    identity = run(nodes.LoadMllm, **inputs).args[0].describer.identity
    write_adapter_to(models / "mofe" / "adapters", identity, GUIDE)
    (models / "mofe" / "broken.safetensors").write_text("not weights")
    assert run(nodes.LoadMllm, **inputs).args[0].describer.adapter is not None
    before = nodes.LoadMllm.fingerprint_inputs(**inputs)
    write_restorer(models / "mofe" / "own" / "tiny.safetensors", MLLM_WIDTH, identity)
    assert nodes.LoadMllm.fingerprint_inputs(**inputs) != before, "so that ComfyUI loads it again"
    assert run(nodes.LoadMllm, **inputs).args[0].describer.adapter is None


@pytest.mark.weights
def test_the_shipped_models_go_on_working_together(nodes: ModuleType, tmp_path: Path) -> None:
    inputs = {"model": "shipped default", "precision": "auto"}
    identity = run(nodes.LoadMllm, **inputs).args[0].describer.identity
    write_adapter_to(tmp_path / "models" / "mofe" / "adapters", identity, GUIDE)
    assert run(nodes.LoadMllm, **inputs).args[0].describer.adapter is None


def test_a_restorer_whose_model_is_not_there_is_said(nodes: ModuleType, host: Host) -> None:
    node = importlib.import_module("mofe_restore.nodes.align_mllm")
    with pytest.raises(MllmError, match=r"The MLLM lost:1, .* put its folder under models/LLM"):
        node._teacher("lost:1")


def test_one_that_writes_nothing_describes_from_scores_and_says_what_it_cannot_answer(
    nodes: ModuleType, loaded: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loaded["clip"], "generate", None)
    mllm, _ = align(nodes, loaded)

    def described(instruction: str) -> str:
        inputs = {"mllm": mllm, "image": torch.rand(1, 64, 80, 3), "frames": "every frame", "instruction": instruction}
        return str(run(nodes.DescribeDegradation, **inputs).args[1])

    assert described("")
    assert "cannot answer" in described("Is it a cat?")
