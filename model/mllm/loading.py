"""Opening the folder of a multimodal language model: local files and safetensors only, without code of the folder.

It may be any folder that transformers opens with `AutoModelForImageTextToText` and `AutoProcessor`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import MllmError
from ..guidance import Directions
from ..precision import dtype_from_name
from ..weights import SHIPPED_MLLM, Card, read_weights, weights_digest
from .describer import Mllm
from .head import DegradationHead
from .second_look import SecondLook, inputs_of

PROTOCOL = 2
"""Version of the way in which images are shown and embeddings are read; part of the identity of every MLLM."""

HEAD_FILE = "degradation_head.safetensors"
"""Name of the file with the weights of the `DegradationHead`."""

DIRECTION_TOKENS, DIRECTION_POOLED = "directions.tokens", "directions.pooled"
"""Names of the `Directions` in the file of the head."""

SECOND_LOOK_FILE = "second_look.safetensors"
"""Name of the file with the weights of the `SecondLook`."""

SETTINGS = (
    "config.json",
    "tokenizer.json",
    "chat_template.jinja",
    "chat_template.json",
    "preprocessor_config.json",
    "processor_config.json",
)
"""Files besides the weights that an embedding depends on."""

WITHOUT_TEMPLATE = ("PaliGemmaProcessor",)
"""Processors of models that follow instructions without a chat template."""

_HASHED_WHOLE = 64 * 2**20
"""Size in bytes up to which weight files are hashed whole."""
_SAMPLE = 2**20
"""Size in bytes of each sample of larger weight files."""


def load_mllm(folder: str | Path = SHIPPED_MLLM, device: torch.device | str = "cpu", precision: str = "auto") -> Mllm:
    """Open a model folder, from local files only and without running any code of the folder.

    Example:
        >>> mllm = load_mllm("models/LLM/owner/name", device="cuda")
        >>> mllm.describe(image.rgb).descriptions[0]
        'Moderate haze (beta 1.5, airlight 0.81, transmission 0.59). No low light, ...'

    Args:
        folder: The folder with config.json, the weights as safetensors, the tokenizer and the processor's settings.
        device: The device of the network.
        precision: "fp32", "bf16", "fp16", or "auto": fp32 for weights of less than 256 MiB, else bf16.

    Raises:
        MllmError: The folder cannot be used as an MLLM.
    """
    folder = Path(folder)
    files = _check_folder(folder)
    # imported only when a model is loaded, since it takes seconds
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
    except Exception as error:  # transformers raises errors of any class
        reason = str(error).strip().partition("\n")[0].partition(". ")[0] or type(error).__name__
        raise MllmError(
            f"{folder} cannot be opened as a multimodal language model ({reason}): put a complete model folder of an "
            "image-text-to-text architecture there."
        ) from error
    _check_weights(folder, language_model, loading)
    _check_processor(folder, processor)
    identity = identity_of(folder)
    head, directions = _read_head(folder, identity)
    second_look = None if head is None else _read_second_look(folder, identity)
    mllm = Mllm(language_model, processor, head, identity, directions, second_look)
    for name, reader in ((HEAD_FILE, head), (SECOND_LOOK_FILE, second_look)):
        if reader is not None and reader.width != mllm.width:
            raise MllmError(
                f"{folder / name} reads embeddings of width {reader.width} but those of the model have {mllm.width}: "
                "put the files of one model together."
            )
    mllm.network.to(device)
    return mllm


def identity_of(folder: Path) -> str:
    """Return name and digest of a model folder.

    The digest covers everything that an embedding depends on, and nothing else: the configuration, the tokenizer, the
    chat template, the processor's settings, the weights, and the way in which images are shown (`PROTOCOL`). What only
    reads embeddings, the head and the network of a second look, is left out. Of weight files above 64 MiB only the size
    and a MiB at the beginning, in the middle and at the end are hashed.
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


def fingerprint_of(folder: Path) -> tuple[str, ...]:
    """Return the identity of a model folder and digests of what reads its embeddings: all that guidance depends on.

    Nothing is loaded.

    Raises:
        MllmError: The folder cannot be used as an MLLM.
        WeightFileError: What reads its embeddings cannot be used.
    """
    _check_folder(folder)
    try:
        identity = identity_of(folder)
    except (OSError, ValueError) as error:
        raise MllmError(f"{folder} cannot be read ({error}): put the original files back.") from error
    readers = (folder / name for name in (HEAD_FILE, SECOND_LOOK_FILE))
    return (identity, *(weights_digest(path) for path in readers if path.exists()))


def _check_folder(folder: Path) -> list[Path]:
    """Check that a folder has a configuration and weights, and return the weight files."""
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
    """Return the weight files of the language model, sorted by name."""
    readers = (HEAD_FILE, SECOND_LOOK_FILE)
    return [path for path in sorted(folder.glob("*.safetensors")) if path.name not in readers]


