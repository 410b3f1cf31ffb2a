"""What the pack asks of ComfyUI and gives to it, as cases for the stand-ins and for the real thing alike.

`test_contract.py` runs them over the stand-ins, and this file as a program in a real ComfyUI, whose environment has no
pytest:

    python contract.py COMFYUI PACK MODELS

prints a line of JSON per case: its name, what went wrong or null, and what this ComfyUI lacks or null. MODELS holds
`mofe/tiny.safetensors` and `LLM/owner/tiny`, the MLLM with which it was made.
"""

from __future__ import annotations

import asyncio
import functools
import gc
import importlib
import importlib.util
import json
import sys
import tempfile
import traceback
import types
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch


class NotHere(Exception):
    """This ComfyUI is older than what a case is about, and the pack does without."""


class World:
    """A ComfyUI, real or not, with the pack in it; `comfy` and its kin are in `sys.modules`."""

    def __init__(self, host: Any = None) -> None:
        from mofe_restore.tests.nodes.standins import run

        self.run = run
        self.host = host
        self.nodes = importlib.import_module("mofe_restore.nodes")
        self.management = importlib.import_module("comfy.model_management")
        importlib.import_module("mofe_restore.nodes.model_paths").register_folders()

    def restorer(self, precision: str = "fp32") -> Any:
        return self.run(self.nodes.LoadRestorer, model="tiny.safetensors", precision=precision).args[0]

    def mllm(self) -> Any:
        return self.run(self.nodes.LoadMllm, model="owner/tiny", precision="auto").args[0]

    def restore(self, restorer: Any, image: torch.Tensor, **settings: Any) -> Any:
        """The image and the routing."""
        settings = {"strength": 1.0, "tile_size": 0, **settings}
        return self.run(self.nodes.Restore, restorer=restorer, image=image, **settings).args

    def describe(self, mllm: Any, image: torch.Tensor, **settings: Any) -> Any:
        """Guidance, description and report."""
        return self.run(
            self.nodes.DescribeDegradation, mllm=mllm, image=image, **{"frames": "every frame", **settings}
        ).args

    def clip(self) -> tuple[Any, Any, str]:
        """A CLIP that reads images, and the method, as owner and name, that it calls once per token it writes."""
        from mofe_restore.tests.nodes.standins import Clip

        clip = Clip(self.host, {"Which": "rain and haze", "Describe": "Rain falls before a hazy street."})
        return clip, clip, "next_token"

    def press_cancel(self) -> None:
        self.management.interrupt_current_processing(True)


class Watch:
    """Stands before a method: does something at the k-th call, and knows what of all calls is still alive."""

    def __init__(self, owner: Any, name: str, k: int, at_k: Callable[[Any], Any]) -> None:
        self.calls = 0
        self._seen: list[weakref.ref[Any]] = []
        self._owner, self._name = owner, name
        original = getattr(owner, name)

        @functools.wraps(original)
        def watched(*args: Any, **more: Any) -> Any:
            self.calls += 1
            result = original(*args, **more)
            self._seen += [weakref.ref(value) for value in _flat([args, more, result]) if _is_big(value)]
            return at_k(result) if self.calls == k else result

        setattr(owner, name, watched)

    def alive(self) -> int:
        """How much of what went in or came out still exists."""
        gc.collect()
        return sum(reference() is not None for reference in self._seen)

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, *_: object) -> None:
        delattr(self._owner, self._name)


def _flat(value: Any) -> list[Any]:
    if isinstance(value, dict):
        value = list(value.values())
    return [part for each in value for part in _flat(each)] if isinstance(value, tuple | list) else [value]


def _is_big(value: Any) -> bool:
    """A tensor, or the cache of a language model, which holds many."""
    return isinstance(value, torch.Tensor) or type(value).__name__.endswith("Cache")


def random_image(batch: int = 1, height: int = 40, width: int = 56, channels: int = 3) -> torch.Tensor:
    return torch.rand(batch, height, width, channels, generator=torch.Generator().manual_seed(3))


