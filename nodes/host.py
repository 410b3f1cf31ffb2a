"""The bridge to ComfyUI's memory management, progress and Cancel.

`comfy` is imported inside the functions, and its names are looked up at every call: ComfyUI rebinds `CoreModelPatcher`
while it starts, and tests replace the modules.
"""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from . import compat

if TYPE_CHECKING:
    import torch
    from PIL import Image

PREVIEW_SIDE = 512
"""Longest side of a preview in px."""

PREVIEW_SECONDS = 0.25
"""Time between two previews."""

PRECISIONS = ("auto", "fp32", "bf16", "fp16")


def patcher_for(network: torch.nn.Module, load_device: torch.device, offload_device: torch.device) -> Any:
    """Put a network under ComfyUI's memory management; it stays on the offload device until it is used."""
    import comfy.model_patcher

    kind = getattr(comfy.model_patcher, "CoreModelPatcher", comfy.model_patcher.ModelPatcher)
    return kind(network, load_device=load_device, offload_device=offload_device)


def restorer_devices() -> tuple[torch.device, torch.device]:
    """Return the device on which the restorer computes, and the one on which it is kept between runs."""
    from comfy import model_management

    return model_management.get_torch_device(), model_management.unet_offload_device()


def mllm_devices() -> tuple[torch.device, torch.device]:
    """Return the same for the MLLM: the devices of ComfyUI's text encoders."""
    from comfy import model_management

    return model_management.text_encoder_device(), model_management.text_encoder_offload_device()


def restorer_precision(name: str, device: torch.device) -> torch.dtype:
    """Return the type in which the restorer computes; "auto" is bf16 on devices that ComfyUI uses it on, else fp32."""
    from comfy import model_management

    from ..model.precision import dtype_from_name

    if name == "auto":
        name = "bf16" if model_management.should_use_bf16(device) else "fp32"
    return dtype_from_name(name)


def load_to_device(patcher: Any, activation_bytes: int) -> None:
    """Move a whole network to its device, with room for `activation_bytes` beside it.

    Our layers are torch's own, not those of ComfyUI that fetch their weights while they compute: a network that is
    loaded only partly would mix devices.
    """
    from comfy import model_management

    whole = compat.known(model_management.load_models_gpu, {"force_full_load": True})
    model_management.load_models_gpu([patcher], memory_required=activation_bytes, **whole)
    if any(parameter.device.type != patcher.load_device.type for parameter in patcher.model.parameters()):
        patcher.model.to(patcher.load_device)  # an older ComfyUI, or one started with --novram


def to_intermediate(result: torch.Tensor) -> torch.Tensor:
    """Return a result on the device and in the type that ComfyUI uses for images between nodes."""
    return result.to(intermediate_device(), _intermediate_dtype())


def empty_result(image: torch.Tensor) -> torch.Tensor:
    """Return an uninitialized tensor of an image's shape, on the device and in the type of images between nodes."""
    import torch

    return torch.empty(image.shape, dtype=_intermediate_dtype(), device=intermediate_device())


def _intermediate_dtype() -> torch.dtype:
    import torch
    from comfy import model_management

    return getattr(model_management, "intermediate_dtype", lambda: torch.float32)()


def intermediate_device() -> torch.device:
    """Return the device on which ComfyUI keeps what is passed between nodes."""
    from comfy import model_management

    device: torch.device = model_management.intermediate_device()
    return device


def raise_if_cancelled() -> None:
    """Raise ComfyUI's interruption when the user has pressed Cancel."""
    from comfy import model_management

    model_management.throw_exception_if_processing_interrupted()


@contextmanager
def release_on_error() -> Iterator[None]:
    """Free what a run held when it ends with an error or a Cancel.

    ComfyUI keeps the error, and with it the local variables of all frames in its traceback, while it reports it and
    unloads models. Cancel is not an `Exception` in newer versions.
    """
    try:
        yield
    except BaseException as error:
        traceback.clear_frames(error.__traceback__)
        raise


class Progress:
    """The progress bar on the running node; Cancel takes effect at each of its steps."""

    def __init__(self, total: int) -> None:
        import comfy.utils

        self._bar = comfy.utils.ProgressBar(total)
        raise_if_cancelled()

    def at(self, done: int, total: int, preview: Image.Image | None = None) -> None:
        """Show how much is done, and an image of it."""
        raise_if_cancelled()
        if preview is None:
            self._bar.update_absolute(done, total)
        else:
            self._bar.update_absolute(done, total, ("JPEG", preview, PREVIEW_SIDE))


class ImageProgress(Progress):
    """Progress over a batch of images that shows the present one as far as it is done.

    Args:
        result: [B, C, H, W] in 0..1, which is filled meanwhile.
    """

    def __init__(self, result: torch.Tensor) -> None:
        super().__init__(len(result))
        self._result = result
        self._index = 0
        self._next = 0.0

    def image(self, index: int) -> None:
        """Say which image comes next."""
        self._index = index

    def tile(self, done: int, total: int) -> None:
        """Show how much is done; a preview is sent a few times per second, and of a single tile there is none."""
        now = time.monotonic()
        if total > 1 and now >= self._next:
            self._next = now + PREVIEW_SECONDS
            self.at(done, total, small_image(self._result[self._index]))
        else:
            self.at(done, total)


def small_image(image: torch.Tensor) -> Image.Image:
    """Return an image [C, H, W] in 0..1 with sides up to about `PREVIEW_SIDE`; pixels are picked, which is quick."""
    import torch
    from PIL import Image

    step = -(-max(image.shape[-2:]) // PREVIEW_SIDE)
    picked = image[: 1 if len(image) == 1 else 3, ::step, ::step].float().clamp(0, 1)
    values = (picked * 255).round().to(torch.uint8).movedim(0, -1).cpu().numpy()
    return Image.fromarray(values[..., 0] if values.shape[-1] == 1 else values).convert("RGB")


def hidden(node: type, name: str) -> Any:
    """Return what ComfyUI tells a running node beside its inputs, such as its id; None where nobody tells."""
    return getattr(getattr(node, "hidden", None), name, None)


def show_on_node(text: str, node_id: str | None) -> None:
    """Show a text on a node, where a front end is there to do so; it stays until the node says something else."""
    server = sys.modules.get("server")  # ComfyUI's, which is running if there is one
    send = getattr(getattr(getattr(server, "PromptServer", None), "instance", None), "send_progress_text", None)
    if send is not None and node_id is not None:
        send(text, node_id)


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether memory ran out; if so, free what the failed attempt held."""
    from comfy import model_management

    from ..model.inference import out_of_memory

    if not out_of_memory.is_out_of_memory(error, also=_comfy_says_out_of_memory):
        return False
    model_management.soft_empty_cache()
    return True


def _comfy_says_out_of_memory(error: BaseException) -> bool:
    from comfy import model_management

    if isinstance(error, model_management.InterruptProcessingException):
        return False
    if not hasattr(model_management, "raise_non_oom"):
        return isinstance(error, model_management.OOM_EXCEPTION)
    try:
        model_management.raise_non_oom(error)
    except BaseException as raised:
        if raised is not error:
            raise
        return False
    return True
