"""What is measured in an image and outranks what an MLLM reads in it: content without faults, and JPEG compression."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from ..guidance import Guidance
from ..jpeg_quality import find_quality, strength_of_quality
from ..vocabulary import PARAMETERS
from .content import recognize

VISIBLE_QUALITY = 75
"""Highest quality of a JPEG that is called present: the default of libjpeg, whose blocks can be seen (our design). The
restorer gains a decibel up to 85, but files of such qualities count as good ones."""


def measured(seen: Guidance, image: Tensor) -> tuple[Guidance, str]:
    """Return the guidance of one image [3, H, W] with what is measured in it, and its content, see `recognize`.

    Nothing is seen where the content is known: what a head or an adapter reads in such an image is wrong.
    """
    content = recognize(image)
    protected = torch.full((1,), bool(content), device=seen.pooled.device)
    if not content:
        return replace(with_measured_jpeg(seen, image), protected=protected), content
    nothing = replace(
        seen,
        scores=torch.zeros_like(seen.scores),
        parameters=torch.full_like(seen.parameters, torch.nan),
        certainty=None if seen.certainty is None else torch.zeros_like(seen.certainty),
    )
    return replace(nothing, protected=protected), content


def with_measured_jpeg(seen: Guidance, image: Tensor) -> Guidance:
    """Return the guidance of one image [3, H, W] with the quality of its JPEG, where the pixels tell it.

    It is exact (`find_quality`), where an MLLM guesses; where the traces are gone, what it reads stays.
    """
    quality = find_quality(image)
    if quality is None:
        return seen
    told = max(quality, 10.0) if round(quality) <= VISIBLE_QUALITY else 100.0  # as training has them; 100 means none
    parameters = seen.parameters.clone()
    if not bool(parameters.isnan().all()):
        parameters[:, PARAMETERS.index("jpeg_quality")] = told
    return replace(seen.seeing({"jpeg": strength_of_quality(told)}), parameters=parameters)
