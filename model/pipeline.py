"""The way of a picture through the restorer: any size, tile by tile, with strength and mask, safe against mishaps."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Collection
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from .guidance import Guidance
from .inputs import RestorationError, check_inputs, colours_of, is_finite
from .memory import tile_bytes
from .overview import Context, Position, thumbnail_of
from .restorer import Restorer
from .routing import Routing, RoutingCanvas
from .tiling import Box, Tile, cut_tiles, padded_box, read_box, round_up

log = logging.getLogger(__name__)

WHOLE_PIXELS = 1024 * 1024
"""Up to this many pixels a picture is restored in one piece when the tile size is automatic."""

AUTO_TILE = 512
SMALLEST_TILE = 64
"""Out of memory with a tile of this side is final."""


@dataclass(frozen=True)
class Restoration:
    """A restored batch [B, C, H, W], in the input's size, and its routing."""

    picture: Tensor
    routing: Routing


def is_out_of_memory(error: BaseException, also: Callable[[BaseException], bool] | None = None) -> bool:
    """Whether memory ran out, on an accelerator or on the CPU; if so, what the failed attempt held is let go.

    Args:
        error: any error.
        also: asked first, for hosts with knowledge of their own.
    """
    if not (also is not None and also(error)) and not _says_out_of_memory(error):
        return False
    traceback.clear_frames(error.__traceback__)  # its frames would keep the activations alive during the next attempt
    return True


def _says_out_of_memory(error: BaseException) -> bool:
    if isinstance(error, torch.cuda.OutOfMemoryError | MemoryError):  # the first is also that of other accelerators
        return True
    # the CPU's allocator and some accelerators have no exception of their own
    words = ("out of memory", "not enough memory", "can't allocate memory")
    return isinstance(error, RuntimeError) and any(word in str(error) for word in words)


def working_bytes(
    network: Restorer, height: int, width: int, tile: int = 0, precision: torch.dtype = torch.float32
) -> int:
    """An estimate of the memory that restoring a picture takes beside the network's weights: that of one tile.

    It does not depend on the number of pictures, which are restored one after the other.
    """
    return tile_bytes(network.config, height, width, _tile_side(tile, height, width, network.multiple), precision)


def has_work(strength: float, mask: Tensor | None) -> bool:
    """Whether there is anything to restore with this strength and mask, in any picture."""
    return strength > 0 and (mask is None or bool((mask > 0).any()))


