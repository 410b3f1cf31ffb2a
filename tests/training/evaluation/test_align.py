"""Evaluation of aligned MLLMs: each against the restorer's own, another image's guidance and none."""

from __future__ import annotations

from pathlib import Path

import pytest
from torch import Tensor

from mofe_restore.model.guidance import Guidance
from mofe_restore.model.synthesis.severities import COMBINATIONS
from mofe_restore.tests.factories import scored_guidance
from mofe_restore.training.evaluation.align import DETECTED, OWN, evaluate_align


def test_a_guide_is_worth_its_share_of_the_own_ones_gain(photos: Path) -> None:
    def own(image: Tensor) -> Guidance:
        return scored_guidance([0.9] * 7, mark=float(image.mean()))

    def blind(image: Tensor) -> Guidance:
        return scored_guidance([0.1] * 7, mark=0.0)

    def restore(image: Tensor, hint: Guidance | None) -> Tensor:
        # its own guidance leaves an image as it is; all other makes it white
        if hint is None or float(hint.pooled[0, 0]) == 0.0:
            return image * 0 + 1.0
        return image if float(hint.pooled[0, 0]) == float(image.mean()) else image * 0 + 1.0

    seen: list[tuple[int, int]] = []
    result = evaluate_align(
        restore, {OWN: own, "blind": blind}, photos, limit=2, side=40, on_progress=lambda *step: seen.append(step)
    )
    rows = result.tables[0].rows
    assert list(rows) == ["none", OWN, "blind"]
    assert all(row["n"] == 2 * len(COMBINATIONS) for row in rows.values())
    assert rows[OWN]["gain"] > 1 and rows[OWN]["share"] == pytest.approx(1.0)
    assert rows["blind"]["gain"] == pytest.approx(0.0) == rows["blind"]["share"]
    assert rows[OWN]["other's gain"] == pytest.approx(0.0, abs=1e-6), "the guidance of another image is worth nothing"
    assert rows[OWN]["F1"] > rows["blind"]["F1"] == 0.0
    total = 4 * len(COMBINATIONS) + DETECTED
    assert seen[0] == (1, total) and seen[-1] == (total, total)
    assert "cut to 40 px" in result.title
