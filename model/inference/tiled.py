"""Tiled restoration of images of any size, with strength, mask and recovery from out-of-memory errors."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..blur_kernel import Blur
from ..errors import RestorationError
from ..formats.suffixes import QUALITY
from ..guidance import Conditioning, Guidance
from ..image_files import ImageFile, write_image
from ..images import fill_hidden, is_finite, is_hidden, rgb_of, round_up
from ..jpeg_grid import find_grid
from ..restorer.deconvolution import REACH, deconvolve
from ..restorer.thumbnail_branches import Context, Position
from ..threads import parts_at_once
from ..vocabulary import CAMERA_FAULTS
from .routing import Routing, RoutingCanvas
from .tiling import Box, Tile, cut_tiles, inside, on_grid, padded_box, read_box, widened

if TYPE_CHECKING:
    from .plan import RestorationPlan

log = logging.getLogger(__name__)

MIN_TILE = 64
"""Side of the smallest tile's core in px; out of memory with such a tile is final."""


@dataclass(frozen=True)
class Restoration:
    """A restored batch.

    Example:
        >>> result = pipe(image, guidance)
        >>> result.save("restored.png")

    Attributes:
        image: [B, C, H, W] in 0..1, in the input's size.
        routing: Which frequency expert worked where.
        source: The image file that was restored, whose metadata `save` keeps; None for tensors.
    """

    image: Tensor
    routing: Routing
    source: ImageFile | None = None

    def save(self, path: str | Path, *, quality: int = QUALITY) -> str:
        """Write the restored image, whole or not at all, with what its source carries besides its pixels.

        Args:
            path: The file to write, with the suffix .png, .jpg, .webp or .tif; its folder must exist.
            quality: Of JPEG and WebP, 1 to 100.

        Returns:
            What does not fit into the format, in words for the user, or "".

        Raises:
            ImageFileError: A batch of several images, another suffix, or more pixels than the format holds.
            OSError: The file cannot be written.
        """
        return write_image(path, self.image, like=self.source, quality=quality)


def has_work(strength: float, mask: Tensor | None) -> bool:
    """Return whether there is anything to restore with this strength and mask."""
    return strength > 0 and (mask is None or bool((mask > 0).any()))


def without_hidden(mask: Tensor | None, frame: Tensor) -> Tensor | None:
    """Return a mask [H, W] that leaves out what is fully transparent in an image [C, H, W]: its colors stay."""
    hidden = is_hidden(frame[None])
    if hidden is None:
        return mask
    visible = (~hidden[0, 0]).to(torch.float32)
    return visible if mask is None else mask * visible.to(mask)


def part_of(mask: Tensor | None, core: Box) -> Tensor | None:
    """Return the part [h, w] of a mask [H, W] in a core, without its padding, in 0..1."""
    return None if mask is None else mask[core.top : core.bottom, core.left : core.right].float().clamp(0, 1)


@dataclass(frozen=True)
class Work:
    """What is to be done in one image.

    Attributes:
        strengths: [1, 3] in 0..1, what the camera branch is to undo; None where it has nothing to do.
        guidance: Of the branches that come after it; None for neutral guidance.
        is_local: Whether these have something to do.
        share: How much of what the camera branch changes is taken, 0..1.
        local_share: The same of what comes after it.
        variance: Of the noise and the errors of JPEG in it, whether they are to be undone or not, for values in 0..1.
    """

    strengths: Tensor | None
    guidance: Guidance | None
    is_local: bool
    share: float = 1.0
    local_share: float = 1.0
    variance: float = 0.0

    @property
    def camera_faults(self) -> tuple[str, ...]:
        """The names of what the camera branch is to undo."""
        if self.strengths is None:
            return ()
        return tuple(name for name, value in zip(CAMERA_FAULTS, self.strengths[0].tolist(), strict=True) if value > 0)


