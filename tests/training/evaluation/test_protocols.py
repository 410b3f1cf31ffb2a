"""Published sets are found in their published folders, and measured as those who publish prescribe."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from mofe_restore.model.errors import EvaluationError
from mofe_restore.model.images import psnr
from mofe_restore.model.synthesis.severities import COMBINATIONS
from mofe_restore.tests.cli.calls import run
from mofe_restore.tests.factories import write_photo
from mofe_restore.training.data.photos import read_photo
from mofe_restore.training.evaluation.field import OWN, boards, field_table, sources_of_field
from mofe_restore.training.evaluation.inputs import to_tensor
from mofe_restore.training.evaluation.protocols import (
    evaluate_cdd11,
    evaluate_five_tasks,
    evaluate_live1,
    evaluate_three_tasks,
)
from mofe_restore.training.metrics import luma, psnr_b, quantise, ssim, uniform_ssim

ADAIR = {
    "SOTS": ("dehaze/input/0001_0.8_0.2.jpg", "dehaze/target/0001.png"),
    "Rain100L": ("derain/Rain100L/input/1.png", "derain/Rain100L/target/1.png"),
    "BSD68": ("denoise/bsd68/3096.png",),
    "GoPro": ("deblur/gopro/input/GOPR0384_11_00_000001.png", "deblur/gopro/target/GOPR0384_11_00_000001.png"),
    "LOL": ("enhance/lol/input/22.png", "enhance/lol/target/22.png"),
}
MOCE_IR = {
    "SOTS": ("dehazing/SOTS/outdoor/hazy/0001_0.8_0.2.jpg", "dehazing/SOTS/outdoor/gt/0001.png"),
    "Rain100L": ("deraining/Rain100L/rainy/rain-001.png", "deraining/Rain100L/gt/norain-001.png"),
    "BSD68": ("denoising/cBSD68/original_png/3096.png",),
    "GoPro": ("deblurring/GoPro/test/input/a.png", "deblurring/GoPro/test/target/a.png"),
    "LOL": ("llie/LOLv1/Test/input/22.png", "llie/LOLv1/Test/target/22.png"),
}


def write_sets(folder: Path, places: dict[str, tuple[str, ...]]) -> Path:
    for seed, paths in enumerate(places.values()):
        for path, change in zip(paths, (0.1, 0.0), strict=False):
            write_photo(folder / path, seed, 50, 71, change if len(paths) > 1 else 0.0)
    return folder


def write_cdd11(folder: Path, images: int = 2) -> Path:
    for name, change in (("clear", 0.0), *((name, 0.02 * (k + 1)) for k, name in enumerate(COMBINATIONS))):
        for number in range(images):
            write_photo(folder / name / f"{number:05d}.png", number, change=change)
    return folder


@pytest.mark.field
@pytest.mark.parametrize("inside", ["", "CDD-11_test", "test"])
def test_field23_row7_cdd_11_is_measured_as_onerestore_does(inside: str, tmp_path: Path) -> None:
    folder = write_cdd11(tmp_path / inside)
    shift = 0.3 / 255
    result = evaluate_cdd11(lambda image: image - shift, tmp_path, parameters=4.5)
    assert list(result.tables[0].rows) == [*COMBINATIONS, "mean"]
    pairs = [(folder / "low_haze" / f"{n:05d}.png", folder / "clear" / f"{n:05d}.png") for n in (0, 1)]
    images = [[to_tensor(read_photo(path)) for path in pair] for pair in pairs]
    row = result.tables[0].rows["low_haze"]
    assert row["PSNR out"] == row["PSNR in"], "0.3 of a step is nothing in a file of 8 bits"
    assert row["PSNR out"] == pytest.approx(np.mean([psnr(*pair) for pair in images]), abs=1e-9)
    assert row["SSIM out"] == pytest.approx(np.mean([uniform_ssim(*pair) for pair in images]), abs=1e-9)
    assert result.title.startswith("CDD-11: 22 of 2200 images")
    field = result.tables[1]
    assert field.rows[OWN]["haze"] == result.value("haze", "PSNR out") and field.rows[OWN]["M parameters"] == 4.5
    assert field.rows["OneRestore (blind)"]["mean"] == 28.47 and list(field.rows)[0] == "input"
    assert "OneRestore (blind)" in result.to_markdown()


@pytest.mark.parametrize("places", [ADAIR, MOCE_IR])
@pytest.mark.parametrize("inside", ["", "test"])
@pytest.mark.field
def test_field23_row7_five_tasks_are_found_where_published_code_looks(
    places: dict[str, tuple[str, ...]], inside: str, tmp_path: Path
) -> None:
    write_sets(tmp_path / inside, places)
    rows = evaluate_five_tasks(torch.clone, tmp_path).tables[0].rows
    assert list(rows) == ["SOTS", "Rain100L", "BSD68, sigma 25", "GoPro", "LOL", "mean"]
    assert [row["n"] for row in rows.values()] == [1, 1, 1, 1, 1, 5]
    for name in ("SOTS", "Rain100L", "GoPro", "LOL"):
        assert 17 < rows[name]["PSNR in"] < 23, "0.1 apart"
    three = evaluate_three_tasks(torch.clone, tmp_path)
    assert list(three.tables[0].rows)[2:5] == [f"BSD68, sigma {sigma}" for sigma in (15, 25, 50)]
    assert three.title.startswith("Three tasks: 5 of 804 images")


@pytest.mark.field
def test_field23_row7_three_tasks_are_measured_as_promptir_does(tmp_path: Path) -> None:
    write_sets(tmp_path, ADAIR)
    seen: list[Tensor] = []
    shift = 0.3 / 255

    def restore(image: Tensor) -> Tensor:
        seen.append(image)
        return image + shift

    rows = evaluate_three_tasks(restore, tmp_path).tables[0].rows
    assert {tuple(image.shape) for image in seen} == {(1, 3, 48, 64)}
    clean = read_photo(tmp_path / ADAIR["Rain100L"][1])[1:49, 3:67]  # 50 and 71 px leave 2 and 7 over
    rainy = read_photo(tmp_path / ADAIR["Rain100L"][0])[1:49, 3:67]
    truth, image = to_tensor(clean), to_tensor(rainy)
    assert torch.equal(seen[1], image)
    assert rows["Rain100L"]["PSNR out"] == pytest.approx(psnr(image + shift, truth), abs=1e-6), "not rounded"
    assert rows["Rain100L"]["PSNR out"] != pytest.approx(psnr(quantise(image + shift), truth), abs=1e-4)
    assert rows["Rain100L"]["SSIM in"] == pytest.approx(uniform_ssim(image, truth), abs=1e-9)

    np.random.seed(0)  # as their programs do
    photo = np.asarray(Image.open(tmp_path / ADAIR["BSD68"][0]))[1:49, 3:67]
    for sigma, given in zip((15, 25, 50), seen[2:], strict=True):
        noisy = np.clip(photo + np.random.randn(*photo.shape) * sigma, 0, 255).astype(np.uint8)
        assert np.array_equal((given[0] * 255).round().byte().permute(1, 2, 0).numpy(), noisy)


@pytest.mark.field
def test_field23_row7_jpeg_of_live1_is_measured_in_rgb_and_in_grey(tmp_path: Path) -> None:
    path = write_photo(tmp_path / "bikes.png", 1)
    color, grey = evaluate_live1(lambda image: image * 0.99, tmp_path).tables
    pixels = np.asarray(Image.open(path))
    for table, clean in ((color, pixels), (grey, np.asarray(Image.open(path).convert("L")))):
        assert list(table.rows) == [f"quality {quality}" for quality in (10, 20, 30, 40)]
        file = io.BytesIO()
        Image.fromarray(clean).save(file, "JPEG", quality=20)
        coded, truth = (
            torch.from_numpy(np.atleast_3d(each).transpose(2, 0, 1).copy())[None] / 255
            for each in (np.asarray(Image.open(file)), clean)
        )
        row = table.rows["quality 20"]
        assert row["PSNR in"] == pytest.approx(psnr(coded, truth), abs=0.02)
        assert row["PSNR-B in"] == pytest.approx(psnr_b(coded, truth), abs=0.02)
        assert row["PSNR-B in"] < row["PSNR in"]
        expected = quantise(coded * 0.99)
        assert row["PSNR out"] == pytest.approx(psnr(expected, truth), abs=0.02)
        if clean.ndim == 3:
            assert row["SSIM in"] == pytest.approx(ssim(coded, truth), abs=1e-6)
        else:
            assert torch.equal(luma(truth.expand(1, 3, -1, -1)), truth)


@pytest.mark.field
def test_field23_row7_what_is_missing_is_named_with_its_place(tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match=r"lacks SOTS: put its images in dehaze/input and dehaze/target or in"):
        evaluate_three_tasks(torch.clone, tmp_path)
    write_sets(tmp_path, {name: ADAIR[name] for name in ("SOTS", "Rain100L")})
    with pytest.raises(EvaluationError, match=r"lacks BSD68: put its images in denoise/bsd68 or"):
        evaluate_three_tasks(torch.clone, tmp_path)
    write_photo(tmp_path / "cdd" / "clear" / "1.png", 0)
    write_photo(tmp_path / "cdd" / "low" / "1.png", 0)
    with pytest.raises(EvaluationError, match=r"needs clear/ and beside it haze, rain, snow, low_haze"):
        evaluate_cdd11(torch.clone, tmp_path / "cdd")


@pytest.mark.parametrize("board", sorted(boards()))
@pytest.mark.field
def test_field23_row7_every_published_number_has_its_source_and_agrees_with_its_mean(board: str) -> None:
    about = boards()[board]
    for method in about["methods"]:
        assert method["source"] in dict(sources_of_field())
        if "psnr" in method:
            assert len(method["psnr"]) == len(about["columns"])
            assert method["mean_psnr"] == pytest.approx(np.mean(method["psnr"]), abs=0.02), method["name"]
        if "ssim" in method:
            assert method["mean_ssim"] == pytest.approx(np.mean(method["ssim"]), abs=0.002), method["name"]
    means = [row["mean"] for row in field_table(board).rows.values()]
    assert means == sorted(means) and OWN not in field_table(board).rows


@pytest.mark.field
def test_field23_row7_the_command_prints_both_tables(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_cdd11(tmp_path, 1)
    report = tmp_path / "numbers.json"
    words = ("evaluate", "cdd11", tmp_path, "--no-guidance", "--limit", 1, "--json", report)
    assert run(*words) == 0
    printed = capsys.readouterr().out
    assert "low_haze_snow" in printed and "| OneRestore (blind)" in printed and f"| {OWN}" in printed
    own, field = json.loads(report.read_text())["tables"]
    assert field["rows"][OWN]["mean"] == own["rows"]["mean"]["PSNR out"]
    assert run("evaluate", "live1", tmp_path / "clear", "--no-guidance", "--limit", 1) == 0
    assert "JPEG in Y" in capsys.readouterr().out
