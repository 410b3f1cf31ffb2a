"""The tables of results: the main numbers of each result, with plain names and the number of images."""

from __future__ import annotations

from mofe_restore.training.evaluation.results import Evaluation, Table
from mofe_restore.training.release.tables import details, summary

COLUMNS = ("n", "PSNR in", "PSNR out", "gain", "SSIM in", "SSIM out")


def result(**rows: tuple[float, float]) -> Evaluation:
    table = {name: dict(zip(COLUMNS, (4, a, b, b - a, 0.5, 0.75), strict=True)) for name, (a, b) in rows.items()}
    return Evaluation("Title", (Table("kind", dict.fromkeys(COLUMNS, 2), table),))


def test_the_summary_names_the_best_and_the_least() -> None:
    beside = {"low, no noise": (12, 13)}  # no combination, so neither best nor least
    composites = result(low=(10, 20), haze=(15, 17), rain=(20, 25), mean=(15, 20.67), clean=(100, 50), **beside)
    text = summary({"composites": composites, "denoising": result(**{"sigma 25": (20, 30)})})
    assert text.startswith("| what | n | PSNR in | PSNR out | SSIM in | SSIM out |\n|---|---:|---:|---:|---:|---:|\n")
    assert "| mean of the eleven combinations | 4 | 15.00 | **20.67** | 0.500 | 0.750 |" in text
    assert "| most gain: low | 4 | 10.00 |" in text and "| least gain: haze | 4 | 15.00 |" in text
    assert "| low light without noise | 4 | 12.00 | **13.00** |" in text
    assert "| clean photograph | 4 | | 50.00 |" in text
    assert "| Gaussian noise, sigma 25 | 4 | 20.00 | **30.00** |" in text
    assert "language model" not in text


def test_the_summary_names_the_worst_clean_photograph_and_leaves_out_the_mean_of_pairs() -> None:
    clean = {"n": 4, "PSNR in": 100.0, "PSNR out": 60.0, "worst out": 14.75, "SSIM in": 1.0, "SSIM out": 0.99}
    combinations = {"low": {**clean, "gain": 1.0}, "mean": {**clean, "gain": 1.0}, "clean": clean}
    composites = Evaluation("Title", (Table("kind", {}, combinations),))
    text = summary({"composites": composites, "pairs": result(rain=(20, 25), mean=(20, 25))})
    assert "| clean photograph | 4 | | 60.00, 14.75 at worst | | 0.990 |" in text
    assert text.splitlines()[-1] == "| published pairs: rain | 4 | 20.00 | **25.00** | 0.500 | 0.750 |"
    assert summary({}) == summary({"guidance": result(low=(1, 2))}) == ""


def test_the_summary_tells_what_is_left_of_it_after_a_jpeg() -> None:
    text = summary({"saved": result(low=(10, 18), haze=(15, 17), mean=(15, 20))})
    assert "| the eleven combinations, saved as JPEG | 4 | 15.00 | **20.00** |" in text
    assert "| low light, saved as JPEG | 4 | 10.00 | **18.00** |" in text
    assert details({"saved": result(low=(10, 18))}).startswith("## Generated composites, saved as JPEG")


def test_the_summary_has_the_means_over_qualities_and_kernels() -> None:
    jpeg = result(**{"quality 10": (20, 21), "mean": (30, 31), "mean, off grid": (29, 30.5)})
    text = summary({"jpeg": jpeg, "blur": result(**{"mean, no noise": (25, 26), "mean, weak noise": (24, 24.5)})})
    assert "| JPEG of quality 10 to 40 | 4 | 30.00 | **31.00** |" in text and "| 20.00 |" not in text
    assert "| JPEG of quality 10 to 40, cropped since | 4 | 29.00 | **30.50** |" in text
    assert "| blur: Gaussian, motion and defocus | 4 | 25.00 | **26.00** |" in text
    assert "| the same blur with weak noise | 4 | 24.00 | **24.50** |" in text


