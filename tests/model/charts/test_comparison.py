"""Images side by side with labels."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from mofe_restore.model.charts.comparison import BAR, GAP, draw_comparison, stack, to_pil


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every text that is written while the test runs."""
    texts: list[str] = []
    draw = ImageDraw.ImageDraw.text

    def note(self, place, text, *arguments, **options):  # type: ignore[no-untyped-def]
        texts.append(text)
        draw(self, place, text, *arguments, **options)

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", note)
    return texts


def test_an_image_becomes_8_bits_rounded_and_clamped() -> None:
    image = torch.tensor([-1.0, 0.4 / 255, 0.6 / 255, 2.0]).reshape(1, 1, 1, 4).expand(1, 3, 1, 4)
    assert np.asarray(to_pil(image))[0, :, 0].tolist() == [0, 0, 1, 255]


def test_images_stand_side_by_side_under_their_labels_and_a_title(written: list[str]) -> None:
    before, after = torch.rand(1, 3, 40, 60), torch.rand(1, 3, 40, 60)
    sheet = draw_comparison([("before", before), ("after", after)], "a car")
    assert sheet.size == (2 * (60 + GAP) + GAP, 40 + 2 * BAR + GAP)
    for index, image in enumerate((before, after)):
        left = GAP + index * (60 + GAP)
        assert np.array_equal(
            np.asarray(sheet.crop((left, 2 * BAR, left + 60, 2 * BAR + 40))), np.asarray(to_pil(image))
        )
    assert written == ["a car", "before", "after"]


def test_a_long_title_is_cut_at_a_word(written: list[str]) -> None:
    draw_comparison([("one", torch.rand(1, 3, 20, 200))], "strong haze and rain " * 20)
    title = written[0]
    assert title.endswith(" ...") and title.removesuffix(" ...").split()[-1] in ("strong", "haze", "and", "rain")
    assert title.startswith("strong haze")


def test_sheets_are_stacked_from_top_to_bottom() -> None:
    rows = [Image.new("RGB", (30, height), color) for height, color in ((10, "red"), (5, "lime"), (7, "blue"))]
    page = stack(rows)
    assert page.size == (30, 22)
    assert [page.getpixel((29, top)) for top in (0, 9, 10, 14, 15, 21)] == [
        *[(255, 0, 0)] * 2,
        *[(0, 255, 0)] * 2,
        *[(0, 0, 255)] * 2,
    ]
