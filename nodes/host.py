"""The bridge to ComfyUI's memory management, progress and Cancel.

`comfy` is imported when something is asked of it, and its names are looked up at that moment: ComfyUI rebinds
`CoreModelPatcher` while it starts, and the nodes can be tested with stand-ins.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from . import compat

if TYPE_CHECKING:
    import torch

PRECISIONS = ("auto", "fp32", "bf16", "fp16")


def patcher_for(network: torch.nn.Module, load_device: torch.device, offload_device: torch.device) -> Any:
    """Puts a network under ComfyUI's memory management; it waits on the offload device until it is used."""
    import comfy.model_patcher

    kind = getattr(comfy.model_patcher, "CoreModelPatcher", comfy.model_patcher.ModelPatcher)
    return kind(network, load_device=load_device, offload_device=offload_device)


def restorer_devices() -> tuple[torch.device, torch.device]:
    """Where the restorer computes, and where it waits."""
    from comfy import model_management

    return model_management.get_torch_device(), model_management.unet_offload_device()


def mllm_devices() -> tuple[torch.device, torch.device]:
    """Where the MLLM computes, and where it waits: as ComfyUI places its text encoders."""
    from comfy import model_management

    return model_management.text_encoder_device(), model_management.text_encoder_offload_device()


def restorer_precision(name: str, device: torch.device) -> torch.dtype:
    """The type in which the restorer computes; "auto" is bf16 where the device is good at it and fp32 elsewhere."""
    from comfy import model_management

    from ..model.precision import dtype_of

    if name == "auto":
        name = "bf16" if model_management.should_use_bf16(device) else "fp32"
    return dtype_of(name)


def load(patcher: Any, activation_bytes: int) -> None:
    """Brings a whole network to its device, with room for `activation_bytes` beside it.

    Our layers are torch's own and not ComfyUI's, which fetch their weights as they compute: a network that is loaded in
    part would mix devices.
    """
    from comfy import model_management

    whole = compat.known(model_management.load_models_gpu, {"force_full_load": True})
    model_management.load_models_gpu([patcher], memory_required=activation_bytes, **whole)
    if any(parameter.device.type != patcher.load_device.type for parameter in patcher.model.parameters()):
        patcher.model.to(patcher.load_device)  # an older ComfyUI, or one started with --novram


def to_intermediate(result: torch.Tensor) -> torch.Tensor:
    """A result on the device and in the type in which ComfyUI keeps what travels between nodes."""
    return result.to(intermediate_device(), _intermediate_dtype())


def new_result(image: torch.Tensor) -> torch.Tensor:
    """Room for a result of an image's shape, where and in the type in which ComfyUI keeps it; not filled yet."""
    import torch

    return torch.empty(image.shape, dtype=_intermediate_dtype(), device=intermediate_device())


def _intermediate_dtype() -> torch.dtype:
    import torch
    from comfy import model_management

    return getattr(model_management, "intermediate_dtype", lambda: torch.float32)()


def intermediate_device() -> torch.device:
    from comfy import model_management

    return model_management.intermediate_device()


def stop_if_cancelled() -> None:
    """Raises ComfyUI's interruption when the user pressed Cancel."""
    from comfy import model_management

    model_management.throw_exception_if_processing_interrupted()


@contextmanager
def letting_go() -> Iterator[None]:
    """Frees what a run held when it ends early, in whatever way.

    ComfyUI keeps the error, and with it the variables of all frames that it went through, while it reports it and
    unloads models. Cancel is no Exception in newer versions.
    """
    try:
        yield
    except BaseException as error:
        traceback.clear_frames(error.__traceback__)
        raise


class Progress:
    """The bar on the running node. Every step is also where Cancel takes effect."""

    def __init__(self, total: int) -> None:
        import comfy.utils

        self._bar = comfy.utils.ProgressBar(total)
        stop_if_cancelled()

    def at(self, done: int, total: int) -> None:
        stop_if_cancelled()
        self._bar.update_absolute(done, total)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out; if so, what the failed attempt held is freed."""
    from comfy import model_management

    from ..model import pipeline

    if not pipeline.is_out_of_memory(error, also=_comfy_says_out_of_memory):
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
