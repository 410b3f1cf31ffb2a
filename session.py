"""The models that one command works with, and the way of one picture through them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from .model.precision import precision_of
from .model.weights import SHIPPED_MLLM, SHIPPED_RESTORER

if TYPE_CHECKING:
    from torch import Tensor

    from .model.guidance import Guidance
    from .model.pipeline import Restoration


def best_device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


class Session:
    """The restorer and the MLLM, each loaded when it is first needed.

    Attributes:
        guided: False restores without guidance, and no MLLM is loaded.
    """

    def __init__(
        self,
        *,
        restorer: Path | None = None,
        mllm: Path | None = None,
        precision: str = "auto",
        guided: bool = True,
        device: torch.device | None = None,
    ) -> None:
        self.guided = guided
        self.device = device or best_device()
        self.precision = precision_of(precision, self.device)
        self._mllm_precision = precision
        self._restorer_path = restorer or SHIPPED_RESTORER
        self._mllm_path = mllm or SHIPPED_MLLM
        self._restorer = None
        self._mllm = None

    @property
    def restorer(self):  # type: ignore[no-untyped-def]
        """The network and its card, as `load_restorer` gives them."""
        if self._restorer is None:
            from .model.restorer import load_restorer

            network, card = load_restorer(self._restorer_path)
            self._restorer = (network.to(self.device), card)
        return self._restorer

    @property
    def mllm(self):  # type: ignore[no-untyped-def]
        if self._mllm is None:
            from .model.mllm_folder import load_mllm

            self._mllm = load_mllm(self._mllm_path, self.device, self._mllm_precision)
        return self._mllm

    def describe(self, rgb: Tensor, *, with_text: bool = True) -> Guidance:
        """The guidance for [B, 3, H, W] pictures in 0..1."""
        return self.mllm.describe(rgb.to(self.device), with_text=with_text)

    def guide(self, rgb: Tensor, *, with_text: bool = True) -> Guidance | None:
        """The guidance that `restore` is to get; None in an unguided session."""
        return self.describe(rgb, with_text=with_text) if self.guided else None

    def restore(
        self,
        pixels: Tensor,
        guidance: Guidance | None,
        *,
        strength: float = 1.0,
        mask: Tensor | None = None,
        tile: int = 0,
        on_tile: Callable[[int, int], None] | None = None,
    ) -> Restoration:
        """Restores [1, C, H, W] in 0..1; see `restore_picture`."""
        from .model.pipeline import restore_picture

        return restore_picture(
            self.restorer[0],
            pixels.to(self.device),
            guidance,
            strength=strength,
            mask=None if mask is None else mask.to(self.device),
            tile=tile,
            precision=self.precision,
            on_tile=on_tile,
        )
