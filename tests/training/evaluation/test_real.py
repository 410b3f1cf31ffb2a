"""Evaluation on real photographs: pairs with and without an order, recall by label, and what good ones lose."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torch import Tensor

from mofe_restore.model.errors import EvaluationError, ImageFileError
from mofe_restore.model.guidance import Guidance
from mofe_restore.model.vocabulary import DEGRADATIONS
from mofe_restore.tests.factories import scored_guidance
from mofe_restore.training.evaluation.real import evaluate_real
from mofe_restore.training.evaluation.results import Evaluation

STEP = 25
"""A photograph of `STEP` times a number is one in which `describe` sees the degradation of that number."""


def write(path: Path, seen: str = "", size: tuple[int, int] = (24, 20), offset: int = 0) -> None:
    """A grey photograph in which `describe` sees one degradation, or none."""
    number = DEGRADATIONS.index(seen) + 1 if seen else 0
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((*size[::-1], 3), STEP * number + offset, dtype=np.uint8)).save(path)


def describe(image: Tensor, score: float = 0.5) -> Guidance:
    """Sees with this score what `write` wrote."""
    number = round(float(image.max()) * 255 / STEP)
    return scored_guidance([score * (index + 1 == number) for index in range(len(DEGRADATIONS))])


def same(image: Tensor, _: object) -> Tensor:
    return image


def psnr_of(steps: int) -> float:
    """PSNR of an image that is wrong by so many steps everywhere."""
    return 20 * math.log10(255 / steps)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two kinds of pairs, four labels and good photographs, in the split `val`."""
    for number in range(3):
        write(tmp_path / "pairs" / "rain" / "val" / "target" / f"{number}.png", "rain")
        write(tmp_path / "pairs" / "rain" / "val" / "input" / f"{number}.png", "rain", offset=10)
    write(tmp_path / "pairs" / "low_light" / "val" / "target" / "a.png", "jpeg")
    write(tmp_path / "pairs" / "low_light" / "val" / "input" / "a.png", "low_light")
    for label, seen in {"rain": ("rain", "rain", "haze", ""), "snow": ("", "jpeg"), "blur": ("blur",)}.items():
        for number, each in enumerate(seen):
            write(tmp_path / "weak" / label / "val" / f"{number}.png", each)
    for number, each in enumerate(("", "jpeg", "haze", "haze")):
        write(tmp_path / "weak" / "good" / "val" / f"{number}.png", each)
    return tmp_path


def evaluate(data: Path, **settings: object) -> Evaluation:
    functions = {"restore": same, "describe": describe, "restore_ordered": same}
    return evaluate_real(**functions | {"pairs_folder": data / "pairs", "weak_folder": data / "weak"} | settings)  # type: ignore[arg-type]


def test_pairs_are_measured_as_restored_automatically_and_on_the_order_to_remove_their_kind(data: Path) -> None:
    kinds: list[str] = []

    def restore_ordered(image: Tensor, kind: str) -> Tensor:
        kinds.append(kind)
        return image - (5 if kind == "rain" else -125) / 255

    result = evaluate(data, restore=lambda image, _: image - 8 / 255, restore_ordered=restore_ordered)
    table = result.tables[0]
    assert list(table.columns)[-3:] == ["SSIM in", "SSIM out", "PSNR ordered"] and list(table.columns)[0] == "n"
    assert {kind: row["n"] for kind, row in table.rows.items()} == {"low_light": 1, "rain": 3, "mean": 4}
    rain, dark, mean = table.rows["rain"], table.rows["low_light"], table.rows["mean"]
    assert rain["PSNR in"] == pytest.approx(psnr_of(10), abs=1e-3)
    assert rain["PSNR out"] == rain["worst out"] == pytest.approx(psnr_of(2), abs=1e-3)
    assert rain["PSNR ordered"] == pytest.approx(psnr_of(5), abs=1e-3)
    assert dark["PSNR in"] == pytest.approx(psnr_of(150), abs=1e-3)
    assert dark["PSNR ordered"] == pytest.approx(psnr_of(25), abs=1e-3)
    assert mean["PSNR ordered"] == pytest.approx((psnr_of(5) + psnr_of(25)) / 2, abs=1e-3)
    assert kinds == ["low_light", "rain", "rain", "rain"]


def test_an_image_is_described_once_and_restored_under_that_guidance(data: Path) -> None:
    made: list[Guidance] = []
    described: list[Tensor] = []
    ordered: list[bool] = []

    def describe_once(image: Tensor) -> Guidance:
        made.append(describe(image))
        described.append(image)
        return made[-1]

    def restore(image: Tensor, guidance: Guidance | None) -> Tensor:
        assert guidance is made[-1] and image is described[-1]
        return image

    def restore_ordered(image: Tensor, _: str) -> Tensor:
        ordered.append(image is described[-1])
        return image

    evaluate(data, restore=restore, describe=describe_once, restore_ordered=restore_ordered)
    assert len(made) == 4 + 7 + 4
    assert ordered == [True] * 4