class TiledRun:
    """One run of a `RestorationPlan`.

    Beside the input and the result, both of which stay where they are, it takes the memory of one tile.

    Args:
        plan: What to restore.
        on_image: Called with the index of each image before its first tile.
        on_tile: Called after every tile with the number of tiles done and in total.
        is_oom: Recognizes out-of-memory errors.
    """

    def __init__(
        self,
        plan: RestorationPlan,
        on_image: Callable[[int], None] | None,
        on_tile: Callable[[int, int], None] | None,
        is_oom: Callable[[BaseException], bool],
    ) -> None:
        self.plan, self.on_image, self.on_tile = plan, on_image, on_tile
        self.policy = _TilePolicy(plan.tile_side, plan.network.multiple, plan.precision, is_oom)

    def restore(self, into: Tensor | None) -> Restoration:
        """Restore image by image, into `into` [B, C, H, W] or a new tensor like the input."""
        plan = self.plan
        frames, _, height, width = plan.image.shape
        result = plan.image.detach().clone() if into is None else into.copy_(plan.image)
        guides = [plan.guidance_of(index) for index in range(frames)]
        jobs: dict[int, _ImageJob] = {}
        for index in range(frames):
            if plan.has_work_in(index):
                jobs[index] = _ImageJob(plan, index, self.policy)
        # before the work: what is kept of every image would otherwise scatter over the memory that tiles use in turn
        blocks = plan.network.mofe_blocks()
        canvases = {
            index: tuple(RoutingCanvas(block, height, width) for block in blocks if job.work.is_local)
            for index, job in jobs.items()
        }
        camera = {index: job.work.camera_faults for index, job in jobs.items()}
        with parts_at_once(next(plan.network.parameters()).device):
            blurs = self._work(jobs, canvases, result)
        routing = Routing(
            frames=tuple(tuple(canvas.finish() for canvas in canvases.get(index, ())) for index in range(frames)),
            sizes=((height, width),) * frames,
            descriptions=tuple("" if guide is None else guide.descriptions[0] for guide in guides),
            scores=tuple(None if guide is None else guide.scores[0].float().cpu() for guide in guides),
            camera_faults=tuple(camera.get(index, ()) for index in range(frames)),
            blurs=tuple(blurs.get(index) for index in range(frames)),
        )
        return Restoration(result, routing)

    def _work(
        self, jobs: dict[int, _ImageJob], canvases: Mapping[int, Collection[RoutingCanvas]], result: Tensor
    ) -> dict[int, Blur | None]:
        """Do the jobs by index of their images, each of which is gone from `jobs` when its turn comes.

        Returns:
            The blur that was found in each.
        """
        done = 0
        blurs: dict[int, Blur | None] = {}
        while jobs:
            index = next(iter(jobs))
            job = jobs.pop(index)
            if self.on_image is not None:
                self.on_image(index)
            for left in job.restore(result[index], canvases[index]):
                done += 1
                if self.on_tile is not None:
                    self.on_tile(done, done + left + sum(later.count_tiles() for later in jobs.values()))
            blurs[index] = job.blur
        return blurs


