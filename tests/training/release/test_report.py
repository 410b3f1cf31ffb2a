"""What is made from committed weights and results: cards, plots, and pages that say what was measured."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from mofe_restore.model.weights import SHIPPED_MLLM, SHIPPED_RESTORER, read_card
from mofe_restore.tests.factories import make_card, write_restorer
from mofe_restore.training.evaluation.results import Evaluation, Table
from mofe_restore.training.release.report import BEGIN, END, main, read_results, readable_card, regenerate
from mofe_restore.training.release.tables import details, field_sections, summary

COLUMNS = ("n", "PSNR in", "PSNR out", "gain", "SSIM in", "SSIM out")
LOG = "step,seconds,lr,loss\n1,2,0.001,0.5\n2,4,0.001,0.4\n"


def result(**rows: tuple[float, float]) -> Evaluation:
    table = {name: dict(zip(COLUMNS, (4, a, b, b - a, 0.5, 0.75), strict=True)) for name, (a, b) in rows.items()}
    return Evaluation("Title", (Table("kind", dict.fromkeys(COLUMNS, 2), table),))


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    """A pack with one result and pages that have a place for the tables."""
    (tmp_path / "docs" / "results").mkdir(parents=True)
    (tmp_path / "docs" / "results" / "pairs.json").write_text(result(rain=(20, 25), mean=(20, 25)).to_json())
    (tmp_path / "README.md").write_text(f"# Before\n{BEGIN}\nold\n{END}\nafter\n")
    (tmp_path / "docs" / "results.md").write_text(f"# Results\n\n{BEGIN}\nold\n{END}\nend\n")
    return tmp_path


def test_only_what_stands_between_the_marks_is_written_anew(pack: Path) -> None:
    readme = pack / "README.md"
    regenerate(pack / "weights", readme=readme)
    once = readme.read_text()
    assert once.startswith(f"# Before\n{BEGIN}\n|") and once.endswith(f"{END}\nafter\n")
    assert "published pairs: rain | 4 | 20.00 | **25.00** |" in once and "old" not in once
    regenerate(pack / "weights", readme=readme)
    assert readme.read_text() == once


def test_the_page_of_results_gets_the_other_tables(pack: Path) -> None:
    page = pack / "docs" / "results.md"
    regenerate(pack / "weights", readme=pack / "README.md", page=page)
    once = page.read_text()
    assert once.startswith(f"# Results\n\n{BEGIN}\n## Pairs of published sets\n") and once.endswith(f"|\n{END}\nend\n")
    regenerate(pack / "weights", page=page)
    assert page.read_text() == once


def test_results_can_lie_in_another_folder(pack: Path) -> None:
    elsewhere = pack / "elsewhere"
    shutil.copytree(pack / "docs" / "results", elsewhere)
    (elsewhere / "pairs.json").write_text(result(snow=(10, 12), mean=(10, 12)).to_json())
    regenerate(pack / "weights", elsewhere, pack / "README.md")
    text = (pack / "README.md").read_text()
    assert "published pairs: snow | 4 | 10.00 | **12.00** |" in text and "pairs: rain" not in text


def test_the_program_writes_where_it_is_told_and_nothing_where_it_is_asked_for_help(pack: Path) -> None:
    field = pack / "protocols.md"
    field.write_text(f"{BEGIN}\n{END}\n")
    before = {path: path.read_bytes() for path in pack.rglob("*") if path.is_file()}
    places = ("--readme", pack / "README.md", "--page", pack / "docs" / "results.md", "--protocols", field)
    arguments = [str(part) for part in ("--weights", pack / "weights", *places)]
    for refused, status in (([*arguments, "--help"], 0), ([*arguments, "--nonsense"], 2)):
        with pytest.raises(SystemExit) as ended:
            main(refused)
        assert ended.value.code == status
        assert {path: path.read_bytes() for path in pack.rglob("*") if path.is_file()} == before
    main(arguments)
    assert "published pairs: rain | 4 |" in (pack / "README.md").read_text()
    assert "## Pairs of published sets" in (pack / "docs" / "results.md").read_text()
    assert field.read_text() == f"{BEGIN}\n{field_sections()}{END}\n"


@pytest.mark.parametrize("name", ["README.md", "docs/results.md"])
@pytest.mark.parametrize("text", ["# Mine\n", f"# Mine\n{BEGIN}\n", f"{END}\n{BEGIN}\n"])
def test_a_page_without_a_place_is_refused_and_all_are_kept(name: str, text: str, pack: Path) -> None:
    (pack / name).write_text(text)
    before = {path: path.read_bytes() for path in pack.rglob("*") if path.is_file()}
    with pytest.raises(ValueError, match="has no place for the results"):
        regenerate(pack / "weights", readme=pack / "README.md", page=pack / "docs" / "results.md")
    assert (pack / name).read_text() == text
    assert {path: path.read_bytes() for path in pack.rglob("*") if path.is_file()} == before


def test_card_and_curve_lie_beside_the_weights_and_the_plot_beside_the_results(pack: Path) -> None:
    folder = pack / "weights" / "restorer"
    write_restorer(folder / "model.safetensors")
    (folder / "training_log.csv").write_text(LOG)
    shipped = SHIPPED_MLLM.parent.parent / "docs" / "results" / "relations.json"
    shutil.copyfile(shipped, pack / "docs" / "results" / "relations.json")
    regenerate(pack / "weights")
    assert "| rain |" in (folder / "README.md").read_text()
    assert (folder / "training_curve.png").stat().st_size > 1000
    assert (pack / "docs" / "results" / "relations.png").stat().st_size > 10_000
    assert sorted(path.name for path in folder.parent.iterdir()) == ["restorer"]


def test_a_card_has_no_empty_tables_and_no_headings_without_rows() -> None:
    card = make_card()
    empty = Evaluation("Title", (Table("kind", {"n": 0}, {}),))
    text = readable_card(card, {"pairs": empty})
    assert "Validation" not in text and "Measured" not in text and "|" not in text
    text = readable_card(
        replace(card, metrics={"psnr": 20.5, "pairs": {"title": "Title"}}), {"pairs": result(a=(1, 2))}
    )
    assert "## Validation during training\n| metric | value |\n|---|---:|\n| psnr | 20.5 |\n" in text
    assert "## Measured: pairs\nTitle\n" in text and "| a    | 4.00 |" in text


def test_a_card_names_variants_plainly() -> None:
    variants = {"top_1_routing": {"n": 66, "PSNR": 18.9}}
    ablation = Evaluation("Title", (Table("variant", {"n": 0, "PSNR": 2}, variants),))
    text = readable_card(make_card(), {"ablation": ablation})
    assert "| one expert per window |" in text and "top_1_routing" not in text


def test_the_readme_says_what_the_committed_results_say(root: Path) -> None:
    results = read_results(root / "docs" / "results")
    assert {"composites", "descriptions"} <= set(results)
    assert f"{BEGIN}\n{summary(results)}{END}" in (root / "README.md").read_text(encoding="utf-8")


def test_the_page_of_results_says_what_the_committed_results_say(root: Path) -> None:
    results = read_results(root / "docs" / "results")
    assert f"{BEGIN}\n{details(results)}{END}" in (root / "docs" / "results.md").read_text(encoding="utf-8")


@pytest.mark.field
def test_field23_row6_the_page_of_results_shows_the_other_tools_and_every_plot(root: Path) -> None:
    page = (root / "docs" / "results.md").read_text(encoding="utf-8")
    measured = json.loads((root / "docs" / "results" / "against.json").read_text(encoding="utf-8"))
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in page.splitlines() if line.startswith("|")]
    for row in measured["rows"]:
        if row["side"] == 512:
            (shown,) = [cells for cells in rows if cells[:2] == [row["tool"], row["image"].replace("_", " ")]]
            assert f"{row['seconds']:.2f}" in shown and f"{row['ratio']:.2f}" in shown, row
            assert ("-" if row["psnr"] is None else f"{row['psnr']:.2f}") in shown, row
    for plot in (root / "docs" / "results").glob("*.png"):
        assert f"](results/{plot.name})" in page, plot


@pytest.mark.field
def test_field23_row7_the_page_of_protocols_says_what_the_field_has_published(root: Path) -> None:
    assert f"{BEGIN}\n{field_sections()}{END}" in (root / "docs" / "protocols.md").read_text(encoding="utf-8")


@pytest.mark.weights
def test_the_cards_say_what_the_weights_say() -> None:
    results = read_results(SHIPPED_MLLM.parent.parent / "docs" / "results")
    about_mllm = {name: each for name, each in results.items() if name in ("descriptions", "answers")}
    others = {name: each for name, each in results.items() if name not in (*about_mllm, "align")}
    second_look = read_card(SHIPPED_MLLM / "second_look.safetensors")
    for path, about, second in (
        (SHIPPED_MLLM / "degradation_head.safetensors", about_mllm, second_look),
        (SHIPPED_RESTORER, others, None),
    ):
        text = path.with_name("README.md").read_text(encoding="utf-8")
        assert text == readable_card(read_card(path), about, second)
    assert second_look.data in (SHIPPED_MLLM / "README.md").read_text(encoding="utf-8")
    metrics = read_card(SHIPPED_RESTORER).metrics
    assert {name: Evaluation.from_dict(value).tables for name, value in metrics.items()} == {
        name: each.tables for name, each in others.items()
    }
