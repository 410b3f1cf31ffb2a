"""A CLIP of ComfyUI in the place of an MLLM, over a stand-in for it."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import pytest
import torch

from mofe_restore.model.errors import GuidanceError
from mofe_restore.tests.factories import MLLM_WIDTH, make_restorer
from mofe_restore.tests.nodes.standins import Clip, Host, Interrupted, run

ANSWERS = {"Which": "Rain, haze.", "Describe": "Rain falls before a hazy street.", "cold?": "It is."}


@pytest.fixture
def clip(host: Host) -> Clip:
    return Clip(host, ANSWERS)


@pytest.fixture
def describe(nodes: ModuleType, clip: Clip) -> Callable[..., Any]:
    mllm = load(nodes, clip)

    def describe(image: torch.Tensor, **settings: Any) -> Any:
        settings = {"frames": "every frame", **settings}
        return run(nodes.DescribeDegradation, mllm=mllm, image=image, **settings).args

    return describe


def load(nodes: ModuleType, clip: Clip) -> Any:
    return run(nodes.LoadMllm, model="shipped default", precision="auto", clip=clip).args[0]


def random_image(batch: int = 1, height: int = 40, width: int = 56) -> torch.Tensor:
    return torch.rand(batch, height, width, 3, generator=torch.Generator().manual_seed(3))


def test_what_it_names_becomes_scores_and_what_it_says_the_description(describe: Callable[..., Any]) -> None:
    guidance, description, text = describe(random_image(2))
    assert description.splitlines()[0] == "1. Rain falls before a hazy street."
    (first, second) = json.loads(text)
    assert set(first["present"]) == {"haze", "rain"} and first["scores"]["snow"] == 0
    assert first["mllm"] == second["mllm"] == guidance.mllm_identity
    assert guidance.tokens.shape[::2] == (2, 6) and guidance.pooled.shape == (2, 6)


def test_each_image_is_shown_by_itself_and_guides_by_itself(describe: Callable[..., Any]) -> None:
    image = random_image(2)
    both, second = describe(image)[0], describe(image[1:])[0]
    assert torch.equal(both.tokens[1:], second.tokens)
    assert not torch.equal(both.tokens[0], both.tokens[1])


def test_comfyui_loads_it_and_nobody_else_does(describe: Callable[..., Any], host: Host) -> None:
    describe(random_image())
    assert host.loaded == []


def test_a_question_is_asked_and_a_wish_steers(describe: Callable[..., Any]) -> None:
    assert describe(random_image(), instruction="Is it cold?")[1] == "It is."
    guidance, description, _ = describe(random_image(), instruction="keep the haze")
    assert guidance.removal[0].tolist() == [1, 0, 1, 1, 1, 1, 1]
    assert description.startswith("Rain falls")


@pytest.mark.parametrize("answer", ["", "None", "I am sorry, there might be rain or so", "{'rain': true}", "no rain"])
def test_an_answer_that_is_no_list_names_nothing(nodes: ModuleType, host: Host, answer: str) -> None:
    mllm = load(nodes, Clip(host, {**ANSWERS, "Which": answer}))
    guidance = run(nodes.DescribeDegradation, mllm=mllm, image=random_image(), frames="every frame").args[0]
    assert guidance.scores.tolist() == [[0.0] * 7]


@pytest.mark.parametrize("answer", ["rain, haze", "Haze and rain.", "- Rain\n- Haze", "RAIN; haze, sadness"])
def test_a_list_is_understood_however_it_is_written(nodes: ModuleType, answer: str) -> None:
    from mofe_restore.nodes.clip_describer import degradations_in

    assert degradations_in(answer) == {"rain", "haze"}


def test_a_large_image_is_shown_smaller(nodes: ModuleType) -> None:
    from mofe_restore.nodes.clip_describer import MAX_PIXELS, shrink

    assert shrink(torch.rand(3, 40, 56)).shape == (1, 40, 56, 3)
    large = shrink(torch.rand(3, 1500, 3000))
    assert 0.9 * MAX_PIXELS < large.shape[1] * large.shape[2] <= MAX_PIXELS
    assert large.shape[2] / large.shape[1] == pytest.approx(2, rel=0.01)


@pytest.mark.parametrize("k", [1, 3, 6])
def test_cancel_at_the_kth_token_ends_the_run_there_and_the_next_works(
    nodes: ModuleType, host: Host, clip: Clip, monkeypatch: pytest.MonkeyPatch, k: int
) -> None:
    steps = []

    def press_at_k() -> None:
        steps.append(None)
        if len(steps) == k:
            host.cancel_after = 0

    mllm = load(nodes, clip)
    monkeypatch.setattr(clip, "next_token", press_at_k)
    with pytest.raises(Interrupted):
        run(nodes.DescribeDegradation, mllm=mllm, image=random_image(), frames="every frame")
    assert len(steps) == k
    guidance = run(nodes.DescribeDegradation, mllm=mllm, image=random_image(), frames="every frame").args[0]
    assert guidance.descriptions == ("Rain falls before a hazy street.",)


def test_a_restorer_of_another_mllm_refuses_its_guidance(
    nodes: ModuleType, describe: Callable[..., Any], restorer: Any
) -> None:
    guidance = describe(random_image())[0]
    with pytest.raises(GuidanceError, match="CLIP Linear:.*mllm-a") as caught:
        run(nodes.Restore, restorer=restorer, image=random_image(), strength=1.0, tile_size=0, guidance=guidance)
    assert "\n" not in str(caught.value)


def test_the_identity_is_that_of_the_weights(nodes: ModuleType, host: Host) -> None:
    same, other = Clip(host, ANSWERS), Clip(host, ANSWERS)
    with torch.no_grad():
        same.cond_stage_model.bias.copy_(other.cond_stage_model.bias)
    assert load(nodes, same).describer.identity == load(nodes, other).describer.identity
    with torch.no_grad():
        other.cond_stage_model.bias.add_(1)
    assert load(nodes, same).describer.identity != load(nodes, other).describer.identity
    same.patcher.patches = {"a LoRA": 1}
    assert load(nodes, same).describer.identity != load(nodes, Clip(host, ANSWERS)).describer.identity


def test_the_same_weights_that_return_other_states_are_another_model(nodes: ModuleType, host: Host) -> None:
    def identity(layer: int | None = None, taken: tuple[str, int | None] = ("last", None), wants: Any = None) -> str:
        clip = Clip(host, ANSWERS)
        torch.nn.init.zeros_(clip.cond_stage_model.bias)
        clip.layer_idx, clip.tokenizer = layer, wants
        clip.cond_stage_model.layers[0].options_default = taken
        return str(load(nodes, clip).describer.identity)

    assert identity() == identity()
    others = [identity(layer=-2), identity(taken=("hidden", -3)), identity(wants=[])]  # Clip Set Last Layer, and types
    assert len({identity(), *others}) == 4


def test_a_clip_that_reads_no_images_gets_one_sentence(nodes: ModuleType, host: Host) -> None:
    strict = Clip(host, ANSWERS)
    strict.tokenize = lambda text: {"stand_in": [[(text, 1.0)]]}  # type: ignore[assignment, method-assign]
    for clip in (Clip(host, ANSWERS, reads=False), strict):
        with pytest.raises(ValueError, match="does not read images: load .* type at stable_diffusion") as caught:
            load(nodes, clip)
        assert "\n" not in str(caught.value)


class EditorsClip(Clip):
    """As the text encoders of image editors: wants a list of images, and writes nothing."""

    def tokenize(self, text: str, images: Sequence[torch.Tensor] = (), **more: Any) -> dict[str, Any]:  # type: ignore[override]
        return super().tokenize(text, **{**more, "image": images[0] if images else None})

    def generate(self, *_: Any, **__: Any) -> list[str]:
        raise AttributeError("'Config' object has no attribute 'stop_tokens'")


class PaddedClip(Clip):
    """As Gemma's: looks for tokens under another name, pads them on the left, and returns the states of all layers."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.cond_stage_model.clip_name = "by another name"

    def encode_from_tokens(self, tokens: dict[str, Any], return_dict: bool = False) -> Any:
        states = super().encode_from_tokens({"stand_in": tokens["by another name"]})
        layers = torch.stack([torch.zeros_like(states), states], dim=1)
        padded = torch.cat([torch.full_like(layers, 9), layers], dim=2)
        mask = torch.ones(1, padded.shape[2], dtype=torch.long)
        mask[:, : states.shape[1]] = 0
        return {"cond": padded, "pooled_output": None, "attention_mask": mask}