def raises(kind: type[BaseException], work: Callable[[], Any]) -> BaseException:
    """The error that some work ends with, which must be of this kind."""
    try:
        work()
    except kind as error:
        return error
    raise AssertionError(f"no {kind.__name__} was raised")


def tile_errors(result: Any) -> Any:
    raise torch.OutOfMemoryError("CUDA out of memory")


def with_nan(result: Any) -> Any:
    restored, routing = result
    return torch.full_like(restored, torch.nan), routing


# What ComfyUI's documentation says of the parts that the pack uses -------------------------------------------------


def case_a_new_kind_of_model_lists_every_file_until_extensions_are_named(world: World) -> None:
    import folder_paths

    with tempfile.TemporaryDirectory() as first, tempfile.TemporaryDirectory() as second:
        folder_paths.add_model_folder_path("mofe_contract", first)
        folder_paths.add_model_folder_path("mofe_contract", first)
        folder_paths.add_model_folder_path("mofe_contract", second, is_default=True)
        assert folder_paths.get_folder_paths("mofe_contract") == [second, first]
        (Path(first) / "deep").mkdir()
        for name in ("a.safetensors", "README.md", "deep/b.safetensors"):
            (Path(first) / name).write_text("")
        extensions = folder_paths.folder_names_and_paths["mofe_contract"][1]
        assert extensions == set()
        extensions.add(".safetensors")
        listed = [Path(name).as_posix() for name in folder_paths.get_filename_list("mofe_contract")]
        assert listed == ["a.safetensors", "deep/b.safetensors"]
        assert folder_paths.get_full_path("mofe_contract", "a.safetensors") == str(Path(first) / "a.safetensors")
        assert folder_paths.get_full_path("mofe_contract", "gone.safetensors") is None
        outside = Path(second).parent / "outside.safetensors"
        assert folder_paths.get_full_path("mofe_contract", f"../{outside.name}") is None
        folder_paths.get_folder_paths("mofe_contract").clear()
        assert len(folder_paths.get_folder_paths("mofe_contract")) == 2
        del folder_paths.folder_names_and_paths["mofe_contract"]


def case_a_patcher_knows_its_devices_and_marks_the_network(world: World) -> None:
    import comfy.model_patcher

    cpu, network = torch.device("cpu"), torch.nn.Linear(2, 2)
    patcher = comfy.model_patcher.CoreModelPatcher(network, load_device=cpu, offload_device=cpu)
    assert patcher.model is network
    assert (patcher.load_device, patcher.offload_device) == (cpu, cpu)
    assert network.device == cpu
    world.management.load_models_gpu([patcher], memory_required=1024)
    assert network.weight.device == patcher.load_device


def case_cancel_is_raised_once(world: World) -> None:
    check = world.management.throw_exception_if_processing_interrupted
    check()
    world.press_cancel()
    raises(world.management.InterruptProcessingException, check)
    check()


def case_cancel_is_no_exception(world: World) -> None:
    if issubclass(world.management.InterruptProcessingException, Exception):
        raise NotHere("a Cancel that no `except Exception` catches")


def case_only_a_lack_of_memory_passes_raise_non_oom(world: World) -> None:
    if not hasattr(world.management, "raise_non_oom"):
        raise NotHere("raise_non_oom")
    world.management.raise_non_oom(torch.OutOfMemoryError("CUDA out of memory"))
    other = RuntimeError("a shape does not fit")
    assert raises(RuntimeError, lambda: world.management.raise_non_oom(other)) is other
    world.management.soft_empty_cache()


def case_a_progress_bar_takes_a_new_total(world: World) -> None:
    import comfy.utils

    bar = comfy.utils.ProgressBar(4)
    bar.update_absolute(1)
    bar.update_absolute(2, 16)
    assert bar.total == 16


def case_what_travels_between_nodes_lies_on_the_cpu_in_fp32(world: World) -> None:
    assert world.management.intermediate_device() == torch.device("cpu")
    if not hasattr(world.management, "intermediate_dtype"):
        raise NotHere("a type of its own for what travels")
    assert world.management.intermediate_dtype() == torch.float32


