"""The sizes of the restorer in one validated dataclass, and the halo and the multiple that follow from them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from ..images import round_up
from .camera_branch import camera_reach

LEVELS = 4
"""Levels of the U-Net, at 1/2, 1/4, 1/8 and 1/16 of the image's size."""

HALO_BUDGET = 128
"""Largest halo in image pixels a side."""

THUMBNAIL_BUDGET = 256
"""Largest side of the thumbnail that the tone and the global branch see, in pixels."""

LARGEST = {"experts": 64, "window": 64, "expansion": 64}
"""Limits of sizes whose cost in memory no tensor of a weight file shows."""

DERIVED = frozenset({"halo", "reach"})
"""Keys of a card's architecture that follow from the others: written for readers, checked when the card is read."""


@dataclass(frozen=True)
class RestorerConfig:
    """Everything that determines the architecture of a `Restorer`; the card of a weight file holds it.

    Example:
        >>> config = RestorerConfig(guidance_width=256, experts=4)
        >>> config.halo, config.multiple
        (128, 32)

    Attributes:
        guidance_width: D, the width of the MLLM's embeddings.
        widths: Channels at 1/2, 1/4, 1/8, 1/16.
        encoder_blocks: Number of gated blocks at 1/2, 1/4, 1/8, 1/16 in the encoder.
        decoder_blocks: Number of gated blocks at 1/2, 1/4, 1/8 in the decoder.
        mofe_levels: Levels (0 is 1/2) with a MoFE block, which comes before the decoder's gated blocks there.
        experts: K, the number of bands and of experts of a MoFE block.
        window: Side of a MoFE window in feature pixels.
        softness: Width of a band's edge in cycles per feature pixel.
        router_temperature: Divides the router's logits.
        top_experts: Number of experts that work in a window, those of the largest weights; 0 means all of them.
        expansion: Hidden width of a gated block's pointwise part, as a multiple of the block's width.
        vector_width: V, the width of the guidance vector inside the network.
        severity_width: Hidden width of the layers that read severities which were set; 0 for a network that is
            conditioned on the embedding alone.
        head_width: Channels per attention head.
        residual_init: Residual scale of every block before training.
        thumbnail: Side in pixels of the square thumbnail that the tone and the global branch see.
        global_widths: Channels of both branches at 1/2, 1/4, 1/8 of the thumbnail, and in their blocks.
        global_blocks: Number of gated blocks of each.
        extra_tone_blocks: Number of further blocks of the tone branch.
        tone_statistics_width: Hidden width of the layers by which it reads statistics of the image's blocks
            (`fine_statistics`); 0 for a branch that sees the thumbnail alone.
        camera_widths: Channels of the camera branch at 1/2, 1/4, ...; empty for a network without it.
        camera_encoder_blocks: Number of its residual blocks at each of these sizes on the way down.
        camera_decoder_blocks: The same on the way up, without the coarsest size.
        camera_estimator_width: Hidden width of its estimator of a blur's kernel; 0 for a branch without it.
        camera_jpeg_encoder_blocks: The same of weights of its own for a JPEG that is to be undone alone; the last is
            how many of the branch's blocks at the coarsest size they borrow. Empty for none.
        camera_jpeg_decoder_blocks: Those on the way up, without the coarsest size.
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
    severity_width: int = 0
    head_width: int = 32
    residual_init: float = 0.1
    thumbnail: int = 128
    global_widths: tuple[int, ...] = (16, 32, 64, 96)
    global_blocks: int = 3
    extra_tone_blocks: int = 0
    tone_statistics_width: int = 0
    camera_widths: tuple[int, ...] = ()
    camera_encoder_blocks: tuple[int, ...] = ()
    camera_decoder_blocks: tuple[int, ...] = ()
    camera_estimator_width: int = 0
    camera_jpeg_encoder_blocks: tuple[int, ...] = ()
    camera_jpeg_decoder_blocks: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        for name, length in (
            ("widths", LEVELS),
            ("encoder_blocks", LEVELS),
            ("decoder_blocks", LEVELS - 1),
            ("global_widths", 4),
        ):
            value = getattr(self, name)
            minimum = 0 if name.endswith("blocks") else 1
            if not _are_integers(value, minimum) or len(value) != length:
                raise ValueError(f"{name} must be {length} integers from {minimum} up, not {value!r}")
        if not _are_integers(self.mofe_levels, 0) or list(self.mofe_levels) != sorted(set(self.mofe_levels)):
            raise ValueError(f"mofe_levels must be different levels in rising order, not {self.mofe_levels!r}")
        if any(level >= LEVELS - 1 for level in self.mofe_levels):
            raise ValueError(f"mofe_levels must be decoder levels 0..{LEVELS - 2}, not {self.mofe_levels!r}")
        for name in ("guidance_width", "experts", "window", "expansion", "vector_width", "head_width", "thumbnail"):
            minimum = 2 if name in ("experts", "window") else 1
            if not _are_integers((getattr(self, name),), minimum):
                raise ValueError(f"{name} must be an integer from {minimum} up, not {getattr(self, name)!r}")
        for name, limit in LARGEST.items():
            if getattr(self, name) > limit:
                raise ValueError(f"{name} must be at most {limit}, not {getattr(self, name)}")
        for name in (
            "global_blocks",
            "extra_tone_blocks",
            "tone_statistics_width",
            "top_experts",
            "severity_width",
            "camera_estimator_width",
        ):
            if not _are_integers((getattr(self, name),), 0):
                raise ValueError(f"{name} must be an integer from 0 up, not {getattr(self, name)!r}")
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
        self._check_camera_branch()
        if self.halo > HALO_BUDGET:
            raise ValueError(
                f"these depths give a receptive field of {self.reach} px a side, "
                f"and a halo of {self.halo} px exceeds the budget of {HALO_BUDGET} px"
            )

    def _check_camera_branch(self) -> None:
        levels = len(self.camera_widths)
        for name in ("camera_estimator_width", "camera_jpeg_encoder_blocks"):
            if getattr(self, name) and not levels:
                raise ValueError(f"{name} belongs to a camera branch, which camera_widths must give")
        jpeg_levels = levels if self.camera_jpeg_encoder_blocks else 0
        for name, length, minimum in (
            ("camera_widths", levels, 1),
            ("camera_encoder_blocks", levels, 0),
            ("camera_decoder_blocks", max(0, levels - 1), 0),
            ("camera_jpeg_encoder_blocks", jpeg_levels, 0),
            ("camera_jpeg_decoder_blocks", max(0, jpeg_levels - 1), 0),
        ):
            value = getattr(self, name)
            if not _are_integers(value, minimum) or len(value) != length:
                raise ValueError(f"{name} must be {length} integers from {minimum} up, not {value!r}")
        if jpeg_levels and self.camera_jpeg_encoder_blocks[-1] > self.camera_encoder_blocks[-1]:
            raise ValueError(
                f"camera_jpeg_encoder_blocks can borrow {self.camera_encoder_blocks[-1]} blocks at the coarsest size, "
                f"not {self.camera_jpeg_encoder_blocks[-1]}"
            )
        if levels > LEVELS:
            raise ValueError(f"camera_widths must have at most {LEVELS} levels, not {levels}")
        if self.camera_halo > HALO_BUDGET:
            raise ValueError(
                f"these depths give the camera branch a halo of {self.camera_halo} px, "
                f"which exceeds the budget of {HALO_BUDGET} px"
            )

    @property
    def camera_halo(self) -> int:
        """Context with which a tile of the camera branch is read, in image pixels a side; 0 without a branch."""
        if not self.camera_widths:
            return 0
        reach = max(
            camera_reach(self.camera_encoder_blocks, self.camera_decoder_blocks),
            camera_reach(self.camera_jpeg_encoder_blocks, self.camera_jpeg_decoder_blocks),
        )
        return round_up(reach, 2 ** len(self.camera_widths))

    @property
    def multiple(self) -> int:
        """Origins and sizes of tiles, and the size of the padded image, are multiples of this many image pixels."""
        return math.lcm(2**LEVELS, *(self.window * 2 ** (level + 1) for level in self.mofe_levels))

    @property
    def reach(self) -> int:
        """Receptive field: how far inwards a tile's border changes the result, in image pixels a side.

        It holds for borders at multiples of `multiple`. A 3x3 convolution adds one feature pixel. Downsampling and
        windows spread a changed pixel over the whole coarser pixel or window, so the distance is rounded up there.
        Upsampling adds nothing, and the skip connections have a smaller receptive field than the path through the
        coarsest level.
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
        """Context with which a tile is read, in image pixels a side: `reach`, rounded up to `multiple`."""
        return round_up(self.reach, self.multiple)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields in plain JSON types."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    def to_card(self) -> dict[str, Any]:
        """Return the fields and the `DERIVED` keys in plain JSON types, for the card of a weight file."""
        return {**self.to_dict(), **{name: getattr(self, name) for name in sorted(DERIVED)}}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> RestorerConfig:
        """Return the config of `to_dict` or `to_card`; fields that are not given keep their defaults.

        Args:
            values: Values by field name; lists stand for tuples.

        Raises:
            ValueError: A field is unknown or invalid, `guidance_width` is missing, or a `DERIVED` key differs from the
                value that follows from the fields.
        """
        values = dict(values)
        own_jpeg = values.get("camera_own_jpeg")
        if isinstance(own_jpeg, bool):  # what cards said before the blocks could differ
            del values["camera_own_jpeg"]
        if own_jpeg is True:
            for part in ("encoder", "decoder"):
                values[f"camera_jpeg_{part}_blocks"] = values.get(f"camera_{part}_blocks", ())
        known = {field.name for field in fields(cls)}
        unknown = sorted(set(values) - known - DERIVED)
        if unknown:
            raise ValueError(f"the architecture has unknown fields: {', '.join(unknown)}")
        if "guidance_width" not in values:
            raise ValueError("the architecture lacks guidance_width")
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


def _are_integers(values: Any, minimum: int) -> bool:
    """Return whether this is a tuple of integers that are not below the minimum."""
    if not isinstance(values, tuple):
        return False
    return all(isinstance(value, int) and not isinstance(value, bool) and value >= minimum for value in values)
