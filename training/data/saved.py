"""Scenes as they are found: saved as JPEG after everything else, as nearly all photographs are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ...model.synthesis.degrade import Degraded, GroundTruth, synthesize
from ...model.synthesis.severities import Severities
from ...model.vocabulary import DEGRADATIONS, PARAMETERS

GOOD_QUALITY, POOR_QUALITY = (75, 98), (30, 75)
"""Qualities of a JPEG; what cameras and editors write, and what is sent around."""

POOR_SHARE = 0.3
"""Share of the poor ones."""

CROPPED_SHARE = 0.35
"""Share of the images that were cropped since, so that the blocks do not start at multiples of 8 px; half of these were
saved again at a good quality."""

JPEG = DEGRADATIONS.index("jpeg")

_QUALITY = PARAMETERS.index("jpeg_quality")


def save(degraded: Degraded, rng: np.random.Generator) -> Degraded:
    """Return a degraded scene after a JPEG of a random quality; one that has been through a JPEG is returned as it is.

    Everything but JPEG stays true of it.

    Args:
        degraded: The scene and its ground truth.
        rng: Source of randomness.
    """
    before = degraded.truth
    if before.parameters[_QUALITY] < 100:
        return degraded
    quality = int(rng.integers(*(POOR_QUALITY if rng.random() < POOR_SHARE else GOOD_QUALITY)))
    jpeg = Severities(jpeg_quality=quality)
    if rng.random() < CROPPED_SHARE:
        again = 100 if rng.random() < 0.5 else int(rng.integers(*GOOD_QUALITY))
        jpeg = Severities(jpeg_quality=again, first_jpeg_quality=quality, jpeg_shift=int(rng.integers(1, 8)))
    saved = synthesize(degraded.image, jpeg, rng)
    presence, strength, parameters = before.presence.copy(), before.strength.copy(), before.parameters.copy()
    presence[JPEG], strength[JPEG] = saved.truth.presence[JPEG], saved.truth.strength[JPEG]
    parameters[_QUALITY] = saved.truth.parameters[_QUALITY]
    return replace(saved, truth=GroundTruth(presence, strength, parameters))