def test_one_that_wants_a_list_of_images_and_writes_nothing_says_that_it_has_to_be_aligned(
    nodes: ModuleType, host: Host
) -> None:
    mllm = load(nodes, EditorsClip(host, ANSWERS))
    with pytest.raises(ValueError, match="reads images but writes no text.*connect Align MLLM") as caught:
        run(nodes.DescribeDegradation, mllm=mllm, image=random_image(), frames="every frame")
    assert "\n" not in str(caught.value)


def test_neither_padding_nor_lower_layers_guide(nodes: ModuleType, host: Host) -> None:
    plain, padded = Clip(host, ANSWERS), PaddedClip(host, ANSWERS)
    padded.cond_stage_model.load_state_dict(plain.cond_stage_model.state_dict())
    first, second = (
        run(nodes.DescribeDegradation, mllm=load(nodes, clip), image=random_image(), frames="every frame").args[0]
        for clip in (plain, padded)
    )
    assert torch.equal(first.tokens, second.tokens) and torch.equal(first.pooled, second.pooled)


def test_a_view_is_shown_in_few_tokens_and_a_whole_image_in_as_many_as_it_likes(
    nodes: ModuleType, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mofe_restore.model.mllm.sight import Look

    clip, asked = Clip(host, ANSWERS), []
    tokenize = clip.tokenize

    def noted(text: str, **settings: Any) -> dict[str, Any]:
        asked.append((settings["image"].shape[1:3], settings.get("max_soft_tokens")))
        return tokenize(text, **settings)

    describer = load(nodes, clip).describer
    monkeypatch.setattr(clip, "tokenize", noted)
    describer.describe(random_image(1, 300, 400).movedim(-1, 1))
    assert {most for _, most in asked} == {None}
    asked.clear()
    describer.see(random_image(1, 300, 400)[0].movedim(-1, 0), Look())
    assert {most for _, most in asked} == {70} and len({side for side, _ in asked}) == 1


@pytest.mark.field
def test_row3_notes_on_an_order_stand_before_the_description_and_on_the_node(
    describe: Callable[..., Any], host: Host
) -> None:
    _, description, _ = describe(random_image(), instruction="remove haze but keep haze")
    note = "The instruction contradicts itself about haze, so Restore removes all it finds."
    assert description == f"{note} Rain falls before a hazy street."
    assert host.texts == [(note, "1")]


def test_no_restorer_is_loaded_for_a_second_look(describe: Callable[..., Any], nodes: ModuleType, host: Host) -> None:
    types = importlib.import_module(f"{nodes.__name__}.types")
    network, cpu = make_restorer(MLLM_WIDTH, with_camera=True), torch.device("cpu")
    patcher = importlib.import_module("comfy.model_patcher").CoreModelPatcher(network, cpu, cpu)
    describe(random_image(), restorer=types.LoadedRestorer(network, patcher, torch.float32))
    assert patcher not in [each for each, _ in host.loaded]