def _settings_text(path: Path) -> str:
    """Return the text of a settings file, independent of line ends, of JSON's order and layout, and of its writer."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".json":
        return text
    values = json.loads(text)
    values.pop("transformers_version", None)
    return json.dumps(values, sort_keys=True)


def _check_weights(folder: Path, language_model: nn.Module, loading: dict[str, Any]) -> None:
    """Check that no weight is missing, which transformers would replace by random values, and that all are finite."""
    bad = sorted(map(str, [*loading["missing_keys"], *loading["mismatched_keys"]]))
    if bad:
        raise MllmError(
            f"{folder} lacks {len(bad)} weights of its architecture, {bad[0]} among them: put the original files back."
        )
    for name, parameter in language_model.named_parameters():
        if not bool(parameter.isfinite().all()):
            raise MllmError(f"{folder} holds weights that are not finite ({name}): put the original files back.")


def _check_processor(folder: Path, processor: Any) -> None:
    """Check that the processor has all parts that a description needs."""
    for part in ("tokenizer", "image_processor"):
        if getattr(processor, part, None) is None:
            raise MllmError(
                f"{folder} comes without the settings of its {part}: put the files of the whole model there."
            )
    template = getattr(processor, "chat_template", None) or getattr(processor.tokenizer, "chat_template", None)
    if not template and type(processor).__name__ not in WITHOUT_TEMPLATE:
        raise MllmError(f"{folder} comes without a chat template: choose a model that follows instructions.")


def _read_head(folder: Path, identity: str) -> tuple[DegradationHead | None, Directions | None]:
    """Return the head of the model of this identity and the directions of its embedding, None where there are none."""
    path = folder / HEAD_FILE
    if not path.exists():
        return None, None
    state, card = _read_reader(path, "mllm_head", identity)
    try:
        moves = {name: state.pop(name).float() for name in (DIRECTION_TOKENS, DIRECTION_POOLED) if name in state}
        directions = Directions(moves[DIRECTION_TOKENS], moves[DIRECTION_POOLED]) if moves else None
        width, hidden = int(card.architecture["width"]), int(card.architecture.get("hidden", 0))
        if state["read.weight"].shape[1:] != (width,) or hidden * width > sum(map(Tensor.numel, state.values())):
            raise ValueError("its card has other sizes than its tensors")  # before memory is taken for them
        head = DegradationHead(width, hidden)
        head.load_state_dict({name: value.float() for name, value in state.items()})
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise MllmError(f"{path} does not hold a degradation head: put the original file back.") from error
    return head, directions


def _read_second_look(folder: Path, identity: str) -> SecondLook | None:
    """Return the network of a second look of the model of this identity, None where there is none."""
    path = folder / SECOND_LOOK_FILE
    if not path.exists():
        return None
    state, card = _read_reader(path, "second_look", identity)
    try:
        width, hidden = int(card.architecture["width"]), int(card.architecture["hidden"])
        if state["widen.weight"].shape != (hidden, inputs_of(width)):
            raise ValueError("its card has other sizes than its tensors")  # before memory is taken for them
        second_look = SecondLook(width, hidden)
        second_look.load_state_dict({name: value.float() for name, value in state.items()})
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise MllmError(f"{path} does not hold the network of a second look: put the original file back.") from error
    return second_look


def _read_reader(path: Path, kind: str, identity: str) -> tuple[dict[str, Tensor], Card]:
    """Return tensors and card of what reads the embeddings of the MLLM of this identity."""
    state, card = read_weights(path, kind)
    if card.mllm_identity not in ("", identity):
        raise MllmError(
            f"{path} belongs to the MLLM {card.mllm_identity} but the folder holds {identity}: put the files of one "
            "model together."
        )
    return state, card


def _dtype(precision: str, weight_bytes: int) -> torch.dtype:
    """Return the dtype of a precision; "auto" depends on the size of the weights."""
    if precision == "auto":
        return torch.float32 if weight_bytes < 2**28 else torch.bfloat16
    try:
        return dtype_from_name(precision)
    except ValueError as error:
        raise MllmError(str(error)) from None


def _dtype_argument(dtype: torch.dtype) -> dict[str, torch.dtype]:
    """Return the dtype under the name of the argument, which transformers 4.56 renamed."""
    import transformers

    major, minor = (int(part) for part in transformers.__version__.split(".")[:2])
    return {"dtype" if (major, minor) >= (4, 56) else "torch_dtype": dtype}


@contextmanager
def _quiet() -> Iterator[None]:
    """Hide the progress bar of transformers, which is not needed for a model of a few megabytes."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
