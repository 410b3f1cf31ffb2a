"""Small stand-ins for the parts of ComfyUI that the nodes use, written from its documented API.

They let the nodes run where no ComfyUI is; `tests/host` runs the same nodes in a real one.
"""

from __future__ import annotations

import inspect
import os
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import torch


class Interrupted(BaseException):
    """As in ComfyUI today: not an Exception, so that `except Exception` does not swallow a Cancel."""


class Port:
    """An input or an output of a node."""

    def __init__(self, id: str | None = None, optional: bool = False, tooltip: str | None = None, **more: Any) -> None:
        self.id = id
        self.optional = optional
        self.tooltip = tooltip
        for name, value in more.items():
            setattr(self, name, value)


class Input(Port):
    def __init__(
        self,
        id: str,
        display_name: str | None = None,
        optional: bool = False,
        tooltip: str | None = None,
        default: Any = None,
        min: Any = None,
        max: Any = None,
        step: Any = None,
        options: list[str] | None = None,
        multiline: bool = False,
        advanced: bool | None = None,
    ) -> None:
        super().__init__(id, optional, tooltip, default=default, min=min, max=max, step=step)
        self.options = options
        self.multiline = multiline
        self.advanced = advanced


class Output(Port):
    def __init__(self, id: str | None = None, display_name: str | None = None, tooltip: str | None = None) -> None:
        super().__init__(id, tooltip=tooltip)


def port_type(io_type: str) -> type:
    ports = {name: type(name, (kind,), {"io_type": io_type}) for name, kind in (("Input", Input), ("Output", Output))}
    return type(io_type, (), ports)


@dataclass
class Schema:
    node_id: str
    display_name: str | None = None
    category: str = "sd"
    inputs: list[Input] = field(default_factory=list)
    outputs: list[Output] = field(default_factory=list)
    description: str = ""
    search_aliases: list[str] = field(default_factory=list)
    is_output_node: bool = False
    hidden: list[str] = field(default_factory=list)


class NodeOutput:
    def __init__(self, *args: Any, ui: Any = None) -> None:
        self.args = args
        self.ui = ui


class ComfyNode:
    """Runs `execute` as ComfyUI does: with the inputs' ids as names."""

    hidden: Any = None


class Prompt:
    """A `DynamicPrompt`: node id -> class_type and inputs."""

    def __init__(self, nodes: dict[str, dict[str, Any]]) -> None:
        self._nodes = nodes

    def get_node(self, node_id: str) -> dict[str, Any]:
        return self._nodes[node_id]


class PreviewImage:
    def __init__(self, image: torch.Tensor, cls: type | None = None) -> None:
        self.image = image


class Patcher:
    """As much of a ModelPatcher as the nodes ask for; like the real one it sets `device` on the network."""

    def __init__(self, model: torch.nn.Module, load_device: torch.device, offload_device: torch.device) -> None:
        self.model = model
        self.load_device = load_device
        self.offload_device = offload_device
        model.device = offload_device