def case_devices_are_named_for_networks_and_for_language_models(world: World) -> None:
    management = world.management
    for device in (
        management.get_torch_device(),
        management.unet_offload_device(),
        management.text_encoder_device(),
        management.text_encoder_offload_device(),
    ):
        assert device == torch.device("cpu")
    assert management.should_use_bf16(torch.device("cpu")) in (True, False)


def case_inputs_keep_what_the_schema_says_of_them(world: World) -> None:
    from comfy_api.latest import io

    number = io.Float.Input("amount", default=1.0, min=0.0, max=2.0, step=0.5, tooltip="How much.", optional=True)
    assert (number.id, number.default, number.min, number.max, number.step) == ("amount", 1.0, 0.0, 2.0, 0.5)
    assert (number.tooltip, number.optional) == ("How much.", True)
    assert io.Combo.Input("kind", options=["a", "b"]).options == ["a", "b"]
    own = io.Custom("MOFE_CONTRACT")
    assert own.Input("x").io_type == own.Output("y", tooltip="What.").io_type == "MOFE_CONTRACT"
    assert io.Image.Input("image").io_type == "IMAGE"
    schema = io.Schema(node_id="MoFE_Contract", display_name="Contract", category="MoFE", inputs=[number], outputs=[])
    assert schema.node_id == "MoFE_Contract" and [port.id for port in schema.inputs] == ["amount"]
    raises(TypeError, lambda: io.Schema(node_id="x", not_a_setting=1))


def case_an_output_holds_its_values(world: World) -> None:
    from comfy_api.latest import io

    assert io.NodeOutput(1, "two").args == (1, "two")


# What the pack does there --------------------------------------------------------------------------------------------


def case_the_entrypoint_lists_nodes_that_describe_themselves(world: World) -> None:
    extension = asyncio.run(importlib.import_module("mofe_restore").comfy_entrypoint())
    schemas = [node.define_schema() for node in asyncio.run(extension.get_node_list())]
    assert "MoFE_Restore" in [schema.node_id for schema in schemas]
    for schema in schemas:
        assert schema.display_name and schema.description and schema.category in ("image/restoration", "model/loaders")
        assert all(port.tooltip for port in (*schema.inputs, *schema.outputs)), schema.node_id


def case_models_of_a_second_root_are_offered_behind_the_shipped_ones(world: World) -> None:
    for node, name in ((world.nodes.LoadRestorer, "tiny.safetensors"), (world.nodes.LoadMllm, "owner/tiny")):
        options = next(port.options for port in node.define_schema().inputs if port.id == "model")
        assert options[0] == "shipped default" and name in options


def case_a_model_that_is_gone_is_named_with_its_folder(world: World) -> None:
    work = (
        lambda: world.run(world.nodes.LoadRestorer, model="gone.safetensors", precision="auto"),
        lambda: world.run(world.nodes.LoadMllm, model="../../secret", precision="auto"),
    )
    for each, name in zip(work, ("gone.safetensors", "../../secret"), strict=True):
        message = str(raises(FileNotFoundError, each))
        assert name in message and "press R" in message and "\n" not in message


def case_every_kind_of_image_comes_back_in_its_shape(world: World) -> None:
    restorer = world.restorer()
    for channels in (1, 3, 4):
        for dtype in (torch.float32, torch.float16):
            image = random_image(2, 33, 47, channels).to(dtype)
            result, _ = world.restore(restorer, image)
            assert result.shape == image.shape
            assert (result.device, result.dtype) == (torch.device("cpu"), torch.float32)
            assert not torch.equal(result[..., :3], image[..., :3].float())
            assert torch.equal(result[..., 3:], image[..., 3:].float())


