"""What the options of a restoration say about its guidance, and how large its change is; shared by all engines."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from ..model.guidance import Guidance


def steer(guidance: Guidance, args: argparse.Namespace) -> Guidance:
    """Return guidance that follows --set, --remove and --keep."""
    if args.set:
        guidance = guidance.with_severities(args.set)
    if args.remove:
        return guidance.removing_only(args.remove)
    if args.keep:
        return guidance.with_removal(dict.fromkeys(args.keep, 0.0))
    return guidance


def change_psnr(before: Tensor, after: Tensor) -> float:
    """Return how small the change of an image [1, C, H, W] is, as the PSNR of its colors in dB."""
    from ..model.images import psnr

    return psnr(after[:, :3].cpu(), before[:, :3])
