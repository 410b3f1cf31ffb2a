"""What is made from committed results: the README says what was measured, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mofe_restore.model.weights import SHIPPED_MLLM
from mofe_restore.training.report import BEGIN, END, RESULTS, read_results, regenerate, summary
from mofe_restore.training.tables import Evaluation, Table

COLUMNS = ("PSNR in", "PSNR out", "gain", "SSIM in", "SSIM out")


def result(**rows: tuple[float, float]) -> Evaluation:
    table = {name: dict(zip(COLUMNS, (a, b, b - a, 0.5, 0.75), strict=True)) for name, (a, b) in rows.items()}
    return Evaluation("Title", (Table("kind", dict.fromkeys(COLUMNS, 2), table),))


def test_the_summary_names_the_best_and_the_least() -> None:
    beside = {"low, no noise": (12, 13)}  # no combination, so neither best nor least
    composites = result(low=(10, 20), haze=(15, 17), rain=(20, 25), mean=(15, 20.67), clean=(100, 50), **beside)
    text = summary({"composites": composites, "denoising": result(**{"sigma 25": (20, 30)})})
    assert "| mean of the eleven combinations | 15.00 | **20.67** | 0.500 | 0.750 |" in text
    assert "| most gain: low | 10.00 |" in text and "| least gain: haze | 15.00 |" in text
    assert "| low light without noise | 12.00 | **13.00** |" in text
    assert "| clean photograph | | 50.00 |" in text
    assert "| Gaussian noise, sigma 25 | 20.00 | **30.00** |" in text
    assert "language model" not in text


def test_the_summary_puts_answers_beside_descriptions_and_shows_what_parts_are_worth() -> None:
    seen = Evaluation("Seen", (Table("degradation", {}, {"haze": {"F1": 0.9, "rank": 0.8}}),))
    said = Evaluation("Said", (Table("degradation", {}, {"haze": {"right": 0.75}}),))
    assert "| haze | 0.90 | 0.80 | 75 % |" in summary({"descriptions": seen, "answers": said})
    assert "| haze | 0.90 | 0.80 |  |" in summary({"descriptions": seen})
    parts = {"mllm": {"steps": 9, "PSNR": 20, "gain": 0}, "no_guidance": {"steps": 9, "PSNR": 19, "gain": -1}}
    text = summary({"ablation": Evaluation("Parts", (Table("variant", {}, parts),))})
    assert "after 9 steps" in text and "| no guidance | 19.00 | -1.00 |" in text


def test_only_what_stands_between_the_marks_is_written_anew(tmp_path: Path) -> None:
    (tmp_path / RESULTS).mkdir()
    (tmp_path / RESULTS / "pairs.json").write_text(result(rain=(20, 25), mean=(20, 25)).to_json())
    readme = tmp_path / "README.md"
    readme.write_text(f"# Before\n{BEGIN}\nold\n{END}\nafter\n")
    regenerate(tmp_path, readme)
    once = readme.read_text()
    assert once.startswith(f"# Before\n{BEGIN}\n|") and once.endswith(f"{END}\nafter\n")
    assert "published sets: rain | 20.00 | **25.00** |" in once and "old" not in once
    regenerate(tmp_path, readme)
    assert readme.read_text() == once


def test_a_readme_without_a_place_is_refused_and_kept(tmp_path: Path) -> None:
    (tmp_path / RESULTS).mkdir()
    (tmp_path / RESULTS / "pairs.json").write_text(result(rain=(20, 25), mean=(20, 25)).to_json())
    (tmp_path / "README.md").write_text("# Mine\n")
    with pytest.raises(ValueError, match="has no place for the results"):
        regenerate(tmp_path, tmp_path / "README.md")
    assert (tmp_path / "README.md").read_text() == "# Mine\n"


def test_the_readme_says_what_the_committed_results_say(root: Path) -> None:
    results = read_results(SHIPPED_MLLM.parent)
    assert {"composites", "descriptions"} <= set(results)
    assert f"{BEGIN}\n{summary(results)}{END}" in (root / "README.md").read_text(encoding="utf-8")
    for name in results:
        json.loads((SHIPPED_MLLM.parent / RESULTS / f"{name}.json").read_text(encoding="utf-8"))
