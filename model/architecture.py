"""The restorer's sizes in one validated dataclass, and what follows from them: the halo and the multiple."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from .tiling import round_up

LEVELS = 4
"""Levels of the U-Net, at 1/2, 1/4, 1/8 and 1/16 of the picture's size."""

HALO_BUDGET = 128
"""The largest halo a side in picture pixels (design, section 2)."""

THUMBNAIL_BUDGET = 256
"""The largest side of the picture that the tone and the global branch see, in pixels (design, section 2)."""

DERIVED = frozenset({"halo", "reach"})
"""Keys of a card's architecture that follow from the others: stated there for readers, checked when it is read."""


@dataclass(frozen=True)
class RestorerConfig:
    """Everything that decides the shape of the network; the card of a weight file holds it.

    Attributes:
        guidance_width: D, the width of the MLLM's embeddings.
        widths: channels at 1/2, 1/4, 1/8, 1/16.
        encoder_blocks: gated blocks at 1/2, 1/4, 1/8, 1/16 on the way down.
        decoder_blocks: gated blocks at 1/2, 1/4, 1/8 on the way up.
        mofe_levels: levels (0 is 1/2) with a MoFE block, which comes before the decoder's gated blocks there.
        experts: K, bands and experts of a MoFE block.
        window: side of a MoFE window in feature pixels.
        softness: width of a band's edge in cycles per feature pixel.
        router_temperature: divides the router's logits.
        top_experts: only so many experts work in a window, those of the largest weights; 0 lets all of them work.
        expansion: hidden width of the pointwise part of a block, in widths.
        vector_width: V, the guidance vector inside the network.
        head_width: channels per attention head.
        residual_init: residual scale of every block before training.
        thumbnail: side in pixels of the square picture that the tone and the global branch see.
        global_widths: channels of both at 1/2, 1/4, 1/8 of the thumbnail, and in their blocks.
        global_blocks: gated blocks of each.
        extra_tone_blocks: how many more the tone branch has.
    """

    guidance_width: int
    widths: tuple[int, ...] = (32, 64, 128, 256)
    encoder_blocks: tuple[int, ...] = (2, 4, 3, 2)
    decoder_blocks: tuple[int, ...] = (2, 2, 2)
    mofe_levels: tuple[int, ...] = (0, 1)
    experts: int = 4
    window: int = 8
    softness: float = 0.03
    router_temperature: float = 1.0
    top_experts: int = 0
    expansion: int = 2
    vector_width: int = 128
    head_width: int = 32
    residual_init: float = 0.1
    thumbnail: int = 128
    global_widths: tuple[int, ...] = (16, 32, 64, 96)
    global_blocks: int = 3
    extra_tone_blocks: int = 0

    def __post_init__(self) -> None:
        for name, length in (
            ("widths", LEVELS),
            ("encoder_blocks", LEVELS),
            ("decoder_blocks", LEVELS - 1),
            ("global_widths", 4),
        ):
            value = getattr(self, name)
            smallest = 0 if name.endswith("blocks") else 1
            if not _whole_numbers(value, smallest) or len(value) != length:
                raise ValueError(f"{name} must be {length} whole numbers from {smallest} up, not {value!r}")
        if not _whole_numbers(self.mofe_levels, 0) or list(self.mofe_levels) != sorted(set(self.mofe_levels)):
            raise ValueError(f"mofe_levels must be different rising levels, not {self.mofe_levels!r}")
        if any(level >= LEVELS - 1 for level in self.mofe_levels):
            raise ValueError(f"mofe_levels must be decoder levels 0..{LEVELS - 2}, not {self.mofe_levels!r}")
        for name in ("guidance_width", "experts", "window", "expansion", "vector_width", "head_width", "thumbnail"):
            smallest = 2 if name in ("experts", "window") else 1
            if not _whole_numbers((getattr(self, name),), smallest):
                raise ValueError(f"{name} must be a whole number from {smallest} up, not {getattr(self, name)!r}")
        for name in ("global_blocks", "extra_tone_blocks", "top_experts"):
            if not _whole_numbers((getattr(self, name),), 0):
                raise ValueError(f"{name} must be a whole number from 0 up, not {getattr(self, name)!r}")
        if self.top_experts > self.experts:
            raise ValueError(f"top_experts must be at most the {self.experts} experts, not {self.top_experts}")
        for name in ("softness", "router_temperature", "residual_init"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
                raise ValueError(f"{name} must be a number above 0, not {value!r}")
        for width in self.widths[LEVELS - 2 :]:
            if width % max(1, width // self.head_width):
                raise ValueError(f"a width of {width} cannot be cut into attention heads of {self.head_width}")
        if self.thumbnail % 8:
            raise ValueError(f"thumbnail must be a multiple of 8, not {self.thumbnail}")
        if self.thumbnail > THUMBNAIL_BUDGET:
            raise ValueError(f"thumbnail must be at most {THUMBNAIL_BUDGET}, not {self.thumbnail}")
        if self.halo > HALO_BUDGET:
            raise ValueError(
                f"these depths give a receptive field of {self.reach} px a side, "
                f"and a halo of {self.halo} px exceeds the budget of {HALO_BUDGET} px"
            )

    @property
    def multiple(self) -> int:
        """Tile origins and sizes, and the padded picture, are multiples of this many picture pixels."""
        return math.lcm(2**LEVELS, *(self.window * 2 ** (level + 1) for level in self.mofe_levels))

    @property
    def reach(self) -> int:
        """How many pixels from a tile's border the border is felt, provided that it lies at a multiple of `multiple`.

        A 3x3 convolution adds one feature pixel; going down, or cutting into windows, spreads what is spoilt over the
        whole coarser pixel or window, which rounds up; going up adds nothing, and skips have felt less than the way
        through the depth.
        """
        reach = 2  # the first convolution, at 1/2
        for level, blocks in enumerate(self.encoder_blocks):
            scale = 2 ** (level + 1)
            reach = round_up(reach, scale) + blocks * scale
        for level in reversed(range(LEVELS - 1)):
            scale = 2 ** (level + 1)
            if level in self.mofe_levels:
                reach = round_up(reach, self.window * scale)
            reach += self.decoder_blocks[level] * scale
        return reach + 2  # the last convolution, at 1/2

    @property
    def halo(self) -> int:
        """Context a tile is read with, in pixels a side: the reach, rounded up so that tiles stay on the grid."""
        return round_up(self.reach, self.multiple)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    def describe(self) -> dict[str, Any]:
        """`to_dict` and the `DERIVED` keys, for the card of a weight file."""
        return {**self.to_dict(), **{name: getattr(self, name) for name in sorted(DERIVED)}}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> RestorerConfig:
        """The inverse of `to_dict` and of `describe`; fields that are not given keep their defaults.

        Raises:
            ValueError: an unknown field, `guidance_width` missing, a value that does not make sense, or a `DERIVED` key
                that is not what follows from the fields.
        """
        known = {field.name for field in fields(cls)}
        unknown = sorted(set(values) - known - DERIVED)
        if unknown:
            raise ValueError(f"the architecture has unknown fields: {', '.join(unknown)}")
        if "guidance_width" not in values:
            raise ValueError("the architecture does not say its guidance_width")
        given: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in values.items()
            if name not in DERIVED
        }
        config = cls(**given)
        for name in sorted(DERIVED & set(values)):
            if values[name] != getattr(config, name):
                raise ValueError(
                    f"the architecture says {name} {values[name]!r}, but its {name} is {getattr(config, name)}"
                )
        return config


def _whole_numbers(values: Any, smallest: int) -> bool:
    if not isinstance(values, tuple):
        return False
    return all(isinstance(value, int) and not isinstance(value, bool) and value >= smallest for value in values)
