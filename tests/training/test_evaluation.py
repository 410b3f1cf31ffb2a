"""Evaluation: the numbers are right, the pictures are stable, the folders are understood, and bad data is refused."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from mofe_restore.model.guidance import DEGRADATIONS, PARAMETERS, Guidance
from mofe_restore.training.degradations import COMBINATIONS, degrade, sample_severities
from mofe_restore.training.evaluation import (
    EvaluationError,
    composite,
    evaluate_composites,
    evaluate_descriptions,
    evaluate_guidance,
    evaluate_pairs,
    stable_generator,
    to_tensor,
)
from mofe_restore.training.metrics import PSNR_CAP, Detection, detection, psnr, quantise, rank_correlation, ssim
from mofe_restore.training.photos import read_photo


def save(path: Path, seed: int, height: int = 48, width: int = 56, change: float = 0.0) -> Path:
    """A smooth picture with some texture."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray((rng.random((6, 7, 3)) * 200 + 20).astype(np.uint8))
    picture = np.asarray(small.resize((width, height), Image.Resampling.BICUBIC), dtype=np.float32)
    picture = picture + rng.normal(0, 4, picture.shape) + 255 * change
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8)).save(path)
    return path


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for number in range(3):
        save(tmp_path / "clean" / f"photo{number}.png", number)
    return tmp_path / "clean"


def unchanged(picture: Tensor) -> Tensor:
    return picture


def guidance(scores: list[float], parameters: list[float] | None = None, mark: float = 0.0) -> Guidance:
    values = parameters or [0.0] * len(PARAMETERS)
    pooled = torch.full((1, 2), mark)
    return Guidance(torch.zeros(1, 1, 2), pooled, torch.tensor([scores]), torch.tensor([values]), ("",), "test")


# --- metrics --------------------------------------------------------------------------------------------------------


def test_psnr_is_that_of_its_definition_and_capped_for_identical_pictures() -> None:
    truth = torch.full((1, 3, 16, 16), 0.5)
    assert psnr(truth + 0.1, truth) == pytest.approx(20.0, abs=1e-4)
    assert psnr(truth, truth) == PSNR_CAP


def test_ssim_is_that_of_the_published_formula_on_its_windows() -> None:
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.rand(1, 3, 16, 16, generator=generator) for _ in range(2))
    offsets = torch.arange(11.0) - 5
    line = torch.exp(-(offsets**2) / (2 * 1.5**2))
    window = torch.outer(line, line) / line.sum() ** 2
    values = []
    for channel in range(3):
        for y in range(6):
            for x in range(6):
                p, q = (picture[0, channel, y : y + 11, x : x + 11] for picture in (a, b))
                mp, mq = (window * p).sum(), (window * q).sum()
                vp, vq = (window * p * p).sum() - mp**2, (window * q * q).sum() - mq**2
                cov = (window * p * q).sum() - mp * mq
                c1, c2 = 0.01**2, 0.03**2
                values.append((2 * mp * mq + c1) * (2 * cov + c2) / ((mp**2 + mq**2 + c1) * (vp + vq + c2)))
    assert ssim(a, b) == pytest.approx(float(torch.stack(values).mean()), abs=1e-4)
    assert ssim(a, a) == pytest.approx(1.0, abs=1e-5)


def test_detection_counts_and_its_ratios_are_right_also_without_any() -> None:
    said = torch.tensor([True, True, True, False, False])
    present = torch.tensor([True, True, False, True, False])
    counts = detection(said, present)
    assert counts == Detection(hits=2, false_alarms=1, misses=1)
    assert counts.precision == counts.recall == counts.f1 == pytest.approx(2 / 3)
    assert math.isnan(Detection(0, 0, 3).precision) and Detection(0, 0, 3).f1 == 0.0
    assert math.isnan(Detection(0, 0, 0).f1)


def test_rank_correlation_sees_order_alone_shares_ties_and_knows_no_answer_for_constants() -> None:
    truth = torch.tensor([0.1, 0.2, 0.3, 0.4])
    assert rank_correlation(truth**5, truth) == pytest.approx(1.0)
    assert rank_correlation(-truth, truth) == pytest.approx(-1.0)
    assert rank_correlation(torch.tensor([1.0, 1.0, 2.0, 2.0]), truth) == pytest.approx(0.8944, abs=1e-3)
    assert math.isnan(rank_correlation(torch.ones(4), truth)) and math.isnan(rank_correlation(truth[:1], truth[:1]))


def test_quantised_pictures_are_what_a_file_holds() -> None:
    values = quantise(torch.tensor([-0.3, 0.5001 / 255, 0.4999 / 255, 1.2]))
    assert values.tolist() == pytest.approx([0.0, 1 / 255, 0.0, 1.0])


# --- composites -----------------------------------------------------------------------------------------------------


