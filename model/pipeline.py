"""The way of a picture through the restorer: any size, tile by tile, with strength and mask, safe against mishaps."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor

from .guidance import Guidance, GuidanceError
from .overview import Context, Position, thumbnail_of
from .restorer import Restorer
from .routing import BlockRouting, Routing, RoutingCanvas
from .tiling import Box, Tile, cut_tiles, plan_tiles, read_box, round_up

SMALLEST_SIDE = 16
"""Pictures have at least this many pixels a side."""

WHOLE_PIXELS = 1024 * 1024
"""Up to this many pixels a picture is restored in one piece when the tile size is automatic."""

AUTO_TILE = 512
SMALLEST_TILE = 64
"""Out of memory with a tile of this side is final."""


class RestorationError(ValueError):
    """A picture that cannot be restored; the message is one sentence for the user."""


@dataclass(frozen=True)
class Restoration:
    """A restored batch [B, C, H, W], in the size, type and device of the input, and its routing."""

    picture: Tensor
    routing: Routing


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a device ran out of memory; hosts with their own exceptions pass their own function."""
    return isinstance(error, torch.cuda.OutOfMemoryError)  # also that of other accelerators


def restore_picture(
    network: Restorer,
    picture: Tensor,
    guidance: Guidance | None,
    *,
    strength: float = 1.0,
    mask: Tensor | None = None,
    tile: int = 0,
    precision: torch.dtype = torch.float32,
    on_tile: Callable[[int, int], None] | None = None,
    is_oom: Callable[[BaseException], bool] = is_out_of_memory,
) -> Restoration:
    """Restores a batch picture by picture; pixels where strength times mask is 0 come back bit-exact.

    Args:
        network: in evaluation mode with fp32 weights, on the device to work on.
        picture: [B, C, H, W] in 0..1, on any device, fp16, bf16 or fp32; C is 1 (grey), 3, or 4 (the alpha channel
            passes through untouched); H and W from `SMALLEST_SIDE` up.
        guidance: for B pictures or for one; None for neutral guidance.
        strength: 0..1, blends the result with the input.
        mask: [B, H, W] or [1, H, W] in 0..1, multiplies the strength; None is 1 everywhere.
        tile: side of a tile's core in px, rounded up to the network's multiple; 0 decides by the size.
        precision: fp32, or bf16 or fp16 under autocast.
        on_tile: called after every tile with tiles done and tiles in all; what it raises ends the run.
        is_oom: tells out-of-memory errors, which halve the tile for the rest of the run; may free caches.

    Raises:
        RestorationError: an input that makes no sense, or a result that is not finite even in fp32.
        GuidanceError: the guidance does not fit the batch or the network.
    """
    mask = _check(picture, strength, mask)
    _check_guidance(network, guidance, len(picture))
    frames, _, height, width = picture.shape
    run = _Run(network, precision, _tile_side(tile, height, width, network.multiple), on_tile, is_oom)
    result = picture.detach().clone()
    routings: list[tuple[BlockRouting, ...]] = []
    guides = [None if guidance is None else guidance.for_frame(index, frames) for index in range(frames)]
    for index in range(frames):
        amount = None if mask is None else mask[index if len(mask) > 1 else 0]
        if strength == 0 or (amount is not None and not bool((amount > 0).any())):
            routings.append(())
            continue
        job = _Job(run, picture[index], guides[index])
        routings.append(job.restore(result[index], strength, amount, frames - 1 - index))
    routing = Routing(
        frames=tuple(routings),
        sizes=((height, width),) * frames,
        descriptions=tuple("" if guide is None else guide.descriptions[0] for guide in guides),
        scores=tuple(None if guide is None else guide.scores[0].float().cpu() for guide in guides),
    )
    return Restoration(result, routing)