def case_no_strength_and_a_black_mask_give_the_input_bit_by_bit(world: World) -> None:
    image, restorer = random_image(2), world.restorer()
    assert torch.equal(world.restore(restorer, image, strength=0.0)[0], image)
    assert torch.equal(world.restore(restorer, image, mask=torch.zeros(1, 40, 56))[0], image)


def case_the_empty_mask_of_load_image_is_no_mask(world: World) -> None:
    image, restorer = random_image(), world.restorer()
    whole, masked = world.restore(restorer, image)[0], world.restore(restorer, image, mask=torch.zeros(1, 64, 64))[0]
    assert torch.equal(whole, masked) and not torch.equal(whole, image)


def case_an_image_in_tiles_is_the_image_in_one_piece(world: World) -> None:
    image, restorer = random_image(1, 200, 150), world.restorer()
    whole, tiled = world.restore(restorer, image)[0], world.restore(restorer, image, tile_size=64)[0]
    assert (whole - tiled).abs().max() < 1e-4


def case_a_description_guides_its_images_or_one_the_whole_batch(world: World) -> None:
    image, restorer, mllm = random_image(2), world.restorer(), world.mllm()
    each, description, report = world.describe(mllm, image)
    first, alone, _ = world.describe(mllm, image, frames="first frame only")
    assert (len(each), len(first)) == (2, 1)
    assert description.startswith("1. ") and alone == first.descriptions[0]
    assert [entry["mllm"] for entry in json.loads(report)] == [mllm.describer.identity] * 2
    own, shared = (world.restore(restorer, image, guidance=guidance)[0] for guidance in (each, first))
    assert torch.equal(own[0], shared[0])
    assert not torch.equal(own, world.restore(restorer, image)[0])


def case_steered_guidance_is_still_guidance(world: World) -> None:
    guidance = world.describe(world.mllm(), random_image())[0]
    sliders = dict.fromkeys(("low_light", "rain", "snow", "noise", "blur", "jpeg"), 1.0)
    steered = world.run(world.nodes.SteerRestoration, guidance=guidance, haze=0.0, **sliders).args[0]
    assert steered.removal[0].tolist() == [1, 0, 1, 1, 1, 1, 1]
    assert world.restore(world.restorer(), random_image(), guidance=steered)[0].shape == random_image().shape


def case_a_degraded_image_is_an_image(world: World) -> None:
    image = random_image(2, channels=4)
    sliders = dict.fromkeys(("low_light", "haze", "snow", "noise", "blur", "jpeg"), 0.0)
    degraded = world.run(world.nodes.DegradeImage, image=image, rain=0.8, seed=1, **sliders).args[0]
    assert degraded.shape == image.shape and not torch.equal(degraded[..., :3], image[..., :3])
    assert torch.equal(degraded[..., 3], image[..., 3])


def case_the_routing_is_drawn(world: World) -> None:
    routing = world.restore(world.restorer(), random_image(2))[1]
    chart, text = world.run(world.nodes.ShowRouting, routing=routing, frame=1).args
    assert chart.ndim == 4 and chart.shape[3] == 3
    assert json.loads(text)["width"] == 56


def case_out_of_memory_at_the_kth_tile_gives_the_same_image_in_smaller_tiles(world: World) -> None:
    image, restorer = random_image(2, 128, 128), world.restorer()
    expected = world.restore(restorer, image)[0]
    for k in (1, 2):
        with Watch(restorer.network, "restore_crop", k, tile_errors) as watch:
            result = world.restore(restorer, image)[0]
            assert (result - expected).abs().max() < 1e-4
            assert watch.calls == (1 + 4 + 4 if k == 1 else 1 + 1 + 4)  # small tiles stay for the images that follow
            assert watch.alive() == 0
    assert torch.equal(world.restore(restorer, image)[0], expected)


def case_out_of_memory_without_end_is_an_error_that_holds_nothing(world: World) -> None:
    image, restorer = random_image(1, 64, 64), world.restorer()
    with Watch(restorer.network, "restore_crop", 1, tile_errors) as watch:
        error = raises(torch.OutOfMemoryError, lambda: world.restore(restorer, image))
        assert watch.alive() == 0, error
    assert world.restore(restorer, image)[0].shape == image.shape


