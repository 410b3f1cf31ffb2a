"""Names, thresholds and words, which need no package."""

from __future__ import annotations

import subprocess
import sys

import pytest

from mofe_restore.model.vocabulary import (
    DEGRADATIONS,
    DISPLAY_NAMES,
    PARAMETERS,
    PRESENT,
    TONE_INDICES,
    VISIBILITY_RANGES,
    strength_from_score,
    strength_word,
)


@pytest.mark.parametrize("module", ["vocabulary", "errors", "atomic"])
def test_the_lowest_layer_imports_no_other_package(module: str) -> None:
    """In a process of its own, since the other tests have imported everything."""
    code = f"import sys; import mofe_restore.model.{module}; print({{'torch', 'numpy', 'PIL'}} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)  # noqa: S603
    assert (done.returncode, done.stdout.strip()) == (0, "set()"), done.stderr


def test_every_degradation_has_a_name_for_sentences() -> None:
    assert tuple(DISPLAY_NAMES) == DEGRADATIONS
    assert len(set(DISPLAY_NAMES.values())) == len(DEGRADATIONS) == 7 and len(PARAMETERS) == 9


def test_what_is_called_absent_does_not_change_the_tone() -> None:
    assert [DEGRADATIONS[index] for index in TONE_INDICES] == ["low_light", "haze"]
    for name, (low, high) in VISIBILITY_RANGES.items():
        assert name in DEGRADATIONS and 0 < low < high == PRESENT


@pytest.mark.parametrize(("score", "strength"), [(0.0, 0.0), (0.49, 0.0), (0.5, 0.0), (0.75, 0.5), (1.0, 1.0)])
def test_a_score_tells_the_strength_from_the_threshold_on(score: float, strength: float) -> None:
    assert strength_from_score(score) == pytest.approx(strength)


def test_strengths_have_words_in_thirds() -> None:
    words = [strength_word(strength) for strength in (0.0, 0.33, 0.34, 0.66, 0.67, 1.0)]
    assert words == ["light", "light", "moderate", "moderate", "strong", "strong"]