class Clip:
    """A CLIP that reads images: one token for the image, one per word. It answers with the text of `answers` whose
    question it is asked, one token at a time, and what is pressed meanwhile is noticed there.

    Args:
        host: where Cancel is pressed.
        answers: by a word of the question.
        reads: False drops images without a word, as text encoders do.
    """

    def __init__(self, host: Host, answers: dict[str, str], reads: bool = True) -> None:
        self.cond_stage_model = torch.nn.Linear(4, 6)
        torch.nn.init.constant_(self.cond_stage_model.weight, 0.5)
        self.cond_stage_model.layers = torch.nn.ModuleList([torch.nn.Identity(), torch.nn.Identity()])
        cpu = torch.device("cpu")
        self.patcher = Patcher(self.cond_stage_model, cpu, cpu)
        self.patcher.patches = {}
        self._host, self._answers, self._reads = host, answers, reads

    def tokenize(
        self, text: str, image: torch.Tensor | None = None, skip_template: bool = True, min_length: int = 1, **_: Any
    ) -> dict[str, Any]:
        reads = self._reads and image is not None and not skip_template  # as Gemma's does
        image = [({"type": "image", "data": image}, 1.0)] if reads else []
        return {"stand_in": [[*image, *((word, 1.0) for word in text.split())]]}

    def generate(self, tokens: dict[str, Any], do_sample: bool = True, max_length: int = 256) -> list[str]:
        asked = [token for token, _ in tokens["stand_in"][0] if isinstance(token, str)]
        answer = next(text for word, text in self._answers.items() if word in asked).split()[:max_length]
        for _ in answer:
            self.next_token()
            self._host.check_cancel()
        return answer

    def next_token(self) -> None:
        """Stands for a step of the language model."""

    def decode(self, ids: list[str]) -> str:
        return " ".join(ids)

    def encode_from_tokens(self, tokens: dict[str, Any], return_dict: bool = False) -> Any:
        """One vector per token; that of an image is made of its colors."""
        vectors = [
            token["data"].mean().repeat(4) if isinstance(token, dict) else torch.full((4,), float(len(token)))
            for token, _ in tokens["stand_in"][0]
        ]
        states = torch.stack(vectors)
        for layer in self.cond_stage_model.layers:
            states = layer(states)
        states = self.cond_stage_model(states)[None]
        return {"cond": states, "pooled_output": None} if return_dict else states


class ProgressBar:
    def __init__(self, total: int, seen: list[tuple[int, int]], previews: list[Any]) -> None:
        self.total = total
        self.seen = seen
        self.previews = previews

    def update_absolute(self, value: int, total: int | None = None, preview: Any = None) -> None:
        self.total = total or self.total
        self.seen.append((value, self.total))
        if preview is not None:
            self.previews.append(preview)


class Host:
    """A host to look at: what was loaded, how far the bar went, and a Cancel after so many checks.

    Attributes:
        modules: what to put into `sys.modules`.
        loaded: (patcher, memory_required) of every `load_models_gpu`.
        progress: (value, total) of every step.
        previews: (format, image, side) of every step that had one.
        texts: (text, node id) of everything that was to be shown on a node.
        cancel_after: checks until Cancel is found pressed; None for never.
        cache_emptied: how often the cache was asked to be emptied.
    """

    def __init__(self, models: Path) -> None:
        self.loaded: list[tuple[Any, int]] = []
        self.progress: list[tuple[int, int]] = []
        self.previews: list[tuple[str, Any, int]] = []
        self.texts: list[tuple[str, str]] = []
        self.cancel_after: int | None = None
        self.cache_emptied = 0
        self.modules = {
            "folder_paths": folder_paths_module(models),
            "comfy": ModuleType("comfy"),
            "comfy.model_management": self._model_management(),
            "comfy.model_patcher": module("comfy.model_patcher", CoreModelPatcher=Patcher, ModelPatcher=Patcher),
            "comfy.utils": module(
                "comfy.utils", ProgressBar=lambda total: ProgressBar(total, self.progress, self.previews)
            ),
            "server": module("server", PromptServer=SimpleNamespace(instance=self._prompt_server())),
            "comfy_api": ModuleType("comfy_api"),
            "comfy_api.latest": api_module(),
        }
        for name in ("model_management", "model_patcher", "utils"):
            setattr(self.modules["comfy"], name, self.modules[f"comfy.{name}"])
        self.modules["comfy_api"].latest = self.modules["comfy_api.latest"]

    def check_cancel(self) -> None:
        if self.cancel_after is None:
            return
        if self.cancel_after == 0:
            self.cancel_after = None  # as in ComfyUI, a Cancel is used up
            raise Interrupted
        self.cancel_after -= 1

    def _prompt_server(self) -> SimpleNamespace:
        return SimpleNamespace(send_progress_text=lambda text, node_id: self.texts.append((text, node_id)))

    def _model_management(self) -> ModuleType:
        cpu = torch.device("cpu")

        def load_models_gpu(models: list[Any], memory_required: int = 0, force_full_load: bool = False) -> None:
            self.loaded.extend((model, memory_required) for model in models)

        def interrupt_current_processing(value: bool = True) -> None:
            self.cancel_after = 0 if value else None

        def raise_non_oom(error: Exception) -> None:
            if not isinstance(error, torch.OutOfMemoryError):
                raise error

        def soft_empty_cache() -> None:
            self.cache_emptied += 1

        return module(
            "comfy.model_management",
            get_torch_device=lambda: cpu,
            unet_offload_device=lambda: cpu,
            text_encoder_device=lambda: cpu,
            text_encoder_offload_device=lambda: cpu,
            intermediate_device=lambda: cpu,
            intermediate_dtype=lambda: torch.float32,
            should_use_bf16=lambda device=None: False,
            load_models_gpu=load_models_gpu,
            interrupt_current_processing=interrupt_current_processing,
            throw_exception_if_processing_interrupted=self.check_cancel,
            raise_non_oom=raise_non_oom,
            soft_empty_cache=soft_empty_cache,
            unload_all_models=self.loaded.clear,
            OOM_EXCEPTION=torch.OutOfMemoryError,
            InterruptProcessingException=Interrupted,
        )