def case_a_tile_that_is_not_finite_is_computed_again_in_fp32(world: World) -> None:
    image, restorer = random_image(1, 128, 128), world.restorer("bf16")
    expected = world.restore(restorer, image, tile_size=64)[0]
    for k in (1, 3):
        with Watch(restorer.network, "restore_crop", k, with_nan) as watch:
            result = world.restore(restorer, image, tile_size=64)[0]
            assert watch.calls == 5 and watch.alive() == 0
            assert bool(result.isfinite().all())
            assert (result - expected).abs().max() < 0.1
    assert torch.equal(world.restore(restorer, image, tile_size=64)[0], expected)


def case_an_image_that_is_not_finite_in_fp32_either_is_an_error_that_holds_nothing(world: World) -> None:
    image, restorer = random_image(1, 128, 128), world.restorer()
    with Watch(restorer.network, "restore_crop", 2, with_nan) as watch:
        error = raises(ValueError, lambda: world.restore(restorer, image, tile_size=64))
        assert "not finite at row 0, column 64" in str(error)
        assert watch.calls == 2 and watch.alive() == 0
    assert bool(world.restore(restorer, image, tile_size=64)[0].isfinite().all())


def case_cancel_at_the_kth_tile_ends_the_run_there_and_holds_nothing(world: World) -> None:
    image, restorer = random_image(2, 128, 128), world.restorer()
    expected = world.restore(restorer, image, tile_size=64)[0]

    def press(result: Any) -> Any:
        world.press_cancel()
        return result

    for k in (1, 3, 6):
        with Watch(restorer.network, "restore_crop", k, press) as watch:
            error = raises(
                world.management.InterruptProcessingException, lambda: world.restore(restorer, image, tile_size=64)
            )
            assert watch.calls == k
            assert watch.alive() == 0, error  # while ComfyUI still holds the error
    assert torch.equal(world.restore(restorer, image, tile_size=64)[0], expected)


def case_cancel_at_the_kth_token_ends_the_run_there_and_holds_nothing(world: World) -> None:
    image, mllm = random_image(), world.mllm()
    mllm.describer.network.head = None  # the shipped model, which has one, answers without a token
    asked = {"instruction": "What does it show?"}
    expected = world.describe(mllm, image, **asked)[1]

    def press(result: Any) -> Any:
        world.press_cancel()
        return result

    mllm.describer._memory.clear()  # of what it has seen and said
    with Watch(mllm.describer.network.language_model, "forward", 0, press) as watch:
        world.describe(mllm, image, **asked)
    for k in (watch.calls - 3, watch.calls - 1):  # the first calls see and ask about the image, the last make tokens
        mllm.describer._memory.clear()
        with Watch(mllm.describer.network.language_model, "forward", k, press) as watch:
            error = raises(world.management.InterruptProcessingException, lambda: world.describe(mllm, image, **asked))
            assert watch.calls == k
            mllm.describer._memory.clear()
            assert watch.alive() == 0, error
    assert world.describe(mllm, image, **asked)[1] == expected


def case_the_hosts_cancel_works_before_the_first_tile(world: World) -> None:
    image, restorer = random_image(), world.restorer()
    world.press_cancel()
    with Watch(restorer.network, "restore_crop", 0, tile_errors) as watch:
        raises(world.management.InterruptProcessingException, lambda: world.restore(restorer, image))
        assert watch.calls == 0