def test_composites_report_all_eleven_their_mean_and_clean_with_input_beside_output(photos: Path) -> None:
    seen: list[tuple[int, int]] = []
    result = evaluate_composites(unchanged, photos, on_progress=lambda *step: seen.append(step))
    rows = result.tables[0].rows
    assert tuple(rows) == (*COMBINATIONS, "mean", "clean")
    assert all(row["PSNR in"] == row["PSNR out"] and row["gain"] == 0 for row in rows.values())
    assert rows["clean"]["PSNR out"] == PSNR_CAP and rows["clean"]["SSIM out"] == pytest.approx(1.0, abs=1e-5)
    assert all(rows[name]["PSNR in"] < 35 for name in COMBINATIONS)
    assert result.value("mean", "PSNR out") == pytest.approx(np.mean([rows[n]["PSNR out"] for n in COMBINATIONS]))
    assert seen == [(n, 36) for n in range(1, 37)]


def test_a_row_is_the_mean_over_photos_of_the_rounded_output(photos: Path) -> None:
    def brighten(picture: Tensor) -> Tensor:
        return picture + 0.37 / 255 + 0.1

    result = evaluate_composites(brighten, photos, limit=2)
    expected = []
    for path in sorted(photos.iterdir())[:2]:
        clean = read_photo(path)
        output = quantise(brighten(composite(clean, "haze_snow", path.name, 0)))
        expected.append(psnr(output, to_tensor(clean)))
    assert result.value("haze_snow", "PSNR out") == pytest.approx(np.mean(expected), abs=1e-6)
    assert result.value("haze_snow", "pictures") == 2


def test_the_degraded_pictures_depend_on_seed_combination_and_name_alone(photos: Path) -> None:
    clean = read_photo(photos / "photo0.png")
    first = composite(clean, "low_rain", "photo0.png", 0)
    assert torch.equal(first, composite(clean, "low_rain", "photo0.png", 0))
    for other in (("low_rain", "photo0.png", 1), ("low_rain", "photo1.png", 0), ("low_snow", "photo0.png", 0)):
        assert not torch.equal(first, composite(clean, *other))
    # Python's own hash differs from process to process; this generator must not.
    code = "from mofe_restore.training.evaluation import stable_generator as g; print(g(3, 'low').integers(2**40))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603
    assert int(found.stdout) == stable_generator(3, "low").integers(2**40)


def test_an_output_of_another_size_or_with_nan_is_refused_by_name(photos: Path) -> None:
    with pytest.raises(EvaluationError, match=r"low photo0.png has shape \[1, 3, 47, 56\]"):
        evaluate_composites(lambda picture: picture[:, :, 1:], photos)
    with pytest.raises(EvaluationError, match="low photo0.png has values that are not finite"):
        evaluate_composites(lambda picture: picture * math.nan, photos)


# --- pairs ----------------------------------------------------------------------------------------------------------


def test_pairs_are_matched_by_stem_whatever_the_ending(tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 1)):
        save(tmp_path / "set" / "target" / f"{name}.png", seed)
        save(tmp_path / "set" / "input" / f"{name}.bmp", seed, change=0.1)
    save(tmp_path / "set" / "target" / "unused.png", 9)
    result = evaluate_pairs(lambda picture: picture - 0.1, tmp_path / "set")
    row = result.tables[0].rows["set"]
    assert list(result.tables[0].rows) == ["set"] and row["pictures"] == 2
    assert row["PSNR in"] == pytest.approx(20, abs=0.3) and row["PSNR out"] > 45


def test_pairs_that_differ_in_their_leading_word_are_matched_too(tmp_path: Path) -> None:
    for number in (1, 2, 12):
        save(tmp_path / "target" / f"norain{number}.png", number)
        save(tmp_path / "input" / f"input{number}.png", number)
    result = evaluate_pairs(unchanged, tmp_path)
    assert result.value(tmp_path.name, "PSNR in") == PSNR_CAP and result.value(tmp_path.name, "pictures") == 3


def test_a_folder_of_pair_folders_gives_a_row_each_and_a_mean_of_the_rows(tmp_path: Path) -> None:
    for name, change, count in (("fog", 0.1, 1), ("rain", 0.2, 2)):
        for number in range(count):
            save(tmp_path / name / "target" / f"{number}.png", number)
            save(tmp_path / name / "input" / f"{number}.png", number, change=change)
    rows = evaluate_pairs(unchanged, tmp_path).tables[0].rows
    assert list(rows) == ["fog", "rain", "mean"] and rows["mean"]["pictures"] == 3
    assert rows["mean"]["PSNR in"] == pytest.approx((rows["fog"]["PSNR in"] + rows["rain"]["PSNR in"]) / 2)


def test_the_layout_of_cdd_11_is_read_as_published(tmp_path: Path) -> None:
    for name in ("clear", "low", "haze_rain", "snow", "notes"):
        (tmp_path / name).mkdir()
    for name, change in (("clear", 0.0), ("low", -0.2), ("haze_rain", 0.1), ("snow", 0.05)):
        for number in (1, 2):
            save(tmp_path / name / f"0000{number}.png", number, change=change)
    rows = evaluate_pairs(unchanged, tmp_path, limit=1).tables[0].rows
    assert list(rows) == ["low", "snow", "haze_rain", "mean"] and rows["low"]["pictures"] == 1
    assert rows["low"]["PSNR in"] < rows["haze_rain"]["PSNR in"] < rows["snow"]["PSNR in"]