def restore_picture(
    network: Restorer,
    picture: Tensor,
    guidance: Guidance | None,
    *,
    strength: float = 1.0,
    mask: Tensor | None = None,
    tile: int = 0,
    precision: torch.dtype = torch.float32,
    into: Tensor | None = None,
    on_tile: Callable[[int, int], None] | None = None,
    is_oom: Callable[[BaseException], bool] = is_out_of_memory,
) -> Restoration:
    """Restores a batch picture by picture; pixels where strength times mask is 0 come back bit-exact.

    Beside the input and the result, both of which stay where they are, it takes the memory of one tile.

    Args:
        network: in evaluation mode with fp32 weights, on the device to work on.
        picture: [B, C, H, W] in 0..1, on any device, fp16, bf16 or fp32; C is 1 (grey), 3, or 4 (the alpha channel
            passes through untouched); H and W from 16 up.
        guidance: for B pictures or for one; None for neutral guidance.
        strength: 0..1, blends the result with the input.
        mask: [B, H, W] or [1, H, W] in 0..1, multiplies the strength; None is 1 everywhere.
        tile: side of a tile's core in px, rounded up to the network's multiple; 0 decides by the size.
        precision: fp32, or bf16 or fp16 under autocast.
        into: [B, C, H, W] to write the result to, of any floating-point type and on any device; None makes one like
            the input.
        on_tile: called after every tile with tiles done and tiles in all; what it raises ends the run.
        is_oom: tells out-of-memory errors, which halve the tile for the rest of the run; may free caches.

    Raises:
        RestorationError: an input that makes no sense, or a result that is not finite even in fp32.
        GuidanceError: the guidance does not fit the batch or the network, or another MLLM made it.
    """
    check_inputs(network, picture, guidance, strength=strength, mask=mask, tile=tile)
    frames, _, height, width = picture.shape
    run = _Run(network, precision, _tile_side(tile, height, width, network.multiple), on_tile, is_oom)
    result = picture.detach().clone() if into is None else into.copy_(picture)
    guides = [None if guidance is None else guidance.for_frame(index, frames) for index in range(frames)]
    jobs = {}
    for index in range(frames):
        amount = None if mask is None else mask[index if len(mask) > 1 else 0]
        if has_work(strength, amount):
            jobs[index] = _Job(run, picture[index], guides[index], strength, amount)
    # before the work: what is kept of every picture would otherwise scatter over the memory that tiles use in turn
    canvases = {index: _canvases(network, height, width) for index in jobs}
    while jobs:
        index = next(iter(jobs))
        jobs.pop(index).restore(result[index], canvases[index], jobs.values())
    routing = Routing(
        frames=tuple(tuple(canvas.finish() for canvas in canvases.get(index, ())) for index in range(frames)),
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
    overflowed: bool = False

    def shrink(self, core: Box) -> bool:
        """Halves the tile side after `core` was too much for the memory; False when it is as small as it gets."""
        side = max(core.height, core.width)
        if side <= SMALLEST_TILE:
            return False
        self.side = round_up(max(SMALLEST_TILE, -(-side // 2)), self.network.multiple)
        log.info("Out of memory with a tile of %d px: going on with tiles of %d px.", side, self.side)
        return self.side < side

    def note_overflow(self) -> None:
        """Says once per run that tiles take twice the time."""
        if not self.overflowed:
            log.warning("Values overflowed in %s: such tiles are computed again in fp32.", self.precision)
        self.overflowed = True


class _Job:
    """One picture [C, H, W] on its way through the network, with something to restore in it."""

    def __init__(
        self, run: _Run, frame: Tensor, guidance: Guidance | None, strength: float, mask: Tensor | None
    ) -> None:
        self.run = run
        self.frame = frame
        self.guidance = guidance
        self.strength = strength
        self.mask = mask
        self.height, self.width = frame.shape[-2:]
        self.padded = padded_box(self.height, self.width, run.network.multiple)
        self.device = next(run.network.parameters()).device
        self.context: Context | None = None
        self._ahead = (0, 0)

    def restore(self, result: Tensor, canvases: Collection[RoutingCanvas], later: Collection[_Job]) -> None:
        """Writes the restored picture into result [C, H, W] and its routing to canvases; `later` jobs only count."""
        run = self.run
        tiles = self._cut(self.padded)
        while tiles:
            outcome = self._try(tiles[0])
            if outcome is None:  # out of memory: what is left to do goes on in smaller tiles, what is done stays
                tiles = [smaller for tile in tiles for smaller in self._cut(tile.core)]
                continue
            tile = tiles.pop(0)
            restored, routing = outcome
            self._blend(result, restored, tile.core)
            for canvas, weights in zip(canvases, routing, strict=True):
                canvas.put(tile, weights)
            run.done += 1
            if run.on_tile is not None:
                run.on_tile(run.done, run.done + len(tiles) + sum(job.tiles_ahead() for job in later))

    @cached_property
    def is_grey(self) -> bool:
        red, *others = self.frame[:3]
        return all(torch.equal(red, other) for other in others)

    def tiles_ahead(self) -> int:
        """How many tiles the whole picture takes at the present size of tiles."""
        side, tiles = self._ahead
        if side != self.run.side:
            tiles = len(self._cut(self.padded))
            self._ahead = (self.run.side, tiles)
        return tiles

    def _cut(self, area: Box) -> list[Tile]:
        """The tiles of an area that have something to restore."""
        network = self.run.network
        tiles = cut_tiles(area, self.padded, self.run.side, network.halo, network.multiple)
        return [tile for tile in tiles if has_work(self.strength, self._mask_in(tile.core))]

    def _mask_in(self, core: Box) -> Tensor | None:
        """The part [h, w] of the mask in a core, less its padding, in 0..1."""
        if self.mask is None:
            return None
        return self.mask[core.top : core.bottom, core.left : core.right].float().clamp(0, 1)

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
        if not is_finite(restored, *routing) and self.run.precision != torch.float32:
            self.run.note_overflow()
            restored, routing = self._pass(tile, torch.float32)
        if not is_finite(restored, *routing):
            raise RestorationError(
                f"The network gave values that are not finite at row {tile.core.top}, column {tile.core.left}: "
                "the weights or the guidance may be damaged, load them again."
            )
        return restored, routing

    def _pass(self, tile: Tile, precision: torch.dtype) -> tuple[Tensor, list[Tensor]]:
        core, read = tile.core, tile.read
        # no autocast at all in fp32: some devices (DirectML) do not know it
        half = torch.autocast(self.device.type, precision) if precision != torch.float32 else nullcontext()
        with torch.inference_mode():
            context = self._context()
            crop = colours_of(read_box(self.frame, read)[None].to(self.device))
            position = Position.of(read.top, read.left, self.height, self.width)
            with half:
                restored, routing = self.run.network.restore(crop, context, position)
            top, left = core.top - read.top, core.left - read.left
            return restored[0, :, top : top + core.height, left : left + core.width].float(), routing

    def _context(self) -> Context:
        """What is seen in the whole picture; computed when the first tile asks, and kept.

        Always in fp32: it takes little time, and a tile that is computed again must have the tone of its neighbours.
        """
        if self.context is None:
            # shrunk where the picture lies, so that only the thumbnail travels to the device
            thumbnail = thumbnail_of(colours_of(self.frame[None]), self.run.network.config.thumbnail).to(self.device)
            guide = self.guidance
            tokens = None if guide is None else guide.tokens.to(self.device, torch.float32)
            pooled = None if guide is None else guide.pooled.to(self.device, torch.float32)
            removal = None if guide is None or guide.removal is None else guide.removal.to(self.device, torch.float32)
            tone_removal = None if guide is None else guide.tone_removal().to(self.device, torch.float32)
            self.context = self.run.network.look(thumbnail, tokens, pooled, removal=removal, tone_removal=tone_removal)
        return self.context

    def _blend(self, result: Tensor, restored: Tensor, core: Box) -> None:
        """Blends a restored core [3, h, w] into the picture, less its padding; touches nothing where the blend is 0."""
        rows = slice(core.top, min(core.bottom, self.height))
        columns = slice(core.left, min(core.right, self.width))
        colours = 1 if len(self.frame) == 1 else 3
        before = self.frame[:colours, rows, columns].to(result.device)
        after = restored[:, : rows.stop - core.top, : columns.stop - core.left].to(result.device)
        if self.is_grey:  # a black-and-white photograph gets no tint, whatever number of channels it is kept in
            after = after.mean(0, keepdim=True).expand(colours, -1, -1)
        mask = self._mask_in(core)
        amount = after.new_full((1, 1, 1), self.strength)
        if mask is not None:
            amount = amount * mask[None].to(amount)
        blended = torch.lerp(before.float(), after, amount.expand_as(after)).clamp(0, 1).to(result.dtype)
        result[:colours, rows, columns] = torch.where(amount > 0, blended, before.to(result.dtype))


def _canvases(network: Restorer, height: int, width: int) -> tuple[RoutingCanvas, ...]:
    """A canvas per MoFE block, for the routing of one picture."""
    experts, window = network.config.experts, network.config.window
    return tuple(
        RoutingCanvas(name, experts, edges, scale, window * scale, height, width)
        for name, edges, scale in zip(network.mofe_names, network.band_edges(), network.mofe_scales, strict=True)
    )


def _tile_side(tile: int, height: int, width: int, multiple: int) -> int:
    """The side of a tile's core in px: a multiple of `multiple`, at least `SMALLEST_TILE`."""
    if tile == 0:
        tile = max(height, width) if height * width <= WHOLE_PIXELS else AUTO_TILE
    return round_up(max(SMALLEST_TILE, tile), multiple)