@dataclass
class _Run:
    """What lasts from picture to picture in one call of `restore_picture`; `side` only ever shrinks."""

    network: Restorer
    precision: torch.dtype
    side: int
    on_tile: Callable[[int, int], None] | None
    is_oom: Callable[[BaseException], bool]
    done: int = 0

    def shrink(self, core: Box) -> bool:
        """Halves the tile side after `core` was too much for the memory; False when it is as small as it gets."""
        side = max(core.height, core.width)
        if side <= SMALLEST_TILE:
            return False
        self.side = max(SMALLEST_TILE, round_up(-(-side // 2), self.network.multiple))
        return self.side < side


class _Job:
    """One picture [C, H, W] on its way through the network."""

    def __init__(self, run: _Run, frame: Tensor, guidance: Guidance | None) -> None:
        self.run = run
        self.frame = frame
        self.guidance = guidance
        self.height, self.width = frame.shape[-2:]
        self.device = next(run.network.parameters()).device
        self.contexts: dict[torch.dtype, Context] = {}

    def restore(
        self, result: Tensor, strength: float, mask: Tensor | None, pictures_left: int
    ) -> tuple[BlockRouting, ...]:
        """Writes the restored picture into result [C, H, W] and returns its routing."""
        run, network = self.run, self.run.network
        canvases = [
            RoutingCanvas(name, network.config.experts, edges, network.config.window * scale, self.height, self.width)
            for name, edges, scale in zip(network.mofe_names, network.band_edges(), network.mofe_scales, strict=True)
        ]
        padded = Box(0, 0, round_up(self.height, network.multiple), round_up(self.width, network.multiple))
        tiles = cut_tiles(padded, padded, run.side, network.halo, network.multiple)
        while tiles:
            outcome = self._try(tiles[0])
            if outcome is None:  # out of memory: what is left to do goes on in smaller tiles, what is done stays
                smaller = (cut_tiles(tile.core, padded, run.side, network.halo, network.multiple) for tile in tiles)
                tiles = [tile for part in smaller for tile in part]
                continue
            tile = tiles.pop(0)
            restored, routing = outcome
            self._blend(result, restored, tile.core, strength, mask)
            for canvas, weights in zip(canvases, routing, strict=True):
                canvas.put(tile, weights)
            run.done += 1
            if run.on_tile is not None:
                each = len(plan_tiles(self.height, self.width, run.side, network.halo, network.multiple))
                run.on_tile(run.done, run.done + len(tiles) + pictures_left * each)
        return tuple(canvas.finish() for canvas in canvases)

    def _try(self, tile: Tile) -> tuple[Tensor, list[Tensor]] | None:
        """The tile's result, or None after an out-of-memory error that made the tiles smaller."""
        try:
            return self._work(tile)
        except Exception as error:
            if not self.run.is_oom(error) or not self.run.shrink(tile.core):
                raise
        return None

    def _work(self, tile: Tile) -> tuple[Tensor, list[Tensor]]:
        """The restored core [3, h, w] fp32 and the routing of the read area; once more in fp32 if it is not finite."""
        restored, routing = self._pass(tile, self.run.precision)
        if not _finite(restored, *routing) and self.run.precision != torch.float32:
            restored, routing = self._pass(tile, torch.float32)
        if not _finite(restored, *routing):
            raise RestorationError(
                f"The network gave values that are not finite at row {tile.core.top}, column {tile.core.left}: "
                "the weights or the guidance may be damaged, load them again."
            )
        return restored, routing

    def _pass(self, tile: Tile, precision: torch.dtype) -> tuple[Tensor, list[Tensor]]:
        core, read = tile.core, tile.read
        # no autocast at all in fp32: some devices (DirectML) do not know it
        half = torch.autocast(self.device.type, precision) if precision != torch.float32 else nullcontext()
        with torch.inference_mode(), half:
            context = self._context(precision)
            crop = _colour(read_box(self.frame, read)[None].to(self.device))
            position = Position.of(read.top, read.left, self.height, self.width)
            restored, routing = self.run.network.restore(crop, context, position)
            top, left = core.top - read.top, core.left - read.left
            return restored[0, :, top : top + core.height, left : left + core.width].float(), routing

    def _context(self, precision: torch.dtype) -> Context:
        """What the global branch sees in the whole picture; computed when the first tile asks, and kept."""
        if precision not in self.contexts:
            # shrunk where the picture lies, so that only the thumbnail travels to the device
            thumbnail = thumbnail_of(_colour(self.frame[None]), self.run.network.config.thumbnail).to(self.device)
            guide = self.guidance
            tokens = None if guide is None else guide.tokens.to(self.device, torch.float32)
            pooled = None if guide is None else guide.pooled.to(self.device, torch.float32)
            self.contexts[precision] = self.run.network.look(thumbnail, tokens, pooled)
        return self.contexts[precision]

    def _blend(self, result: Tensor, restored: Tensor, core: Box, strength: float, mask: Tensor | None) -> None:
        """Blends a restored core [3, h, w] into the picture, less its padding; touches nothing where the blend is 0."""
        rows = slice(core.top, min(core.bottom, self.height))
        columns = slice(core.left, min(core.right, self.width))
        if rows.start >= rows.stop or columns.start >= columns.stop:
            return
        colours = 1 if len(self.frame) == 1 else 3
        before = self.frame[:colours, rows, columns]
        after = restored[:, : rows.stop - core.top, : columns.stop - core.left].to(before.device)
        if colours == 1:
            after = after.mean(0, keepdim=True)
        if mask is None:
            amount = after.new_full((1, 1, 1), strength)
        else:
            amount = strength * mask[None, rows, columns].to(before.device, torch.float32)
        blended = torch.lerp(before.float(), after, amount.expand_as(after)).clamp(0, 1).to(before.dtype)
        result[:colours, rows, columns] = torch.where(amount > 0, blended, before)


def _colour(picture: Tensor) -> Tensor:
    """[B, C, H, W] with 1, 3 or 4 channels as fp32 [B, 3, H, W] in 0..1, as the network takes it."""
    picture = picture[:, :3].float().clamp(0, 1)
    return picture.expand(-1, 3, -1, -1) if picture.shape[1] == 1 else picture


def _finite(*tensors: Tensor) -> bool:
    return all(bool(torch.isfinite(tensor).all()) for tensor in tensors)


def _tile_side(tile: int, height: int, width: int, multiple: int) -> int:
    """The side of a tile's core in px: a multiple of `multiple`, at least `SMALLEST_TILE`."""
    if tile < 0:
        raise RestorationError(f"The tile size is {tile}: give a size in pixels, or 0 to choose it by the picture.")
    if tile == 0:
        tile = max(height, width) if height * width <= WHOLE_PIXELS else AUTO_TILE
    return max(SMALLEST_TILE, round_up(tile, multiple))


def _check(picture: Tensor, strength: float, mask: Tensor | None) -> Tensor | None:
    """Says in one sentence what is wrong with the inputs; returns the mask in 0..1, [B or 1, H, W] fp32."""
    if picture.ndim != 4 or picture.shape[1] not in (1, 3, 4) or not picture.is_floating_point():
        raise RestorationError(
            f"The picture is {picture.dtype} of shape {tuple(picture.shape)}: "
            "give floating-point pictures [batch, channels, height, width] with 1, 3 or 4 channels."
        )
    batch, _, height, width = picture.shape
    if min(height, width) < SMALLEST_SIDE:
        raise RestorationError(
            f"The picture is {width} x {height} px: it must be at least {SMALLEST_SIDE} px a side, enlarge it first."
        )
    if not 0 <= strength <= 1:
        raise RestorationError(f"The strength is {strength}: it must lie between 0 and 1.")
    for index, frame in enumerate(picture):
        if not _finite(frame[:3]):
            raise RestorationError(
                f"Picture {index} of the batch holds values that are not finite (NaN or infinity): "
                "check the node that made it."
            )
    if mask is None:
        return None
    if mask.ndim != 3 or mask.shape[0] not in (1, batch) or mask.shape[1:] != (height, width):
        raise RestorationError(
            f"The mask has shape {tuple(mask.shape)} but the picture needs {(batch, height, width)} or "
            f"{(1, height, width)}: resize the mask or make one per picture."
        )
    mask = mask.float()
    if not _finite(mask):
        raise RestorationError(
            "The mask holds values that are not finite (NaN or infinity): check the node that made it."
        )
    return mask.clamp(0, 1)


def _check_guidance(network: Restorer, guidance: Guidance | None, batch: int) -> None:
    if guidance is None:
        return
    guidance.for_frame(0, batch)
    if guidance.pooled.shape[-1] != network.config.guidance_width:
        raise GuidanceError(
            f"The guidance is {guidance.pooled.shape[-1]} numbers wide but the restorer was trained with "
            f"{network.config.guidance_width}: load the MLLM it was trained with."
        )
    if not _finite(guidance.tokens, guidance.pooled):
        raise GuidanceError("The guidance holds values that are not finite: describe the picture again.")
