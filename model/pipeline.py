"""The public pipeline: load the models, describe images and restore them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from .guidance import Guidance
from .image_files import ImageFile, read_image
from .images import HasPixels, check_image, fill_hidden, pixels_of, rgb_of
from .inference.plan import plan_restoration
from .inference.tiled import Restoration
from .mllm.adapter import default_folder, find_adapter, read_adapter
from .mllm.describer import Mllm
from .mllm.loading import fingerprint_of, load_mllm
from .precision import resolve_dtype
from .restorer.loading import load_restorer
from .restorer.network import Restorer
from .vocabulary import ACTION_THRESHOLD
from .weights import SHIPPED_MLLM, SHIPPED_RESTORER, Card, read_card, weights_digest


class RestorationPipeline:
    """The restorer and the MLLM that guides it; each is loaded when it is first needed.

    Example:
        >>> pipe = RestorationPipeline.from_pretrained()
        >>> image = read_image("holiday.jpg")
        >>> guidance = pipe.describe(image)
        >>> pipe(image, guidance.with_removal({"haze": 0.0}), strength=0.8).save("restored.png")

    Attributes:
        device: Where the models compute.
        dtype: In which the restorer computes; under autocast where it is not float32.
    """

    def __init__(
        self,
        restorer: Path,
        mllm: Path,
        device: torch.device,
        precision: Literal["auto", "fp32", "bf16", "fp16"],
        adapters: Path | None = None,
    ) -> None:
        self.device = device
        self.dtype = resolve_dtype(precision, device)
        self._precision = precision
        self._restorer_path, self._mllm_path = restorer, mllm
        self._adapters = adapters
        self._restorer: tuple[Restorer, Card] | None = None
        self._mllm: Mllm | None = None

    @classmethod
    def from_pretrained(
        cls,
        restorer: str | Path | None = None,
        mllm: str | Path | None = None,
        *,
        device: str | torch.device = "auto",
        precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto",
        adapters: str | Path | None = None,
    ) -> RestorationPipeline:
        """Make a pipeline of the shipped models or of others; nothing is downloaded.

        Args:
            restorer: A weight file (.safetensors); None for the shipped one.
            mllm: A model folder; None for the shipped one. A restorer accepts only guidance of the MLLM that it was
                trained with, or of one that `mofe align` has aligned with it.
            device: A torch device, or "auto": CUDA where there is one, else the CPU.
            precision: "fp32", "bf16", "fp16", or "auto": bf16 on hardware that computes in it, fp32 elsewhere.
            adapters: Folder of adapters; None for the one in which `mofe align` puts them.

        Raises:
            ValueError: An unknown precision.
        """
        chosen = best_device() if device == "auto" else torch.device(device)
        folder = None if adapters is None else Path(adapters)
        return cls(Path(restorer or SHIPPED_RESTORER), Path(mllm or SHIPPED_MLLM), chosen, precision, folder)

    @property
    def restorer(self) -> Restorer:
        """The restoration network, in evaluation mode on `device`.

        Raises:
            WeightFileError: The weight file cannot be used.
        """
        return self._load_restorer()[0]

    @property
    def card(self) -> Card:
        """What the restorer is and how it was trained.

        Raises:
            WeightFileError: The weight file cannot be used.
        """
        return self._load_restorer()[1]

    @property
    def mllm(self) -> Mllm:
        """The language model, with its adapter to the restorer where there is one.

        Raises:
            MllmError: The model folder cannot be used.
            WeightFileError: Its adapter cannot be used.
        """
        if self._mllm is None:
            mllm = load_mllm(self._mllm_path, self.device, self._precision)
            self._mllm = self._adapted(mllm)
        return self._mllm

    def fingerprint(self, *, guided: bool = True) -> str:
        """Return all that results depend on besides images and the arguments of calls: weights, settings, precision.

        It changes with the content of the files, not with their places, and nothing is loaded for it. So results can be
        told from those of other weights.

        Args:
            guided: Whether the language model guides; False leaves it out.

        Raises:
            WeightFileError: A weight file cannot be used.
            MllmError: The model folder cannot be used.
        """
        parts = {"restorer": weights_digest(self._restorer_path), "dtype": str(self.dtype).removeprefix("torch.")}
        if guided:
            identity, *readers = fingerprint_of(self._mllm_path)
            parts["mllm"] = " ".join([identity, *readers])
            adapter = self._find_adapter(identity)
            if adapter is not None:
                parts["adapter"] = weights_digest(adapter)
        return ", ".join(f"{name}={value}" for name, value in parts.items())

    def _adapted(self, mllm: Mllm) -> Mllm:
        found = self._find_adapter(mllm.identity)
        return mllm if found is None else mllm.with_adapter(read_adapter(found)[0])

    def _find_adapter(self, identity: str) -> Path | None:
        """Return the file of the adapter from an MLLM to the restorer, None where there is none or none is needed."""
        if not self._restorer_path.is_file():
            return None  # its own message comes when it is loaded
        target = read_card(self._restorer_path, "restorer").mllm_identity
        if target in ("", identity):
            return None
        return find_adapter(identity, [self._adapters or default_folder()], target)

    def describe(self, image: Tensor | HasPixels, *, instruction: str = "", with_text: bool = True) -> Guidance:
        """Describe what is wrong with images, in words, scores and embeddings.

        Args:
            image: An image file that was read, or a tensor [B, C, H, W] in 0..1 with 1, 3 or 4 channels.
            instruction: What to remove or to keep, such as "remove only the rain", or a question.
            with_text: False leaves the descriptions empty and saves their time.

        Returns:
            Guidance for the B images.

        Raises:
            RestorationError: An image of another form, or with values that are not finite.
            MllmError: The model folder cannot be used.
        """
        pixels = pixels_of(image)
        check_image(pixels)
        rgb = rgb_of(fill_hidden(pixels)).to(self.device)
        return self.mllm.describe(rgb, instruction=instruction, helper=self._helper(), with_text=with_text)

    def __call__(
        self,
        image: Tensor | HasPixels,
        guidance: Guidance | Literal["auto"] | None = "auto",
        *,
        strength: float = 1.0,
        mask: Tensor | None = None,
        tile: int = 0,
        threshold: float = ACTION_THRESHOLD,
        on_tile: Callable[[int, int], None] | None = None,
    ) -> Restoration:
        """Restore images at their own size.

        Args:
            image: An image file that was read, or a tensor [B, C, H, W] in 0..1 with 1, 3 or 4 channels.
            guidance: From `describe`, for B images or for one; "auto" describes them first; None restores without the
                MLLM, and less well.
            strength: 0..1, blends the result with the input; at 0 it is the input, bit by bit.
            mask: [B, H, W] or [1, H, W] in 0..1, multiplies the strength; None is 1 everywhere.
            tile: Side of a tile in px; 0 chooses by the size. The result does not depend on it.
            threshold: Score in 0..1: an image in which nothing reaches it and nothing was ordered is returned bit by
                bit; 0 restores every image.
            on_tile: Called after every tile with the number of tiles done and in total.

        Returns:
            The restored images and which frequency expert worked where.

        Raises:
            RestorationError: An input that makes no sense, or a result that is not finite.
            GuidanceError: The guidance does not fit the images, or another MLLM made it.
            WeightFileError: The weight file of the restorer cannot be used.
            MllmError: The model folder cannot be used.
        """
        pixels = pixels_of(image).to(self.device)
        if guidance == "auto":
            guidance = self.describe(pixels, with_text=False)
        plan = plan_restoration(
            self.restorer,
            pixels,
            guidance,
            strength=strength,
            mask=None if mask is None else mask.to(self.device),
            tile=tile,
            precision=self.dtype,
            threshold=threshold,
        )
        result = plan.run(on_tile=on_tile)
        return replace(result, source=image if isinstance(image, ImageFile) else None)

    def _helper(self) -> Restorer | None:
        if not self.mllm.looks_twice or not self._restorer_path.is_file():
            return None  # the message about a missing file comes when it is loaded
        return self.restorer.helper

    def _load_restorer(self) -> tuple[Restorer, Card]:
        if self._restorer is None:
            network, card = load_restorer(self._restorer_path)
            self._restorer = (network.to(self.device), card)
        return self._restorer


def restore(image: str | Path | Tensor | HasPixels, *, instruction: str = "", strength: float = 1.0) -> Restoration:
    """Restore one image with the shipped models. For several images make a `RestorationPipeline`, which keeps them.

    Example:
        >>> restore("holiday.jpg", instruction="keep the fog").save("restored.png")

    Args:
        image: Path of an image file, one that was read, or a tensor [B, C, H, W] in 0..1.
        instruction: What to remove or to keep, such as "remove only the rain"; empty removes everything that is seen.
        strength: 0..1, blends the result with the input.

    Raises:
        MofeError: The image cannot be read or restored.
    """
    source = read_image(image) if isinstance(image, str | Path) else image
    pipe = RestorationPipeline.from_pretrained()
    return pipe(source, pipe.describe(source, instruction=instruction), strength=strength)


def best_device() -> torch.device:
    """Return the CUDA device where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