def test_the_summary_tells_what_is_seen_of_real_photographs() -> None:
    pairs = result(noise=(30, 33), mean=(30, 33)).tables[0]
    labels = Table("label", {"n": 0, "recall": 3}, {"low_light": {"n": 8, "recall": 0.75}})
    good = Table("photographs", {"n": 0, "called degraded": 3}, {"good": {"n": 20, "called degraded": 0.1}})
    made = Evaluation("Seen", (Table("degradation", {"F1": 3}, {"mean": {"n": 8, "F1": 0.954, "rank": 0.8}}),))
    text = summary({"real": Evaluation("Real", (pairs, labels, good)), "descriptions": made})
    assert "| real photographs: noise | 4 | 30.00 | **33.00** |" in text
    assert "low light 0.75 (n = 8)." in text.replace("\n", " ")
    assert "Of 20 good photographs of hard kinds 10 % are called degraded. The F1" in text.replace("\n", " ")
    assert text.endswith("0.95.\n")


def test_the_details_put_answers_beside_descriptions_and_show_what_parts_are_worth() -> None:
    seen = Evaluation("Seen", (Table("degradation", {}, {"haze": {"n": 8, "F1": 0.9, "rank": 0.8}}),))
    said = Evaluation("Said", (Table("degradation", {}, {"haze": {"n": 8, "right": 0.75}}),))
    assert "| haze | 8 | 0.90 | 0.80 | 75 % |" in details({"descriptions": seen, "answers": said})
    assert "| haze | 8 | 0.90 | 0.80 | |" in details({"descriptions": seen})
    assert "yes/no accuracy" in details({"descriptions": seen})
    columns = {"n": 0, "steps": 0, "PSNR": 2, "gain": 2}
    parts = {
        "mllm": {"n": 66, "steps": 9, "PSNR": 20, "gain": 0},
        "no_guidance": {"n": 66, "steps": 9, "PSNR": 19, "gain": -1},
        "guidance_of_another_image": {"n": 66, "steps": 9, "PSNR": 18, "gain": -2},
        "oracle": {"n": 66, "steps": 9, "PSNR": 21, "gain": 1},
    }
    text = details({"ablation": Evaluation("Parts", (Table("variant", columns, parts),))})
    assert "| variant | n | steps | PSNR | gain |" in text and "| no guidance | 66 | 9 | 19.00 | -1.00 |" in text
    assert "| guidance of another image | 66 | 9 | 18.00 | -2.00 |" in text
    assert "| the true parameters as guidance | 66 | 9 | 21.00 | +1.00 |" in text


def test_the_details_name_columns_plainly_and_have_a_section_for_each_result() -> None:
    row = {"n": 4, "input": 11.96, "own": 25.05, "other": 20.15, "none": 19.59}
    columns = {"n": 0, **dict.fromkeys(("input", "own", "other", "none"), 2)}
    guidance = Evaluation("Title", (Table("combination", columns, {"low": row}),))
    text = details({"pairs": result(rain=(20, 25)), "guidance": guidance})
    assert [line for line in text.splitlines() if line.startswith("#")] == [
        "## Pairs of published sets",
        "## What guidance is worth",
    ]
    assert "| combination | n | input | own guidance | guidance of another image | no guidance |" in text
    assert "| low | 4 | 11.96 | 25.05 | 20.15 | 19.59 |" in text


def test_the_details_show_every_table_about_real_photographs_that_has_rows() -> None:
    recall = Table("label", {"n": 0, "recall": 3}, {"haze": {"n": 4, "recall": 0.75}})
    empty = Table("photographs", {"n": 0, "below 38 dB": 3}, {})
    pairs = result(rain=(20, 25)).tables[0]
    text = details({"jpeg": result(**{"quality 10": (20, 21)}), "real": Evaluation("Title", (pairs, recall, empty))})
    assert text.startswith("## JPEG\n") and "| quality 10 | 4.00 | 20.00 | 21.00 | +1.00 |" in text
    _, first, second = text.partition("## Real")[2].rstrip().split("\n\n")
    assert "| rain | 4.00 | 20.00 | 25.00 |" in first
    assert second == "| label | n | recall |\n|---|---:|---:|\n| haze | 4 | 0.750 |" and "photographs |" not in text


def test_missing_numbers_are_shown_as_such() -> None:
    columns = {"n": 0, "present": 0, "error": 4, "spread": 4}
    parameters = Table(
        "parameter", columns, {"haze_beta": {"n": 8, "present": 0, "error": float("nan"), "spread": 0.5}}
    )
    scores = Table("degradation", {}, {"haze": {"n": 8, "F1": 0.9, "rank": 0.8}})
    text = details({"descriptions": Evaluation("Title", (scores, parameters))})
    assert "## Physical parameters" in text and "| haze_beta | 8 | 0 | - | 0.5000 |" in text