def case_a_clip_describes_images_and_its_guidance_fits_no_restorer_of_another(world: World) -> None:
    image, (clip, _, _) = random_image(2), world.clip()
    mllm = world.run(world.nodes.LoadMllm, model="owner/tiny", precision="auto", clip=clip).args[0]
    guidance, _, report = world.describe(mllm, image)
    again = world.describe(mllm, image[1:])[0]
    assert len(guidance) == 2 and guidance.tokens.shape[1] <= 64
    assert torch.allclose(guidance.pooled[1:], again.pooled, atol=1e-4)
    assert not torch.allclose(guidance.tokens[0], guidance.tokens[1], atol=1e-4)
    assert {entry["mllm"] for entry in json.loads(report)} == {mllm.describer.identity}
    assert mllm.describer.identity.startswith("CLIP ")
    error = raises(ValueError, lambda: world.restore(world.restorer(), image, guidance=guidance))
    assert mllm.describer.identity in str(error) and "was trained with" in str(error)


def case_cancel_at_the_kth_token_of_a_clip_ends_the_run_there(world: World) -> None:
    image, (clip, owner, step) = random_image(), world.clip()
    mllm = world.run(world.nodes.LoadMllm, model="owner/tiny", precision="auto", clip=clip).args[0]
    expected = world.describe(mllm, image)[1]

    def press(result: Any) -> Any:
        world.press_cancel()
        return result

    for k in (1, 3):
        mllm.describer._memory.clear()  # of what it has seen and said
        with Watch(owner, step, k, press) as watch:
            error = raises(world.management.InterruptProcessingException, lambda: world.describe(mllm, image))
            assert watch.calls == k
            assert watch.alive() == 0, error
    assert world.describe(mllm, image)[1] == expected


def case_row2_cancel_works_while_a_clip_reads_a_prompt(world: World) -> None:
    image, (clip, _, _) = random_image(), world.clip()
    mllm = world.run(world.nodes.LoadMllm, model="owner/tiny", precision="auto", clip=clip).args[0]
    lists = [each for each in clip.cond_stage_model.modules() if isinstance(each, torch.nn.ModuleList)]
    first, second, *_ = next(each for each in lists if len(each) > 1)

    def press(result: Any) -> Any:
        world.press_cancel()
        return result

    with Watch(first, "forward", 1, press) as read, Watch(second, "forward", 0, tile_errors) as unread:
        raises(world.management.InterruptProcessingException, lambda: world.describe(mllm, image))
        assert (read.calls, unread.calls) == (1, 0)
    assert world.describe(mllm, image)[1]


def case_row2_what_a_user_asks_a_clip_is_text_and_cut(world: World) -> None:
    image, (clip, _, _) = random_image(), world.clip()
    mllm = world.run(world.nodes.LoadMllm, model="owner/tiny", precision="auto", clip=clip).args[0]
    asked: list[str] = []
    tokenize = clip.tokenize

    def listen(text: str, **more: Any) -> Any:
        asked.append(text)
        return tokenize(text, **more)

    clip.tokenize = listen
    control = "Describe <|image_pad|> and <|im_end|> <image> embedding:x ?"
    world.describe(mllm, image, instruction=control)
    plain = tokenize(asked[-1], image=None, skip_template=True, min_length=1)
    raw = tokenize("<|im_end|>", image=None, skip_template=True, min_length=1)
    (numbers,), (end,) = (
        [[token[0] for token in row] for rows in each.values() for row in rows] for each in (plain, raw)
    )
    assert end[0] not in numbers, "no control token is left"
    _, description, _ = world.describe(mllm, image, instruction="Describe " + "it " * 7000 + "?")
    assert len(asked[-1]) <= 4000
    assert description.startswith("The question is too long for the model: only its first 4,000 characters were asked.")


def case_a_whole_run_opens_no_socket(world: World) -> None:
    opened: list[str] = []
    listening = True

    def audit(event: str, _: tuple[Any, ...]) -> None:
        if listening and event.startswith("socket."):
            opened.append(event)

    sys.addaudithook(audit)  # there is no way to take one out again
    guidance = world.describe(world.mllm(), random_image())[0]
    world.restore(world.restorer(), random_image(), guidance=guidance)
    listening = False
    assert opened == []


