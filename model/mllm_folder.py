"""Opening a folder with a multimodal language model: from local files, safetensors only, without code of the folder.

Any folder that `transformers` opens with `AutoModelForImageTextToText` and `AutoProcessor` will do.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from .head import DegradationHead
from .mllm import Mllm, MllmError
from .precision import dtype_of
from .weights import read_weights

PROTOCOL = 2
"""Version of how pictures are shown and embeddings are read; part of every MLLM's identity."""

HEAD_FILE = "degradation_head.safetensors"

SETTINGS = (
    "config.json",
    "tokenizer.json",
    "chat_template.jinja",
    "chat_template.json",
    "preprocessor_config.json",
    "processor_config.json",
)
"""Files besides the weights that decide an embedding."""

_HASHED_WHOLE = 64 * 2**20
_SAMPLE = 2**20


def load_mllm(folder: str | Path, device: torch.device | str = "cpu", precision: str = "auto") -> Mllm:
    """Open a model folder, from local files only and without running any code of the folder.

    Args:
        folder: holds config.json, the weights as safetensors, the tokenizer and the processor's settings.
        device: where the network goes.
        precision: "fp32", "bf16", "fp16", or "auto": fp32 for small models and bf16 for big ones.

    Raises:
        MllmError: the folder cannot be used as an MLLM.
    """
    folder = Path(folder)
    files = _check_folder(folder)
    # transformers takes seconds to import: not before somebody asks for a model.
    from transformers import AutoModelForImageTextToText, AutoProcessor

    dtype = _dtype(precision, sum(path.stat().st_size for path in files))
    local: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    try:
        processor = AutoProcessor.from_pretrained(folder, **local)
        with _quiet():
            open_weights: Any = AutoModelForImageTextToText.from_pretrained
            language_model, loading = open_weights(
                folder, **local, use_safetensors=True, output_loading_info=True, **_dtype_argument(dtype)
            )
    except Exception as error:  # transformers raises anything, from KeyError to classes of its own
        reason = str(error).strip().partition("\n")[0].partition(". ")[0] or type(error).__name__
        raise MllmError(
            f"{folder} cannot be opened as a multimodal language model ({reason}): put a complete model folder of an "
            "image-text-to-text architecture there."
        ) from error
    _check_weights(folder, language_model, loading)
    _check_processor(folder, processor)
    identity = identity_of(folder)
    mllm = Mllm(language_model, processor, _read_head(folder, identity), identity)
    head = mllm.network.head
    if head is not None and head.width != mllm.width:
        raise MllmError(
            f"{folder / HEAD_FILE} reads embeddings of {head.width} numbers but the model makes {mllm.width}: "
            "put the files of one model together."
        )
    mllm.network.to(device)
    return mllm


def identity_of(folder: Path) -> str:
    """Name and digest of a model folder: all that decides an embedding, and nothing else.

    That is the configuration, the tokenizer, the chat template, the processor's settings, the weights, and how pictures
    are shown (`PROTOCOL`). The head only reads embeddings and does not count. Weight files above 64 MiB are sampled
    (their size and their first, middle and last MiB), smaller ones are read whole.
    """
    digest = hashlib.sha256(f"protocol {PROTOCOL}".encode())
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    for name in SETTINGS:
        path = folder / name
        if path.is_file():
            digest.update(f"{name} {_settings_text(path)}".encode())
    for path in _weight_files(folder):
        size = path.stat().st_size
        digest.update(f"{path.name} {size}".encode())
        with path.open("rb") as file:
            if size <= _HASHED_WHOLE:
                digest.update(file.read())
                continue
            for offset in (0, size // 2, size - _SAMPLE):
                file.seek(offset)
                digest.update(file.read(_SAMPLE))
    return f"{config.get('mofe_name') or folder.name}:{digest.hexdigest()[:16]}"


def _check_folder(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise MllmError(f"There is no MLLM folder {folder}: choose a folder with config.json and safetensors weights.")
    if not (folder / "config.json").is_file():
        raise MllmError(f"{folder} has no config.json: choose the folder of a whole model, not of a single file.")
    try:
        json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except ValueError as error:
        raise MllmError(f"{folder / 'config.json'} is damaged ({error}): put the original file back.") from error
    files = _weight_files(folder)
    if not files:
        raise MllmError(f"{folder} has no .safetensors weights: other formats are not opened, convert the model first.")
    return files


def _weight_files(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.glob("*.safetensors")) if path.name != HEAD_FILE]


def _settings_text(path: Path) -> str:
    """A settings file without what does not matter: line ends, order and layout of JSON, the version that wrote it."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".json":
        return text
    values = json.loads(text)
    values.pop("transformers_version", None)
    return json.dumps(values, sort_keys=True)


def _check_weights(folder: Path, language_model: nn.Module, loading: dict[str, Any]) -> None:
    """transformers fills what a file lacks with random numbers and only logs it."""
    bad = sorted(map(str, [*loading["missing_keys"], *loading["mismatched_keys"]]))
    if bad:
        raise MllmError(
            f"{folder} lacks {len(bad)} weights of its architecture, {bad[0]} among them: put the original files back."
        )
    for name, parameter in language_model.named_parameters():
        if not bool(parameter.isfinite().all()):
            raise MllmError(f"{folder} holds weights that are not finite ({name}): put the original files back.")


def _check_processor(folder: Path, processor: Any) -> None:
    for part in ("tokenizer", "image_processor"):
        if getattr(processor, part, None) is None:
            raise MllmError(
                f"{folder} comes without the settings of its {part}: put the files of the whole model there."
            )
    if not (getattr(processor, "chat_template", None) or getattr(processor.tokenizer, "chat_template", None)):
        raise MllmError(f"{folder} comes without a chat template: choose a model that follows instructions.")


def _read_head(folder: Path, identity: str) -> DegradationHead | None:
    path = folder / HEAD_FILE
    if not path.exists():
        return None
    state, card = read_weights(path, "mllm_head")
    if card.mllm_identity not in ("", identity):
        raise MllmError(
            f"{path} belongs to the MLLM {card.mllm_identity} but the folder holds {identity}: put the files of one "
            "model together."
        )
    try:
        head = DegradationHead(int(card.architecture["width"]))
        head.load_state_dict({name: value.float() for name, value in state.items()})
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise MllmError(f"{path} does not hold a degradation head: put the original file back.") from error
    return head


def _dtype(precision: str, weight_bytes: int) -> torch.dtype:
    if precision == "auto":
        return torch.float32 if weight_bytes < 2**28 else torch.bfloat16
    try:
        return dtype_of(precision)
    except ValueError as error:
        raise MllmError(str(error)) from None


def _dtype_argument(dtype: torch.dtype) -> dict[str, torch.dtype]:
    """transformers 4.56 renamed the argument; both names still meet users."""
    import transformers

    major, minor = (int(part) for part in transformers.__version__.split(".")[:2])
    return {"dtype" if (major, minor) >= (4, 56) else "torch_dtype": dtype}


@contextmanager
def _quiet() -> Iterator[None]:
    """No progress bar of transformers while a model of a few megabytes is read."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