def module(name: str, **contents: Any) -> ModuleType:
    made = ModuleType(name)
    vars(made).update(contents)
    return made


def api_module() -> ModuleType:
    kinds = {
        name: port_type(name.upper())
        for name in ("Image", "Mask", "String", "Int", "Float", "Boolean", "Combo", "Clip")
    }
    hidden = SimpleNamespace(unique_id="UNIQUE_ID", dynprompt="DYNPROMPT")
    io = SimpleNamespace(
        Schema=Schema, ComfyNode=ComfyNode, NodeOutput=NodeOutput, Custom=port_type, Hidden=hidden, **kinds
    )
    extension = type("ComfyExtension", (), {})
    return module("comfy_api.latest", io=io, ui=SimpleNamespace(PreviewImage=PreviewImage), ComfyExtension=extension)


def folder_paths_module(models: Path) -> ModuleType:
    """`folder_paths` over a real folder, with the signatures and the habits of the original."""
    registered: dict[str, tuple[list[str], set[str]]] = {}

    def add_model_folder_path(name: str, path: str, is_default: bool = False) -> None:
        paths, _ = registered.setdefault(name, ([], set()))
        if path not in paths:
            paths.insert(0 if is_default else len(paths), path)

    def get_filename_list(name: str) -> list[str]:
        paths, extensions = registered[name]
        found = set()
        for root in paths:
            for folder, _, files in os.walk(root, followlinks=True):
                found.update(os.path.relpath(Path(folder) / file, root) for file in files)
        return sorted(file for file in found if not extensions or Path(file).suffix.lower() in extensions)

    def get_full_path(name: str, file: str) -> str | None:
        file = os.path.relpath(Path("/") / file, "/")
        candidates = (Path(root) / file for root in registered[name][0])
        return next((str(path) for path in candidates if path.is_file()), None)

    return module(
        "folder_paths",
        models_dir=str(models),
        get_input_directory=lambda: str(models.parent / "input"),
        folder_names_and_paths=registered,
        add_model_folder_path=add_model_folder_path,
        get_folder_paths=lambda name: registered[name][0][:],
        get_filename_list=get_filename_list,
        get_full_path=get_full_path,
    )


def run(node: type, _prompt: dict[str, dict[str, Any]] | None = None, _id: str = "1", **inputs: Any) -> NodeOutput:
    """Runs a node as the executor does: under inference mode, with every input checked against the schema.

    Args:
        node: its class.
        _prompt: the whole prompt in API form, if the node is to know of it.
        _id: of the node in it.
        inputs: by id.
    """
    declared = {port.id: port for port in node.define_schema().inputs}
    assert set(inputs) <= set(declared), f"not declared: {set(inputs) - set(declared)}"
    assert set(inspect.signature(node.execute).parameters) == set(declared)
    if hasattr(node, "hidden"):
        told = SimpleNamespace(unique_id=_id, dynprompt=None if _prompt is None else Prompt(_prompt))
        node = type(node.__name__, (node,), {"hidden": told})  # a class of its own for every run
    with torch.inference_mode():
        return node.execute(**inputs)
