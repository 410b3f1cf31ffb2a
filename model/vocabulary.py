"""The names of degradations and parameters, and the words for scores; needs no package.

A score is a number in 0..1 per degradation: below `PRESENT` the probability of one that is absent, from there on the
strength of one that is present.
"""

from __future__ import annotations

DEGRADATIONS = ("low_light", "haze", "rain", "snow", "noise", "blur", "jpeg")
"""The seven degradations, in the order of every score vector."""

PARAMETERS = (
    "light_exponent",
    "noise_sigma",
    "rain_coverage",
    "snow_coverage",
    "haze_beta",
    "airlight",
    "transmission",
    "blur_sigma",
    "jpeg_quality",
)
"""The physical parameters of the imaging model, in the order of every parameter vector.

Exponent of the light map (1 = none), noise sigma in 0..1, mean of the rain layer and of the snow's alpha in 0..1,
scattering coefficient of the haze, airlight in 0..1, mean transmission in 0..1, blur sigma in px, JPEG quality 1..100.
"""

DISPLAY_NAMES = dict(
    zip(DEGRADATIONS, ("low light", "haze", "rain", "snow", "noise", "blur", "JPEG artifacts"), strict=True)
)
"""Name of each degradation in a sentence."""

CHINESE_NAMES = dict(zip(DEGRADATIONS, ("低光", "雾", "雨", "雪", "噪声", "模糊", "JPEG 伪影"), strict=True))
"""The same in Chinese."""

CAMERA_FAULTS = ("noise", "blur", "jpeg")
"""Those that the camera adds behind its lens, which the camera branch undoes, in the order of its strengths."""

PRESENT = 0.5
"""A score of this much and above means that the degradation is present."""

ACTION_THRESHOLD = PRESENT
"""Score that some degradation has to reach, or else the image is left as it is, bit by bit (our design).

What is called clean is left alone: the restorer acts on what looks like a fault in a crop, such as the veins of a leaf
that it takes for rain, and the MLLM knows better. On 124 real pairs of the training part this costs nothing, and
12 of the 18 good photographs, of 150, that came back below 38 dB are saved.
"""

SURE = 0.9
"""Certainty of what is called present from which on users are not told that it is doubtful."""

TONE_INDICES = (DEGRADATIONS.index("low_light"), DEGRADATIONS.index("haze"))
"""Indices of the degradations that change the tone of a whole image, for which a dark or pale scene can be mistaken."""

VISIBLE = (0.4, PRESENT)
"""(not visible, fully visible): score limits of what is acted on, and kept where others are to go; linear between.

They end at `PRESENT`, so that what is called absent does not change the tone. Chosen on the training part of the real
photographs: 87 % of the hazy and 97 % of the dark ones reach it, and 0.6 % of 335 good ones.
"""

VISIBILITY_RANGES = dict.fromkeys(("low_light", "haze", "rain", "snow"), VISIBLE)
"""The score limits of each degradation that changes tone."""


ASSUMED_SEVERITIES = {
    "low_light": 0.5,
    "haze": 0.5,
    "rain": 0.6,
    "snow": 0.5,
    "noise": 0.35,
    "blur": 0.5,
    "jpeg": 0.5,
}
"""Strength that is assumed of a degradation that is to be removed though the MLLM does not see it.

Those of rain and noise were chosen on the training part of real pairs, the others are the middle of the scale.
"""


def strength_from_score(score: float) -> float:
    """Return the strength that a score in 0..1 tells: 0 where the degradation is absent, 1 at the strongest."""
    return min(1.0, max(0.0, (score - PRESENT) / (1 - PRESENT)))


def score_from_strength(strength: float) -> float:
    """Return the score of a strength in 0..1: `PRESENT` to 1 for what is present, 0 for a strength of 0."""
    return PRESENT + (1 - PRESENT) * strength if strength > 0 else 0.0


def strength_word(strength: float) -> str:
    """Return the word for a strength in 0..1 of a degradation that is present."""
    if strength < 1 / 3:
        return "light"
    return "moderate" if strength < 2 / 3 else "strong"
