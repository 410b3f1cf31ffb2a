"""The plan of a restoration: inputs that were validated once, the size of its tiles, and the memory that it takes."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import RestorationError
from ..guidance import Guidance
from ..images import check_image, is_hidden, round_up
from ..restorer.camera_branch import noise_variance
from ..restorer.config import RestorerConfig
from ..restorer.network import Restorer
from ..vocabulary import ACTION_THRESHOLD, CAMERA_FAULTS
from .checks import check_guidance, check_mask
from .out_of_memory import is_out_of_memory
from .tiled import MIN_TILE, Restoration, TiledRun, Work, has_work, without_hidden

WHOLE_PIXELS = 1024 * 1024
"""Up to this many pixels an image is restored in one piece when the tile size is automatic."""

AUTO_TILE = 512
"""Side of the tiles of larger images, in px."""

IMAGE_BYTES = 32
"""Memory per pixel read: the crop, its correction and the residual, always in fp32."""

BLOCK_WIDTHS, EXPERT_WIDTHS = 11.5, 3.5
"""Memory in bytes per pixel read and channel of the first level, in fp32: of its gated blocks, and of its MoFE block
per expert and once more for everything beside the experts. Fitted to the allocations of eleven architectures."""

CAMERA_WIDTHS = 4.2
"""The same of the camera branch."""

DECONVOLVED_BYTES = 75
"""Memory per pixel read of a deconvolved image and of its differences to the image, always in fp32."""

MEMORY_MARGIN = 1.1
"""Allocators round up, and convolutions may want a workspace."""


@dataclass(frozen=True)
class RestorationPlan:
    """A restoration that is ready to run; made by `plan_restoration`, which validates its fields.

    Attributes:
        network: In evaluation mode with fp32 weights, on the device to work on.
        image: [B, C, H, W] in 0..1, on any device.
        guidance: For B images or for one; None for neutral guidance.
        strength: 0..1, blends the result with the input.
        mask: [B, H, W] or [1, H, W] in 0..1, multiplies the strength; None is 1 everywhere.
        tile_side: Side of a tile's core in px, a multiple of the network's.
        precision: fp32, or bf16 or fp16 under autocast.
        threshold: Score in 0..1 that something has to reach for its image to be restored; 0 restores every image.
    """

    network: Restorer
    image: Tensor
    guidance: Guidance | None
    strength: float
    mask: Tensor | None
    tile_side: int
    precision: torch.dtype
    threshold: float

    @property
    def has_work(self) -> bool:
        """Whether there is anything to restore with this strength, mask and threshold, in any image."""
        return any(self.has_work_in(index) for index in range(len(self.image)))

    def has_work_in(self, index: int) -> bool:
        """Return whether there is anything to restore in one image."""
        return self.is_wanted(index) and has_work(self.strength, self.mask_of(index))

    def is_wanted(self, index: int) -> bool:
        """Return whether the guidance of one image leaves anything to do, whatever strength and mask."""
        guidance = self.guidance_of(index)
        return self.reaches_threshold(index) and (guidance is None or bool(guidance.has_work().any()))

    def work_in(self, index: int) -> Work:
        """Return what is to be done in one image: by the camera branch, and by the others after it."""
        guidance = self.guidance_of(index)
        if guidance is None:
            return Work(None, None, is_local=True)
        strengths = guidance.camera_strengths()
        if self.network.camera is None or not bool((strengths > 0).any()):
            return Work(None, guidance, is_local=True, local_share=float(guidance.share()))
        rest = guidance.after_camera_branch()
        is_local = bool(rest.reaches(self.threshold) & rest.has_work())
        return Work(
            strengths,
            rest,
            is_local,
            share=float(guidance.camera_share()),
            local_share=float(rest.share()),
            variance=noise_variance(guidance.camera_faults()[0]),
        )

    def mask_of(self, index: int) -> Tensor | None:
        """Return the mask [H, W] of one image, without what is fully transparent in it."""
        return without_hidden(self._given_mask_of(index), self.image[index])

    def is_masked_out(self, index: int) -> bool:
        """Return whether strength and mask leave nothing of one image to restore, whatever is transparent in it."""
        return not has_work(self.strength, self._given_mask_of(index))

    def _given_mask_of(self, index: int) -> Tensor | None:
        return None if self.mask is None else self.mask[index if len(self.mask) > 1 else 0]

    def is_transparent(self, index: int) -> bool:
        """Return whether one image is fully transparent, so that nothing of it is to be seen or restored."""
        hidden = is_hidden(self.image[index, None])
        return hidden is not None and bool(hidden.all())

    def guidance_of(self, index: int) -> Guidance | None:
        """Return the guidance of one image."""
        return None if self.guidance is None else self.guidance.for_frame(index, len(self.image))

    def reaches_threshold(self, index: int) -> bool:
        """Return whether the MLLM saw enough in one image; without guidance nobody looked, and it is restored."""
        guidance = self.guidance_of(index)
        return guidance is None or bool(guidance.reaches(self.threshold))

    @property
    def memory_bytes(self) -> int:
        """Estimate of the memory that the restoration takes beside the network's weights, input and result.

        It is that of one tile and does not depend on the number of images, which are restored one after the other.
        """
        height, width = self.image.shape[2:]
        guided = self.guidance if self.network.camera is not None else None
        undone = (
            set() if guided is None else {CAMERA_FAULTS[each] for each in guided.camera_strengths().nonzero()[:, 1]}
        )
        return tile_bytes(self.network.config, height, width, self.tile_side, self.precision, undone)

    def run(
        self,
        *,
        into: Tensor | None = None,
        on_image: Callable[[int], None] | None = None,
        on_tile: Callable[[int, int], None] | None = None,
        is_oom: Callable[[BaseException], bool] = is_out_of_memory,
    ) -> Restoration:
        """Restore image by image; pixels where strength times mask is 0 are returned bit-exact.

        So are images in which nothing reaches the threshold.

        Args:
            into: [B, C, H, W] to write the result to, of any floating-point type and on any device; None makes one like
                the input.
            on_image: Called with the index of each image before its first tile.
            on_tile: Called after every tile with the number of tiles done and in total; an error that it raises ends
                the run. The tile is in the result by then.
            is_oom: Recognizes out-of-memory errors, which halve the tile for the rest of the run; may free caches.

        Raises:
            RestorationError: The result is not finite even in fp32.
        """
        return TiledRun(self, on_image, on_tile, is_oom).restore(into)


def plan_restoration(
    network: Restorer,
    image: Tensor,
    guidance: Guidance | None = None,
    *,
    strength: float = 1.0,
    mask: Tensor | None = None,
    tile: int = 0,
    precision: torch.dtype = torch.float32,
    threshold: float = ACTION_THRESHOLD,
) -> RestorationPlan:
    """Validate the inputs of a restoration and choose the size of its tiles; nothing is computed yet.

    Example:
        >>> plan = plan_restoration(network, image, guidance, strength=0.8)
        >>> restored = plan.run().image

    Args:
        network: In evaluation mode with fp32 weights, on the device to work on.
        image: [B, C, H, W] in 0..1, on any device, fp16, bf16 or fp32; C is 1 (grey), 3, or 4 (the alpha channel passes
            through untouched); H and W from 16 up.
        guidance: For B images or for one; None for neutral guidance.
        strength: 0..1, blends the result with the input.
        mask: [B, H, W] or [1, H, W] in 0..1, multiplies the strength; None is 1 everywhere.
        tile: Side of a tile's core in px, rounded up to the network's multiple; 0 chooses by the size.
        precision: fp32, or bf16 or fp16 under autocast.
        threshold: Score in 0..1: images in which nothing that is to be removed reaches it are returned bit-exact. What
            was ordered counts as reached; without guidance every image is restored, and at 0, too.

    Raises:
        RestorationError: An input that makes no sense.
        GuidanceError: The guidance does not fit the batch or the network, or another MLLM made it.
    """
    check_image(image)
    if not 0 <= strength <= 1:
        raise RestorationError(f"The strength is {strength}: it must lie between 0 and 1.")
    if not 0 <= threshold <= 1:
        raise RestorationError(f"The threshold is {threshold}: it must lie between 0 and 1.")
    if tile < 0:
        raise RestorationError(f"The tile size is {tile}: give a size in pixels, or 0 to choose it by the image.")
    check_guidance(guidance, network, len(image))
    check_mask(mask, image)
    side = choose_tile_side(tile, image.shape[2], image.shape[3], network.multiple)
    return RestorationPlan(network, image, guidance, strength, mask, side, precision, threshold)


def choose_tile_side(tile: int, height: int, width: int, multiple: int) -> int:
    """Return the side of a tile's core in px: a multiple of `multiple`, at least `MIN_TILE`.

    Args:
        tile: The side asked for in px, or 0 to choose by the size of the image.
        height: Of the image in px.
        width: Of the image in px.
        multiple: Of the network.
    """
    if tile == 0:
        tile = max(height, width) if height * width <= WHOLE_PIXELS else AUTO_TILE
    return round_up(max(MIN_TILE, tile), multiple)


def bytes_per_pixel(config: RestorerConfig, precision: torch.dtype = torch.float32) -> int:
    """Estimate the peak of the local branch's activations per pixel that it reads at once, rounded up.

    Args:
        config: Sizes of the network.
        precision: fp32, or bf16 or fp16 under autocast.
    """
    widths = max(BLOCK_WIDTHS, EXPERT_WIDTHS * (config.experts + 1) if 0 in config.mofe_levels else 0)
    return _bytes_per_pixel(widths * config.widths[0], precision)


def camera_bytes_per_pixel(
    config: RestorerConfig, precision: torch.dtype = torch.float32, *, with_blur: bool = False
) -> int:
    """Estimate the same of the camera branch, where it undoes blur or does not; 0 for a network without it."""
    if not config.camera_widths:
        return 0
    deconvolved = int(MEMORY_MARGIN * DECONVOLVED_BYTES) if with_blur and config.camera_estimator_width else 0
    return _bytes_per_pixel(CAMERA_WIDTHS * config.camera_widths[0], precision) + deconvolved


def _bytes_per_pixel(channels: float, precision: torch.dtype) -> int:
    features = channels * precision.itemsize / torch.float32.itemsize
    return int(MEMORY_MARGIN * (IMAGE_BYTES + features)) + 1


def tile_bytes(
    config: RestorerConfig,
    height: int,
    width: int,
    side: int,
    precision: torch.dtype,
    undone: Collection[str] = (),
) -> int:
    """Estimate the activations of the largest tile of an image.

    Args:
        config: Sizes of the network.
        height: Of the image in px.
        width: Of the image in px.
        side: Of a tile's core in px.
        precision: As in `bytes_per_pixel`.
        undone: The faults that the camera branch undoes; it reads more of the image, but before the local one.
    """

    def pixels(halo: int) -> int:
        rows, columns = (min(side + 2 * halo, round_up(length, config.multiple)) for length in (height, width))
        return rows * columns

    local = bytes_per_pixel(config, precision) * pixels(config.halo)
    if not undone:
        return local
    camera = camera_bytes_per_pixel(config, precision, with_blur="blur" in undone)
    return max(local, camera * pixels(config.halo + config.camera_halo))
