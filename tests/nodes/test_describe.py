"""Load MLLM and Describe Degradation over a stand-in host, with a tiny random MLLM."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from mofe_restore.cli.memory_probe import allocated
from mofe_restore.model.errors import MllmError
from mofe_restore.model.vocabulary import DEGRADATIONS
from mofe_restore.tests.factories import MLLM_WIDTH, make_guidance, make_restorer
from mofe_restore.tests.nodes.standins import Host, Interrupted, run


@pytest.fixture
def mllm(nodes: ModuleType, tiny_mllm_folder: Path, tmp_path: Path) -> Any:
    """MOFE_MLLM of a tiny random model, through its loader node."""
    folder = tmp_path / "models" / "LLM"
    folder.mkdir(parents=True)
    (folder / "tiny").symlink_to(tiny_mllm_folder, target_is_directory=True)
    (loaded,) = run(nodes.LoadMllm, model="tiny", precision="auto").args
    return loaded


@pytest.fixture
def describe(nodes: ModuleType, mllm: Any) -> Callable[..., Any]:
    def describe(image: torch.Tensor, **settings: Any) -> Any:
        return run(
            nodes.DescribeDegradation, **{"mllm": mllm, "image": image, "frames": "every frame", **settings}
        ).args

    return describe


def random_image(batch: int = 1, channels: int = 3) -> torch.Tensor:
    return torch.rand(batch, 40, 56, channels, generator=torch.Generator().manual_seed(3))


def test_every_frame_gets_guidance_and_a_report(describe: Callable[..., Any], mllm: Any) -> None:
    guidance, description, text = describe(random_image(2))
    assert len(guidance) == 2
    assert guidance.mllm_identity == mllm.describer.identity
    assert [line[:3] for line in description.splitlines()][:1] == ["1. "]
    report = json.loads(text)
    assert [list(entry["scores"]) for entry in report] == [list(DEGRADATIONS)] * 2
    assert report[0]["description"] == guidance.descriptions[0]


def test_the_first_frame_can_speak_for_the_batch(describe: Callable[..., Any]) -> None:
    guidance, description, _ = describe(random_image(3), frames="first frame only")
    assert len(guidance) == 1
    assert description == guidance.descriptions[0]


@pytest.mark.field
def test_row11_a_fade_from_black_does_not_speak_for_a_video(describe: Callable[..., Any]) -> None:
    shown = random_image(1).repeat(6, 1, 1, 1)
    faded = torch.cat([torch.zeros_like(shown[:3]), shown, torch.zeros_like(shown[:1])])
    (expected, text, _), (guidance, description, report) = (
        describe(each, frames=how) for each, how in ((shown[:1], "every frame"), (faded, "typical frame"))
    )
    assert len(guidance) == 1 and torch.equal(guidance.pooled, expected.pooled)
    assert description == text and len(json.loads(report)) == 1
    (black, *_) = describe(faded[:3], frames="typical frame")
    assert len(black) == 1


def test_a_video_is_not_copied_to_find_its_typical_frame(
    describe: Callable[..., Any], mllm: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mllm.describer, "describe", lambda *_, **__: make_guidance())

    def peak(frames: int) -> int:
        video = torch.rand(frames, 90, 160, 3)
        return allocated(lambda: describe(video, frames="typical frame"), torch.device("cpu"))

    assert peak(40) == peak(10), "what is kept are the frames that are described"


def test_grey_and_alpha_are_understood(describe: Callable[..., Any]) -> None:
    grey, transparent = random_image(channels=1), random_image(channels=4)
    for image, colors in ((grey, grey.expand(-1, -1, -1, 3)), (transparent, transparent[..., :3])):
        assert torch.equal(describe(image)[0].pooled, describe(colors)[0].pooled)


def test_an_instruction_changes_the_words_only(describe: Callable[..., Any]) -> None:
    plain, asked = describe(random_image())[0], describe(random_image(), instruction="Is there haze?")[0]
    assert torch.equal(plain.pooled, asked.pooled)


def test_a_batch_gives_what_its_images_give(describe: Callable[..., Any]) -> None:
    batch = random_image(2)
    assert torch.equal(describe(batch)[0].pooled[1:], describe(batch[1:])[0].pooled)


@pytest.mark.parametrize(
    ("image", "sentence"),
    [
        (torch.full((1, 32, 32, 3), torch.inf), "Image 0 .* not finite"),
        (torch.rand(1, 32, 32, 2), "2 channels"),
        (torch.rand(0, 32, 32, 3), "empty"),
    ],
)
def test_an_image_that_makes_no_sense_gets_one_sentence(
    describe: Callable[..., Any], image: torch.Tensor, sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence):
        describe(image)


def test_every_image_is_checked_before_the_first_is_described(describe: Callable[..., Any], host: Host) -> None:
    image = random_image(3)
    image[2, 5, 5, 1] = torch.nan
    with pytest.raises(ValueError, match="Image 2 .* not finite"):
        describe(image)
    assert host.loaded == host.progress == []


def test_the_model_is_loaded_by_the_host(describe: Callable[..., Any], mllm: Any, host: Host) -> None:
    describe(random_image())
    assert [patcher for patcher, _ in host.loaded] == [mllm.patcher]
    assert mllm.patcher.model is mllm.describer.network


def test_progress_moves_with_the_tokens_and_ends_full(describe: Callable[..., Any], host: Host) -> None:
    describe(random_image(2))
    done = [value for value, _ in host.progress]
    assert len(done) > 4
    assert done == sorted(done)
    assert host.progress[-1][0] == host.progress[-1][1]


def test_cancel_ends_the_run_at_the_next_token_and_the_run_after_it_works(
    describe: Callable[..., Any], host: Host
) -> None:
    host.cancel_after = 2
    with pytest.raises(Interrupted):
        describe(random_image())
    assert len(host.progress) == 1
    assert len(describe(random_image())[0]) == 1


def test_a_folder_that_is_no_mllm_gets_one_sentence(nodes: ModuleType, tmp_path: Path) -> None:
    folder = tmp_path / "models" / "mllm" / "words"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    with pytest.raises(MllmError, match="no .safetensors weights") as caught:
        run(nodes.LoadMllm, model="words", precision="auto")
    assert "\n" not in str(caught.value)


@pytest.mark.field
@pytest.mark.parametrize(
    ("instruction", "note"),
    [
        ("entferne den Regen", '"entferne den Regen" was not understood'),
        ("保留雾，去除水印", "“水印”不是可以去除或保留的退化"),
        ("Who is in this picture?", 'The model cannot answer "Who is in this picture?"'),
        ("What is <image>?", 'The model cannot answer "What is <image>?"'),
    ],
)
def test_row3_what_is_not_understood_is_said_on_the_node_and_in_the_description(
    describe: Callable[..., Any], host: Host, instruction: str, note: str
) -> None:
    guidance, description, report = describe(random_image(2), instruction=instruction)
    ((text, node_id),) = host.texts
    assert node_id == "1" and text.startswith(note) and guidance.notes == (text,)
    assert [line[3:].startswith(text) for line in description.splitlines()] == [True, True]
    assert json.loads(report)[0]["description"].startswith(text)
    describe(random_image())
    assert host.texts[-1] == ("The instruction was understood.", "1")


@pytest.mark.field
@pytest.mark.parametrize(
    "instruction", ["", "remove half of the haze", "保留雾，只去除雨", "Is there haze?", "有雾吗？"]
)
def test_row3_nothing_is_said_on_the_node_where_all_is_understood(
    describe: Callable[..., Any], host: Host, instruction: str
) -> None:
    guidance, _, _ = describe(random_image(), instruction=instruction)
    assert host.texts == [] and guidance.notes == ()


@pytest.mark.field
def test_row3_an_amount_steers_restore(describe: Callable[..., Any]) -> None:
    guidance = describe(random_image(), instruction="去掉一半的雾")[0]
    assert guidance.removal[0, DEGRADATIONS.index("haze")] == 0.5


@pytest.mark.field
def test_row2_a_million_characters_get_one_sentence(describe: Callable[..., Any], host: Host) -> None:
    description = describe(random_image(), instruction="lorem ipsum " * 90_000)[1]
    assert description.startswith('"lorem ipsum lorem ipsum') and len(description) < 1000
    assert len(host.texts) == 1


def test_a_connected_restorer_helps_with_a_second_look(
    describe: Callable[..., Any], mllm: Any, nodes: ModuleType, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    types = importlib.import_module(f"{nodes.__name__}.types")
    network, cpu = make_restorer(MLLM_WIDTH, with_camera=True), torch.device("cpu")
    patcher = importlib.import_module("comfy.model_patcher").CoreModelPatcher(network, cpu, cpu)
    given: list[object] = []
    plain = mllm.describer.describe
    monkeypatch.setattr(
        mllm.describer, "describe", lambda *images, helper, **more: given.append(helper) or plain(*images, **more)
    )
    describe(random_image(), restorer=types.LoadedRestorer(network, patcher, torch.float32))
    describe(random_image())
    assert given == [network, None]
    assert [each for each, _ in host.loaded] == [patcher, mllm.patcher, mllm.patcher]