def test_recall_is_the_share_that_is_called_what_its_label_says(data: Path) -> None:
    result = evaluate(data)
    assert result.tables[1].rows == {
        "rain": {"n": 4, "recall": 0.5},
        "snow": {"n": 2, "recall": 0.0},
        "blur": {"n": 1, "recall": 1.0},
        "mean without blur": {"n": 6, "recall": 0.25},
    }
    missed = evaluate(data, describe=lambda image: describe(image, score=0.49))
    assert missed.value("rain", "recall") == missed.value("blur", "recall") == 0


def test_good_photographs_lose_by_false_alarms_and_by_a_restoration_that_changes_them(data: Path) -> None:
    def restore(image: Tensor, guidance: Guidance | None) -> Tensor:
        assert guidance is not None
        wrong = {"": 2, "haze": 25, "jpeg": 5}  # 42.1, 20.2 and 34.2 dB
        seen = [name for name, score in zip(DEGRADATIONS, guidance.scores[0], strict=True) if score >= 0.5]
        return image + wrong.get("".join(seen), 0) / 255

    result = evaluate(data, restore=restore)
    row = result.tables[2].rows["good"]
    assert row["n"] == 4 and row["called degraded"] == 0.5, "JPEG does not count"
    assert row["below 38 dB"] == 0.75 and row["below 28 dB"] == 0.5
    assert row["worst out"] == pytest.approx(psnr_of(25), abs=1e-3)
    assert row["PSNR out"] == pytest.approx((psnr_of(2) + psnr_of(5) + 2 * psnr_of(25)) / 4, abs=1e-3)
    alarms = result.tables[3].rows
    assert list(alarms) == list(DEGRADATIONS) and {each["n"] for each in alarms.values()} == {4}
    assert {name: each["false alarms"] for name, each in alarms.items() if each["false alarms"]} == {
        "haze": 0.5,
        "jpeg": 0.25,
    }


def test_without_good_photographs_nothing_is_said_about_them(data: Path) -> None:
    (data / "weak" / "good").rename(data / "good")
    result = evaluate(data)
    assert [bool(table.rows) for table in result.tables] == [True, True, False, False]
    assert "good" not in result.to_markdown() and "false alarms" not in result.to_markdown()


def test_the_limit_counts_per_folder_and_every_image_is_reported(data: Path) -> None:
    seen: list[tuple[int, int]] = []
    result = evaluate(data, limit=2, on_progress=lambda *step: seen.append(step))
    assert [row["n"] for row in result.tables[0].rows.values()] == [1, 2, 3]
    assert [row["n"] for row in result.tables[1].rows.values()] == [2, 2, 1, 4]
    assert seen == [(n, 10) for n in range(1, 11)]


def test_another_split_is_read_where_it_is_asked_for(data: Path) -> None:
    with pytest.raises(ImageFileError, match=r"no folder .*low_light.test.input"):
        evaluate(data, split="test")
    for folder in [*data.glob("pairs/*/val"), *data.glob("weak/*/val")]:
        folder.rename(folder.with_name("test"))
    assert "test of the pairs" in evaluate(data, split="test").title


@pytest.mark.parametrize(("parent", "name"), [("pairs", "fog"), ("weak", "bad"), ("pairs", "good")])
def test_a_folder_that_is_no_kind_or_label_is_refused_by_name(parent: str, name: str, data: Path) -> None:
    (data / parent / name).mkdir()
    (data / parent / ".cache").mkdir()
    with pytest.raises(EvaluationError, match=rf"{parent} holds {name}: its folders must be named .*rain"):
        evaluate(data)


def test_a_missing_folder_and_an_empty_one_are_refused(data: Path) -> None:
    (data / "empty").mkdir()
    for folder in ("empty", "nowhere"):
        with pytest.raises(EvaluationError, match=f"{folder} holds no folder"):
            evaluate(data, weak_folder=data / folder)


def test_pairs_of_different_sizes_and_without_target_are_refused_by_name(data: Path) -> None:
    write(data / "pairs" / "rain" / "val" / "target" / "1.png", "rain", size=(24, 21))
    with pytest.raises(EvaluationError, match=r"1.png is 24 x 20 but its target .* is 24 x 21: pairs need equal sizes"):
        evaluate(data)
    (data / "pairs" / "rain" / "val" / "target" / "1.png").unlink()
    with pytest.raises(EvaluationError, match=r"1.png has no target"):
        evaluate(data)