@dataclass
class _TilePolicy:
    """Size of the tiles and precision, which out-of-memory errors and overflows change for the rest of a run.

    Attributes:
        side: Of a tile's core in px; it only ever shrinks.
        multiple: Of the network.
        precision: In which tiles are computed first.
        is_oom: Recognizes out-of-memory errors.
    """

    side: int
    multiple: int
    precision: torch.dtype
    is_oom: Callable[[BaseException], bool]
    overflowed: bool = False

    def shrink(self, core: Box) -> bool:
        """Halve the side after `core` was too large for the memory; return False when it is as small as it gets."""
        side = max(core.height, core.width)
        if side <= MIN_TILE:
            return False
        self.side = round_up(max(MIN_TILE, -(-side // 2)), self.multiple)
        log.info("Out of memory with a tile of %d px: going on with tiles of %d px.", side, self.side)
        return self.side < side

    def note_overflow(self) -> None:
        """Warn once per run that tiles take twice the time."""
        if not self.overflowed:
            log.warning("Values overflowed in %s: such tiles are computed again in fp32.", self.precision)
        self.overflowed = True


class _ImageJob:
    """The restoration of one image of a plan that has something to restore.

    All images have their job before the first one is restored, so a job makes nothing of an image's size before its
    turn comes.
    """

    def __init__(self, plan: RestorationPlan, index: int, policy: _TilePolicy) -> None:
        self.network, self.policy, self.strength = plan.network, policy, plan.strength
        self.frame, self.work = plan.image[index], plan.work_in(index)
        self.height, self.width = self.frame.shape[-2:]
        self.padded = padded_box(self.height, self.width, self.network.multiple)
        self.device = next(self.network.parameters()).device
        self._make_mask = partial(plan.mask_of, index)
        self._counted = (0, 0)

    @cached_property
    def seen(self) -> Tensor:
        """The image [C, H, W], with colors of visible pixels where it is transparent."""
        return fill_hidden(self.frame[None])[0]

    @cached_property
    def mask(self) -> Tensor | None:
        """What is to be restored, [H, W] in 0..1, without what is transparent; None for all of it."""
        return self._make_mask()

    def restore(self, result: Tensor, canvases: Collection[RoutingCanvas]) -> Iterator[int]:
        """Write the restored image into result [C, H, W] and its routing to canvases.

        Yields:
            After each tile, the number of tiles that are left.
        """
        tiles = self._cut(self.padded, self.mask)
        while tiles:
            outcome = self._try(tiles[0])
            if outcome is None:  # out of memory: what is left to do goes on in smaller tiles, what is done stays
                tiles = [smaller for tile in tiles for smaller in self._cut(tile.core, self.mask)]
                continue
            tile = tiles.pop(0)
            restored, routing = outcome
            self._blend(result, restored, tile.core)
            for canvas, weights in zip(canvases, routing, strict=True):
                canvas.put(tile, weights)
            yield len(tiles)

    def count_tiles(self) -> int:
        """Return how many tiles the whole image takes at the present size of tiles."""
        side, tiles = self._counted
        if side != self.policy.side:
            tiles = len(self._cut(self.padded, self._make_mask()))  # which is not kept for those that come later
            self._counted = (self.policy.side, tiles)
        return tiles

    @cached_property
    def _is_grey(self) -> bool:
        red, *others = self.seen[:3]
        return all(torch.equal(red, other) for other in others)

    @cached_property
    def _context(self) -> Context:
        """What is seen in the whole image; computed when the first tile asks, and kept.

        Always in fp32: it takes little time, and a tile that is computed again must have the tone of its neighbors.
        """
        # shrunk where the image is stored, so that only what is small is copied to the device
        thumbnail, statistics = self.network.look_at(rgb_of(self.seen[None]))
        if statistics is not None:
            statistics = statistics.to(self.device)
        guidance = self.work.guidance
        conditioning = Conditioning() if guidance is None else guidance.to_conditioning(self.device)
        return self.network.encode_context(thumbnail.to(self.device), conditioning, statistics)

    def _cut(self, area: Box, mask: Tensor | None) -> list[Tile]:
        """Return the tiles of an area that have something to restore with a mask [H, W]."""
        halo = self.network.halo if self.work.is_local else 0
        tiles = cut_tiles(area, self.padded, self.policy.side, halo, self.network.multiple)
        return [tile for tile in tiles if has_work(self.strength, part_of(mask, tile.core))]

    def _try(self, tile: Tile) -> tuple[Tensor, list[Tensor]] | None:
        """Return the tile's result, or None after an out-of-memory error that made the tiles smaller."""
        try:
            return self._compute(tile)
        except Exception as error:
            if not self.policy.is_oom(error) or not self.policy.shrink(tile.core):
                raise
        return None

    def _compute(self, tile: Tile) -> tuple[Tensor, list[Tensor]]:
        """Return the restored core [3, h, w] fp32 and the routing of the read area; in fp32 if it is not finite."""
        restored, routing = self._run_network(tile, self.policy.precision)
        if not is_finite(restored, *routing) and self.policy.precision != torch.float32:
            self.policy.note_overflow()
            restored, routing = self._run_network(tile, torch.float32)
        if not is_finite(restored, *routing):
            raise RestorationError(
                f"The network gave values that are not finite at row {tile.core.top}, column {tile.core.left}: "
                "the weights or the guidance may be damaged, load them again."
            )
        return restored, routing

    def _run_network(self, tile: Tile, precision: torch.dtype) -> tuple[Tensor, list[Tensor]]:
        core, read = tile.core, tile.read
        # no autocast at all in fp32: some devices (DirectML) do not know it
        autocast = torch.autocast(self.device.type, precision) if precision != torch.float32 else nullcontext()
        with torch.inference_mode():
            context = self._context if self.work.is_local else None
            blur = self.blur
            with autocast:
                crop = self._read(read, blur)
                routing: list[Tensor] = []
                if context is not None:
                    position = Position.of(read.top, read.left, self.height, self.width)
                    before = crop.float()
                    crop, routing = self.network.restore_crop(crop, context, position)
                    if self.work.local_share < 1:
                        crop = torch.lerp(before, crop.clamp(0, 1), self.work.local_share)
            return inside(crop[0], read, core).float(), routing

    def _read(self, area: Box, blur: Blur | None) -> Tensor:
        """Return an area [1, 3, h, w] of the image on the device, as it is after the camera branch."""
        strengths, camera = self.work.strengths, self.network.camera
        if strengths is None or camera is None:
            return rgb_of(read_box(self.seen, area)[None].to(self.device))
        larger = on_grid(area, self.padded, self.network.config.camera_halo, camera.multiple, self._blocks)
        crop, deconvolved = rgb_of(read_box(self.seen, larger)[None].to(self.device)), None
        if blur is not None:
            pixels = rgb_of(read_box(self.seen, widened(larger, REACH))[None])
            if self.device.type == "cuda":  # other devices may not know the transform
                pixels = pixels.to(self.device)
            deconvolved = deconvolve(pixels, blur, self.work.variance).to(self.device)
        undone = torch.lerp(crop.float(), camera(crop, strengths.to(self.device), deconvolved), self.work.share)
        return inside(undone, larger, area).clamp(0, 1)

    @cached_property
    def blur(self) -> Blur | None:
        """What the image is blurred by, where that is to be undone; in fp32, since it takes little time."""
        camera = self.network.camera
        if camera is None or camera.estimator is None or "blur" not in self.work.camera_faults:
            return None
        return camera.estimator.estimate(self.seen[:3])

    @cached_property
    def _blocks(self) -> tuple[int, int]:
        """Row and column where the blocks of a JPEG begin, where there is one."""
        return find_grid(self.seen[:3]) if "jpeg" in self.work.camera_faults else (0, 0)

    def _blend(self, result: Tensor, restored: Tensor, core: Box) -> None:
        """Blend a restored core [3, h, w] into the image, without its padding; change nothing where the blend is 0."""
        rows = slice(core.top, min(core.bottom, self.height))
        columns = slice(core.left, min(core.right, self.width))
        colors = 1 if len(self.frame) == 1 else 3
        before = self.frame[:colors, rows, columns].to(result.device)
        after = restored[:, : rows.stop - core.top, : columns.stop - core.left].to(result.device)
        if self._is_grey:  # a black-and-white photograph gets no tint, whatever number of channels it is kept in
            after = after.mean(0, keepdim=True).expand(colors, -1, -1)
        mask = part_of(self.mask, core)
        amount = after.new_full((1, 1, 1), self.strength)
        if mask is not None:
            amount = amount * mask[None].to(amount)
        blended = torch.lerp(before.float(), after, amount.expand_as(after)).clamp(0, 1).to(result.dtype)
        result[:colors, rows, columns] = torch.where(amount > 0, blended, before.to(result.dtype))