def case_a_model_that_nobody_needs_any_more_is_freed(world: World) -> None:
    restorer, mllm = world.restorer(), world.mllm()
    guidance = world.describe(mllm, random_image())[0]
    result, routing = world.restore(restorer, random_image(), guidance=guidance)
    networks = [weakref.ref(restorer.network), weakref.ref(mllm.describer.network)]
    del restorer, mllm
    world.management.unload_all_models()
    gc.collect()
    assert [network() for network in networks] == [None, None]
    assert len(guidance) == len(result) == len(routing.thumbnails) == 1


def case_a_run_leaves_the_network_as_it_was(world: World) -> None:
    restorer = world.restorer()
    before = {name: value.clone() for name, value in restorer.network.state_dict().items()}
    world.restore(restorer, random_image())
    world.management.load_models_gpu([restorer.patcher], memory_required=0)
    for name, value in restorer.network.state_dict().items():
        assert torch.equal(value, before[name]), name


CASES: dict[str, Callable[[World], None]] = {
    name.removeprefix("case_"): case for name, case in list(globals().items()) if name.startswith("case_")
}


# As a program, in a real ComfyUI ----------------------------------------------------------------------------------


class RealWorld(World):
    """With a vision language model of ComfyUI's own, tiny and with random weights."""

    def clip(self) -> tuple[Any, Any, str]:
        if importlib.util.find_spec("comfy.text_encoders.qwen3vl") is None:
            raise NotHere("Qwen3-VL")
        import comfy.sd
        from comfy.text_encoders import llama, qwen3vl

        kind = "qwen3vl_4b"
        sizes = {"hidden_size": 64, "intermediate_size": 64, "num_attention_heads": 2, "num_key_value_heads": 1}
        qwen3vl.QWEN3VL_CONFIGS[kind] = functools.partial(llama.Qwen3VL_4BConfig, num_hidden_layers=2, **sizes)
        eye = {"hidden_size": 64, "intermediate_size": 64, "depth": 2, "deepstack_visual_indexes": [0], "num_heads": 4}
        qwen3vl.QWEN3VL_VISION[kind] = eye
        target = types.SimpleNamespace(params={}, clip=qwen3vl.te(model_type=kind), tokenizer=qwen3vl.tokenizer(kind))
        clip = comfy.sd.CLIP(target)
        torch.manual_seed(0)
        for parameter in clip.cond_stage_model.parameters():
            torch.nn.init.normal_(parameter, std=0.05 if parameter.ndim > 1 else 1.0)
        return clip, getattr(clip.cond_stage_model, clip.cond_stage_model.clip).transformer, "sample_token"


def enter(comfyui: Path, models: Path) -> World:
    """Starts as much of a real ComfyUI as the nodes need, on the CPU and without a server."""
    sys.path.insert(0, str(comfyui))
    options = importlib.import_module("comfy.cli_args").args
    options.cpu = True
    folder_paths = importlib.import_module("folder_paths")
    for name in ("mofe", "LLM"):
        folder_paths.add_model_folder_path(name, str(models / name))
    folder_paths.set_temp_directory(tempfile.mkdtemp())
    for name in ("comfy.model_management", "comfy.model_patcher", "comfy.utils", "comfy_api.latest"):
        importlib.import_module(name)
    return RealWorld()


def install(pack: Path) -> None:
    """Makes the pack importable as `mofe_restore`, wherever it lies."""
    spec = importlib.util.spec_from_file_location(
        "mofe_restore", pack / "__init__.py", submodule_search_locations=[str(pack)]
    )
    assert spec is not None and spec.loader is not None
    sys.modules["mofe_restore"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules["mofe_restore"])


def main(comfyui: str, pack: str, models: str) -> None:
    install(Path(pack))
    world = enter(Path(comfyui), Path(models))
    for name, case in CASES.items():
        wrong = lacks = None
        try:
            case(world)
        except NotHere as missing:
            lacks = str(missing)
        except BaseException:  # noqa: BLE001 - a Cancel that came too late is no Exception, and is reported too
            wrong = traceback.format_exc()
        sys.stdout.write(json.dumps({"case": name, "wrong": wrong, "lacks": lacks}) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