def test_pairs_that_cannot_be_compared_are_refused_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="holds no pairs"):
        evaluate_pairs(unchanged, tmp_path)
    with pytest.raises(EvaluationError, match="holds no pairs"):
        evaluate_pairs(unchanged, tmp_path / "absent")
    save(tmp_path / "target" / "a.png", 0)
    save(tmp_path / "input" / "a.png", 0, width=57)
    with pytest.raises(EvaluationError, match="57 x 48 but its target .* 56 x 48"):
        evaluate_pairs(unchanged, tmp_path)
    save(tmp_path / "input" / "b.png", 0)
    with pytest.raises(EvaluationError, match="b.png has no target"):
        evaluate_pairs(unchanged, tmp_path)


# --- descriptions ---------------------------------------------------------------------------------------------------


def true_answers(photos: Path, seed: int, repeats: int) -> dict[bytes, Guidance]:
    """The perfect guidance of each picture that the evaluation will show."""
    answers = {}
    for path in sorted(photos.iterdir()):
        for repeat in range(repeats):
            rng = stable_generator(seed, "describe", repeat, path.name)
            degraded = degrade(read_photo(path), sample_severities(rng), rng)
            truth = degraded.truth
            # Half of the scale above PRESENT is left for the strength, so present is never below it.
            scores = [0.5 + s / 2 if there else 0.0 for s, there in zip(truth.strength, truth.presence, strict=True)]
            answer = guidance([float(score) for score in scores], [float(value) for value in truth.parameters])
            answers[to_tensor(degraded.picture).numpy().tobytes()] = answer
    return answers


def test_a_perfect_describer_gets_perfect_marks_and_a_silent_one_none(photos: Path) -> None:
    answers = true_answers(photos, seed=2, repeats=12)
    perfect = evaluate_descriptions(lambda picture: answers[picture.numpy().tobytes()], photos, seed=2, repeats=12)
    rows = perfect.tables[0].rows
    assert tuple(rows) == (*DEGRADATIONS, "mean")
    for name in ("low_light", "haze", "rain", "snow"):
        assert rows[name]["present"] > 1 and rows[name]["F1"] == 1.0 and rows[name]["rank"] == pytest.approx(1.0)
    assert perfect.value("mean", "F1") == 1.0
    assert set(perfect.tables[1].rows) == set(PARAMETERS)
    assert all(row["error"] == 0.0 for row in perfect.tables[1].rows.values() if not math.isnan(row["error"]))
    silent = evaluate_descriptions(lambda picture: guidance([0.0] * 7), photos, seed=2, repeats=12)
    assert silent.value("rain", "recall") == 0.0 and silent.value("rain", "F1") == 0.0
    assert math.isnan(silent.value("rain", "precision"))


def test_parameter_errors_count_only_pictures_that_have_the_degradation(photos: Path) -> None:
    answers = true_answers(photos, seed=0, repeats=8)
    off = PARAMETERS.index("haze_beta")

    def describe(picture: Tensor) -> Guidance:
        answer = answers[picture.numpy().tobytes()]
        hazy = answer.scores[0, DEGRADATIONS.index("haze")] >= 0.5
        answer.parameters[0, off] += 0.25 if hazy else 100.0
        return answer

    result = evaluate_descriptions(describe, photos, repeats=8)
    assert result.value("haze_beta", "error") == pytest.approx(0.25, abs=1e-5)
    assert result.value("haze_beta", "spread") > 0


# --- guidance -------------------------------------------------------------------------------------------------------


def test_own_guidance_is_told_from_that_of_another_picture_and_from_none(photos: Path) -> None:
    used: list[tuple[float, float]] = []

    def describe(picture: Tensor) -> Guidance:
        return guidance([0.0] * 7, mark=float(picture.mean()))

    def restore(picture: Tensor, hint: Guidance | None) -> Tensor:
        if hint is None:
            return picture * 0 + 0.45
        used.append((float(picture.mean()), float(hint.pooled[0, 0])))
        own = used[-1][0] == used[-1][1]
        return picture if own else picture * 0

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
    composites = evaluate_composites(unchanged, photos, limit=2)
    assert rows["snow"]["input"] == pytest.approx(composites.value("snow", "PSNR in"))


# --- output ---------------------------------------------------------------------------------------------------------


def test_results_read_as_markdown_and_as_strict_json(photos: Path) -> None:
    result = evaluate_descriptions(lambda picture: guidance([0.0] * 7), photos, repeats=1, limit=1)
    lines = result.to_markdown().splitlines()
    table = [line for line in lines if line.startswith("|")]
    assert lines[0] == result.title and len({len(line) for line in table[:10]}) == 1
    assert table[0].split("|")[1].strip() == "degradation" and table[2].split("|")[1].strip() == "low_light"

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    read = json.loads(result.to_json(), parse_constant=refuse)
    assert read["tables"][0]["rows"]["jpeg"]["precision"] is None
    assert [table["name"] for table in read["tables"]] == ["degradation", "parameter"]
    with pytest.raises(KeyError, match="no row 'fog'"):
        result.value("fog", "F1")
