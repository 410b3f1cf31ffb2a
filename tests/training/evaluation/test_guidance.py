"""Evaluation of guidance: an image's own is told from that of another one and from none."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from mofe_restore.model.guidance import Guidance
from mofe_restore.model.synthesis.severities import COMBINATIONS
from mofe_restore.tests.factories import scored_guidance
from mofe_restore.training.evaluation.composites import evaluate_composites
from mofe_restore.training.evaluation.guidance import evaluate_guidance


def test_own_guidance_is_told_from_that_of_another_image_and_from_none(photos: Path) -> None:
    used: list[tuple[float, float]] = []

    def describe(image: Tensor) -> Guidance:
        return scored_guidance([0.0] * 7, mark=float(image.mean()))

    def restore(image: Tensor, hint: Guidance | None) -> Tensor:
        if hint is None:
            return image * 0 + 0.45
        used.append((float(image.mean()), float(hint.pooled[0, 0])))
        own = used[-1][0] == used[-1][1]
        return image if own else image * 0

    result = evaluate_guidance(restore, describe, photos, limit=2)
    rows = result.tables[0].rows
    assert tuple(rows) == (*COMBINATIONS, "mean")
    assert all(row["own"] == row["input"] and row["other"] < row["own"] for row in rows.values())
    assert rows["low"]["other"] < rows["low"]["none"]
    own, other = used[0::2], used[1::2]
    assert len(own) == 22 and all(a == b for a, b in own) and all(a != b for a, b in other)
    assert sorted(b for _, b in other) == sorted(b for _, b in own)
    again = evaluate_guidance(restore, describe, photos, limit=2)
    assert again.to_json() == result.to_json()
    composites = evaluate_composites(torch.clone, photos, limit=2)
    assert rows["snow"]["input"] == pytest.approx(composites.value("snow", "PSNR in"))


def test_every_row_names_its_number_of_images_and_both_passes_are_reported(photos: Path) -> None:
    seen: list[tuple[int, int]] = []
    result = evaluate_guidance(
        lambda image, _: image,
        lambda _: scored_guidance([0.0] * 7),
        photos,
        limit=2,
        on_progress=lambda *step: seen.append(step),
    )
    table = result.tables[0]
    assert list(table.columns) == ["n", "input", "own", "other", "none"]
    assert {name: row["n"] for name, row in table.rows.items()} == dict.fromkeys(COMBINATIONS, 2) | {"mean": 22}
    assert seen == [(n, 44) for n in range(1, 45)]
